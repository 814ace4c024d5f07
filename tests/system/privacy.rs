//! No face leaves the server's memory in the clear.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use cavs_models::{DecodeLimits, FacePipeline, Image, Pack, PipelineOptions};
use cavs_tests::{RENDERED_FACES, SiteOptions, TestSite, lay_out, people};

/// Whether any file below a folder contains the bytes.
fn contains(folder: &Path, needle: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return contains(&path, needle);
        }
        fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    })
}

/// A site that keeps the face crops of all decisions.
fn keeping_evidence() -> SiteOptions {
    let server_toml = format!(
        "{RENDERED_FACES}\nevidence.keep = [\"accepted\", \"pending\", \"unknown\"]\nenrollment.keep_portraits = true"
    );
    SiteOptions { server_toml, ..SiteOptions::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_and_evidence_are_sealed_on_disk() {
    let mut site = TestSite::start_with(&keeping_evidence());
    let person = people(1).remove(0);
    let photograph = &person.portraits[0];
    assert_eq!(site.enroll("1", std::slice::from_ref(photograph)), 1);

    let frames = site.path("frames");
    lay_out(&frames, [("1.jpg".to_owned(), photograph)]);
    let device = site.add_device("camera");
    let config = site.configure_agent(&device, &frames, "");
    let mut agent = site.start_agent(&device, &config);
    assert_eq!(agent.wait(std::time::Duration::from_secs(120)), Some(0), "{}", agent.output());

    // A reviewer gets the picture back.
    let listed = site.cli.json(&["sightings", "list"]);
    let id = listed["sightings"][0]["id"].as_str().unwrap().to_owned();
    let picture = site.path("evidence.jpg");
    let shown = ["review", "show", &id, "--evidence-out", picture.to_str().unwrap()];
    assert_eq!(site.cli.json(&shown)["sighting"]["prediction"]["decision"], "accepted");
    let evidence = fs::read(&picture).unwrap();
    assert!(evidence.starts_with(&[0xff, 0xd8]), "no JPEG");

    // The picture of enrollment is kept, too: sealed, so that nothing in it looks like a JPEG.
    let client = site.database().await;
    let sealed: Vec<u8> = client.query_one("SELECT sealed FROM portraits", &[]).await.unwrap().get(0);
    assert!(sealed.len() > 1000 && !sealed.windows(4).any(|window| window == b"JFIF"));
    drop(client);
    // Everything is in files once the server has stopped.
    assert_eq!(site.take_server().terminate(), Some(0));
    let pack = Pack::built_in().unwrap();
    let mut pipeline = FacePipeline::new(&pack, PipelineOptions::default()).unwrap();
    let image = Image::decode(&fs::read(photograph).unwrap(), &DecodeLimits::default()).unwrap();
    let embedding = pipeline.analyze(&image).unwrap().remove(0).embedding.to_le_bytes();
    let (database, log) = (site.path("db"), site.path("server.log"));
    for needle in [&embedding[..32], &embedding[64..96], &evidence[evidence.len() / 2..][..32]] {
        assert!(!contains(&database, needle), "a plaintext is in the database's files");
        assert!(!fs::read(&log).unwrap().windows(needle.len()).any(|w| w == needle));
    }
    // The search would find it: the device's number of the sighting is there in the clear.
    assert!(contains(&database, b"camera"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_student_leaves_sightings_without_a_face() {
    let site = TestSite::start_with(&keeping_evidence());
    let photograph = people(1).remove(0).portraits.remove(0);
    assert_eq!(site.enroll("1", std::slice::from_ref(&photograph)), 1);
    let frames = site.path("frames");
    lay_out(&frames, [("1.jpg".to_owned(), &photograph)]);
    let device = site.add_device("camera");
    let config = site.configure_agent(&device, &frames, "");
    let mut agent = site.start_agent(&device, &config);
    assert_eq!(agent.wait(std::time::Duration::from_secs(120)), Some(0), "{}", agent.output());
    let sighting = site.cli.json(&["sightings", "list"])["sightings"][0].clone();
    assert_eq!((&sighting["student"]["number"], &sighting["has_evidence"]), (&"1".into(), &true.into()));

    let database = site.database().await;
    let sql = "SELECT wrapped FROM data_keys WHERE student_id IS NOT NULL";
    let wrapped: Vec<u8> = database.query_one(sql, &[]).await.unwrap().get(0);
    database.batch_execute("CHECKPOINT").await.unwrap();
    let tables = site.path("db/data/base");
    assert!(contains(&tables, &wrapped), "the search finds what is there");

    site.cli.fails(2, &["students", "erase", "1"]);
    let erased = site.cli.json(&["students", "erase", "1", "--yes"]);
    let pseudonym = erased["student"]["number"].as_str().unwrap();
    assert!(pseudonym.starts_with("erased-") && erased["student"]["name"] == "", "{erased:#}");
    let erasure = &erased["erasure"];
    assert_eq!((&erasure["templates"], &erasure["sightings"]), (&1.into(), &1.into()));
    assert_eq!((&erasure["state"], &erasure["waits_for"]), (&"purged".into(), &"".into()));
    // Another server would have the same to say: it is all in the database.
    let sql = "SELECT (SELECT count(*) FROM templates), (SELECT count(*) FROM data_keys WHERE student_id IS NOT NULL),
                   (SELECT count(*) FROM evidence), (SELECT count(*) FROM probes), (SELECT count(*) FROM portraits)";
    let left = database.query_one(sql, &[]).await.unwrap();
    assert_eq!([0, 1, 2, 3, 4].map(|column| left.get::<_, i64>(column)), [0; 5]);
    database.batch_execute("CHECKPOINT").await.unwrap();
    assert!(!contains(&tables, &wrapped), "the destroyed key is in a table's file");

    // The attendance stays, the face does not.
    let id = sighting["id"].as_str().unwrap();
    let sighting = site.cli.json(&["sightings", "list"])["sightings"][0].clone();
    assert_eq!(
        (&sighting["student"]["number"], &sighting["has_evidence"]),
        (&pseudonym.into(), &false.into())
    );
    let picture = site.path("evidence.jpg");
    site.cli.fails(3, &["review", "show", id, "--evidence-out", picture.to_str().unwrap()]);
    assert!(site.cli.json(&["students", "show", pseudonym])["erase_time"].is_string());
    assert_eq!(site.cli.json(&["gallery", "show"])["templates"], 0);
    let photograph = photograph.to_str().unwrap();
    assert!(site.cli.fails(1, &["enroll", pseudonym, photograph]).contains("erased"));
    // Nobody remembers the face, and the number is free: the same person may come again.
    assert_eq!(site.enroll("1", &[photograph.into()]), 1);
    let again = site.cli.json(&["students", "erase", pseudonym, "--yes"]);
    assert_eq!(again["erasure"], *erasure, "nothing more was destroyed");
    assert_eq!(site.cli.json(&["students", "show", "1"])["template_count"], 1);

    // What the site sets is applied at once, not at the next day's turn.
    let set = site.cli.json(&["retention", "set", "--evidence", "5", "--yes"]);
    assert_eq!((&set["in_force"]["evidence_days"], &set["set_by"]), (&5.into(), &"admin".into()));
    let begun = Instant::now();
    loop {
        let run = site.cli.json(&["retention", "show"])["runs"][0].clone();
        if run["policy"]["evidence_days"] == 5 && run["state"] == "done" {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{run:#}");
        std::thread::sleep(Duration::from_millis(100));
    }
}
