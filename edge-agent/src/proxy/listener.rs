//! Connections of cameras: TLS where there is a certificate, HTTP/1.1 and HTTP/2, all of it bounded.

use std::{convert::Infallible, path::Path, sync::Arc, time::Duration};

use cavs_certs::device_id_of;
use cavs_net::{Deadlines, Http, Limits, Peer, fixed_tls, raise_descriptors};
use cavs_secrets::{read_public, read_secret};
use cavs_types::DeviceId;
use hyper::service::service_fn;
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};
use tokio_util::sync::CancellationToken;

use super::{ProxyError, route::Router};
use crate::config::{ListenerConfig, ProxyTls};

/// Descriptors that no camera's connection gets: the spool's, the uplink's, those of cameras that are
/// asked for pictures.
const RESERVED: usize = 128;

/// What one connection may take. 8 KiB is the least that the HTTP/1.1 parser allows.
const HTTP: Http = Http {
    http1: true,
    head_bytes: 8192,
    headers: 64,
    streams: 16,
    stream_window: Some(128 << 10),
    connection_window: Some(256 << 10),
    send_buffer: 128 << 10,
    keep_alive: Duration::from_secs(20),
    drain: Duration::from_secs(5),
};

/// The bound address, and the router that answers its requests.
pub(super) struct Listener {
    listener: cavs_net::Listener,
    router: Arc<Router>,
}

impl Listener {
    /// Binds the address that the configuration names, with TLS where it names a certificate.
    ///
    /// # Errors
    /// `Tls`, `Listen`.
    pub(super) async fn open(config: &ListenerConfig, router: Router) -> Result<Self, ProxyError> {
        let tls = config.tls.as_ref().map(server_config).transpose()?.map(fixed_tls);
        let descriptors = raise_descriptors();
        let most = descriptors.saturating_sub(RESERVED).max(descriptors / 2);
        if most < config.max_connections {
            tracing::warn!(most, "fewer connections than proxy.max_connections: the limit of open files");
        }
        let limits = Limits::of(config.max_connections.min(most));
        let deadlines = Deadlines { idle: Some(Deadlines::default().newcomer), ..Deadlines::default() };
        let (secure, refusals) = (tls.is_some(), router.refusals());
        let listener = cavs_net::Listener::bind(config.address, tls, limits, deadlines, refusals)
            .await
            .map_err(|source| ProxyError::Listen { address: config.address, source })?;
        tracing::info!(address = %listener.address(), tls = secure, "takes frames");
        Ok(Self { listener, router: Arc::new(router) })
    }

    /// Serves connections until `shutdown`.
    pub(super) async fn serve(self, shutdown: CancellationToken) {
        let Self { listener, router } = self;
        let make = move |peer: Peer| {
            let leaf = peer.certificates.as_ref().and_then(|chain| chain.first());
            // One that names no device is as good as none.
            let device = leaf.and_then(|leaf| device_id_of(leaf).ok()).map(DeviceId::from);
            let router = Arc::clone(&router);
            service_fn(move |request| {
                let (router, peer) = (Arc::clone(&router), peer.clone());
                async move { Ok::<_, Infallible>(router.answer(request, device, &peer).await) }
            })
        };
        listener.serve(HTTP, shutdown, make).await;
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
    let key = read_secret(&tls.key).map_err(|error| unusable(&tls.key, &error.problem))?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|error| unusable(&tls.key, &error))?;
    let mut config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&tls.certificate, &error))?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read_public(path).map_err(|error| error.problem.to_string())?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let certificates = certificates.map_err(|error| error.to_string())?;
    if certificates.is_empty() {
        return Err("holds no certificate".to_owned());
    }
    Ok(certificates)
}
