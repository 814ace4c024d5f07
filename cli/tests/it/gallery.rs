//! The gallery and its thresholds.

use crate::fake::Fake;

#[test]
fn the_gallery_shows_its_state_and_what_its_faces_suggest() {
    let fake = Fake::with_students(&["1001"]);
    let ran = fake.cavs(&["gallery", "show"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let json = fake.cavs(&["gallery", "show", "-o", "json"]).json();
    assert_eq!((&json["mode"], &json["searches"]["changed"]), (&"auto".into(), &12.into()));
    assert_eq!(json["calibration"]["false_matches_per_thousand"], 1.234);

    let ran = fake.cavs(&["thresholds", "suggest", "--false-matches-per-1000", "0.1"]);
    insta::assert_snapshot!(ran.stdout);
    let ran = fake.cavs(&["thresholds", "list"]);
    insta::assert_snapshot!(ran.stdout);
    fake.service.state().students.clear();
    let ran = fake.cavs(&["thresholds", "suggest", "--false-matches-per-1000", "1"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.stderr.contains("enroll more students"), "{ran:?}");
}

#[test]
fn thresholds_are_tried_and_set() {
    let fake = Fake::with_students(&["1001"]);
    let ran = fake.cavs(&["thresholds", "set", "--accept", "0.5", "--dry-run"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "nothing was changed\n"), "{ran:?}");
    insta::assert_snapshot!(ran.stdout);
    let ran = fake.cavs(&["thresholds", "set", "--accept", "0.5", "-o", "json"]);
    assert_eq!(ran.json()["after"]["thresholds"]["version"], 4);
    let ran = fake.cavs(&["thresholds", "set", "--accept", "0.1", "-o", "json"]);
    assert_eq!((ran.code, &ran.error()["field_violations"][0]["field"]), (2, &"review".into()), "{ran:?}");
    let ran = fake.cavs(&["thresholds", "set", "--false-matches-per-1000", "0.1", "-o", "json"]);
    let after = &ran.json()["after"]["thresholds"];
    assert_eq!((&after["version"], &after["accept"]), (&4.into(), &0.45.into()));
    let both = ["thresholds", "set", "--accept", "0.5", "--false-matches-per-1000", "1"];
    assert_eq!(fake.cavs(&both).code, 2);
    assert_eq!(fake.cavs(&["thresholds", "set"]).code, 2);
    let seen_before = ["thresholds", "set", "--accept", "0.5", "--if-version", "2", "-o", "json"];
    let ran = fake.cavs(&seen_before);
    assert_eq!((ran.code, &ran.error()["reason"]), (1, &"THRESHOLDS_CHANGED".into()), "{ran:?}");
}

#[test]
fn twins_are_noted_listed_and_forgotten() {
    let fake = Fake::with_students(&["1001", "1002", "1003"]);
    let ran = fake.cavs(&["pairs", "add", "1001", "1002"]);
    let expected =
        "1001 Ada Lovelace and 1002 Ada Lovelace look alike: a face that may be either's goes to a person\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (0, expected), "{ran:?}");
    std::fs::write(fake.home().join("1.jpg"), "good").unwrap();
    assert_eq!(fake.cavs(&["enroll", "1003", "1.jpg", "--twin-of", "1001"]).code, 0);
    let pairs = fake.cavs(&["pairs", "list", "--all", "-o", "json"]).json()["pairs"].clone();
    assert_eq!(
        (&pairs[1]["first"]["number"], &pairs[1]["kind"]),
        (&"1003".into(), &"twins".into()),
        "{pairs:#}"
    );
    let of_second = fake.cavs(&["pairs", "list", "--student", "1002", "--all"]);
    assert_eq!(of_second.stdout.lines().count(), 2, "{of_second:?}");
    assert_eq!(fake.cavs(&["pairs", "rm", "1001", "1002"]).code, 0);
    assert_eq!(fake.cavs(&["pairs", "rm", "1001", "1003"]).code, 0);
    assert_eq!(fake.cavs(&["pairs", "rm", "1001", "1003"]).code, 3);
    assert_eq!(fake.cavs(&["pairs", "list"]).stderr, "no pairs\n");
}

#[test]
fn a_student_is_erased_only_when_it_is_meant() {
    let fake = Fake::with_students(&["1001"]);
    assert_eq!(fake.cavs(&["students", "erase", "1001"]).code, 2);
    let ran = fake.cavs(&["students", "erase", "1001", "--yes"]);
    let expected = "erased 1001 Ada Lovelace: 2 templates destroyed, 7 sightings left without a face, of erased-80000000000000ad; nothing is left in the database's tables\n";
    assert_eq!((ran.code, ran.stdout.as_str()), (0, expected), "{ran:?}");
    let json = fake.cavs(&["students", "show", "erased-80000000000000ad", "-o", "json"]).json();
    assert_eq!((&json["erase_time"], &json["template_count"]), (&"2026-03-02T10:00:00Z".into(), &0.into()));
    assert_eq!(fake.cavs(&["students", "erase", "none", "--yes"]).code, 3);
}
