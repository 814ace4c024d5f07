//! No face leaves the server's memory in the clear.

use std::{fs, path::Path};

use cavs_models::{DecodeLimits, FacePipeline, Image, Pack, PipelineOptions};
use cavs_tests::{SiteOptions, TestSite, people};

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

#[tokio::test(flavor = "multi_thread")]
async fn embeddings_and_evidence_are_sealed_on_disk() {
    let options = SiteOptions {
        server_toml: "evidence.keep = [\"accepted\", \"pending\", \"unknown\"]".into(),
        ..SiteOptions::default()
    };
    let Some(mut site) = TestSite::start_with(&options) else { return };
    let person = people(&site.shared).0.remove(0);
    let photograph = &person.photographs[0];
    assert_eq!(site.enroll("1", std::slice::from_ref(photograph)), 1);

    let frames = site.path("frames");
    fs::create_dir(&frames).unwrap();
    fs::copy(photograph, frames.join("1.jpg")).unwrap();
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

    // Everything is in files once the server has stopped.
    assert_eq!(site.take_server().terminate(), Some(0));
    let pack = Pack::open(&site.path("pack")).unwrap();
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
