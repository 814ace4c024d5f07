//! What it means that a device did not see somebody: only where it was watching, and has delivered what it saw.

use std::{fs, thread, time::Duration, time::Instant};

use cavs_models::Image;
use cavs_tests::{Process, TestSite, people};
use jiff::Timestamp;
use serde_json::Value;

/// A camera that does what the file `mode` says: two pictures in turns, a dark one, or none.
const CAMERA: &str = r#"
while :; do
    case $(cat mode) in
        clear) cat one.jpg; sleep 0.1; cat two.jpg ;;
        dark) cat dark.jpg ;;
    esac
    sleep 0.1
done"#;

/// More than any part of this test should take on a busy machine.
const LIMIT: Duration = Duration::from_secs(90);

struct Gap {
    from: Timestamp,
    until: Timestamp,
    reason: String,
}

/// Up to when the device has delivered what it saw, and the times of today in which it was not watching.
fn watch(site: &TestSite) -> (Option<Timestamp>, Vec<Gap>) {
    let shown = site.cli.json(&["devices", "show", "camera"]);
    let time = |value: &Value| value.as_str().map(|text| text.parse::<Timestamp>().unwrap());
    let gaps = shown["today"]["gaps"].as_array().unwrap().iter().map(|gap| Gap {
        from: time(&gap["start_time"]).unwrap(),
        until: time(&gap["end_time"]).unwrap(),
        reason: gap["reason"].as_str().unwrap().to_owned(),
    });
    (time(&shown["today"]["delivered_until_time"]), gaps.collect())
}

/// Waits until the device has delivered what it saw until now, and gives the gaps.
fn delivered(site: &TestSite) -> Vec<Gap> {
    let (begun, now) = (Instant::now(), Timestamp::now());
    loop {
        let (until, gaps) = watch(site);
        if until.is_some_and(|until| until > now) {
            return gaps;
        }
        assert!(begun.elapsed() < LIMIT, "{until:?} is not after {now}");
        thread::sleep(Duration::from_millis(200));
    }
}

fn gap_at(gaps: &[Gap], moment: Timestamp) -> Option<&str> {
    gaps.iter().find(|gap| (gap.from..gap.until).contains(&moment)).map(|gap| gap.reason.as_str())
}

#[test]
fn a_device_proves_what_it_watched_and_nothing_else() {
    let mut site = TestSite::start();
    let device = site.add_device("camera");
    assert!(
        matches!(watch(&site), (None, gaps) if gap_at(&gaps, Timestamp::now() - Duration::from_secs(9)) == Some("not_delivered"))
    );

    // The server comes back at the same address.
    let ports = [("api", site.api_port()), ("devices", site.device_port())];
    let text = fs::read_to_string(site.path("server.toml")).unwrap();
    let text = ports.iter().fold(text, |text, (listener, port)| {
        let at = |port| format!("{listener}.listen = \"127.0.0.1:{port}\"");
        text.replace(&at(0), &at(*port))
    });
    fs::write(site.path("server.toml"), text).unwrap();

    let portraits = people(1).remove(0).portraits;
    fs::copy(&portraits[0], device.directory.join("one.jpg")).unwrap();
    fs::copy(&portraits[1], device.directory.join("two.jpg")).unwrap();
    let dark = Image::from_rgb8(320, 240, vec![3; 320 * 240 * 3]).unwrap();
    let whole = cavs_models::BoundingBox { x: 0.0, y: 0.0, width: 320.0, height: 240.0 };
    fs::write(device.directory.join("dark.jpg"), dark.crop_jpeg(whole, 0.0, 320, 90).unwrap()).unwrap();
    let mode = |mode: &str| fs::write(device.directory.join("mode"), mode).unwrap();
    mode("clear");
    let config = site.configure_agent(&device, &site.path("frames"), "");
    let text = fs::read_to_string(&config).unwrap();
    let (before, rest) = text.split_once("[source]").unwrap();
    let (_, after) = rest.split_once("[vision]").unwrap();
    let script = format!("cd {:?} && {CAMERA}", device.directory);
    let source =
        format!("[source]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", {script:?}]\nstall_timeout = 2\n");
    let tracking = "[tracking]\nsettle = 0.2\nforget_after = 0.5\nresend_interval = 1\n";
    fs::write(&config, format!("{before}{source}{tracking}[vision]{after}")).unwrap();
    let start = || {
        let arguments = ["run", "--config", config.to_str().unwrap(), "--set", "spool.watch_interval=0.5"];
        Process::start("cavs-edge-agent", &arguments, &device.directory.join("agent.log"))
    };

    let agent = start();
    let gaps = delivered(&site);
    let watching = Timestamp::now();
    assert_eq!(
        gap_at(&gaps, watching - Duration::from_secs(3600)),
        Some("not_watched"),
        "before it was there"
    );

    // Offline, it goes on watching; it says so when it is back.
    site.take_server().kill();
    let offline = Timestamp::now();
    thread::sleep(Duration::from_secs(3));
    let still_offline = Timestamp::now();
    site.restart_server();
    let gaps = delivered(&site);
    for moment in [watching, offline, still_offline] {
        assert_eq!(gap_at(&gaps, moment), None);
    }

    // Without power, it claims nothing.
    agent.kill();
    let killed = Timestamp::now();
    thread::sleep(Duration::from_secs(1));
    let without_power = Timestamp::now();
    let agent = start();
    let gaps = delivered(&site);
    assert_eq!(gap_at(&gaps, killed), Some("not_watched"));
    assert_eq!(gap_at(&gaps, without_power), Some("not_watched"));
    assert_eq!(gap_at(&gaps, still_offline), None);

    // A camera that sees nothing, and one that gives nothing.
    for (what, reason, lasts) in [("dark", "camera_covered", 2), ("silent", "camera_failed", 14)] {
        mode(what);
        thread::sleep(Duration::from_secs(1));
        let blind = Timestamp::now();
        thread::sleep(Duration::from_secs(lasts));
        mode("clear");
        let gaps = delivered(&site);
        assert_eq!(gap_at(&gaps, blind), Some(reason), "{}", agent.output());
    }
    let table = String::from_utf8(site.cli.run(&["devices", "show", "camera"]).stdout).unwrap();
    for words in ["delivered until", "% of today", "the lens was covered, or it was dark", "it was off"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let last = Timestamp::now();
    assert_eq!(agent.terminate(), Some(0));
    // In an orderly end, what was watched last is told, too.
    let (until, _) = watch(&site);
    assert!(until.unwrap() > last - Duration::from_secs(2), "{until:?} {last}");
}
