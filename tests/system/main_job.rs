//! A camera's frames become reviewed sightings.

use std::{collections::HashSet, time::Duration};

use cavs_tests::{Site, SiteOptions, TestSite, lay_out, people};
use serde_json::Value;

/// Who is enrolled; as many others are seen, too.
const STUDENTS: usize = 6;
/// Only a picture that was enrolled is so like itself, whatever the pack.
const CERTAIN: &str = "recognition.accept = 0.95\nrecognition.review = 0.1\nrecognition.margin = 0.01\n\
     enrollment.same_person = 0.97";

#[test]
fn frames_become_reviewed_sightings() {
    let options = SiteOptions { server_toml: CERTAIN.into(), ..SiteOptions::default() };
    let site = TestSite::start_with(&options);
    let people = people(2 * STUDENTS);
    let (students, strangers) = people.split_at(STUDENTS);
    for student in students {
        assert_eq!(site.enroll(&student.number, &student.portraits[..2]), 2, "{}", student.number);
    }
    // Of students a picture that was enrolled and one that was not, and pictures of strangers.
    let frame = |kind: &str, number: &str| format!("{number}-{kind}.jpg");
    let enrolled = students.iter().map(|s| (frame("enrolled", &s.number), &s.portraits[0]));
    let other = students.iter().map(|s| (frame("other", &s.number), &s.portraits[2]));
    let unknown = strangers.iter().map(|s| (frame("stranger", &s.number), &s.portraits[0]));
    let frames = site.path("frames");
    lay_out(&frames, enrolled.chain(other).chain(unknown));

    let device = site.add_device("camera");
    let config = site.configure_agent(&device, &frames, "");
    let mut agent = site.start_agent(&device, &config);
    assert_eq!(agent.wait(Duration::from_secs(300)), Some(0), "{}", agent.output());

    let sightings = all_sightings(&site);
    assert_eq!(sightings.len(), 3 * STUDENTS, "one face in each picture");
    let mut named = HashSet::new();
    for sighting in &sightings {
        // The student whom the machine names without asking anybody.
        let frame = sighting["frame"].as_str().unwrap();
        if sighting["prediction"]["decision"] == "accepted" {
            let number = sighting["prediction"]["candidates"][0]["student"]["number"].as_str().unwrap();
            assert!(frame.starts_with(number), "{frame} was named {number}");
            named.insert(frame);
        }
    }
    for student in students {
        assert!(named.contains(frame("enrolled", &student.number).as_str()), "{}: {named:?}", student.number);
    }
    review_them(&site, [&students[0].number, &students[1].number]);
}

/// Approves, rejects with a correction, and flags what is in the queue, as a reviewer would.
fn review_them(site: &Site, numbers: [&str; 2]) {
    let sightings = all_sightings(site);
    let accepted = sightings.iter().find(|s| s["prediction"]["decision"] == "accepted").unwrap();
    let id = accepted["id"].as_str().unwrap();
    let predicted = &accepted["prediction"]["candidates"][0]["student"]["number"];

    let approved = site.cli.json(&["review", "approve", id, "--notes", "seen"]);
    assert_eq!(
        (&approved["review"]["verdict"], &approved["student"]["number"]),
        (&"approved".into(), predicted)
    );
    assert_eq!(approved["review"]["reviewer"], "admin");

    let error = site.cli.fails(1, &["review", "reject", id]);
    assert!(error.contains("approved or rejected"), "{error}");
    let other = if predicted == numbers[0] { numbers[1] } else { numbers[0] };
    let corrected = site.cli.json(&["review", "reject", id, "--student", other, "--replace"]);
    assert_eq!(corrected["student"]["number"], other);
    assert_eq!(&corrected["prediction"]["candidates"][0]["student"]["number"], predicted);

    let queue = site.cli.json(&["review", "list"]);
    let before = queue["sightings"].as_array().unwrap().len();
    site.cli.json(&["review", "flag", id, "--replace"]);
    let queue = site.cli.json(&["review", "list"]);
    assert_eq!(queue["sightings"].as_array().unwrap().len(), before + 1);

    // What was said stays said, and a verdict that is taken back leaves the one before it in force.
    let undone = site.cli.json(&["review", "undo", id, "--notes", "a wrong click"]);
    assert_eq!(
        (&undone["review"]["verdict"], &undone["student"]["number"]),
        (&"rejected".into(), &other.into())
    );
    let queue = site.cli.json(&["review", "list"]);
    assert_eq!(queue["sightings"].as_array().unwrap().len(), before);
    let shown = site.cli.json(&["sightings", "show", id]);
    let said = shown["reviews"].as_array().unwrap();
    let verdicts: Vec<_> = said.iter().map(|review| review["verdict"].as_str().unwrap()).collect();
    assert_eq!(verdicts, ["approved", "rejected", "flagged"]);
    assert_eq!((&said[0]["notes"], &said[1]["withdrawal"]), (&"seen".into(), &Value::Null));
    assert_eq!(said[2]["withdrawal"]["notes"], "a wrong click");
    site.add_user("eve", "reviewer", "only reviewing");
    site.log_in("eve", "only reviewing");
    let refused = site.cli.fails(4, &["review", "undo", id]);
    assert!(refused.contains("only they or an admin"), "{refused}");
}

fn all_sightings(site: &Site) -> Vec<Value> {
    let listed = site.cli.json(&["sightings", "list", "--limit", "1000"]);
    listed["sightings"].as_array().unwrap().clone()
}
