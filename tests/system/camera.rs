//! A camera that shows what a test wants.

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use cavs_models::{BoundingBox, Image};
use cavs_tests::{Device, Process, TestSite};
use jiff::Timestamp;
use serde_json::Value;

/// More than any part of a test should take on a busy machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// Does what the file `mode` says: two pictures in turns, a dark one, or none.
const CAMERA: &str = r#"
while :; do
    case $(cat mode) in
        clear) cat one.jpg; sleep 0.1; cat two.jpg ;;
        dark) cat dark.jpg ;;
    esac
    sleep 0.1
done"#;

/// An agent whose camera a test tells what to show.
pub(crate) struct Camera {
    directory: PathBuf,
    config: PathBuf,
}

impl Camera {
    /// Of a device, which shows two pictures in turns at first.
    pub(crate) fn new(site: &TestSite, device: &Device, pictures: [&PathBuf; 2]) -> Self {
        for (picture, name) in pictures.into_iter().zip(["one.jpg", "two.jpg"]) {
            fs::copy(picture, device.directory.join(name)).unwrap();
        }
        let dark = Image::from_rgb8(320, 240, vec![3; 320 * 240 * 3]).unwrap();
        let whole = BoundingBox { x: 0.0, y: 0.0, width: 320.0, height: 240.0 };
        fs::write(device.directory.join("dark.jpg"), dark.crop_jpeg(whole, 0.0, 320, 90).unwrap()).unwrap();
        let config = site.configure_agent(device, &site.path("frames"), "");
        let text = fs::read_to_string(&config).unwrap();
        let (before, rest) = text.split_once("[source]").unwrap();
        let (_, after) = rest.split_once("[vision]").unwrap();
        let script = format!("cd {:?} && {CAMERA}", device.directory);
        let source = format!(
            "[source]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", {script:?}]\nstall_timeout = 2\n"
        );
        let tracking = "[tracking]\nsettle = 0.2\nforget_after = 0.5\nresend_interval = 1\n";
        fs::write(&config, format!("{before}{source}{tracking}[vision]{after}")).unwrap();
        let camera = Self { directory: device.directory.clone(), config };
        camera.show("clear");
        camera
    }

    /// Has it do what a mode says: `clear`, `dark`, or anything else for nothing.
    pub(crate) fn show(&self, mode: &str) {
        fs::write(self.directory.join("mode"), mode).unwrap();
    }

    /// Starts its agent, which reports twice a second what it watched.
    pub(crate) fn start(&self) -> Process {
        let arguments =
            ["run", "--config", self.config.to_str().unwrap(), "--set", "spool.watch_interval=0.5"];
        Process::start("cavs-edge-agent", &arguments, &self.directory.join("agent.log"))
    }
}

/// What is known of today's watch of a device, once it has delivered what it saw until now.
pub(crate) fn delivered(site: &TestSite, device: &str) -> Value {
    let (begun, now) = (Instant::now(), Timestamp::now());
    loop {
        let shown = site.cli.json(&["devices", "show", device]);
        let until =
            shown["today"]["delivered_until_time"].as_str().map(|text| text.parse::<Timestamp>().unwrap());
        if until.is_some_and(|until| until > now) {
            return shown["today"].clone();
        }
        assert!(begun.elapsed() < LIMIT, "{until:?} is not after {now}");
        thread::sleep(Duration::from_millis(200));
    }
}
