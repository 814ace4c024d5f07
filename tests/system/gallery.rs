//! The gallery's figures and thresholds, as an operator sees and sets them.

use std::{fs, path::PathBuf, thread, time::Duration};

use cavs_tests::{SiteOptions, TestSite, lay_out, people};
use serde_json::Value;

use crate::several_servers::second_server;

/// Plays one picture to a new device; the sighting.
fn play(site: &TestSite, device: &str, photograph: &PathBuf) -> Value {
    let frames = site.path(&format!("frames-{device}"));
    lay_out(&frames, [("1.jpg".to_owned(), photograph)]);
    let device = site.add_device(device);
    let config = site.configure_agent(&device, &frames, "");
    let mut agent = site.start_agent(&device, &config);
    assert_eq!(agent.wait(Duration::from_secs(120)), Some(0), "{}", agent.output());
    let listed = site.cli.json(&["sightings", "list", "--device", &device.id]);
    listed["sightings"][0].clone()
}

fn assert_metric(site: &TestSite, line: &str) {
    let (status, text) = site.monitoring("/metrics");
    assert!(status == 200 && text.lines().any(|l| l == line), "{line} is missing:\n{text}");
}

#[test]
fn thresholds_are_suggested_tried_and_set_on_all_servers() {
    // So low a threshold that rendered strangers exceed it with any pack: the test moves it from there.
    let low = "recognition.accept = 0.2\nrecognition.review = 0.1\nrecognition.margin = 0.0\nenrollment.same_person = 0.95";
    let site = TestSite::start_with(&SiteOptions { server_toml: low.into(), ..SiteOptions::default() });
    let (_second, other) = second_server(&site);
    let stats = site.cli.json(&["gallery", "show"]);
    assert_eq!((&stats["templates"], &stats["thresholds"]["version"]), (&0.into(), &0.into()));
    let suggest = ["thresholds", "suggest", "--false-matches-per-1000", "1"];
    assert!(site.cli.fails(1, &suggest).contains("20 templates"));

    // Enough strangers to each other, and one more who will be seen.
    let mut people = people(24);
    let stranger = people.remove(23);
    for person in &people {
        assert_eq!(site.enroll(&person.number, &person.portraits[..1]), 1, "{}", person.number);
    }
    let stats = site.cli.json(&["gallery", "show"]);
    assert_eq!((&stats["templates"], &stats["sequence"]), (&23.into(), &23.into()), "{stats}");
    assert!(stats["calibration"]["samples"].as_u64().unwrap() >= 20, "{stats}");
    let suggested = site.cli.json(&suggest);
    // Strangers who are more alike than the threshold in force allows for: a higher one is better.
    assert!(suggested["accept"].as_f64() > suggested["in_force"]["accept"].as_f64(), "{suggested}");
    let rates = [&suggested, &suggested["calibration"]].map(|at| at["false_matches_per_thousand"].as_f64());
    assert!(rates[0].is_some() && rates[0] < rates[1], "{suggested}");

    let seen = &stranger.portraits[0];
    let sighting = play(&site, "before", seen);
    let prediction = &sighting["prediction"];
    assert_eq!((&prediction["decision"], &prediction["threshold_version"]), (&"accepted".into(), &0.into()));
    // Half-way to the highest threshold.
    let similarity = prediction["candidates"][0]["similarity"].as_f64().unwrap();
    let higher = format!("{:.4}", (0.95 + similarity) / 2.0);
    let set_higher = ["thresholds", "set", "--accept", &higher];
    let tried = site.cli.json(&[&set_higher[..], &["--dry-run"]].concat());
    assert_eq!((&tried["before"]["accepted"], &tried["after"]["accepted"]), (&1.into(), &0.into()));
    let rate = |side: &str| tried[side]["false_matches_per_thousand"].as_f64().unwrap();
    assert!(rate("after") <= rate("before"));
    assert_eq!(site.cli.json(&["gallery", "show"])["thresholds"]["version"], 0);

    let set = other.json(&set_higher);
    assert_eq!(set["after"]["thresholds"]["version"], 1);
    thread::sleep(Duration::from_secs(1));
    let stats = site.cli.json(&["gallery", "show"]);
    assert_eq!(stats["thresholds"]["version"], 1, "not in force on the other server within a second");
    let sighting = play(&site, "after", seen);
    let prediction = &sighting["prediction"];
    assert_eq!((&prediction["decision"], &prediction["threshold_version"]), (&"pending".into(), &1.into()));
    let versions = site.cli.json(&["thresholds", "list"]);
    assert_eq!(versions["thresholds"].as_array().unwrap().len(), 2);
    assert_eq!(versions["thresholds"][0]["set_by"], "admin");
    assert!(site.cli.fails(2, &["thresholds", "set", "--accept", "0.05"]).contains("review"));

    for line in [
        "cavs_threshold_version{site=\"00000000-0000-7000-8000-000000000001\"} 1",
        "cavs_sightings_total{outcome=\"stored\"} 2",
        "cavs_decisions_total{decision=\"pending\"} 1",
        "cavs_gallery_size{of=\"templates\"} 23",
    ] {
        assert_metric(&site, line);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_template_is_counted_and_monitoring_says_when_the_server_is_not_ready() {
    let site = TestSite::start();
    let photograph = people(1).remove(0).portraits.remove(0);
    assert_eq!(site.enroll("1", std::slice::from_ref(&photograph)), 1);
    assert_eq!(site.monitoring("/healthz"), (200, "ok\n".to_owned()));
    assert_eq!(site.monitoring("/readyz"), (200, "ready\n".to_owned()));
    assert_eq!(site.monitoring("/").0, 404);

    let database = site.database().await;
    database.execute("UPDATE templates SET embedding = embedding || '\\x00'::bytea", &[]).await.unwrap();
    thread::sleep(Duration::from_secs(1));
    let stats = site.cli.json(&["gallery", "show"]);
    assert_eq!((&stats["templates"], &stats["quarantined"]), (&0.into(), &1.into()));
    let id: uuid::Uuid = database.query_one("SELECT id FROM templates", &[]).await.unwrap().get(0);
    let log = fs::read_to_string(site.path("server.log")).unwrap();
    assert!(log.lines().any(|line| line.contains("damaged") && line.contains(&id.to_string())));
    assert_metric(&site, "cavs_gallery_quarantined 1");

    // The server's pool has no connection left, and gets none.
    database.batch_execute("ALTER ROLE cavs_server CONNECTION LIMIT 0").await.unwrap();
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'cavs_server'";
    database.execute(others, &[]).await.unwrap();
    let (status, why) = site.monitoring("/readyz");
    assert!(status == 503 && why.contains("database"), "{status} {why}");
    assert_eq!(site.monitoring("/healthz").0, 200);
}
