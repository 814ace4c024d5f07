//! What it means that a device did not see somebody: only where it was watching, and has delivered what it saw.

use std::{thread, time::Duration};

use cavs_tests::{TestSite, people};
use jiff::Timestamp;
use serde_json::Value;

use super::camera::{self, Camera};

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
    camera::delivered(site, "camera");
    watch(site).1
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

    site.keep_ports();
    let portraits = people(1).remove(0).portraits;
    let camera = Camera::new(&site, &device, [&portraits[0], &portraits[1]]);
    let agent = camera.start();
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
    let agent = camera.start();
    let gaps = delivered(&site);
    assert_eq!(gap_at(&gaps, killed), Some("not_watched"));
    assert_eq!(gap_at(&gaps, without_power), Some("not_watched"));
    assert_eq!(gap_at(&gaps, still_offline), None);

    // A camera that sees nothing, and one that gives nothing.
    for (what, reason, lasts) in [("dark", "camera_covered", 2), ("silent", "camera_failed", 14)] {
        camera.show(what);
        thread::sleep(Duration::from_secs(1));
        let blind = Timestamp::now();
        thread::sleep(Duration::from_secs(lasts));
        camera.show("clear");
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
