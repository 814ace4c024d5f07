//! Connections of cameras: TLS where there is a certificate, HTTP/1.1 and HTTP/2, all of it bounded.

use std::{fs::File, io, io::BufReader, path::Path, sync::Arc, time::Duration};

use cavs_certs::device_id_of;
use cavs_proto::DeviceId;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    ProxyError,
    places::{PATIENCE, Place, Places},
    route::Router,
};
use crate::config::{ListenerConfig, ProxyTls};

/// Longest request head, in bytes. The least that the HTTP/1.1 parser allows.
const HEAD_BYTES: usize = 8192;

/// Most headers of a request.
const HEADERS: usize = 64;

/// Requests of one HTTP/2 connection at a time, and what may come on it before it is read, in bytes.
const STREAMS: u32 = 16;
const STREAM_WINDOW: u32 = 128 << 10;
const CONNECTION_WINDOW: u32 = 256 << 10;

/// How often a silent HTTP/2 connection is asked whether it is alive.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How long requests under way may take when the proxy stops.
const DRAIN: Duration = Duration::from_secs(5);

/// An open listener.
pub(super) struct Listener {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    places: Places,
    router: Arc<Router>,
}

impl Listener {
    /// Listens.
    ///
    /// # Errors
    /// `Tls`, `Listen`.
    pub(super) async fn open(config: &ListenerConfig, router: Router) -> Result<Self, ProxyError> {
        let tls = config.tls.as_ref().map(server_config).transpose()?;
        let tls = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let failed = |source| ProxyError::Listen { address: config.address, source };
        let listener = TcpListener::bind(config.address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, tls = tls.is_some(), "takes frames");
        Ok(Self { listener, tls, places: Places::new(config.max_connections), router: Arc::new(router) })
    }

    /// Serves connections until `shutdown`.
    pub(super) async fn serve(self, tasks: TaskTracker, shutdown: CancellationToken) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors, most likely: trying again at once would only spin.
                    tracing::warn!(%error, "can't accept a connection");
                    sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let Some(place) = self.places.enter() else {
                tracing::debug!("all connections are taken; another one was closed");
                continue;
            };
            let (tls, router, shutdown) = (self.tls.clone(), Arc::clone(&self.router), shutdown.clone());
            tasks.spawn(async move {
                let (driven_out, watched) = (place.driven_out.clone(), Arc::clone(&place));
                tokio::select! {
                    () = connection(stream, tls, router, place, shutdown) => {}
                    () = watched.overstayed() => {}
                    () = driven_out.cancelled() => {}
                }
            });
        }
    }
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: Arc<Router>,
    place: Arc<Place>,
    shutdown: CancellationToken,
) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = tls else { return serve(stream, None, router, place, shutdown).await };
    match timeout(PATIENCE, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let certificates = stream.get_ref().1.peer_certificates();
            // One that names no device is as good as none.
            let device =
                certificates.and_then(|chain| chain.first()).and_then(|leaf| device_id_of(leaf).ok());
            serve(stream, device.map(DeviceId::from), router, place, shutdown).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    certificate: Option<DeviceId>,
    router: Arc<Router>,
    place: Arc<Place>,
    shutdown: CancellationToken,
) {
    let service = service_fn(|request| {
        let (router, place) = (Arc::clone(&router), Arc::clone(&place));
        async move { Ok::<_, std::convert::Infallible>(router.answer(request, certificate, &place).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .max_buf_size(HEAD_BYTES)
        .max_headers(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES as u32)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_WINDOW as usize)
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(DRAIN, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a connection broke");
    }
}

/// TLS 1.2 and 1.3, with a client certificate of the site where there is one. Sessions are never
/// resumed: a resumed one would not be checked against its certificate.
pub(super) fn server_config(tls: &ProxyTls) -> Result<ServerConfig, ProxyError> {
    let unusable = |path: &Path, problem: &dyn std::fmt::Display| ProxyError::Tls {
        path: path.to_owned(),
        problem: problem.to_string(),
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(&tls.client_ca).map_err(|error| unusable(&tls.client_ca, &error))? {
        roots.add(root).map_err(|error| unusable(&tls.client_ca, &error))?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .allow_unauthenticated()
        .build()
        .map_err(|error| unusable(&tls.client_ca, &error))?;
    let chain = certificates(&tls.certificate).map_err(|error| unusable(&tls.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(|error| unusable(&tls.key, &error))?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&tls.certificate, &error))?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let file = File::open(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_reader_iter(BufReader::new(file)).collect();
    let certificates = certificates.map_err(io::Error::other)?;
    if certificates.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "holds no certificate"));
    }
    Ok(certificates)
}
