//! Students, devices, sightings and reviews.

use std::{fs, os::unix::fs::PermissionsExt};

use cavs_proto::{to_timestamp, v1};

use crate::fake::{Fake, NEWER, student};

const ID: &str = "01890000-0000-7000-8000-000000000051";

fn sighting() -> v1::Sighting {
    let ada = v1::StudentRef {
        id: "01890000-0000-7000-8000-0000000000ad".to_owned(),
        number: "1001".to_owned(),
        name: "Ada \u{1b}]0;Lovelace".to_owned(),
    };
    v1::Sighting {
        id: ID.to_owned(),
        device_name: "room-12".to_owned(),
        classroom: "Room 12".to_owned(),
        capture_time: Some(to_timestamp("2026-03-02T08:01:02Z".parse().unwrap())),
        prediction: Some(v1::Prediction {
            decision: v1::Decision::Pending.into(),
            reason: "NARROW_MARGIN".to_owned(),
            candidates: vec![v1::Candidate { student: Some(ada), similarity: 0.51234 }],
            threshold: 0.4,
            ..Default::default()
        }),
        has_evidence: true,
        ..Default::default()
    }
}

fn with_sighting() -> Fake {
    let fake = Fake::with_students(&["1001", "1002"]);
    fake.service.state().sightings = vec![sighting()];
    fake
}

#[test]
fn students_are_added_and_listed_over_pages() {
    let fake = Fake::with_students(&[]);
    for number in ["1001", "1002", "1003"] {
        let ran = fake.cavs(&["students", "add", number, "--name", "Ada", "-o", "json"]);
        assert_eq!((ran.code, &ran.json()["number"]), (0, &number.into()), "{ran:?}");
    }
    let ran = fake.cavs(&["students", "add", "1001", "--name", "Ada", "-o", "json"]);
    assert_eq!((ran.code, &ran.error()["reason"]), (1, &"STUDENT_EXISTS".into()), "{ran:?}");
    let long = "9".repeat(33);
    let ran = fake.cavs(&["students", "add", &long, "--name", "Ada", "-o", "json"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert_eq!(ran.error()["field_violations"][0]["field"], "number");

    let ran = fake.cavs(&["students", "list", "-o", "json"]);
    assert_eq!(ran.json()["students"].as_array().unwrap().len(), 3);
    assert_eq!(ran.json()["total_size"], 3);
    let ran = fake.cavs(&["students", "list", "--limit", "1"]);
    assert_eq!(ran.stdout.lines().count(), 2, "{ran:?}");
    assert_eq!(ran.stderr, "1 of 3 students; --limit N or --all shows more\n");
    assert_eq!(fake.cavs(&["students", "show", "1002"]).code, 0);
}

#[test]
fn students_are_changed_imported_and_exported() {
    let fake = Fake::with_students(&["1001", "1002"]);
    let ran = fake.cavs(&[
        "students",
        "update",
        "1001",
        "--name",
        "=Ada",
        "--photo-consent",
        "refused",
        "-o",
        "json",
    ]);
    assert_eq!(
        (&ran.json()["name"], &ran.json()["photo_consent"]),
        (&"=Ada".into(), &"refused".into()),
        "{ran:?}"
    );
    let ran = fake.cavs(&["students", "update", "1001"]);
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("say what is to be changed"), "{ran:?}");
    let ran = fake.cavs(&["students", "deactivate", "1002", "-o", "json"]);
    assert_eq!(ran.json()["active"], false);
    let ran = fake.cavs(&["students", "export", "students.csv"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "2 students written to students.csv\n"), "{ran:?}");
    let file = fake.home().join("students.csv");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let expected = "number,name,email,department,section,external_id,enrollment_date,photo_consent,active\r\n\
                    1001,'=Ada,,,7b,,,refused,yes\r\n1002,Ada Lovelace,,,7b,,,unknown,no\r\n";
    assert_eq!(fs::read_to_string(&file).unwrap(), expected);
    assert_eq!(fake.cavs(&["students", "export"]).stdout, expected);
    assert_eq!(fake.cavs(&["students", "export", "students.csv"]).code, 1, "no file is written over");
    assert_eq!(fake.cavs(&["students", "reactivate", "1002"]).code, 0);

    fs::write(fake.home().join("large.csv"), "x".repeat(1 << 20)).unwrap();
    fs::write(fake.home().join("bad.zip"), "bad").unwrap();
    let ran = fake.cavs(&["students", "import", "large.csv", "-o", "json"]);
    assert_eq!(
        (ran.code, &ran.json()["created"], &ran.json()["applied"]),
        (0, &(1 << 20).into(), &true.into())
    );
    let ran = fake.cavs(&["students", "import", "bad.zip", "--deactivate-missing"]);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.stdout);
    let ran = fake.cavs(&["students", "import", "bad.zip", "--dry-run", "--format", "csv"]);
    assert!(ran.stdout.contains("as it was a dry run; would be: 3 added, 1 changed, 7 as before"), "{ran:?}");
    assert_eq!(fake.cavs(&["students", "import", "none.csv"]).code, 3);
    let id = fake.service.state().students[0].id.clone();
    assert_eq!(fake.cavs(&["students", "show", &id, "-o", "json"]).json()["number"], "1001");
    assert_eq!(fake.cavs(&["students", "show", "none"]).code, 3);
}

#[test]
fn a_number_may_look_like_an_id() {
    let fake = Fake::with_students(&[]);
    fake.service.state().students.push(student(ID, "Ada"));
    assert_eq!(fake.cavs(&["students", "show", ID, "-o", "json"]).json()["number"], ID);
}

#[test]
fn an_empty_list_says_so_beside_the_result() {
    let fake = Fake::with_students(&[]);
    let ran = fake.cavs(&["students", "list"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "no students\n"));
    let ran = fake.cavs(&["students", "list", "--quiet"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn devices_are_registered() {
    let fake = Fake::with_students(&[]);
    let ran =
        fake.cavs(&["devices", "add", "cam-1", "--kind", "esp32-cam", "--classroom", "Room 1", "-o", "json"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(ran.json()["kind"], "esp32_cam");
    assert!(ran.json()["last_seen_time"].is_null());
    assert!(fake.cavs(&["devices", "add", "pi-1"]).stderr.contains("cavs certs device --ca DIR --device-id"));
    assert!(fake.cavs(&["devices", "list"]).stdout.contains("room-12"));
    assert_eq!(fake.cavs(&["devices", "show", "room-12"]).code, 0);
    assert_eq!(fake.cavs(&["devices", "show", "none"]).code, 3);
}

#[test]
fn settings_are_pushed_from_flags_and_files() {
    let fake = Fake::with_students(&[]);
    let ran =
        fake.cavs(&["devices", "configure", "room-12", "--set", "source.rate=2", "--unset", "motion.hold"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let pushed = fake.service.state().configured.clone().unwrap();
    assert_eq!((pushed.set["source.rate"].as_str(), pushed.unset.len(), pushed.reset), ("2", 1, false));

    let file = fake.home().join("room.toml");
    fs::write(&file, "[motion]\nthreshold = 0.02\nenabled = true\n[logging]\nfilter = 'debug'\n").unwrap();
    let file = file.to_str().unwrap();
    assert_eq!(fake.cavs(&["devices", "configure", "room-12", "--file", file]).code, 0);
    let pushed = fake.service.state().configured.clone().unwrap();
    assert_eq!(
        (pushed.set["motion.threshold"].as_str(), pushed.set["logging.filter"].as_str()),
        ("0.02", "debug")
    );
    assert!(pushed.reset && pushed.set["motion.enabled"] == "true");

    fs::write(file, "threshold = 0.02\n").unwrap();
    let ran = fake.cavs(&["devices", "configure", "room-12", "--file", file]);
    assert!(ran.code == 2 && ran.stderr.contains("threshold is no section"), "{ran:?}");
    assert_eq!(fake.cavs(&["devices", "configure", "room-12"]).code, 2, "nothing to change");
    assert_eq!(fake.cavs(&["devices", "configure", "room-12", "--set", "source.rate"]).code, 2);
}

#[test]
fn a_camera_gets_a_proxy_and_tokens_and_loses_them() {
    let fake = with_sighting();
    let ran = fake.cavs(&["devices", "assign", "door-cam", "--proxy", "room-12"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let ran = fake.cavs(&["devices", "token", "door-cam"]);
    assert_eq!((ran.code, ran.stdout.trim()), (0, "0123abcd"), "alone on standard output: {ran:?}");
    assert!(ran.stderr.contains("shown this once"), "{ran:?}");
    insta::assert_snapshot!(fake.cavs(&["devices", "show", "door-cam"]).stdout);
    let ran = fake.cavs(&["devices", "token", "door-cam", "--revoke", "--yes", "-o", "json"]);
    assert_eq!(ran.json()["revoked"], 1);
    assert_eq!(
        fake.cavs(&["devices", "assign", "door-cam", "--none", "-o", "json"]).json()["proxy"],
        serde_json::Value::Null
    );
    assert_eq!(fake.cavs(&["devices", "assign", "door-cam"]).code, 2, "to whom?");
    let ran = fake.cavs(&["devices", "revoke", "door-cam"]);
    assert_eq!(ran.code, 2, "nobody is there to be asked: {ran:?}");
    assert!(ran.stderr.contains("Revoke door-cam in Room 12 (") && ran.stderr.contains("--yes"), "{ran:?}");
    let ran = fake.cavs(&["devices", "revoke", "door-cam", "--yes", "-o", "json"]);
    assert_eq!(ran.json()["status"], "revoked");
}

#[test]
fn a_device_is_watched_and_its_settings_have_a_history() {
    let fake = with_sighting();
    let ran = fake.cavs(&["devices", "settings", "history", "room-12"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let ran = fake.cavs(&["devices", "watch", "--columns", "name,status", "-o", "csv"]);
    assert_eq!(ran.code, 4, "the session ends meanwhile: {ran:?}");
    assert_eq!(ran.stdout, "name,status\nroom-12,active\nroom-12,maintenance\n");
    assert_eq!(fake.cavs(&["devices", "watch", "-o", "json"]).code, 2, "it would never end");
    let shown = fake.cavs(&["devices", "show", "room-12", "-o", "json"]).json();
    assert_eq!(shown["today"]["gaps"][0]["reason"], "camera_frozen");
    assert_eq!(shown["today"]["gaps"][1]["reason"], "not_watched");
}

#[test]
fn a_device_is_renamed_moved_and_replaced() {
    let fake = with_sighting();
    let ran = fake.cavs(&["devices", "update", "room-12", "--name", "room-13", "-o", "json"]);
    assert_eq!(
        (&ran.json()["name"], &ran.json()["classroom"]),
        (&"room-13".into(), &"Room 12".into()),
        "{ran:?}"
    );
    let ran = fake.cavs(&["devices", "update", "room-12", "--classroom", "", "-o", "json"]);
    assert_eq!((&ran.json()["name"], &ran.json()["classroom"]), (&"room-12".into(), &"".into()), "{ran:?}");
    assert_eq!(fake.cavs(&["devices", "update", "room-12"]).code, 2, "what?");
    let more = ["--status", "maintenance", "--description", "above the door", "--mac", "b8:27:eb:00:00:07"];
    let ran = fake.cavs(&[&["devices", "update", "room-12"][..], &more].concat());
    insta::assert_snapshot!(ran.stdout);
    let ran = fake.cavs(&["devices", "update", "room-12", "--status", "revoked"]);
    assert!(ran.code == 2 && ran.stderr.contains("run cavs devices revoke"), "{ran:?}");

    let ran = fake.cavs(&["devices", "replace", "room-12"]);
    assert!(ran.code == 2 && ran.stderr.contains("Replace room-12"), "{ran:?}");
    let ran = fake.cavs(&["devices", "replace", "room-12", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.stderr.contains("certs device --ca DIR --device-id 01890000-0000-7000-8000-0000000000ee"),
        "{ran:?}"
    );
    let ran = fake.cavs(&["devices", "replace", "door-cam", "--yes"]);
    assert!(ran.stderr.contains("cavs devices token door-cam"), "{ran:?}");
}

#[test]
fn long_lists_are_written_page_by_page() {
    let numbers: Vec<String> = (1001..1008).map(|number: u32| number.to_string()).collect();
    let fake = Fake::with_students(&numbers.iter().map(String::as_str).collect::<Vec<_>>());
    let ran = fake.cavs(&["students", "list", "--all", "-o", "json"]);
    let listed = ran.json();
    let shown: Vec<_> = listed["students"].as_array().unwrap().iter().map(|s| s["number"].clone()).collect();
    assert_eq!(shown, numbers);
    assert_eq!((&listed["total_size"], &listed["total_size_exact"]), (&7.into(), &true.into()));
    // The same document as if it had been written whole.
    assert_eq!(format!("{listed:#}").lines().count(), ran.stdout.lines().count(), "{}", ran.stdout);
    let ran = fake.cavs(&["students", "list", "--all"]);
    assert_eq!((ran.stdout.lines().count(), ran.stderr.as_str()), (8, ""), "one header: {ran:?}");
    let none = Fake::with_students(&[]).cavs(&["students", "list", "--all", "-o", "json"]).json();
    assert_eq!(none, serde_json::json!({"students": [], "total_size": 0, "total_size_exact": true}));
}

#[test]
fn a_sighting_is_shown_with_its_clock_and_track() {
    let fake = with_sighting();
    {
        let mut state = fake.service.state();
        let time = |text: &str| Some(to_timestamp(text.parse().unwrap()));
        state.sightings[0].set_clock_trust(v1::capture_clock::Trust::Corrected);
        state.sightings[0].clock_uncertainty_ms = Some(12);
        state.sightings[0].track = Some(v1::TrackSpan {
            id: 4,
            enter_time: time("2026-03-02T08:00:00Z"),
            last_seen_time: time("2026-03-02T08:05:00Z"),
            left: true,
        });
    }
    let ran = fake.cavs(&["sightings", "show", ID]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    fake.service.state().sightings[0].time_implausible = true;
    for command in [&["sightings", "show", ID] as &[&str], &["sightings", "list"], &["review", "list"]] {
        let ran = fake.cavs(command);
        assert!(ran.stdout.contains("2026-03-02 08:01:02 (implausible)"), "{ran:?}");
    }
    assert_eq!(fake.cavs(&["sightings", "show", ID, "-o", "json"]).json()["track"]["id"], 4);
}

#[test]
fn sightings_are_filtered_and_hostile_names_harmless() {
    let fake = with_sighting();
    let ran = fake.cavs(&[
        "sightings",
        "list",
        "--student",
        "1001",
        "--device",
        "room-12",
        "--decision",
        "pending",
        "--from",
        "2026-03-01",
        "--until",
        "2026-03-02",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!ran.stdout.contains('\u{1b}'), "{ran:?}");
    let state = fake.service.state();
    let filter = &state.filters[0];
    assert_eq!(filter.student_id, state.students[0].id);
    assert_eq!(filter.device_id, "01890000-0000-7000-8000-00000000000d");
    assert_eq!(filter.decision(), v1::Decision::Pending);
    let seconds = |time: &Option<prost_types::Timestamp>| time.as_ref().unwrap().seconds;
    assert_eq!(seconds(&filter.end_time) - seconds(&filter.start_time), 2 * 24 * 3600);
}

#[test]
fn the_queue_is_listed_shown_and_decided() {
    let fake = with_sighting();
    let ran = fake.cavs(&["review", "list"]);
    insta::assert_snapshot!(ran.stdout);
    let ran = fake.cavs(&["review", "show", ID, "--evidence-out", "face.jpg"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let face = fake.home().join("face.jpg");
    assert_eq!(fs::read(&face).unwrap(), b"jpeg");
    assert_eq!(fs::metadata(&face).unwrap().permissions().mode() & 0o777, 0o600);
    let ran = fake.cavs(&["review", "show", ID, "--evidence-out", "face.jpg"]);
    assert_eq!(ran.code, 1, "nothing is overwritten: {ran:?}");

    let arguments = ["review", "approve", ID, "--notes", "new glasses", "--student", "1002"];
    assert_eq!(fake.cavs(&arguments).code, 0);
    let ran = fake.cavs(&["review", "reject", ID]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("hint: add --replace"), "{ran:?}");
    let ran = fake.cavs(&["review", "reject", ID, "--replace", "-o", "json"]);
    assert_eq!((ran.code, &ran.json()["review"]["verdict"]), (0, &"rejected".into()), "{ran:?}");
    let state = fake.service.state();
    assert_eq!(state.reviews[0].corrected_student_id, state.students[1].id);
    assert_eq!((state.reviews[0].notes.as_str(), state.reviews[0].replace), ("new glasses", false));
}

#[test]
fn a_verdict_is_taken_back_and_stays_on_record() {
    let fake = with_sighting();
    let ran = fake.cavs(&["review", "undo", ID, "-o", "json"]);
    assert_eq!((ran.code, &ran.error()["reason"]), (1, &"NOT_REVIEWED".into()), "{ran:?}");
    let ran = fake.cavs(&["review", "approve", ID, "--notes", "seen"]);
    assert!(!ran.stdout.contains("REVIEWER"), "what is in force stands above: {ran:?}");
    assert_eq!(fake.cavs(&["review", "reject", ID, "--replace"]).code, 0);
    let ran = fake.cavs(&["review", "undo", ID, "--notes", "a wrong click", "-o", "json"]);
    assert_eq!((ran.code, &ran.json()["review"]["verdict"]), (0, &"approved".into()), "{ran:?}");
    assert_eq!(ran.json()["reviews"][1]["withdrawal"]["notes"], "a wrong click");
    insta::assert_snapshot!(fake.cavs(&["sightings", "show", ID]).stdout);
    assert!(fake.cavs(&["review", "show", ID]).stdout.contains("a wrong click"));
}

#[test]
fn what_is_not_there_is_not_found() {
    let fake = with_sighting();
    let other = "01890000-0000-7000-8000-0000000000ff";
    assert_eq!(fake.cavs(&["review", "show", other]).code, 3);
    assert_eq!(fake.cavs(&["review", "flag", other]).code, 3);
    assert_eq!(fake.cavs(&["sightings", "list", "--student", "none"]).code, 3);
    fake.service.state().sightings[0].has_evidence = false;
    let ran = fake.cavs(&["review", "show", ID, "--evidence-out", "face.jpg", "-o", "json"]);
    assert_eq!((ran.code, &ran.error()["reason"]), (3, &"NO_EVIDENCE".into()));
    assert!(!fake.home().join("face.jpg").exists());
}

#[test]
fn the_queue_is_filtered_and_reviewed_in_bulk() {
    let fake = with_sighting();
    let filters =
        ["--reason", "LOW_SIMILARITY", "--similarity-below", "0.4", "--section", "7b", "--student", "1001"];
    let ran = fake.cavs(&[&["review", "list", "--least-certain", "--flagged"], &filters[..]].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let asked = fake.service.state().queue_filters[0].clone();
    let known = fake.service.state().students[0].id.clone();
    let expected = v1::QueueFilter {
        reason: "LOW_SIMILARITY".to_owned(),
        similarity_below: Some(0.4),
        section: "7b".to_owned(),
        predicted_student_id: known,
        flagged: Some(true),
        ..v1::QueueFilter::default()
    };
    assert_eq!(asked, expected);
    let bulk = |more: &[&str]| fake.cavs(&[&["review", "bulk", "rejected"], &filters[..], more].concat());
    assert_eq!(bulk(&["--dry-run"]).stdout, "1 sightings would be rejected; nothing was changed\n");
    let ran = bulk(&[]);
    assert_eq!((ran.code, ran.stderr.contains("Say --yes if it is meant")), (2, true), "{ran:?}");
    assert_eq!(bulk(&["--yes"]).stdout, "1 sightings rejected\n");
    let mine = fake.cavs(&["review", "mine", "-o", "json"]).json();
    assert_eq!((&mine["sightings"][0]["id"], &mine["total_size"]), (&ID.into(), &1.into()));
    assert_eq!(fake.cavs(&["review", "approve", ID]).code, 0);
    assert_eq!(fake.cavs(&["review", "undo", "--last"]).code, 0);
    assert_eq!(fake.cavs(&["review", "undo"]).code, 2);
    fake.service.state().sightings.clear();
    let ran = fake.cavs(&["review", "undo", "--last"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (3, "error: no verdict of yours is in force\n"), "{ran:?}");
    assert_eq!(fake.cavs(&["review", "bulk", "burnt"]).code, 2);
    assert_eq!(fake.cavs(&["review", "list", "--reason", "BORED"]).code, 2);
}

#[test]
fn sightings_are_watched_and_exported() {
    let fake = with_sighting();
    // A stream that ends is asked to go on; one that is refused ends the watching.
    let ran = fake.cavs(&["sightings", "watch", "--classroom", "Room 12", "-o", "jsonl"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (4, 1), "{ran:?}");
    assert!(ran.stdout.contains(NEWER), "{ran:?}");
    assert_eq!(fake.service.state().watched_after, [ID, NEWER]);
    assert_eq!(fake.cavs(&["sightings", "watch", "-o", "json"]).code, 2);

    for (name, lines) in [("all.csv", 3), ("all.jsonl", 2)] {
        let ran = fake.cavs(&["sightings", "export", name, "--decision", "pending"]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, &*format!("2 sightings written to {name}\n")));
        let text = std::fs::read_to_string(fake.home().join(name)).unwrap();
        assert_eq!(text.lines().count(), lines, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert_eq!(fake.cavs(&["sightings", "export", name]).code, 1, "never in the place of another file");
        insta::assert_snapshot!(name, text);
    }
    assert_eq!(fake.cavs(&["sightings", "export", "all.parquet"]).code, 0);
    let file = std::fs::read(fake.home().join("all.parquet")).unwrap();
    assert!(file.starts_with(b"PAR1") && file.ends_with(b"PAR1"));
    let ran = fake.cavs(&["sightings", "export", "-", "--format", "csv"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 3));
    assert_eq!(fake.cavs(&["sightings", "export", "all.xlsx"]).code, 2);
    // What does not come whole leaves no file.
    fake.service.state().export_breaks = true;
    let ran = fake.cavs(&["sightings", "export", "half.csv"]);
    assert_eq!((ran.code, fake.home().join("half.csv").exists()), (5, false), "{ran:?}");
    assert!(
        std::fs::read_dir(fake.home())
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().starts_with(".tmp") })
    );
}

#[test]
fn audits_are_answered_once() {
    let fake = with_sighting();
    let ran = fake.cavs(&["review", "audit", "next", "--evidence-out", "face.jpg"]);
    insta::assert_snapshot!(ran.stdout);
    assert_eq!(fake.cavs(&["review", "audit", "answer", ID]).code, 2);
    assert_eq!(fake.cavs(&["review", "audit", "answer", ID, "--student", "1001", "--cannot-tell"]).code, 2);
    assert_eq!(fake.cavs(&["review", "audit", "answer", ID, "--student", "1001"]).code, 0);
    assert_eq!(fake.cavs(&["review", "audit", "answer", ID, "--none-of-them"]).code, 3);
    let ran = fake.cavs(&["review", "audit", "next", "--evidence-out", "other.jpg"]);
    assert_eq!((ran.code, ran.stderr.contains("no audit waits")), (3, true), "{ran:?}");
}

#[test]
fn the_queue_is_shared_by_reviewers() {
    let fake = with_sighting();
    let ran = fake.cavs(&["review", "claim", "--limit", "1", "--minutes", "30", "--by-visit"]);
    insta::assert_snapshot!(ran.stdout);
    assert_eq!(fake.cavs(&["review", "claim", "--minutes", "481"]).code, 2);
    assert_eq!(fake.cavs(&["review", "release"]).stdout, "1 claims ended\n");
    assert_eq!(fake.cavs(&["review", "assign", ID, "--to", "ada"]).stdout, "1 sightings assigned to ada\n");
    assert_eq!(fake.cavs(&["review", "assign", ID, "--nobody"]).stdout, "1 sightings are anybody's now\n");
    assert_eq!(fake.cavs(&["review", "assign", ID]).code, 2);
    let ran = fake.cavs(&["review", "assign", ID, "--to", "nobody-there"]);
    assert_eq!((ran.code, ran.stderr.contains("nobody-there")), (3, true), "{ran:?}");
    // One verdict serves a visit, and so does taking it back.
    let ran = fake.cavs(&["review", "approve", ID, "--visit"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "2 other sightings were reviewed with it\n"));
    let ran = fake.cavs(&["review", "undo", "--last"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "2 other sightings were taken back with it\n"));
}

#[test]
fn the_numbers_of_today_are_told_with_where_they_come_from() {
    let fake = Fake::with_students(&[]);
    let ran = fake.cavs(&["stats", "--days", "2"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    // Which day it is, is another one each day.
    let days = with_days(&ran.stdout);
    insta::assert_snapshot!(days);
    let json = fake.cavs(&["stats", "--days", "3", "-o", "json"]).json();
    assert_eq!((&json["today"]["students"], &json["accuracy"]["share"]), (&12.into(), &0.96.into()));
    assert_eq!(json["days"].as_array().unwrap().len(), 3);
    assert_eq!(fake.cavs(&["stats", "--days", "0"]).code, 2);
}

/// With `DAY` for each date but that of the answer.
fn with_days(text: &str) -> String {
    let is_date = |word: &str| {
        let word = word.trim_end_matches(')');
        word.len() == 10 && word.matches('-').count() == 2 && !word.starts_with("2026-03-02")
    };
    let line = |line: &str| {
        let words: Vec<_> = line.split(' ').map(|word| if is_date(word) { "DAY" } else { word }).collect();
        words.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}
