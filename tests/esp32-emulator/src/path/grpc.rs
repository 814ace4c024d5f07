//! gRPC over HTTP/2, as a gateway speaks it.

use std::{io, sync::Arc, time::Duration};

use cavs_proto::v1;
use hyper_util::rt::TokioIo;
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    metadata::MetadataValue,
    transport::{Channel, Endpoint, Uri},
};
use v1::capture_service_client::CaptureServiceClient;

use super::verdict;
use crate::{Behaviour, Outcome, Target, target::Protocol};

pub(super) struct Grpc {
    client: CaptureServiceClient<Channel>,
    token: Option<String>,
    streaming: bool,
    stream: Option<Stream>,
}

struct Stream {
    up: mpsc::Sender<v1::StreamFramesRequest>,
    down: Streaming<v1::StreamFramesResponse>,
}

impl Grpc {
    pub(super) async fn connect(target: &Target, behaviour: &Behaviour, streaming: bool) -> io::Result<Self> {
        let scheme = if target.tls.is_some() { "https" } else { "http" };
        let origin: Uri = format!("{scheme}://{}:{}", target.host, target.address.port())
            .parse()
            .map_err(io::Error::other)?;
        // The connector below does the encryption, so that small segments are below it.
        let endpoint = Endpoint::from_static("http://proxy").origin(origin);
        let (target, behaviour) = (Arc::new(target.clone()), *behaviour);
        let token = target.token.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let target = Arc::clone(&target);
            async move { target.connect(&behaviour, Protocol::Http2).await.map(TokioIo::new) }
        });
        let channel = endpoint.connect_with_connector(connector).await.map_err(io::Error::other)?;
        Ok(Self { client: CaptureServiceClient::new(channel), token, streaming, stream: None })
    }

    fn authorized<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let bearer =
            self.token.as_ref().and_then(|token| MetadataValue::try_from(format!("Bearer {token}")).ok());
        if let Some(value) = bearer {
            request.metadata_mut().insert("authorization", value);
        }
        request
    }

    pub(super) async fn send(
        &mut self,
        frame: v1::SubmitFrameRequest,
        behaviour: &Behaviour,
        cut: bool,
    ) -> io::Result<Outcome> {
        // Where the radio is fast, it is cut off at once.
        let half = frame.image.len() as f64 / 2.0 / f64::from(behaviour.rate.unwrap_or(u32::MAX));
        let patience = if cut { Duration::from_secs_f64(half) } else { behaviour.patience };
        let sent = timeout(patience, self.call(frame)).await;
        if cut {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        match sent.map_err(|_| io::ErrorKind::TimedOut)? {
            Ok(verdict) => Ok(verdict::of_verdict(&verdict)),
            // The connection failed, not the call: what arrived is unknown.
            Err(status) if std::error::Error::source(&status).is_some() => Err(io::Error::other(status)),
            Err(status) => {
                let retry = status.metadata().get("retry-after-ms").and_then(|value| value.to_str().ok());
                let retry_after = verdict::retry_after_ms(retry);
                // A stream that has ended with a status takes no more frames.
                self.stream = None;
                Ok(verdict::of_status(&status, retry_after))
            }
        }
    }

    async fn call(&mut self, frame: v1::SubmitFrameRequest) -> Result<v1::SubmitFrameResponse, Status> {
        if !self.streaming {
            let request = self.authorized(frame);
            return self.client.submit_frame(request).await.map(tonic::Response::into_inner);
        }
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                // A camera has one frame in its hands.
                let (up, frames) = mpsc::channel(1);
                let request = self.authorized(ReceiverStream::new(frames));
                Stream { up, down: self.client.stream_frames(request).await?.into_inner() }
            }
        };
        // Where the other side has ended the stream, the reason is in what it sent.
        let _ = stream.up.send(v1::StreamFramesRequest { frame: Some(frame) }).await;
        let closed = || Status::unavailable("the stream ended without a status");
        let response = stream.down.message().await?.ok_or_else(closed)?;
        let verdict = response.verdict.ok_or_else(|| Status::internal("an answer without a verdict"))?;
        self.stream = Some(stream);
        Ok(verdict)
    }
}
