//! The certificates in real TLS handshakes, and what rustls refuses of them.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::sync::Arc;

use cavs_certs::{DeviceRequest, SiteCa, device_id_of};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use uuid::Uuid;

/// A certificate and its key, both PEM.
struct Identity<'a>(&'a str, &'a str);

impl Identity<'_> {
    fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![CertificateDer::from_pem_slice(self.0.as_bytes()).unwrap()]
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.1.as_bytes()).unwrap()
    }
}

fn roots(ca: &SiteCa) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(ca.certificate_der().to_vec())).unwrap();
    Arc::new(roots)
}

/// Shakes hands in memory. On success, what the server sees of the client.
fn shake(ca: &SiteCa, server: &Identity<'_>, name: &str, client: &Identity<'_>) -> Result<Vec<u8>, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots(ca), provider.clone()).build().unwrap();
    let server_config = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(server.chain(), server.key())
        .unwrap();
    let client_config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots(ca))
        .with_client_auth_cert(client.chain(), client.key())
        .unwrap();
    let mut server = ServerConnection::new(Arc::new(server_config)).unwrap();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client_config), name).unwrap();

    let mut wire = Vec::new();
    while client.is_handshaking() || server.is_handshaking() {
        wire.clear();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().map_err(|error| format!("server: {error}"))?;
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().map_err(|error| format!("client: {error}"))?;
    }
    Ok(server.peer_certificates().unwrap()[0].to_vec())
}

struct Site {
    ca: SiteCa,
    server: cavs_certs::Issued,
}

impl Site {
    fn new() -> Self {
        let ca = SiteCa::create("Hill School").unwrap();
        let server = ca.issue_server(&["cavs.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        Self { ca, server }
    }

    fn server(&self) -> Identity<'_> {
        Identity(&self.server.certificate_pem, &self.server.key_pem)
    }
}

#[test]
fn a_device_of_the_site_is_let_in_and_named() {
    let site = Site::new();
    let id = Uuid::now_v7();
    let device = site.ca.issue_device(id).unwrap();
    let device = Identity(&device.certificate_pem, &device.key_pem);
    for name in ["cavs.example", "127.0.0.1"] {
        let seen = shake(&site.ca, &site.server(), name, &device).unwrap();
        assert_eq!(device_id_of(&seen), Ok(id));
    }
}

#[test]
fn a_device_with_a_key_of_its_own_is_let_in_and_named_by_the_ca() {
    let site = Site::new();
    let id = Uuid::now_v7();
    let request = DeviceRequest::generate().unwrap();
    let certificate = site.ca.sign_device_csr(id, request.csr_pem.as_bytes()).unwrap();
    let device = Identity(&certificate, &request.key_pem);
    let seen = shake(&site.ca, &site.server(), "cavs.example", &device).unwrap();
    assert_eq!(device_id_of(&seen), Ok(id));
}

#[test]
fn what_a_request_asks_for_is_not_granted() {
    let site = Site::new();
    let id = Uuid::now_v7();
    let mut greedy = rcgen::CertificateParams::new(vec!["cavs.example".to_owned()]).unwrap();
    let other = format!("urn:cavs:device:{}", Uuid::now_v7());
    greedy.subject_alt_names.push(rcgen::SanType::URI(other.try_into().unwrap()));
    greedy.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    greedy.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = greedy.serialize_request(&key).unwrap().pem().unwrap();

    let certificate = site.ca.sign_device_csr(id, csr.as_bytes()).unwrap();
    let key = key.serialize_pem();
    let device = Identity(&certificate, &key);
    assert_eq!(device_id_of(&device.chain()[0]), Ok(id));
    let refused = shake(&site.ca, &device, "cavs.example", &device).unwrap_err();
    assert!(refused.starts_with("client: invalid peer certificate"), "{refused}");
}

#[test]
fn a_device_of_another_site_is_refused() {
    let site = Site::new();
    let other = SiteCa::create("Hill School").unwrap();
    let device = other.issue_device(Uuid::now_v7()).unwrap();
    let device = Identity(&device.certificate_pem, &device.key_pem);
    let refused = shake(&site.ca, &site.server(), "cavs.example", &device).unwrap_err();
    assert!(refused.starts_with("server: invalid peer certificate"), "{refused}");
}

#[test]
fn a_server_certificate_is_no_client_certificate_nor_the_reverse() {
    let site = Site::new();
    let refused = shake(&site.ca, &site.server(), "cavs.example", &site.server()).unwrap_err();
    assert!(refused.starts_with("server: invalid peer certificate"), "{refused}");

    let device = site.ca.issue_device(Uuid::now_v7()).unwrap();
    let device = Identity(&device.certificate_pem, &device.key_pem);
    let refused = shake(&site.ca, &device, "cavs.example", &device).unwrap_err();
    assert!(refused.starts_with("client: invalid peer certificate"), "{refused}");
}

#[test]
fn a_server_is_only_known_by_its_names() {
    let site = Site::new();
    let device = site.ca.issue_device(Uuid::now_v7()).unwrap();
    let device = Identity(&device.certificate_pem, &device.key_pem);
    let refused = shake(&site.ca, &site.server(), "other.example", &device).unwrap_err();
    assert!(refused.starts_with("client: invalid peer certificate"), "{refused}");
}

#[test]
fn serial_numbers_differ_even_for_one_key() {
    let ca = SiteCa::create("a").unwrap();
    let request = DeviceRequest::generate().unwrap();
    let id = Uuid::now_v7();
    let serials = [0; 2].map(|_| {
        let pem = ca.sign_device_csr(id, request.csr_pem.as_bytes()).unwrap();
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
        certificate.raw_serial().to_vec()
    });
    assert_ne!(serials[0], serials[1]);
    assert_eq!(serials[0].len(), 16);
}
