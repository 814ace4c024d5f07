//! Cameras behind an `http://` address: an endless MJPEG answer, or one JPEG per request.

use std::{fmt, io, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{Request, Response, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep_until},
};
use tokio_util::task::AbortOnDropHandle;

use super::{Camera, Feed, MAX_PICTURE_BYTES, Splitter};

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

    async fn connect(&self) -> io::Result<Link> {
        // An IPv6 host is in brackets in an address, and without them everywhere else.
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, self.port)).await?;
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(64 << 10)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        let driver = AbortOnDropHandle::new(tokio::spawn(async move {
            // Its errors come out of the requests too.
            let _ = connection.await;
        }));
        Ok(Link { sender, _driver: driver })
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
struct Link {
    sender: http1::SendRequest<Empty<Bytes>>,
    _driver: AbortOnDropHandle<()>,
}

impl Link {
    async fn get(&mut self, address: &CameraAddress) -> io::Result<Response<Incoming>> {
        self.sender.ready().await.map_err(io::Error::other)?;
        let response = self.sender.send_request(address.request()?).await.map_err(io::Error::other)?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(io::Error::other(format!("the camera answered {}", response.status())))
        }
    }
}

/// A camera that answers one request with pictures without end.
#[derive(Debug, Clone)]
pub struct MjpegCamera {
    /// Where it is.
    pub address: CameraAddress,
}

impl fmt::Display for MjpegCamera {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

impl Camera for MjpegCamera {
    type Feed = MjpegFeed;

    async fn open(&mut self) -> io::Result<MjpegFeed> {
        let mut link = self.address.connect().await?;
        let body = link.get(&self.address).await?.into_body();
        Ok(MjpegFeed { _link: link, body, splitter: Splitter::new(MAX_PICTURE_BYTES), unread: Bytes::new() })
    }
}

/// An open MJPEG answer.
#[derive(Debug)]
pub struct MjpegFeed {
    _link: Link,
    body: Incoming,
    splitter: Splitter,
    unread: Bytes,
}

impl Feed for MjpegFeed {
    async fn next_picture(&mut self) -> io::Result<Vec<u8>> {
        loop {
            while !self.unread.is_empty() {
                let (taken, picture) = self.splitter.feed(&self.unread);
                self.unread = self.unread.split_off(taken);
                if let Some(picture) = picture {
                    return Ok(picture);
                }
            }
            let frame = self.body.frame().await.ok_or(io::ErrorKind::UnexpectedEof)?;
            // Trailers are no pictures.
            self.unread = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
        }
    }
}

/// A camera that answers every request with one picture.
#[derive(Debug, Clone)]
pub struct SnapshotCamera {
    /// Where it is.
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
    type Feed = SnapshotFeed;

    async fn open(&mut self) -> io::Result<SnapshotFeed> {
        let (address, period) = (self.address.clone(), self.period);
        let link = Some(address.connect().await?);
        Ok(SnapshotFeed { address, period, link, next: Instant::now() })
    }
}

/// A camera that is asked again and again.
#[derive(Debug)]
pub struct SnapshotFeed {
    address: CameraAddress,
    period: Duration,
    link: Option<Link>,
    next: Instant,
}

impl Feed for SnapshotFeed {
    async fn next_picture(&mut self) -> io::Result<Vec<u8>> {
        sleep_until(self.next).await;
        self.next = Instant::now() + self.period;
        // Many cameras close after every answer.
        let mut link = match self.link.take().filter(|link| !link.sender.is_closed()) {
            Some(link) => link,
            None => self.address.connect().await?,
        };
        let body = link.get(&self.address).await?.into_body();
        let picture = Limited::new(body, MAX_PICTURE_BYTES).collect().await.map_err(io::Error::other)?;
        self.link = Some(link);
        Ok(picture.to_bytes().into())
    }
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
