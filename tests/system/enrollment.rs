//! Gates of enrollment, portraits, and the next face that a device sees.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use cavs_models::{BoundingBox, Image, PhotographReader};
use cavs_tests::{SiteOptions, TestSite, lay_out, people};
use serde_json::Value;

/// The reasons of the verdicts on images; empty where they were taken.
fn reasons(enrolled: &Value) -> Vec<&str> {
    enrolled["images"].as_array().unwrap().iter().map(|v| v["reason"].as_str().unwrap_or("")).collect()
}

/// A photograph as a small picture shows it.
fn shrunk(photograph: &std::path::Path) -> Vec<u8> {
    let image: Image = PhotographReader::default().read(&fs::read(photograph).unwrap()).unwrap();
    let (width, height) = (image.width() as f32, image.height() as f32);
    image.crop_jpeg(BoundingBox { x: 0.0, y: 0.0, width, height }, 0.0, 130, 95).unwrap()
}

#[test]
fn gates_say_what_is_taken_and_a_face_of_another_stops() {
    // Rendered faces are far more alike than people.
    let server_toml = "recognition.accept = 0.65\nrecognition.review = 0.55\nrecognition.margin = 0.05\n\
                       enrollment.same_person = 0.95\nenrollment.keep_portraits = true\nevidence.keep = [\"pending\", \
                       \"unknown\", \"accepted\"]";
    let options = SiteOptions { server_toml: server_toml.to_owned(), ..SiteOptions::default() };
    let site = TestSite::start_with(&options);
    let cli = &site.cli;
    let [ada, bob, eve] = people(3).try_into().unwrap();
    for number in ["1", "2", "3"] {
        cli.json(&["students", "add", number, "--name", "Somebody"]);
    }
    let path = |person: &cavs_tests::Person, view: usize| person.portraits[view].to_str().unwrap().to_owned();
    assert_eq!(cli.json(&["enroll", "1", &path(&ada, 0)])["accepted"], 1);

    // The first face of the call is another student's: nothing more is taken.
    let output = cli.run(&["enroll", "2", &path(&ada, 0), &path(&bob, 0), "-o", "json"]);
    let stopped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reasons(&stopped), ["LOOKS_LIKE_ANOTHER_STUDENT", "STOPPED_AT_DUPLICATE"], "{stopped:#}");
    assert_eq!(output.status.code(), Some(1));

    // What is too small for the site's gate may be taken by another one, which is noted.
    let small = site.path("small.jpg");
    fs::write(&small, shrunk(&bob.portraits[0])).unwrap();
    let small = small.to_str().unwrap();
    assert_eq!(cli.json(&["sites", "gate"])["gate"], "standard");
    assert_eq!(cli.json(&["sites", "gate", "strict"])["gate"], "strict");
    let output = cli.run(&["enroll", "2", small, "-o", "json"]);
    let refused: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reasons(&refused), ["FACE_TOO_SMALL"], "{refused:#}");
    let taken = cli.json(&["enroll", "2", small, "--gate", "off"]);
    assert_eq!(taken["accepted"], 1, "{taken:#}");
    let template = &cli.json(&["templates", "list", "2"])["templates"][0];
    assert_eq!(
        (&template["gate"], &template["enrolled_by"]),
        (&"off".into(), &"admin".into()),
        "{template:#}"
    );

    // Its picture is there to be looked at, by admins.
    let (id, file) = (template["id"].as_str().unwrap(), site.path("face.jpg"));
    let shown = cli.json(&["templates", "show", id, "--portrait", file.to_str().unwrap()]);
    assert_eq!(shown["has_portrait"], true, "{shown:#}");
    assert!(PhotographReader::default().read(&fs::read(&file).unwrap()).is_ok());
    site.add_user("viewer", "viewer", "only looking");
    let viewer = site.cli_of("viewer", "only looking");
    viewer.fails(4, &["templates", "show", id]);
    viewer.fails(4, &["sites", "gate", "off"]);
    assert_eq!(viewer.json(&["sites", "gate"])["gate"], "strict");

    // The next face of a device is enrolled once somebody says whose it is.
    let device = site.add_device("door");
    let error = cli.fails(1, &["enroll", "3", "--from-device", "door"]);
    assert!(error.contains("consent to photographs is not on record"), "{error}");
    cli.json(&["students", "update", "3", "--photo-consent", "given"]);
    let error = cli.fails(1, &["enroll", "3", "--from-device", "door", "--wait", "1"]);
    assert!(error.contains("door saw nobody in 1 s"), "{error}");
    let (frames, picture) = (site.path("frames"), site.path("seen.jpg"));
    lay_out(&frames, [("eve.jpg".to_owned(), &eve.portraits[0])]);
    let mut enrolling = cli.start(
        &[
            "enroll",
            "3",
            "--from-device",
            "door",
            "--wait",
            "120",
            "--gate",
            "standard",
            "--yes",
            "--picture",
            picture.to_str().unwrap(),
        ],
        &site.path("enrolling.log"),
    );
    let begun = Instant::now();
    while !enrolling.output().contains("waiting for the next face that door sees") {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", enrolling.output());
        thread::sleep(Duration::from_millis(10));
    }
    let config = site.configure_agent(&device, &frames, "");
    let mut agent = site.start_agent(&device, &config);
    assert_eq!(enrolling.wait(Duration::from_secs(120)), Some(0), "{}", enrolling.output());
    assert_eq!(agent.wait(Duration::from_secs(120)), Some(0), "{}", agent.output());
    assert!(enrolling.output().contains("quality"), "{}", enrolling.output());
    assert!(PhotographReader::default().read(&fs::read(&picture).unwrap()).is_ok());
    let enrolled = cli.json(&["students", "show", "3"]);
    assert_eq!((&enrolled["template_count"], &enrolled["re_enroll"]), (&1.into(), &false.into()));
}
