//! A room with its camera, and the agent that watches it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use cavs_models::{BoundingBox, Image};

use super::relay::Relay;
use crate::{Device, Process, Site, rendered::entries};

/// Shows the pictures of the folder that the file `mode` names in turns, or the last one again and again.
const CAMERA: &str = r#"
while :; do
    mode=$(cat mode)
    if [ "$mode" = hang ]; then cat "$last"; sleep 0.5; continue; fi
    for picture in "$mode"/*.jpg; do
        cat "$picture"
        last=$picture
        sleep 2
        [ "$(cat mode)" = "$mode" ] || break
    done
done"#;

/// How far a wrong clock is off.
const WRONG_BY: &str = "-2h";

/// A room of the school.
pub(super) struct Room {
    name: String,
    device: Device,
    relay: Relay,
    config: PathBuf,
    agent: Option<Process>,
}

impl Room {
    pub(super) fn furnish(site: &Site, index: usize) -> Self {
        let name = format!("Room {}", index + 1);
        let device = site.add_device(&format!("camera-{}", index + 1));
        if index > 0 {
            site.cli.json(&["rooms", "add", &name]);
        }
        site.cli.json(&["rooms", "place", &format!("camera-{}", index + 1), &name, "--role", "inside"]);
        let dark = device.directory.join("dark");
        fs::create_dir(&dark).unwrap();
        let picture = Image::from_rgb8(640, 360, vec![3; 640 * 360 * 3]).unwrap();
        let whole = BoundingBox { x: 0.0, y: 0.0, width: 640.0, height: 360.0 };
        fs::write(dark.join("1.jpg"), picture.crop_jpeg(whole, 0.0, 640, 90).unwrap()).unwrap();
        let relay = Relay::to(site.device_port());
        let config = site.configure_agent(&device, &dark, "");
        let text = fs::read_to_string(&config).unwrap();
        let text = text.replace(
            &format!("https://localhost:{}", site.device_port()),
            &format!("https://localhost:{}", relay.port()),
        );
        let (before, rest) = text.split_once("[source]").unwrap();
        let (_, after) = rest.split_once("[vision]").unwrap();
        let script = format!("cd {:?} && {CAMERA}", device.directory);
        let source = format!("[source]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", {script:?}]\n");
        let tracking = "[tracking]\nresend_interval = 10\n";
        fs::write(&config, format!("{before}{source}{tracking}[vision]{after}")).unwrap();
        Self { name, device, relay, config, agent: None }
    }

    pub(super) fn relay(&self) -> &Relay {
        &self.relay
    }

    /// What the camera shows from now on.
    pub(super) fn show(&self, pictures: &Path) {
        self.set_mode(pictures.to_str().unwrap());
    }

    pub(super) fn cover(&self) {
        self.set_mode("dark");
    }

    /// The camera gives its last picture again and again.
    pub(super) fn hang(&self) {
        self.set_mode("hang");
    }

    fn set_mode(&self, mode: &str) {
        let (new, file) = (self.device.directory.join("mode.new"), self.device.directory.join("mode"));
        fs::write(&new, mode).unwrap();
        fs::rename(new, file).unwrap();
    }

    pub(super) fn start(&mut self) {
        self.start_with(&[]);
    }

    /// Starts the agent again, on a machine whose clock is wrong.
    pub(super) fn restart_with_wrong_clock(&mut self) {
        self.stop_agent();
        let library = faketime();
        let library = library.to_str().unwrap();
        self.start_with(&[
            ("LD_PRELOAD", library),
            ("FAKETIME", WRONG_BY),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]);
    }

    /// Starts the agent again, with the clock of this machine.
    pub(super) fn restart(&mut self) {
        self.stop_agent();
        self.start();
    }

    fn start_with(&mut self, environment: &[(&str, &str)]) {
        let config = self.config.to_str().unwrap();
        let arguments = ["run", "--config", config, "--set", "spool.watch_interval=2"];
        let log = self.device.directory.join("agent.log");
        self.agent = Some(Process::start_with("cavs-edge-agent", &arguments, &log, environment));
    }

    /// The power fails.
    pub(super) fn cut_power(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.kill();
        }
    }

    fn stop_agent(&mut self) {
        if let Some(agent) = self.agent.take() {
            assert_eq!(agent.terminate(), Some(0), "{}: the agent did not stop in order", self.name);
        }
    }

    /// Stops the agent; the device.
    pub(super) fn stop(mut self) -> Device {
        self.stop_agent();
        self.device
    }
}

/// The library of Debian's package of that name.
fn faketime() -> PathBuf {
    let folders = entries(Path::new("/usr/lib")).unwrap().into_iter();
    let mut files = folders.map(|folder| folder.join("faketime/libfaketime.so.1"));
    files.find(|file| file.is_file()).expect("the package libfaketime is not installed")
}
