//! From a camera to marks: who was seen is present, who was not is absent as soon as that is proven, and what people say
//! stays.

use std::{
    thread,
    time::{Duration, Instant},
};

use cavs_tests::{TestSite, people};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::camera::{Camera, LIMIT, delivered};

const PASSWORD: &str = "correct horse battery";

/// Each student's mark, by number.
fn marks(sheet: &Value) -> Vec<String> {
    let mark = |mark: &Value| mark["mark"].as_str().unwrap().to_owned();
    sheet["marks"].as_array().unwrap().iter().map(mark).collect()
}

/// Waits until a session's marks are these.
fn wait_for(site: &TestSite, session: &str, wanted: &[&str]) -> Value {
    let begun = Instant::now();
    loop {
        let sheet = site.cli.json(&["attendance", "show", session]);
        if marks(&sheet) == wanted {
            return sheet;
        }
        assert!(begun.elapsed() < LIMIT, "{sheet:#}");
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn a_lesson_is_attended_and_explained() {
    let mut site = TestSite::start();
    site.keep_ports();
    let class = people(3);
    for (number, person) in ["1", "2", "3"].into_iter().zip(&class) {
        assert_eq!(site.enroll(number, &person.portraits), 3);
    }
    let device = site.add_device("camera");
    let cli = site.cli.clone();
    cli.json(&["rooms", "place", "camera", "Room 1", "--role", "inside"]);
    cli.json(&["groups", "add", "7B"]);
    let yesterday = (Timestamp::now() - SignedDuration::from_hours(24)).strftime("%Y-%m-%d").to_string();
    let members = ["groups", "members", "add", "7B", "1", "2", "3", "--from", &yesterday];
    assert!(cli.run(&members).status.success());
    let policy = cli.json(&[
        "attendance",
        "policy",
        "set",
        "--group",
        "7B",
        "--sightings",
        "1",
        "--minutes-before",
        "0",
        "--minutes-after",
        "0",
        "--least-watched",
        "0.5",
        "--finalise-after-days",
        "none",
    ]);
    assert_eq!((&policy["sightings"], &policy["finalise_after_days"]), (&1.into(), &Value::Null));
    assert!(cli.fails(2, &["attendance", "policy", "set", "--sightings", "0"]).contains("sightings"));
    assert!(cli.fails(2, &["attendance", "policy", "set"]).contains("say what is to be changed"));

    // The first student is before the camera.
    let camera = Camera::new(&site, &device, [&class[0].portraits[0], &class[0].portraits[1]]);
    let agent = camera.start();
    delivered(&site, "camera");
    let now = Timestamp::now();
    let (start, end) = (now.to_string(), (now + SignedDuration::from_secs(8)).to_string());
    let session = cli.json(&[
        "sessions", "add", "7B", "--name", "Maths", "--start", &start, "--end", &end, "--room", "Room 1",
    ]);
    let session = session["id"].as_str().unwrap().to_owned();
    // While it goes on, nobody is absent.
    let sheet = wait_for(&site, &session, &["present", "undetermined", "undetermined"]);
    assert_eq!(sheet["session"]["name"], "Maths");
    assert!(sheet["false_matches"]["faces"].as_u64().unwrap() > 0, "{sheet:#}");
    // The server is away at the end; nothing is lost by that.
    site.take_server().kill();
    thread::sleep(Duration::from_secs(3));
    site.restart_server();
    let sheet = wait_for(&site, &session, &["present", "absent", "absent"]);
    assert_eq!(
        (&sheet["session"]["state"], &sheet["unproven"]),
        (&"closing".into(), &Value::Array(Vec::new()))
    );
    assert_eq!(agent.terminate(), Some(0));

    // By its group's name, too.
    let why = cli.json(&["attendance", "explain", "7B", "2"]);
    let rules = |why: &Value| -> Vec<String> {
        why["rules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| rule["rule"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(rules(&why), ["not_seen", "absence_proven"]);
    let why = cli.json(&["attendance", "explain", &session, "1"]);
    assert_eq!(rules(&why), ["seen", "enough_sightings", "in_time"]);
    let evidence = why["sighting_ids"][0].as_str().unwrap();
    assert_eq!(cli.json(&["sightings", "show", evidence])["student"]["number"], "1");
    assert!(cli.fails(3, &["attendance", "explain", &session, "77"]).contains("77"));

    // What people say.
    let corrected =
        cli.json(&["attendance", "correct", "7B", "2", "present", "--reason", "behind the pillar"]);
    assert_eq!((&corrected["mark"], &corrected["machine_mark"]), (&"present".into(), &"absent".into()));
    let correction = corrected["corrections"][0]["id"].as_str().unwrap();
    assert_eq!(cli.json(&["attendance", "withdraw", correction])["mark"], "absent");
    assert!(cli.fails(3, &["attendance", "withdraw", correction]).contains("attendance explain"));
    let sheet = cli.json(&["attendance", "roll-call", "7B", "2=late", "3=present"]);
    assert_eq!(marks(&sheet), ["present", "late", "present"]);
    cli.fails(2, &["attendance", "roll-call", "7B", "2=late", "2=present"]);
    for said in cli.json(&["attendance", "explain", "7B", "3"])["corrections"].as_array().unwrap() {
        cli.json(&["attendance", "withdraw", said["id"].as_str().unwrap()]);
    }
    let check_in = ["attendance", "check-in", "7B", "3", "--kind", "card", "--at", &start];
    assert_eq!(marks(&cli.json(&check_in)), ["present", "late", "present"]);
    let excuse = |until| {
        ["attendance", "excuses", "add", "2", "--from", &yesterday, "--until", until, "--reason", "ill"]
            .map(str::to_owned)
    };
    let tomorrow = (Timestamp::now() + SignedDuration::from_hours(24)).strftime("%Y-%m-%d").to_string();
    let run = |arguments: [String; 10]| cli.run(&arguments.each_ref().map(String::as_str));
    assert_eq!(run(excuse("2054-01-01")).status.code(), Some(2), "more than a year");
    assert!(run(excuse(&tomorrow)).status.success());
    let second = cli.json(&["attendance", "explain", "7B", "2"]);
    let said = second["corrections"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap();
    cli.json(&["attendance", "withdraw", said]);
    let sheet = wait_for(&site, &session, &["present", "excused", "present"]);
    let appeal = cli.json(&["attendance", "appeals", "add", "7B", "2", "present", "--reason", "was there"]);
    let appeal = appeal["id"].as_str().unwrap();
    assert_eq!(cli.json(&["attendance", "appeals", "list"])["total_size"], 1);
    let decided = cli.json(&["attendance", "appeals", "reject", appeal, "--answer", "nobody saw you"]);
    assert_eq!((&decided["state"], &decided["current_mark"]), (&"rejected".into(), &"excused".into()));

    // Who only looks sees what the marks are, not why.
    site.add_user("vera", "viewer", PASSWORD);
    let vera = site.cli_of("vera", PASSWORD);
    // Nor when somebody was last there, by which those who show a card would be known.
    let seen = vera.json(&["attendance", "show", &session]);
    let mut expected = sheet["marks"].clone();
    for mark in expected.as_array_mut().unwrap() {
        mark.as_object_mut().unwrap().remove("last_seen_time");
    }
    assert!(sheet["marks"][0]["last_seen_time"].is_string());
    assert_eq!(seen["marks"], expected);
    vera.fails(4, &["attendance", "explain", &session, "2"]);
    assert_eq!(vera.json(&["attendance", "list", "--student", "2"])["marks"][0]["mark"], "excused");

    // Whoever watches is told all marks, and then what changes.
    let log = site.path("watch.log");
    let watching = cli.start(&["attendance", "watch", &session, "-o", "jsonl"], &log);
    let told = |text: &str| {
        let begun = Instant::now();
        while !std::fs::read_to_string(&log).unwrap_or_default().contains(text) {
            assert!(begun.elapsed() < LIMIT, "not told of {text}");
            thread::sleep(Duration::from_millis(100));
        }
    };
    told("\"mark\":\"excused\"");
    cli.json(&["attendance", "correct", "7B", "1", "left_early", "--reason", "seen at the gate"]);
    told("\"mark\":\"left_early\"");
    watching.kill();

    cli.fails(2, &["--no-input", "attendance", "finalise", "7B"]);
    let sheet = cli.json(&["attendance", "finalise", "7B", "--yes"]);
    assert_eq!(
        (&sheet["session"]["state"], marks(&sheet)),
        (&"finalised".into(), vec!["left_early".to_owned(), "excused".to_owned(), "present".to_owned(),])
    );
    assert_eq!(cli.json(&["attendance", "proposals", "list"])["total_size"], 0);
    let corrected =
        cli.json(&["attendance", "correct", "7B", "1", "present", "--reason", "it was a brother"]);
    assert_eq!(corrected["mark"], "present");
    let table = String::from_utf8(cli.run(&["attendance", "show", "7B"]).stdout).unwrap();
    for words in ["7B Maths", "Room 1 (finalised)", "present *", "2 present, 1 excused"] {
        assert!(table.contains(words), "{words}: {table}");
    }
}

/// Who is not recognised by their face shows by themselves that they are there; the sheet does not say who.
#[test]
fn people_check_in_by_themselves() {
    let site = TestSite::start();
    let cli = site.cli.clone();
    for number in ["1", "2", "3"] {
        cli.json(&["students", "add", number, "--name", number]);
    }
    cli.json(&["groups", "add", "7B"]);
    let yesterday = (Timestamp::now() - SignedDuration::from_hours(24)).strftime("%Y-%m-%d").to_string();
    let members = ["groups", "members", "add", "7B", "1", "2", "3", "--from", &yesterday];
    assert!(cli.run(&members).status.success());
    cli.json(&["rooms", "add", "B12"]);
    let now = Timestamp::now();
    let (start, end) = (now.to_string(), (now + SignedDuration::from_mins(30)).to_string());
    cli.json(&["sessions", "add", "7B", "--start", &start, "--end", &end, "--room", "B12"]);

    // A phone: nobody is logged in there.
    let pin = cli.json(&["students", "pin", "1"])["drawn_pin"].as_str().unwrap().to_owned();
    let shown = cli.json(&["sessions", "code", "7B", "--once"]);
    let code = shown["code"].as_str().unwrap();
    let phone = site.anonymous_cli("phone");
    let arguments = ["attendance", "code", code, "--number", "1", "--pin-stdin"];
    let done = phone.run_with_input(&arguments, &pin);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(phone.run_with_input(&arguments, "000000").status.code(), Some(4), "a wrong PIN");
    let picture = String::from_utf8(cli.run(&["sessions", "code", "7B", "--once"]).stdout).unwrap();
    assert!(picture.contains('\u{2588}') && picture.contains("CAVS1."), "{picture}");

    // A card reader, which may do nothing else.
    cli.json(&["students", "card", "2", "04:A2:BF:11"]);
    assert!(cli.fails(1, &["students", "card", "3", "04A2BF11"]).contains("another student"));
    site.add_user("reader", "capture", PASSWORD);
    let reader = site.cli_of("reader", PASSWORD);
    let read = reader
        .run_with_input(&["attendance", "card", "--room", "B12", "-o", "jsonl"], "04a2bf11\n\nFFFFFFFF\n");
    let (told, refused) = (String::from_utf8_lossy(&read.stdout), String::from_utf8_lossy(&read.stderr));
    assert!(
        read.status.success() && told.lines().count() == 1 && refused.contains("nobody"),
        "{told} {refused}"
    );
    assert!(!told.contains("\"2\""), "{told}");
    reader.fails(4, &["attendance", "show", "7B"]);
    let sheet = cli.json(&["attendance", "show", "7B"]);
    assert_eq!(marks(&sheet), ["present", "present", "undetermined"]);

    // Who only looks sees no difference; who may explain does.
    site.add_user("viewer", "viewer", PASSWORD);
    let viewer = site.cli_of("viewer", PASSWORD);
    let sheet = viewer.json(&["attendance", "show", "7B"]);
    assert!(
        sheet["marks"].as_array().unwrap().iter().all(|mark| mark["last_seen_time"].is_null()),
        "{sheet}"
    );
    viewer.fails(4, &["attendance", "explain", "7B", "2"]);
    assert_eq!(cli.json(&["attendance", "explain", "7B", "2"])["check_in_ids"].as_array().unwrap().len(), 1);
    cli.json(&["students", "card", "2", "--clear"]);
    assert_eq!(cli.json(&["students", "card", "2"])["card_time"], Value::Null);
}
