use std::io;

use bytes::Bytes;
use cavs_proto::v1;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use tokio::time::timeout;

use super::{Flood, SeededRandom, mutate, mutated::RequestOutcome};
use crate::{Behaviour, http1::Http1, target::Protocol};

/// One request in so many is no HTTP/2 at all after its preface.
const GARBAGE: usize = 100;
/// What opens a connection of HTTP/2 (RFC 9113, section 3.4), and empty settings.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";
/// Longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;

/// Mutated calls of gRPC: right HTTP/2 that carries wrong messages, lengths and headers.
pub(super) struct GrpcFlood {
    authority: String,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl GrpcFlood {
    pub(super) fn new(flood: &Flood) -> Self {
        let scheme = if flood.target.tls.is_some() { "https" } else { "http" };
        let authority = format!("{scheme}://{}:{}", flood.target.host, flood.target.address.port());
        Self { authority, connection: None }
    }

    pub(super) async fn send(
        &mut self,
        flood: &Flood,
        number: u64,
        random: &mut SeededRandom,
    ) -> RequestOutcome {
        let tried = async {
            if random.below(GARBAGE) == 0 {
                garbage(flood, random).await
            } else {
                self.call(flood, number, random).await
            }
        };
        let outcome = match timeout(flood.patience, tried).await {
            Ok(outcome) => outcome.unwrap_or_else(RequestOutcome::from),
            Err(_) => RequestOutcome::Hang,
        };
        if !matches!(outcome, RequestOutcome::Answer { .. }) {
            self.connection = None;
        }
        outcome
    }

    async fn call(
        &mut self,
        flood: &Flood,
        number: u64,
        random: &mut SeededRandom,
    ) -> io::Result<RequestOutcome> {
        let Some(request) = self.request(flood, number, random) else {
            return Ok(RequestOutcome::Answer { status: "not sendable".into(), wrong: false });
        };
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => open(flood).await?,
        };
        let sent = async {
            connection.ready().await?;
            connection.send_request(request).await
        };
        let response = match sent.await {
            Ok(response) => response,
            // Streams that the server resets, and connections that it ends, say why.
            Err(_) => return Ok(RequestOutcome::Closed),
        };
        let (head, body) = response.into_parts();
        let Ok(body) = Limited::new(body, LONGEST_ANSWER).collect().await else {
            return Ok(RequestOutcome::Closed);
        };
        self.connection = Some(connection);
        let trailers = body.trailers();
        let field = |name: &str| trailers.and_then(|map| map.get(name)).or_else(|| head.headers.get(name));
        let (status, detailed) = (field("grpc-status"), field("grpc-status-details-bin").is_some());
        Ok(match (status.and_then(|value| value.to_str().ok()), head.status.as_u16()) {
            (Some(code), 200) => RequestOutcome::grpc(code, detailed),
            (None, 200) => RequestOutcome::wrong("200 without grpc-status"),
            (_, status) => {
                RequestOutcome::Answer { status: status.to_string(), wrong: status >= 500 && status != 503 }
            }
        })
    }

    /// `None` where the mutation is no request that HTTP/2 could carry.
    fn request(&self, flood: &Flood, number: u64, random: &mut SeededRandom) -> Option<Request<Full<Bytes>>> {
        let frame = flood.outgoing(number).request(&flood.target, None);
        let (method, message) = if random.below(2) == 0 {
            ("SubmitFrame", frame.encode_to_vec())
        } else {
            ("StreamFrames", v1::StreamFramesRequest { frame: Some(frame) }.encode_to_vec())
        };
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
        body.extend(message);
        mutate(&mut body, random);
        let mut path = format!("/cavs.v1.CaptureService/{method}").into_bytes();
        let mut content_type = b"application/grpc".to_vec();
        let mut authorization =
            format!("Bearer {}", flood.target.token.as_deref().unwrap_or("")).into_bytes();
        match random.below(24) {
            0 => mutate(&mut path, random),
            1 => mutate(&mut content_type, random),
            2 => mutate(&mut authorization, random),
            _ => {}
        }
        let uri = format!("{}{}", self.authority, String::from_utf8(path).ok()?);
        let mut request = Request::post(uri).header(header::TE, "trailers");
        if let Ok(value) = HeaderValue::from_bytes(&content_type) {
            request = request.header(header::CONTENT_TYPE, value);
        }
        if flood.target.token.is_some()
            && let Ok(value) = HeaderValue::from_bytes(&authorization)
        {
            request = request.header(header::AUTHORIZATION, value);
        }
        request = match random.below(32) {
            0 => request.header("grpc-timeout", "99999999H"),
            1 => request.header("grpc-timeout", "-1x"),
            2 => request.header("grpc-encoding", "gzip"),
            3 => request.header("grpc-encoding", "none-such"),
            _ => request,
        };
        request.body(Full::new(body.into())).ok()
    }
}

async fn open(flood: &Flood) -> io::Result<SendRequest<Full<Bytes>>> {
    let stream = flood.target.connect(&Behaviour::default(), Protocol::Http2).await?;
    let (sender, connection) =
        handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends when the sender is dropped, or with the server.
    tokio::spawn(connection);
    Ok(sender)
}

/// Bytes after the preface that are frames only by chance.
async fn garbage(flood: &Flood, random: &mut SeededRandom) -> io::Result<RequestOutcome> {
    let mut http = Http1::new(flood.target.connect(&Behaviour::default(), Protocol::Http2).await?);
    let mut bytes = PREFACE.to_vec();
    bytes.extend((0..random.below(2048)).map(|_| random.next_number().to_le_bytes()[0]));
    if random.below(2) == 0 {
        mutate(&mut bytes, random);
    }
    let _ = http.send_raw(&bytes).await;
    let _ = http.finish().await;
    http.drain(flood.patience).await?;
    Ok(RequestOutcome::Closed)
}
