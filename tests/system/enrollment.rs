//! Gates of enrollment, portraits, and the next face that a device sees.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use cavs_models::{BoundingBox, FacePipeline, Image, Pack, PhotographReader, PipelineOptions};
use cavs_proto::{error_reason, v1};
use cavs_tests::{RENDERED_FACES, SiteOptions, TestSite, flood::channel, jpeg_without_face, lay_out, people};
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
fn integrators_ask_whose_face_it_is() {
    let server_toml = format!("{RENDERED_FACES}\nmatching.calls_per_minute = 6");
    let site = TestSite::start_with(&SiteOptions { server_toml, ..SiteOptions::default() });
    let [ada, bob, eve] = people(3).try_into().unwrap();
    assert_eq!(site.enroll("1", &ada.portraits[..2]), 2);
    assert_eq!(site.enroll("2", &bob.portraits[..2]), 2);
    let path = |person: &cavs_tests::Person, view: usize| person.portraits[view].to_str().unwrap().to_owned();
    let cli = &site.cli;
    let found = cli.json(&["match", "identify", &path(&ada, 0)]);
    assert_eq!(
        (&found["decision"], &found["candidates"][0]["student"]["number"]),
        (&"accepted".into(), &"1".into())
    );
    assert_eq!(cli.json(&["match", "verify", "1", &path(&ada, 0)])["verified"], true);
    let asked = |arguments: &[&str]| {
        let output = cli.run(&[arguments, &["-o", "json"]].concat());
        (output.status.code(), serde_json::from_slice::<Value>(&output.stdout).unwrap())
    };
    let (code, other) = asked(&["match", "verify", "2", &path(&ada, 0)]);
    assert_eq!((code, &other["verified"]), (Some(1), &false.into()), "{other:#}");
    let nobody = site.path("nobody.jpg");
    fs::write(&nobody, jpeg_without_face()).unwrap();
    let (code, nobody) = asked(&["match", "identify", nobody.to_str().unwrap()]);
    assert_eq!(
        (code, &nobody["reason"], nobody["candidates"].as_array().unwrap().len()),
        (Some(1), &"NO_FACE".into(), 0)
    );
    // Who is not to be recognised is nobody.
    cli.json(&["students", "deactivate", "2"]);
    let (_, left) = asked(&["match", "verify", "2", &path(&bob, 0)]);
    assert_eq!((&left["verified"], &left["reason"]), (&false.into(), &"NOT_ENROLLED".into()));
    let (_, left) = asked(&["match", "identify", &path(&bob, 0)]);
    assert_ne!(left["decision"], "accepted", "{left:#}");
    // As often as the configuration says.
    let error = cli.fails(5, &["match", "identify", &path(&eve, 0)]);
    assert!(error.contains("as often as you may"), "{error}");
    let list = cli.json(&["match", "list"]);
    let list = list["matches"].as_array().unwrap();
    assert_eq!((list.len(), &list[0]["kind"], &list[5]["kind"]), (6, &"identify".into(), &"identify".into()));
    assert_eq!((&list[3]["asked_student"]["number"], &list[3]["asked_by"]), (&"2".into(), &"admin".into()));

    // By an embedding, as a program that has the role for it; and nobody else.
    site.add_user("door", "capture", "open the door");
    site.add_user("reviewer", "reviewer", "only reviewing");
    let mut pipeline =
        FacePipeline::new(&Pack::open_or_built_in(None).unwrap(), PipelineOptions::default()).unwrap();
    let image = PhotographReader::default().read(&fs::read(&ada.portraits[1]).unwrap()).unwrap();
    let face = pipeline.analyze_upright(&image).unwrap().faces.remove(0);
    let embedding = v1::MatchEmbedding {
        pack_digest: site.pack_digest().to_string(),
        embedding: face.embedding.to_le_bytes().to_vec().into(),
        quality: Some(face.quality.into()),
        liveness: None,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |user: &str, password: &str, embedding: v1::MatchEmbedding| {
        runtime.block_on(async {
            let channel = channel(&site, site.api_port(), None).await;
            let login = v1::LoginRequest { username: user.into(), password: password.into() };
            let mut auth = v1::auth_service_client::AuthServiceClient::new(channel.clone());
            let token = auth.login(login).await.unwrap().into_inner().access_token;
            let face = Some(v1::match_face::Face::Embedding(embedding));
            let request = v1::IdentifyRequest { face: Some(v1::MatchFace { face }) };
            let mut request = tonic::Request::new(request);
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
            let mut matches = v1::match_service_client::MatchServiceClient::new(channel);
            matches.identify(request).await.map(tonic::Response::into_inner)
        })
    };
    let found = ask("door", "open the door", embedding.clone()).unwrap();
    assert_eq!(found.candidates[0].student.as_ref().unwrap().number, "1");
    let foreign = v1::MatchEmbedding { pack_digest: "ab".repeat(32), ..embedding.clone() };
    assert_eq!(ask("door", "open the door", foreign).unwrap().reason, "PACK_NOT_SERVED");
    let refused = ask("reviewer", "only reviewing", embedding).unwrap_err();
    assert_eq!(error_reason(&refused), Some(cavs_types::ErrorReason::RoleInsufficient));
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
