//! A camera's frames become reviewed sightings.

use std::{fs, path::PathBuf, time::Duration};

use cavs_tests::{Site, TestSite, demo::split, people};
use serde_json::Value;

#[test]
fn frames_become_reviewed_sightings() {
    let Some(site) = TestSite::start() else { return };
    let (people, strangers) = people(&site.shared);
    let frames = site.path("frames");
    fs::create_dir(&frames).unwrap();
    let mut genuine = 0;
    for person in &people {
        let (enroll, stream) = split(&person.photographs);
        let photographs: Vec<PathBuf> = enroll.into_iter().cloned().collect();
        assert!(site.enroll(person.name, &photographs) > 0, "{}", person.name);
        for photograph in stream {
            fs::copy(photograph, frames.join(photograph.file_name().unwrap())).unwrap();
            genuine += 1;
        }
    }
    for photograph in &strangers {
        fs::copy(photograph, frames.join(photograph.file_name().unwrap())).unwrap();
    }

    let device = site.add_device("camera");
    let config = site.configure_agent(&device, &frames, "");
    let mut agent = site.start_agent(&device, &config);
    assert_eq!(agent.wait(Duration::from_secs(300)), Some(0), "{}", agent.output());

    let sightings = all_sightings(&site);
    let owner = |s: &Value| {
        let frame = s["frame"].as_str().unwrap();
        people.iter().find(|p| frame.starts_with(p.name)).map(|p| p.name)
    };
    // The student whom the machine names without asking anybody.
    let named = |s: &Value| match s["prediction"]["decision"].as_str().unwrap() {
        "accepted" => s["prediction"]["candidates"][0]["student"]["number"].as_str().map(str::to_owned),
        _ => None,
    };
    let right = sightings.iter().filter(|s| owner(s).is_some() && named(s).as_deref() == owner(s)).count();
    for s in sightings.iter().filter(|s| named(s).as_deref() != owner(s)) {
        eprintln!("{} decided {}", s["frame"], s["prediction"]);
    }
    let wrong: Vec<_> =
        sightings.iter().filter(|s| named(s).is_some() && named(s).as_deref() != owner(s)).collect();
    assert!(wrong.is_empty(), "named wrongly: {wrong:#?}");
    assert!(right * 10 >= genuine * 9, "{right} of {genuine} genuine faces are named rightly");

    review_them(&site);
}

/// Approves, rejects with a correction, and flags what is in the queue, as a reviewer would.
fn review_them(site: &Site) {
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
    let other = if predicted == "person-vlado" { "stock-emotions-a-" } else { "person-vlado" };
    let corrected = site.cli.json(&["review", "reject", id, "--student", other, "--replace"]);
    assert_eq!(corrected["student"]["number"], other);
    assert_eq!(&corrected["prediction"]["candidates"][0]["student"]["number"], predicted);

    let queue = site.cli.json(&["review", "list"]);
    let before = queue["sightings"].as_array().unwrap().len();
    site.cli.json(&["review", "flag", id, "--replace"]);
    let queue = site.cli.json(&["review", "list"]);
    assert_eq!(queue["sightings"].as_array().unwrap().len(), before + 1);
}

fn all_sightings(site: &Site) -> Vec<Value> {
    let listed = site.cli.json(&["sightings", "list", "--limit", "1000"]);
    listed["sightings"].as_array().unwrap().clone()
}
