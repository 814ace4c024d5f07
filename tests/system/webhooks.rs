//! A receiver of webhooks, by HTTPS: told everything under one id, whoever was down meanwhile.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use cavs_certs::SiteCa;
use cavs_proto::v1;
use cavs_server::webhooks::SigningSecret;
use cavs_tests::{Device, Site, SiteOptions, TestSite};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::Value;
use v1::stream_request::Message::Sightings;

use super::{
    bad_input::{converse, device_channel, hello, sighting},
    camera::LIMIT,
    several_servers::second_server,
};

const PASSWORD: &str = "correct horse battery";

/// What a server's configuration says so that a receiver on this machine is called, with a certificate of the site.
pub(crate) const RECEIVER_HERE: &str =
    "webhooks = { allow_private_addresses = true, authority = \"certs/ca.pem\" }\n";

/// What a receiver was sent.
#[derive(Debug, Clone)]
struct Heard {
    id: String,
    timestamp: i64,
    signatures: String,
    body: String,
}

impl Heard {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn kind(&self) -> String {
        self.json()["type"].as_str().unwrap().to_owned()
    }
}

/// A receiver by HTTPS, which takes everything.
struct Receiver {
    port: u16,
    tls: Arc<ServerConfig>,
    stopped: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    fn new(site: &Site) -> Self {
        let ca = SiteCa::load(&site.path("certs")).unwrap();
        let files = ca.issue_server(&["localhost".to_owned()]).unwrap();
        let files = files.save(&site.path("certs"), "receiver").unwrap();
        let chain: Vec<_> =
            CertificateDer::pem_file_iter(&files.certificate).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
        let tls = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let port = super::documents::free_port();
        Self { port, tls: Arc::new(tls), stopped: Arc::default(), heard: Arc::default() }
    }

    fn start(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        self.stopped = Arc::default();
        let (tls, stopped, heard) =
            (Arc::clone(&self.tls), Arc::clone(&self.stopped), Arc::clone(&self.heard));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let connection = ServerConnection::new(Arc::clone(&tls)).unwrap();
                let (stopped, heard) = (Arc::clone(&stopped), Arc::clone(&heard));
                let stream = StreamOwned::new(connection, stream.unwrap());
                thread::spawn(move || take_all(stream, &stopped, &heard));
            }
        });
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the one that waits for connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/hook", self.port)
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Ids of the sightings that it was told of, and of the messages.
    fn sightings(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let told = self.heard().into_iter().filter(|heard| heard.kind() == "sighting.recorded");
        told.map(|heard| (heard.json()["data"]["id"].as_str().unwrap().to_owned(), heard.id)).unzip()
    }

    fn wait_for_sightings(&self, wanted: usize) {
        let begun = Instant::now();
        while self.sightings().0.len() < wanted {
            assert!(begun.elapsed() < LIMIT, "{} of {wanted} sightings", self.sightings().0.len());
            thread::sleep(Duration::from_millis(100));
        }
    }
}

type Tls = StreamOwned<ServerConnection, TcpStream>;

/// Takes requests of a connection until either side has enough.
fn take_all(stream: Tls, stopped: &AtomicBool, heard: &Mutex<Vec<Heard>>) {
    let mut reader = BufReader::new(stream);
    loop {
        let (mut head, mut line) = (Vec::new(), String::new());
        loop {
            line.clear();
            // Who closes without a word of TLS has said all, too.
            if reader.read_line(&mut line).unwrap_or(0) == 0 || stopped.load(Ordering::SeqCst) {
                return;
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let header = |name: &str| {
            let of_name = |line: &&String| line.to_lowercase().starts_with(&format!("{name}:"));
            head.iter().find(of_name).unwrap().split_once(':').unwrap().1.trim().to_owned()
        };
        assert!(head[0].starts_with("POST /hook "), "{head:?}");
        let mut body = vec![0; header("content-length").parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        heard.lock().unwrap().push(Heard {
            id: header("webhook-id"),
            timestamp: header("webhook-timestamp").parse().unwrap(),
            signatures: header("webhook-signature"),
            body: String::from_utf8(body).unwrap(),
        });
        let stream = reader.get_mut();
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        stream.flush().unwrap();
    }
}

/// Sends sightings of nobody, as a device does.
async fn see(site: &Site, device: &Device, sequences: std::ops::Range<u64>) {
    let certificate = &device.certificate;
    let channel = device_channel(site, &certificate.certificate, &certificate.key).await;
    let sightings = sequences.clone().map(|sequence| sighting(site, sequence)).collect();
    let batch = Some(Sightings(v1::SightingBatch { batch_id: sequences.start, sightings }));
    let (answers, status) = converse(channel, vec![hello(site), batch]).await;
    assert!(status.is_none() && answers.len() == 2, "{answers:?} {status:?}");
}

fn options() -> SiteOptions {
    let mut options = SiteOptions::for_rendered_faces();
    options.server_toml = format!("{}\n{RECEIVER_HERE}", options.server_toml);
    options
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_arrives_whoever_was_down() {
    let mut site = TestSite::start_with(&options());
    site.keep_ports();
    let device = site.add_device("door");
    let mut receiver = Receiver::new(&site);
    receiver.start();
    let added = site.cli.json(&["webhooks", "add", &receiver.url(), "--description", "a test"]);
    let id = added["webhook"]["id"].as_str().unwrap().to_owned();
    let secret = SigningSecret::parse(added["secret"].as_str().unwrap()).unwrap();
    let cli = site.cli.clone();
    assert_eq!(cli.json(&["webhooks", "test", &id])["status"], 204);

    // Told once, and signed.
    see(&site, &device, 1..4).await;
    receiver.wait_for_sightings(3);
    thread::sleep(Duration::from_secs(2));
    let heard = receiver.heard();
    let kinds: Vec<String> = heard.iter().map(Heard::kind).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "sighting.recorded").count(), 3, "{kinds:?}");
    for heard in &heard {
        assert_eq!(heard.signatures, secret.sign(&heard.id, heard.timestamp, heard.body.as_bytes()));
    }
    let shown = cli.json(&["webhooks", "show", &receiver.url()]);
    assert_eq!((&shown["pending_count"], &shown["failing_since_time"]), (&0.into(), &Value::Null));

    // The receiver is down; then the server, too, in the middle of it; then there are two.
    receiver.stop();
    see(&site, &device, 4..24).await;
    let begun = Instant::now();
    while cli.json(&["webhooks", "show", &id])["failing_since_time"].is_null() {
        assert!(begun.elapsed() < LIMIT);
        thread::sleep(Duration::from_millis(100));
    }
    see(&site, &device, 24..34).await;
    site.take_server().kill();
    site.restart_server();
    let (second, _) = second_server(&site);
    see(&site, &device, 34..44).await;
    receiver.start();
    receiver.wait_for_sightings(43);
    let begun = Instant::now();
    while cli.json(&["webhooks", "show", &id])["pending_count"] != 0 {
        assert!(begun.elapsed() < LIMIT);
        thread::sleep(Duration::from_millis(100));
    }
    // However often each was sent, it was one message.
    let (sightings, messages) = receiver.sightings();
    assert_eq!((sightings.len(), messages.len()), (43, 43));
    let listed = cli.json(&["webhooks", "deliveries", &id, "--all", "--state", "delivered"]);
    let delivered: BTreeSet<&str> = listed["deliveries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|delivery| delivery["event"] == "sighting.recorded")
        .map(|delivery| delivery["id"].as_str().unwrap())
        .collect();
    assert_eq!(delivered, messages.iter().map(String::as_str).collect());
    let again = messages.first().unwrap();
    assert_eq!(cli.json(&["webhooks", "redeliver", &id, again])["redelivered"], 1);
    let begun = Instant::now();
    while receiver.heard().iter().filter(|heard| heard.id == *again).count() < 2 {
        assert!(begun.elapsed() < LIMIT);
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(second.terminate(), Some(0));
    assert_eq!(site.take_server().terminate(), Some(0));
}

#[test]
fn webhooks_are_administered_and_lead_nowhere_that_they_may_not() {
    let site = TestSite::start();
    let cli = site.cli.clone();
    // As a server is configured that says nothing of webhooks.
    for (wrong, problem) in [
        ("https://127.0.0.1/x", "is no public address"),
        ("https://localhost/x", "is no public address"),
        ("https://169.254.169.254/latest/meta-data", "is no public address"),
        ("http://example.com/x", "http without TLS"),
        ("https://u:p@example.com/x", "no user name"),
        ("example.com", "is no address"),
    ] {
        let said = cli.fails(2, &["webhooks", "add", wrong]);
        assert!(said.contains(problem), "{wrong}: {said}");
    }
    let added = cli.json(&["webhooks", "add", "https://example.invalid/x", "--event", "mark.finalised"]);
    let id = added["webhook"]["id"].as_str().unwrap();
    assert_eq!(added["webhook"]["events"], serde_json::json!(["mark.finalised"]));
    assert!(added["secret"].as_str().unwrap().starts_with("whsec_"));
    assert!(!cli.json(&["webhooks", "show", id]).to_string().contains("whsec_"), "a secret is shown once");
    assert!(cli.fails(1, &["webhooks", "test", id]).contains("is not found"));
    let rotated = cli.json(&["webhooks", "rotate", id, "--overlap", "1"]);
    assert_ne!(rotated["secret"], added["secret"]);
    assert!(rotated["webhook"]["previous_secret_expire_time"].is_string());
    let etag = rotated["webhook"]["etag"].as_str().unwrap();
    let off = cli.json(&["webhooks", "update", id, "--active", "false", "--etag", etag]);
    assert_eq!((&off["active"], &off["disable_reason"]), (&false.into(), &"".into()));
    cli.fails(1, &["webhooks", "update", id, "--active", "true", "--etag", etag]);
    let told = cli.json(&["webhooks", "update", "https://example.invalid/x", "--names", "true"]);
    assert_eq!((&told["include_names"], &told["active"]), (&true.into(), &false.into()));
    cli.fails(2, &["webhooks", "update", id]);
    assert_eq!(cli.json(&["webhooks", "list"])["total_size"], 1);
    assert_eq!(cli.json(&["webhooks", "deliveries", id])["total_size"], 0);
    assert!(cli.fails(3, &["webhooks", "redeliver", id, id]).contains("no such delivery"));
    let table = String::from_utf8(cli.run(&["webhooks", "show", id]).stdout).unwrap();
    for words in ["https://example.invalid/x", "switched off", "old secret signs until"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    // An address may hold a secret: admins alone see it.
    site.add_user("rita", "reviewer", PASSWORD);
    site.cli_of("rita", PASSWORD).fails(4, &["webhooks", "list"]);
    cli.fails(2, &["--no-input", "webhooks", "rm", id]);
    assert!(cli.run(&["webhooks", "rm", id, "--yes"]).status.success());
    assert!(cli.fails(3, &["webhooks", "show", id]).contains("cavs webhooks list"));
    // Nothing of secrets or addresses is in the log.
    let log = std::fs::read_to_string(site.path("server.log")).unwrap();
    assert!(!log.contains("whsec_") && !log.contains("example.invalid/x"), "{log}");
}

/// Starts a receiver, and gives its webhook's answers to a test: with its own secret, and with another one.
pub(crate) fn receivers_answers(
    site: &Site,
    start: impl Fn(&Path, &Path, u16, &str) -> cavs_tests::Process,
) -> [bool; 2] {
    let ca = SiteCa::load(&site.path("certs")).unwrap();
    let files = ca.issue_server(&["localhost".to_owned()]).unwrap();
    let files = files.save(&site.path("certs"), "receiver").unwrap();
    let port = super::documents::free_port();
    let added = site.cli.json(&["webhooks", "add", &format!("https://localhost:{port}/")]);
    let (id, secret) = (added["webhook"]["id"].as_str().unwrap(), added["secret"].as_str().unwrap());
    let _receiver = start(&files.certificate, &files.key, port, secret);
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < LIMIT);
        thread::sleep(Duration::from_millis(50));
    }
    let taken = || site.cli.run(&["webhooks", "test", id]).status.success();
    let with_its_own = taken();
    site.cli.json(&["webhooks", "rotate", id, "--overlap", "0"]);
    [with_its_own, taken()]
}
