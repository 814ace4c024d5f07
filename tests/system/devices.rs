//! What a device says of itself, and settings that are pushed to it.

use std::{fs, thread, time::Duration, time::Instant};

use cavs_tests::{Process, TestSite, lay_out, people};
use serde_json::Value;

/// Asks until the answer is as it should be.
fn until(site: &TestSite, what: &str, found: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let device = site.cli.json(&["devices", "show", "camera"]);
        if found(&device) {
            return device;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}: {device:#}");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_device_says_how_it_is_and_takes_settings() {
    let site = TestSite::start();
    let device = site.add_device("camera");
    let photograph = people(1).remove(0).portraits.remove(0);
    let config = site.configure_agent(&device, &site.path("frames"), "");
    // A camera that shows the same person all the time.
    let text = fs::read_to_string(&config).unwrap();
    let (before, rest) = text.split_once("[source]").unwrap();
    let (_, after) = rest.split_once("[vision]").unwrap();
    let script = format!("while cat {photograph:?}; do sleep 0.2; done");
    let source = format!("[source]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", {script:?}]\n");
    fs::write(&config, format!("{before}{source}[settings]\ntrial = 1\n[vision]{after}")).unwrap();
    let arguments_of_agent = ["run", "--config", config.to_str().unwrap()];
    let agent = Process::start("cavs-edge-agent", &arguments_of_agent, &device.directory.join("agent.log"));

    let shown =
        until(&site, "a heartbeat", |device| device["heartbeat"]["health"]["frames"].as_u64() > Some(0));
    assert_eq!(shown["online"], true);
    let health = &shown["heartbeat"]["health"];
    assert!(health["frames_per_second"].as_f64() > Some(0.0), "{health:#}");
    assert!(health["memory_resident"].as_u64() > Some(1 << 20), "{health:#}");
    assert!(health["disk_free"].as_u64() > Some(0), "{health:#}");
    assert_eq!((&shown["running"]["version"], &shown["wanted"]), (&0.into(), &Value::Null));

    let configure = |setting: &str| site.cli.json(&["devices", "configure", "camera", "--set", setting]);
    configure("source.rate=4");
    let pushed = configure("tracking.settle=0.5");
    assert_eq!((&pushed["wanted"]["version"], &pushed["wanted"]["pushed_by"]), (&2.into(), &"admin".into()));
    let again = configure("tracking.settle=0.5");
    assert_eq!(again["wanted"]["version"], 2, "a change of nothing is none");
    let kept = until(&site, "kept", |d| d["running"]["version"] == 2 && d["running"]["on_trial"] == false);
    assert_eq!(kept["running"]["rejected_version"], 0);

    // What only the agent can find out.
    configure("logging.filter==,=");
    let refused = until(&site, "refused", |device| device["running"]["rejected_version"] == 3);
    assert_eq!(refused["running"]["version"], 2);
    assert!(refused["running"]["rejection"].as_str().unwrap().contains("logging.filter"), "{refused:#}");
    let table = site.cli.run(&["devices", "show", "camera"]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("version 2; version 3 was rejected"), "{table}");
    // And what the server finds out itself.
    let error = site.cli.fails(2, &["devices", "configure", "camera", "--set", "source.command=rm"]);
    assert!(error.contains("can't be pushed"), "{error}");

    let sightings = site.cli.json(&["sightings", "list"]);
    let id = sightings["sightings"][0]["id"].as_str().unwrap();
    let sighting = site.cli.json(&["sightings", "show", id]);
    assert_eq!(sighting["clock"], "synchronised");
    assert!(sighting["track"]["entered_at"].is_string(), "{sighting:#}");

    // What was pushed, and by whom.
    let history = site.cli.json(&["devices", "settings", "history", "camera"]);
    let versions = history["versions"].as_array().unwrap();
    assert_eq!(versions.iter().map(|v| v["version"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(
        (&versions[1]["set"]["tracking.settle"], &versions[1]["pushed_by"]),
        (&"0.5".into(), &"admin".into())
    );

    // Its states, as somebody sees them who watches.
    let log = site.path("watch.csv");
    let arguments = ["devices", "watch", "camera", "--columns", "status,online,seen_address", "-o", "csv"];
    let watch = site.cli.start(&arguments, &log);
    let until_said = |process: &Process, what: &str| {
        let begun = Instant::now();
        while !process.output().contains(what) {
            assert!(begun.elapsed() < Duration::from_secs(60), "{what}: {}", process.output());
            thread::sleep(Duration::from_millis(100));
        }
    };
    until_said(&watch, "active,online,127.0.0.1");
    let set = |status: &str| site.cli.json(&["devices", "update", "camera", "--status", status]);
    assert_eq!(set("maintenance")["status"], "maintenance");
    until_said(&watch, "maintenance,online,");
    set("inactive");
    until_said(&watch, "inactive,");
    until_said(&agent, "DEVICE_INACTIVE");
    until_said(&agent, "--status active");
    assert_eq!(agent.terminate(), Some(0), "it has kept what it saw");
    set("active");
    let agent = Process::start("cavs-edge-agent", &arguments_of_agent, &device.directory.join("agent.log"));
    // The one before was heard a moment ago, too.
    let begun = Instant::now();
    while !agent.own_output().contains("connected") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", agent.own_output());
        thread::sleep(Duration::from_millis(100));
    }
    let back = until(&site, "back", |device| device["online"] == true && device["spooled"] == 0);
    assert_eq!(back["status"], "active");
    assert_eq!(agent.terminate(), Some(0));
}

#[test]
fn the_doctor_finds_nothing_wrong_and_what_is() {
    let site = TestSite::start();
    let device = site.add_device("camera");
    let photograph = people(1).remove(0).portraits.remove(0);
    lay_out(&site.path("frames"), [("1.jpg".to_owned(), &photograph)]);
    let config = site.configure_agent(&device, &site.path("frames"), "");
    let doctor = |more: &[&str]| {
        let mut command = std::process::Command::new(cavs_tests::binary("cavs-edge-agent"));
        command.args(["doctor", "--json", "--config", config.to_str().unwrap()]).args(more);
        let output = command.output().unwrap();
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (code, healthy) = doctor(&[]);
    assert_eq!((code, &healthy["healthy"]), (Some(0), &true.into()), "{healthy:#}");
    let find = |diagnosis: &Value, check: &str, level: &str| {
        let findings = diagnosis["findings"].as_array().unwrap();
        findings.iter().any(|finding| finding["check"] == check && finding["level"] == level)
    };
    for check in ["config", "disk", "pack", "source", "certificate", "server", "clock"] {
        assert!(find(&healthy, check, "ok"), "{check}: {healthy:#}");
    }
    let (code, ill) = doctor(&["--set", "server.address=https://localhost:1", "--set", "source.path=/none"]);
    assert_eq!((code, &ill["healthy"]), (Some(1), &false.into()), "{ill:#}");
    assert!(find(&ill, "server", "failed") && find(&ill, "source", "failed"), "{ill:#}");
    assert!(find(&ill, "pack", "ok"), "{ill:#}");
}
