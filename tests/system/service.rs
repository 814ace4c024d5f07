//! What systemd hears of an agent and of a proxy that it started.

use std::{fs, os::unix::net::UnixDatagram, path::Path, time::Duration};

use cavs_tests::{Process, Site, SiteOptions, jpeg_without_face};

/// The socket of a unit with `Type=notify` and `WatchdogSec=4`.
struct Systemd {
    socket: UnixDatagram,
    path: String,
}

impl Systemd {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { socket, path: path.to_str().unwrap().to_owned() }
    }

    fn start(&self, command: &str, config: &Path) -> Process {
        let arguments = [command, "--config", config.to_str().unwrap()];
        let environment = [("NOTIFY_SOCKET", self.path.as_str()), ("WATCHDOG_USEC", "4000000")];
        Process::start_with("cavs-edge-agent", &arguments, &config.with_extension("log"), &environment)
    }

    /// The next word, where it is not that the watchdog is fed.
    fn hears(&self, word: &str) {
        let mut heard = [0; 256];
        loop {
            let length = self.socket.recv(&mut heard).unwrap_or_else(|error| panic!("{word}: {error}"));
            match std::str::from_utf8(&heard[..length]).unwrap().trim() {
                heard if heard == word => return,
                "WATCHDOG=1" => {}
                other => panic!("{other} instead of {word}"),
            }
        }
    }
}

#[test]
fn systemd_is_told_of_start_progress_and_stop() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    let device = site.add_device("room");
    let picture = site.path("picture.jpg");
    fs::write(&picture, jpeg_without_face()).unwrap();
    let config = site.configure_agent(&device, Path::new("FRAMES"), "");
    // A camera that goes on for ever.
    let script = format!("while cat {picture:?}; do sleep 0.2; done");
    let source = format!("kind = \"command\"\ncommand = [\"sh\", \"-c\", {script:?}]");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("kind = \"directory\"\npath = \"FRAMES\"", &source)).unwrap();
    let proxy = device.directory.join("proxy.toml");
    let (before, after) = text.split_once("[source]").unwrap();
    let (_, after) = after.split_once("[vision]").unwrap();
    fs::write(&proxy, format!("{before}[proxy]\nlisten = \"127.0.0.1:0\"\n[vision]{after}")).unwrap();

    for (command, config) in [("run", config), ("proxy", proxy)] {
        let systemd = Systemd::listen(&site.path(&format!("systemd-{command}")));
        let agent = systemd.start(command, &config);
        systemd.hears("READY=1");
        // With the camera's frames, and with what the uplink does every ten seconds.
        for _ in 0..2 {
            systemd.hears("WATCHDOG=1");
        }
        assert_eq!(agent.terminate(), Some(0));
        systemd.hears("STOPPING=1");
    }
}
