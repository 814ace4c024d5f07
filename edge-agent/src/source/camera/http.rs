//! Cameras behind an `http://` address: an endless MJPEG answer, or one JPEG per request.

use std::{fmt, io, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Camera, JpegSplitter, MAX_PICTURE_BYTES, PictureStream, dropped_text};

/// Why an address is no camera's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("must be of the form http://[USER:PASSWORD@]HOST[:PORT]/PATH")]
pub struct AddressError;

/// Where a camera is. Its `Display` and `Debug` hide user and password.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraAddress {
    host: String,
    port: u16,
    path: String,
    authorization: Option<String>,
}

impl CameraAddress {
    /// Reads an address. User and password are for HTTP basic authentication.
    ///
    /// # Errors
    /// [`AddressError`] for anything but a plain HTTP address.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let uri: Uri = text.parse().map_err(|_| AddressError)?;
        let authority = uri.authority().ok_or(AddressError)?;
        if uri.scheme_str() != Some("http") || authority.host().is_empty() {
            return Err(AddressError);
        }
        let credentials = authority.as_str().rsplit_once('@').map(|(credentials, _)| credentials);
        Ok(Self {
            host: authority.host().to_owned(),
            port: authority.port_u16().unwrap_or(80),
            path: uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            authorization: credentials.map(|text| format!("Basic {}", STANDARD.encode(text))),
        })
    }

    fn request(&self) -> io::Result<Request<Empty<Bytes>>> {
        let mut request = Request::get(&self.path)
            .header(header::HOST, format!("{}:{}", self.host, self.port))
            .header(header::USER_AGENT, concat!("cavs-edge-agent/", env!("CARGO_PKG_VERSION")));
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        request.body(Empty::new()).map_err(io::Error::other)
    }

    /// Where an answer sends to, if that is on this camera: user and password go nowhere else.
    fn redirected(&self, location: &str) -> Option<Self> {
        let uri: Uri = location.parse().ok()?;
        let path = uri.path_and_query().filter(|path| path.as_str().starts_with('/'))?.to_string();
        let here = match uri.authority() {
            None => !location.starts_with("//"),
            Some(authority) => {
                uri.scheme_str() == Some("http")
                    && authority.host().eq_ignore_ascii_case(&self.host)
                    && authority.port_u16().unwrap_or(80) == self.port
            }
        };
        here.then(|| Self { path, ..self.clone() })
    }

    async fn connect(&self) -> io::Result<HttpConnection> {
        // An IPv6 host is in brackets in an address, and without them everywhere else.
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(64 << 10)
            // Cameras' own servers write what no standard allows, and browsers read it.
            .ignore_invalid_headers_in_responses(true)
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(with_causes)?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            // Its errors come out of the requests too.
            let _ = connection.await;
        }));
        Ok(HttpConnection { sender, _driver: driver })
    }
}

impl fmt::Display for CameraAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the query: cameras take passwords there.
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "http://{}:{}{path}", self.host, self.port)
    }
}

impl fmt::Debug for CameraAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CameraAddress({self})")
    }
}

#[derive(Debug)]
struct HttpConnection {
    sender: http1::SendRequest<Empty<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl HttpConnection {
    async fn get(&mut self, address: &CameraAddress) -> io::Result<Response<Incoming>> {
        self.sender.ready().await.map_err(with_causes)?;
        self.sender.send_request(address.request()?).await.map_err(with_causes)
    }
}

/// Redirections that are followed for one picture.
const REDIRECTIONS: u32 = 3;

/// Asks a camera, through an open connection where there is one, and follows it where it sends to another
/// of its own pages.
async fn ask(
    address: &CameraAddress,
    mut connection: Option<HttpConnection>,
) -> io::Result<(HttpConnection, Response<Incoming>)> {
    let mut address = address.clone();
    for _ in 0..=REDIRECTIONS {
        // Many cameras close after every answer.
        let mut open = match connection.take().filter(|connection| !connection.sender.is_closed()) {
            Some(connection) => connection,
            None => address.connect().await?,
        };
        let response = open.get(&address).await?;
        if response.status().is_redirection() {
            address = next_address(&address, &response)?;
            continue;
        }
        check(&address, &response)?;
        return Ok((open, response));
    }
    Err(io::Error::other(format!("the camera sends from one address to the next, at last to {address}")))
}

fn next_address(address: &CameraAddress, response: &Response<Incoming>) -> io::Result<CameraAddress> {
    let (status, location) = (response.status(), text(response, &header::LOCATION));
    address.redirected(location).ok_or_else(|| {
        // Without the query, as for the address itself.
        let shown = location.split('?').next().unwrap_or_default();
        io::Error::other(format!(
            "the camera answered {status} and sends to \"{shown}\", which is not followed"
        ))
    })
}

/// Whether an answer may hold pictures.
fn check(address: &CameraAddress, response: &Response<Incoming>) -> io::Result<()> {
    let status = response.status();
    if status == StatusCode::UNAUTHORIZED {
        let asked = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
        let schemes =
            asked.filter_map(|value| value.to_str().ok()?.split_whitespace().next().map(str::to_owned));
        let schemes: Vec<String> = schemes.collect();
        let basic = schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case("basic"));
        let what = match (basic || schemes.is_empty(), &address.authorization) {
            (true, Some(_)) => "user or password in its address are wrong".to_owned(),
            (true, None) => "its address needs a user and a password".to_owned(),
            (false, _) => format!(
                "it asks for {} authentication, which is not spoken here: set it to Basic in the camera",
                schemes.join(" or ")
            ),
        };
        return Err(io::Error::other(format!("the camera answered {status}: {what}")));
    }
    if !status.is_success() {
        return Err(io::Error::other(format!("the camera answered {status}")));
    }
    let kind = text(response, &header::CONTENT_TYPE);
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if kind.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/")) {
        return Err(io::Error::other(format!(
            "the camera answered with {kind}, which is no picture: a log-in form, or another page than its pictures'"
        )));
    }
    Ok(())
}

fn text<'a>(response: &'a Response<Incoming>, name: &header::HeaderName) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// An error in its own words and those of its causes.
fn with_causes(error: hyper::Error) -> io::Error {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    io::Error::other(text)
}

/// A camera that answers one request with pictures without end.
#[derive(Debug, Clone)]
pub struct MjpegCamera {
    /// Host, port, path and, where it wants them, user and password.
    pub address: CameraAddress,
}

impl fmt::Display for MjpegCamera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Camera for MjpegCamera {
    type PictureStream = MjpegStream;

    async fn open(&mut self) -> io::Result<MjpegStream> {
        let (connection, response) = ask(&self.address, None).await?;
        let body = response.into_body();
        Ok(MjpegStream {
            _connection: connection,
            body,
            splitter: JpegSplitter::new(MAX_PICTURE_BYTES),
            unread: Bytes::new(),
        })
    }
}

/// The body of an MJPEG answer, cut into its pictures.
#[derive(Debug)]
pub struct MjpegStream {
    _connection: HttpConnection,
    body: Incoming,
    splitter: JpegSplitter,
    unread: Bytes,
}

impl PictureStream for MjpegStream {
    async fn next_picture(&mut self) -> io::Result<Vec<u8>> {
        loop {
            while !self.unread.is_empty() {
                let (taken, picture) = self.splitter.feed(&self.unread);
                self.unread = self.unread.split_off(taken);
                if let Some(picture) = picture {
                    return Ok(picture);
                }
            }
            let Some(frame) = self.body.frame().await else {
                let message =
                    format!("the camera ended its stream{}", dropped_text(self.splitter.dropped_at_end()));
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, message));
            };
            // Trailers are no pictures.
            self.unread = frame.map_err(with_causes)?.into_data().unwrap_or_default();
        }
    }

    fn failure_hint(&self) -> String {
        dropped_text(self.splitter.dropped())
    }
}

/// A camera that answers every request with one picture.
#[derive(Debug, Clone)]
pub struct SnapshotCamera {
    /// Host, port, path and, where it wants them, user and password.
    pub address: CameraAddress,
    /// From one picture to the next.
    pub period: Duration,
}

impl fmt::Display for SnapshotCamera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Camera for SnapshotCamera {
    type PictureStream = SnapshotStream;

    async fn open(&mut self) -> io::Result<SnapshotStream> {
        let (address, period) = (self.address.clone(), self.period);
        let connection = Some(address.connect().await?);
        Ok(SnapshotStream { address, period, connection, next: Instant::now() })
    }
}

/// A camera that is asked again and again.
#[derive(Debug)]
pub struct SnapshotStream {
    address: CameraAddress,
    period: Duration,
    connection: Option<HttpConnection>,
    next: Instant,
}

impl PictureStream for SnapshotStream {
    async fn next_picture(&mut self) -> io::Result<Vec<u8>> {
        sleep_until(self.next).await;
        self.next = Instant::now() + self.period;
        let (connection, response) = ask(&self.address, self.connection.take()).await?;
        let body = response.into_body();
        let picture = Limited::new(body, MAX_PICTURE_BYTES).collect().await.map_err(io::Error::other)?;
        self.connection = Some(connection);
        Ok(picture.to_bytes().into())
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
