//! Connections that say nothing, and what honest ones notice of them.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cavs_proto::v1::{
    self, auth_service_client::AuthServiceClient, ingest_service_client::IngestServiceClient, stream_request,
};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tonic::{
    Request,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};

use crate::{Device, Site};

/// Threads that open connections.
const OPENERS: usize = 8;

/// Connections that are open and say nothing.
pub struct Silent {
    streams: Vec<TcpStream>,
    opened: Instant,
}

impl Silent {
    /// Opens so many connections; with `tls` they say nothing from the handshake on.
    ///
    /// # Panics
    /// This machine can't open that many.
    #[must_use]
    pub fn open(address: SocketAddr, count: usize, tls: Option<&Arc<ClientConfig>>) -> Self {
        let open = |index: usize| {
            let mine = (index..count).step_by(OPENERS);
            let opened = mine.filter_map(|_| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                // Those that are closed before are closed in time.
                tls.is_none_or(|tls| shake_hands(&mut stream, tls)).then_some(stream)
            });
            opened.collect::<Vec<_>>()
        };
        let streams = thread::scope(|scope| {
            let openers: Vec<_> =
                (0..OPENERS.min(count)).map(|index| scope.spawn(move || open(index))).collect();
            openers.into_iter().flat_map(|opener| opener.join().unwrap()).collect()
        });
        Self { streams, opened: Instant::now() }
    }

    /// How many are still open.
    pub fn still_open(&mut self) -> usize {
        self.streams.retain_mut(|stream| {
            stream.set_nonblocking(true).is_ok() && {
                let mut bytes = [0; 4096];
                loop {
                    match stream.read(&mut bytes) {
                        Ok(0) => break false,
                        Ok(_) => {}
                        Err(error) => break error.kind() == ErrorKind::WouldBlock,
                    }
                }
            }
        });
        self.streams.len()
    }

    /// How long the last one stayed after all of them were open.
    ///
    /// # Panics
    /// Some are open after `limit`.
    pub fn wait_closed(&mut self, limit: Duration) -> Duration {
        loop {
            let open = self.still_open();
            let since = self.opened.elapsed();
            if open == 0 {
                return since;
            }
            assert!(since < limit, "{open} silent connections are open after {since:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn shake_hands(stream: &mut TcpStream, tls: &Arc<ClientConfig>) -> bool {
    let Ok(name) = ServerName::try_from("localhost") else { return false };
    let Ok(mut session) = ClientConnection::new(Arc::clone(tls), name) else { return false };
    while session.is_handshaking() || session.wants_write() {
        if session.complete_io(stream).is_err() {
            return false;
        }
    }
    true
}

/// TLS that trusts a site, with a device's certificate or none.
#[must_use]
pub fn client_tls(authority: &Path, device: Option<&Device>) -> Arc<ClientConfig> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).unwrap()).unwrap();
    let builder = ClientConfig::builder().with_root_certificates(roots);
    let mut config = match device {
        None => builder.with_no_client_auth(),
        Some(device) => {
            let certificate = CertificateDer::from_pem_file(&device.certificate.certificate).unwrap();
            let key = PrivateKeyDer::from_pem_file(&device.certificate.key).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A connection to a listener of a site.
pub async fn channel(site: &Site, port: u16, device: Option<&Device>) -> Channel {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let mut tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&site.path("certs/ca.pem"))))
        .domain_name("localhost");
    if let Some(device) = device {
        let certificate = read(&device.certificate.certificate);
        tls = tls.identity(Identity::from_pem(certificate, read(&device.certificate.key)));
    }
    let address = format!("https://127.0.0.1:{port}");
    Channel::from_shared(address).unwrap().tls_config(tls).unwrap().connect().await.unwrap()
}

/// The administrator's token.
pub async fn log_in(site: &Site) -> String {
    let mut auth = AuthServiceClient::new(channel(site, site.api_port(), None).await);
    let (username, password) = crate::site::ADMIN;
    let request = v1::LoginRequest { username: username.into(), password: password.into() };
    auth.login(request).await.unwrap().into_inner().access_token
}

/// An authorised call on a connection.
pub async fn who_am_i(channel: &Channel, token: &str) {
    let mut request = Request::new(v1::WhoAmIRequest {});
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    AuthServiceClient::new(channel.clone()).who_am_i(request).await.unwrap();
}

/// A device's greeting, on a connection of its own.
pub async fn greet(site: &Site, device: &Device) {
    let channel = channel(site, site.device_port(), Some(device)).await;
    let hello = v1::Hello {
        agent_version: "test".into(),
        pack_digest: site.pack_digest().to_string(),
        boot_epoch: 1,
        ..Default::default()
    };
    let hello = v1::StreamRequest { message: Some(stream_request::Message::Hello(hello)) };
    let mut stream =
        IngestServiceClient::new(channel).stream(tokio_stream::iter([hello])).await.unwrap().into_inner();
    stream.message().await.unwrap().unwrap();
}

/// Posts what is no picture as a camera of a proxy, on a connection of its own; the answer's status.
#[must_use]
pub fn post(address: SocketAddr, tls: Option<&Arc<ClientConfig>>, token: &str) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    // The end of the handshake and the request are two writes: the second must not wait for the first to be acknowledged.
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let text = format!(
        "POST /v1/capture HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nContent-Type: image/jpeg\r\n\
         Authorization: bearer {token}\r\nContent-Length: 1\r\n\r\nx"
    );
    let mut answer = [0; 12];
    match tls {
        None => exchange(&mut stream, &text, &mut answer),
        Some(tls) => {
            let mut tls = ClientConfig::clone(tls);
            tls.alpn_protocols = vec![b"http/1.1".to_vec()];
            let name = ServerName::try_from("localhost").unwrap();
            let session = ClientConnection::new(Arc::new(tls), name).unwrap();
            exchange(&mut StreamOwned::new(session, stream), &text, &mut answer);
        }
    }
    std::str::from_utf8(&answer[9..]).unwrap().parse().unwrap()
}

fn exchange(stream: &mut (impl Read + Write), text: &str, answer: &mut [u8]) {
    stream.write_all(text.as_bytes()).unwrap();
    stream.flush().unwrap();
    stream.read_exact(answer).unwrap();
}

/// The 99th of a hundred times.
#[must_use]
pub fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get((times.len() * 99).div_ceil(100).saturating_sub(1)).copied().unwrap_or_default()
}
