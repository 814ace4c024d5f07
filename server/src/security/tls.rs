use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cavs_secrets::{read_public, read_secret};
use rustls::{
    RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    version::TLS13,
};
use thiserror::Error;

/// Why a listener has no TLS.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file can't be read, or holds no PEM of the expected kind.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Certificate, key or authority do not go together.
    #[error("certificate {}: {problem}", path.display())]
    Unusable {
        /// The certificate's file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// TLS of the API listener: the server shows its certificate, clients show none.
///
/// # Errors
/// [`TlsError`], naming the file.
pub fn api_tls(certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder().with_no_client_auth();
    let config = builder.with_single_cert(certificates(certificate)?, private_key(key)?);
    Ok(http2(config.map_err(|error| unusable(certificate, &error))?))
}

/// TLS of the device listener: TLS 1.3 only, and a client certificate of `authority` is required.
///
/// Sessions are never resumed: a resumed session would not be checked against its certificate, so
/// a revoked device could come back through it.
///
/// # Errors
/// [`TlsError`], naming the file.
pub fn device_tls(certificate: &Path, key: &Path, authority: &Path) -> Result<ServerConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    for root in certificates(authority)? {
        roots.add(root).map_err(|error| unusable(authority, &error))?;
    }
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .map_err(|error| unusable(authority, &error))?;
    let builder = ServerConfig::builder_with_protocol_versions(&[&TLS13]).with_client_cert_verifier(verifier);
    let mut config = builder
        .with_single_cert(certificates(certificate)?, private_key(key)?)
        .map_err(|error| unusable(certificate, &error))?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(http2(config))
}

fn http2(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read_public(path).map_err(|error| unreadable(path, &error.problem))?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unreadable(path, &error))?;
    if certificates.is_empty() {
        return Err(unreadable(path, &"holds no certificate"));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read_secret(path).map_err(|error| unreadable(path, &error.problem))?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.to_owned(), problem: problem.to_string() }
}

fn unusable(path: &Path, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable { path: path.to_owned(), problem: problem.to_string() }
}
