//! TLS to somebody else's database.

use std::{
    fmt, io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use crate::{authorities, db::DatabaseError};

/// How the database proves that it is the right one.
#[derive(Clone)]
pub(super) struct DatabaseTls(Option<Arc<ClientConfig>>);

impl fmt::Debug for DatabaseTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "verified" } else { "none" })
    }
}

impl DatabaseTls {
    /// For connections that use none.
    pub(super) const fn none() -> Self {
        Self(None)
    }

    /// Certificate and name are checked, by the authority or else by the machine's.
    pub(super) fn verified(authority: Option<&Path>) -> Result<Self, DatabaseError> {
        let wrong = |problem: String| DatabaseError::Misconfigured(format!("database.authority: {problem}"));
        let file = match authority {
            Some(file) => file,
            None => authorities::of_machine().ok_or_else(|| {
                wrong("is needed, as this machine knows no authorities (Debian: ca-certificates)".into())
            })?,
        };
        let mut roots = RootCertStore::empty();
        authorities::add(&mut roots, file).map_err(wrong)?;
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Ok(Self(Some(Arc::new(config))))
    }
}

/// A handshake with a server of a name.
pub(super) struct NamedTls {
    config: Option<Arc<ClientConfig>>,
    domain: String,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for DatabaseTls {
    type Stream = TlsOverSocket<S>;
    type TlsConnect = NamedTls;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<NamedTls> {
        Ok(NamedTls { config: self.0.clone(), domain: domain.to_owned() })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for NamedTls {
    type Stream = TlsOverSocket<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<TlsOverSocket<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let config = self.config.ok_or_else(|| io::Error::other("TLS is not configured"))?;
            let name = ServerName::try_from(self.domain).map_err(io::Error::other)?;
            Ok(TlsOverSocket(TlsConnector::from(config).connect(name, stream).await?))
        })
    }
}

/// An encrypted connection.
pub(super) struct TlsOverSocket<S>(tokio_rustls::client::TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for TlsOverSocket<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TlsOverSocket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TlsOverSocket<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
