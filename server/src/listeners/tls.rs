use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use cavs_certs::{CertError, Examined, examine};
use cavs_secrets::{read_public, read_secret};
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    server::{
        ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    sign::CertifiedKey,
    version::TLS13,
};
use thiserror::Error;

use crate::config::Tls;

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
    /// What a certificate says can't be understood.
    #[error(transparent)]
    Certificate(#[from] CertError),
}

/// What the listeners show and whom they let in. Read anew on demand: connections that begin later see it.
pub struct Certificates {
    files: Tls,
    shown: Arc<Shown>,
    devices: Arc<KnownDevices>,
    examined: RwLock<[Examined; 2]>,
}

/// All that is in the files at one moment.
struct Read {
    shown: Arc<CertifiedKey>,
    devices: Arc<dyn ClientCertVerifier>,
    examined: [Examined; 2],
}

impl Certificates {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn load(files: &Tls) -> Result<Self, TlsError> {
        let Read { shown, devices, examined } = read(files)?;
        Ok(Self {
            files: files.clone(),
            shown: Arc::new(Shown(RwLock::new(shown))),
            devices: Arc::new(KnownDevices(RwLock::new(devices))),
            examined: RwLock::new(examined),
        })
    }

    /// Reads the files again. What is wrong with them changes nothing of what is in use.
    ///
    /// # Errors
    /// [`TlsError`], naming the file.
    pub fn reload(&self) -> Result<(), TlsError> {
        let Read { shown, devices, examined } = read(&self.files)?;
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = shown;
        *self.devices.0.write().unwrap_or_else(PoisonError::into_inner) = devices;
        *self.examined.write().unwrap_or_else(PoisonError::into_inner) = examined;
        Ok(())
    }

    /// The server's certificate in use, and the authority of the devices.
    #[must_use]
    pub fn in_use(&self) -> [Examined; 2] {
        self.examined.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// TLS of the API listener: the server shows its certificate, clients show none.
    #[must_use]
    pub fn api(&self) -> ServerConfig {
        let builder = ServerConfig::builder().with_no_client_auth();
        let mut config = http2(builder.with_cert_resolver(Arc::clone(&self.shown) as _));
        // Who calls by JSON often has nothing newer.
        config.alpn_protocols.push(b"http/1.1".to_vec());
        config
    }

    /// TLS of the device listener: TLS 1.3 only, and a client certificate of the authority is required.
    ///
    /// Sessions are never resumed: a resumed session would not be checked against its certificate, so
    /// a revoked device could come back through it.
    #[must_use]
    pub fn devices(&self) -> ServerConfig {
        let builder = ServerConfig::builder_with_protocol_versions(&[&TLS13])
            .with_client_cert_verifier(Arc::clone(&self.devices) as _);
        let mut config = builder.with_cert_resolver(Arc::clone(&self.shown) as _);
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        http2(config)
    }
}

fn http2(mut config: ServerConfig) -> ServerConfig {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

fn read(files: &Tls) -> Result<Read, TlsError> {
    let Tls { certificate, key, device_authority: authority } = files;
    let provider = ring::default_provider();
    let shown = CertifiedKey::from_der(certificates(certificate)?, private_key(key)?, &provider)
        .map_err(|error| unusable(certificate, &error))?;
    let mut roots = RootCertStore::empty();
    for root in certificates(authority)? {
        roots.add(root).map_err(|error| unusable(authority, &error))?;
    }
    let devices = WebPkiClientVerifier::builder(Arc::new(roots))
        .build()
        .map_err(|error| unusable(authority, &error))?;
    let examined = [examine(certificate)?, examine(authority)?];
    Ok(Read { shown: Arc::new(shown), devices, examined })
}

/// The server's certificate, as it is now.
struct Shown(RwLock<Arc<CertifiedKey>>);

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shown")
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// Whoever the authority vouches for, as it is now.
#[derive(Debug)]
struct KnownDevices(RwLock<Arc<dyn ClientCertVerifier>>);

impl KnownDevices {
    fn now(&self) -> Arc<dyn ClientCertVerifier> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientCertVerifier for KnownDevices {
    /// None: a device has one certificate, and needs no hint which to show.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.now().verify_client_cert(leaf, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.now().verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.now().supported_verify_schemes()
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use cavs_certs::write_dev_set;

    use super::*;

    #[test]
    fn a_renewed_certificate_is_shown_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let set = write_dev_set(&folder.path().join("a"), &["localhost".into()], &[]).unwrap();
        let other = write_dev_set(&folder.path().join("b"), &["localhost".into()], &[]).unwrap();
        let files = Tls {
            certificate: set.server.certificate.clone(),
            key: set.server.key.clone(),
            device_authority: set.ca.certificate.clone(),
        };
        let certificates = Certificates::load(&files).unwrap();
        let shown = || certificates.shown.0.read().unwrap().cert.clone();
        let before = shown();
        // A key that is not the certificate's, as in the middle of a renewal.
        fs::copy(&other.server.certificate, &files.certificate).unwrap();
        let refused = certificates.reload().unwrap_err().to_string();
        assert!(refused.contains("server.pem"), "{refused}");
        assert_eq!(shown(), before);
        fs::copy(&other.server.key, &files.key).unwrap();
        certificates.reload().unwrap();
        assert_ne!(shown(), before);
        assert_eq!(
            certificates.in_use()[0],
            examine(&other.server.certificate)
                .map(|mut examined| {
                    examined.path.clone_from(&files.certificate);
                    examined
                })
                .unwrap()
        );
    }
}
