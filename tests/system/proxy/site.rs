//! A site with a proxy and its cameras, and the simplest clients that can talk to it.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use cavs_models::{BoundingBox, DecodeLimits, Image};
use cavs_tests::{Device, Process, Site, SiteOptions, people, proxy_address};
use serde_json::Value;
use tempfile::TempDir;

/// Where a proxy listens that has not run before.
const ANY_PORT: &str = "listen = \"127.0.0.1:0\"";

/// A site with the built-in pack, one student, and a proxy.
pub(super) struct ProxySite {
    pub(super) site: Site,
    pub(super) proxy: Device,
    pub(super) agent: Option<Process>,
    pub(super) port: u16,
    /// Portraits of student 17, who is enrolled.
    pub(super) portraits: Vec<PathBuf>,
    config: PathBuf,
    _directory: TempDir,
}

/// A camera with its token.
pub(super) struct Camera {
    pub(super) id: String,
    pub(super) token: String,
}

/// An answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(super) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl ProxySite {
    /// Starts a site whose proxy listens in plain text on the loopback.
    pub(super) fn start(more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut site = Site::create(directory.path(), None, &SiteOptions::default());
        // The server comes back at the same address.
        let text = fs::read_to_string(site.path("server.toml")).unwrap();
        let (api, devices) = (site.api_port(), site.device_port());
        let text = text
            .replace("api.listen = \"127.0.0.1:0\"", &format!("api.listen = \"127.0.0.1:{api}\""))
            .replace(
                "devices.listen = \"127.0.0.1:0\"",
                &format!("devices.listen = \"127.0.0.1:{devices}\""),
            );
        fs::write(site.path("server.toml"), text).unwrap();
        let portraits = people(1).remove(0).portraits;
        assert!(site.enroll("17", &portraits) > 0);
        let proxy = site.add_device("proxy");
        let config = proxy.directory.join("proxy.toml");
        let text = format!(
            "[server]\naddress = \"https://localhost:{devices}\"\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n\
             [spool]\npath = \"spool.db\"\n[proxy]\n{ANY_PORT}\n{more}\n",
            site.path("certs/ca.pem"),
            proxy.certificate.certificate,
            proxy.certificate.key,
        );
        fs::write(&config, text).unwrap();
        site.server();
        Self { site, proxy, agent: None, port: 0, portraits, config, _directory: directory }
    }

    pub(super) fn start_proxy(&mut self) {
        let arguments = ["proxy", "--config", self.config.to_str().unwrap()];
        let log = self.proxy.directory.join("proxy.log");
        let mut agent = Process::start("cavs-edge-agent", &arguments, &log);
        self.port = proxy_address(&mut agent).port();
        self.agent = Some(agent);
        // It comes back at the same address.
        let text = fs::read_to_string(&self.config).unwrap();
        let port = format!("listen = \"127.0.0.1:{}\"", self.port);
        fs::write(&self.config, text.replace(ANY_PORT, &port)).unwrap();
    }

    /// Registers a camera of the proxy and waits until the proxy knows it.
    pub(super) fn add_camera(&self, name: &str) -> Camera {
        let camera = self.register(name);
        let _ = self.site.cli.json(&["devices", "assign", name, "--proxy", "proxy"]);
        if self.agent.is_some() {
            until("the proxy knows the camera", || self.post(&camera, "image/jpeg", "", b"x").status == 400);
        }
        camera
    }

    /// Registers a camera of nobody.
    pub(super) fn register(&self, name: &str) -> Camera {
        let cli = &self.site.cli;
        let added = cli.json(&["devices", "add", name, "--kind", "esp32_cam", "--classroom", "Hall"]);
        let token = cli.json(&["devices", "token", name]);
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Camera { id: text(&added["id"]), token: text(&token["token"]) }
    }

    pub(super) fn portrait(&self) -> Vec<u8> {
        fs::read(&self.portraits[0]).unwrap()
    }

    /// `POST /v1/capture`.
    pub(super) fn post(&self, camera: &Camera, kind: &str, headers: &str, body: &[u8]) -> Answer {
        let headers = format!("Authorization: Bearer {}\r\nContent-Type: {kind}\r\n{headers}", camera.token);
        request(self.port, "/v1/capture", &headers, body)
    }

    pub(super) fn post_frame(&self, camera: &Camera, id: &str, image: &[u8]) -> Answer {
        self.post(camera, "image/jpeg", &format!("Idempotency-Key: {id}\r\n"), image)
    }

    pub(super) async fn count(&self, sql: &str) -> i64 {
        self.site.database().await.query_one(sql, &[]).await.unwrap().get(0)
    }

    pub(super) fn log(&self) -> String {
        self.agent.as_ref().map(Process::output).unwrap_or_default()
    }
}

/// One request on a connection of its own.
pub(super) fn request(port: u16, path: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    // An error may come before the whole body is read.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    read_answer(&mut stream)
}

pub(super) fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A connection that is reset after its answer has been read as far as it came.
    let _ = stream.read_to_end(&mut bytes);
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let mut body = bytes.get(end + 4..).unwrap_or_default().to_vec();
    if head.contains("transfer-encoding: chunked") {
        body = dechunk(&body);
    }
    Answer { status, head, body }
}

fn dechunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(at) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        whole.extend_from_slice(&bytes[at + 2..at + 2 + length]);
        bytes = &bytes[at + 4 + length..];
        if length == 0 {
            break;
        }
    }
    whole
}

/// Asks until it is so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Serves a picture for ever as a stock camera does, on a port of its own. As sensors have noise, no two in a row are the
/// same.
pub(super) fn stock_camera(image: &[u8]) -> u16 {
    let image = Image::decode(image, &DecodeLimits::default()).unwrap();
    let size = image.width();
    let whole = BoundingBox { x: 0.0, y: 0.0, width: size as f32, height: image.height() as f32 };
    let pictures: Vec<Vec<u8>> =
        (80..90).map(|quality| image.crop_jpeg(whole, 0.0, size, quality).unwrap()).collect();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n",
            );
            // Ten pictures, then the cable is pulled.
            for picture in &pictures {
                let head = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n";
                if stream.write_all(head).and_then(|()| stream.write_all(picture)).is_err() {
                    break;
                }
                thread::sleep(Duration::from_millis(200));
            }
        }
    });
    port
}
