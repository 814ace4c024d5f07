use std::{
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep_until, timeout},
};
use tokio_rustls::TlsConnector;

use crate::Behaviour;

/// How long a camera waits for a connection.
const CONNECT: Duration = Duration::from_secs(15);

/// Why a camera can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A certificate or key can't be read.
    #[error("{file}: {cause}")]
    File {
        /// Path of the PEM file.
        file: String,
        /// What is wrong with it.
        cause: rustls_pki_types::pem::Error,
    },
    /// They make no TLS configuration.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// The TLS of a camera: whom it trusts, and what it shows.
#[derive(Debug, Clone)]
pub struct Tls {
    roots: Arc<RootCertStore>,
    identity: Option<Arc<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>>,
}

impl Tls {
    /// Trusts the authority in a PEM file and shows no certificate.
    ///
    /// # Errors
    /// `File`, `Tls` where it holds no usable certificate.
    pub fn trusting(authority: &Path) -> Result<Self, TargetError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority)? {
            roots.add(certificate)?;
        }
        Ok(Self { roots: Arc::new(roots), identity: None })
    }

    /// Shows the certificate and key in PEM files.
    ///
    /// # Errors
    /// `File`.
    pub fn showing(mut self, certificate: &Path, key: &Path) -> Result<Self, TargetError> {
        let chain = certificates(certificate)?;
        let key = PrivateKeyDer::from_pem_file(key).map_err(file(key))?;
        self.identity = Some(Arc::new((chain, key)));
        Ok(self)
    }

    fn config(&self, record: Option<usize>, protocol: &[u8]) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder.with_client_auth_cert(identity.0.clone(), identity.1.clone_key())?,
        };
        config.max_fragment_size = record;
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(config)
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TargetError> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(file(path))
}

fn file(path: &Path) -> impl FnOnce(rustls_pki_types::pem::Error) -> TargetError {
    let file = path.display().to_string();
    move |cause| TargetError::File { file, cause }
}

/// Where a camera sends, and as whom.
#[derive(Debug, Clone)]
pub struct Target {
    /// The proxy's listener.
    pub address: SocketAddr,
    /// The name in the proxy's certificate.
    pub host: String,
    /// Encryption; `None` for a plain connection.
    pub tls: Option<Tls>,
    /// The camera's device id.
    pub device_id: String,
    /// The camera's token, where it shows no certificate.
    pub token: Option<String>,
}

/// An open connection, encrypted or not.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Connection for T {}

/// The protocols that TLS can agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

impl Target {
    /// Opens a connection with a camera's behaviour.
    pub(crate) async fn connect(
        &self,
        behaviour: &Behaviour,
        protocol: Protocol,
    ) -> io::Result<Box<dyn Connection>> {
        let open = async {
            let slow = ThrottledStream::new(self.open().await?, behaviour);
            let Some(tls) = &self.tls else { return Ok(Box::new(slow) as Box<dyn Connection>) };
            let name = match protocol {
                Protocol::Http1 => b"http/1.1".as_slice(),
                Protocol::Http2 => b"h2".as_slice(),
            };
            let config = tls.config(behaviour.tls_record, name).map_err(io::Error::other)?;
            let host = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::new(config)).connect(host, slow).await?;
            Ok(Box::new(stream) as Box<dyn Connection>)
        };
        timeout(CONNECT, open).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Opens a bare TCP connection.
    pub(crate) async fn open(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).await?;
        // Each write is a segment of its own, as a small stack without buffers sends it.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// A connection that takes small pieces, and so many bytes a second.
pub(crate) struct ThrottledStream<S> {
    inner: S,
    rate: Option<u32>,
    segment: usize,
    /// When the radio is free again.
    free: Pin<Box<Sleep>>,
}

impl<S> ThrottledStream<S> {
    pub(crate) fn new(inner: S, behaviour: &Behaviour) -> Self {
        let free = Box::pin(sleep_until(Instant::now()));
        Self { inner, rate: behaviour.rate, segment: behaviour.segment.max(1), free }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ThrottledStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.rate.is_some() && self.free.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let piece = &bytes[..bytes.len().min(self.segment)];
        let written = Pin::new(&mut self.inner).poll_write(cx, piece);
        if let (Poll::Ready(Ok(count)), Some(rate)) = (&written, self.rate) {
            let busy = Duration::from_secs_f64(*count as f64 / f64::from(rate.max(1)));
            self.free.as_mut().reset(Instant::now() + busy);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ThrottledStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_radio_takes_its_time() {
        let (near, mut far) = duplex(1 << 20);
        let behaviour = Behaviour { rate: Some(20_000), segment: 536, ..Behaviour::default() };
        let mut slow = ThrottledStream::new(near, &behaviour);
        let begun = Instant::now();
        slow.write_all(&[7; 40_000]).await.unwrap();
        drop(slow);
        let took = begun.elapsed().as_secs_f64();
        assert!((1.9..2.3).contains(&took), "{took}");
        let mut all = Vec::new();
        far.read_to_end(&mut all).await.unwrap();
        assert_eq!(all, [7; 40_000]);
    }
}
