use std::{
    fs,
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use cavs_esp32_emulator::{Target, Tls};
use serde_json::Value;

use crate::{Device, Process, Site};

/// What a proxy logs when the server has told it its cameras.
const TOLD: &str = "the server told the cameras";
/// What it logs when cameras can connect.
const LISTENS: &str = "takes frames";

/// A registered ESP32-CAM that a proxy speaks for.
#[derive(Debug, Clone)]
pub struct Camera {
    /// UUID of the device.
    pub id: String,
    /// Its bearer token.
    pub token: String,
}

/// An agent in proxy mode.
pub struct Proxy {
    /// The process.
    pub process: Process,
    /// Where cameras connect.
    pub address: SocketAddr,
    /// What its cameras trust; `None` where it is plain.
    tls: Option<Tls>,
}

/// How a proxy of the harness is configured.
#[derive(Debug, Clone, Default)]
pub struct ProxyOptions {
    /// No TLS: on the loopback only.
    pub plaintext: bool,
    /// More lines of its `[proxy]`.
    pub toml: String,
}

impl Proxy {
    /// Waits until the server has told the proxy of so many cameras, with a token each.
    pub fn wait_for(&self, cameras: usize) {
        let begun = Instant::now();
        let told = || {
            let output = self.process.output();
            let line = output.lines().rfind(|line| line.contains(TOLD))?;
            let number = |name: &str| {
                let text = line.split(name).nth(1)?.split(' ').next()?;
                text.parse::<usize>().ok()
            };
            Some(number("cameras=")?.min(number("tokens=")?))
        };
        while told().is_none_or(|told| told < cameras) {
            assert!(begun.elapsed() < Duration::from_secs(60), "not told:\n{}", self.process.output());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Where a camera sends to.
    #[must_use]
    pub fn target(&self, camera: &Camera) -> Target {
        Target {
            address: self.address,
            host: "localhost".into(),
            tls: self.tls.clone(),
            device_id: camera.id.clone(),
            token: Some(camera.token.clone()),
        }
    }
}

impl Site {
    /// Registers a camera, gives it to a proxy, and makes its token.
    #[must_use]
    pub fn add_camera(&self, name: &str, proxy: &Device) -> Camera {
        let add = ["devices", "add", name, "--kind", "esp32_cam", "--classroom", "Room 1"];
        let id = self.cli.json(&add)["id"].as_str().unwrap().to_owned();
        self.cli.json(&["devices", "assign", name, "--proxy", &proxy.id]);
        let token = self.cli.json(&["devices", "token", name])["token"].as_str().unwrap().to_owned();
        Camera { id, token }
    }

    /// Starts a device's agent in proxy mode, and waits until it takes pictures of the cameras that it has by now.
    #[must_use]
    pub fn start_proxy(&self, device: &Device, options: &ProxyOptions) -> Proxy {
        let (server, directory) = (format!("https://localhost:{}", self.device_port()), &device.directory);
        let certificate = if options.plaintext {
            String::new()
        } else {
            let [certificate, key] = ["certs/server.pem", "certs/server.key"].map(|file| self.path(file));
            format!("certificate = {certificate:?}\nkey = {key:?}")
        };
        let text = format!(
            "[server]\naddress = {server:?}\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n\
             [vision]\n{}\n[spool]\npath = {:?}\n[proxy]\nlisten = \"127.0.0.1:0\"\n{certificate}\n{}\n",
            self.path("certs/ca.pem"),
            device.certificate.certificate,
            device.certificate.key,
            self.pack_toml("pack"),
            directory.join("spool.db"),
            options.toml,
        );
        let config = directory.join("agent.toml");
        fs::write(&config, text).unwrap();
        let arguments = ["proxy", "--config", config.to_str().unwrap()];
        let mut process = Process::start("cavs-edge-agent", &arguments, &directory.join("agent.log"));
        let address = proxy_address(&mut process);
        let begun = Instant::now();
        // It refuses cameras that the server has not told it of.
        while !process.own_output().contains(TOLD) {
            assert!(process.exit_code().is_none(), "the proxy ended:\n{}", process.output());
            assert!(begun.elapsed() < Duration::from_secs(60), "not told:\n{}", process.output());
            thread::sleep(Duration::from_millis(20));
        }
        let authority = self.path("certs/ca.pem");
        let tls = (!options.plaintext).then(|| Tls::trusting(&authority).unwrap());
        Proxy { process, address, tls }
    }

    /// The sightings of a device.
    #[must_use]
    pub fn sightings_of(&self, device_id: &str) -> Vec<Value> {
        let mut listed = self.cli.json(&["sightings", "list", "--all"]);
        let Value::Array(sightings) = listed["sightings"].take() else { return Vec::new() };
        sightings.into_iter().filter(|sighting| sighting["device_id"] == device_id).collect()
    }
}

/// Waits until a proxy listens: where it does.
pub fn proxy_address(process: &mut Process) -> SocketAddr {
    let begun = Instant::now();
    loop {
        let output = process.own_output();
        let line = output.lines().find(|line| line.contains(LISTENS));
        let address = line.and_then(|line| line.split("address=").nth(1)?.split(' ').next()?.parse().ok());
        if let Some(address) = address {
            return address;
        }
        assert!(process.exit_code().is_none(), "the proxy ended:\n{output}");
        assert!(begun.elapsed() < Duration::from_secs(60), "no listener:\n{output}");
        thread::sleep(Duration::from_millis(20));
    }
}
