//! What people keep and look for: students by number and name, devices under their names, sightings by time.

use std::path::Path;

use cavs_models::{DecodeLimits, FacePipeline, Image, Pack, PipelineOptions};
use cavs_proto::{to_timestamp, v1};
use cavs_tests::{Site, TestSite, people};
use cavs_types::Quality;
use jiff::Timestamp;
use serde_json::Value;
use v1::stream_request::Message::Sightings;

use super::{
    bad_input::{converse, device_channel, hello, sighting},
    proxy::site::until,
};

/// A good picture's sighting of whoever is on it.
pub(crate) fn seen(
    site: &Site,
    portrait: &Path,
    sequence: u64,
    captured_at: Timestamp,
) -> v1::CapturedSighting {
    let pack = Pack::open_or_built_in(None).unwrap();
    let mut pipeline = FacePipeline::new(&pack, PipelineOptions::default()).unwrap();
    let image = Image::decode(&std::fs::read(portrait).unwrap(), &DecodeLimits::default()).unwrap();
    let embedding = pipeline.analyze(&image).unwrap().remove(0).embedding.to_le_bytes();
    v1::CapturedSighting {
        embedding: embedding.into(),
        capture_time: Some(to_timestamp(captured_at)),
        quality: Some(Quality::uniform(90).into()),
        ..sighting(site, sequence)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_found_kept_and_given_up() {
    let portrait = people(1).remove(0).portraits.remove(0);
    let site = TestSite::start();
    let add = |number: &str, name: &str| site.cli.run(&["students", "add", number, "--name", name]);

    // One number, however it is typed, and nothing that nobody can see.
    assert!(add("１７", "Zoe\u{308} Example").status.success());
    for same in ["17", "１７", "17\u{3000}"] {
        assert_eq!(add(same, "Somebody").status.code(), Some(1), "{same:?}");
        assert_eq!(site.cli.json(&["students", "show", same])["name"], "Zo\u{eb} Example");
    }
    for hidden in ["9003\u{200b}", "\u{202e}71", "\u{3164}"] {
        assert_eq!(add(hidden, "Somebody").status.code(), Some(2), "{hidden:?}");
        assert_eq!(add("18", &format!("{hidden}\u{200b}")).status.code(), Some(2), "{hidden:?}");
    }
    let found = site.cli.json(&["students", "list", "--search", "EXAM zoe"]);
    assert_eq!((&found["students"][0]["number"], &found["total_size"]), (&"17".into(), &1.into()));
    assert_eq!(site.cli.json(&["students", "list", "--search", "xample"])["total_size"], 0);

    // A time that nobody can believe is kept, and for a person.
    let enrolled = site.cli.json(&["enroll", "17", portrait.to_str().unwrap()]);
    assert_eq!(site.cli.json(&["students", "show", "17"])["template_count"], 1, "{enrolled:#}");
    let device = site.add_device("camera");
    let channel = device_channel(&site, &device.certificate.certificate, &device.certificate.key).await;
    for (sequence, captured_at) in [(1, Some("2076-01-01T00:00:00Z")), (2, None)] {
        let captured_at = captured_at.map_or_else(Timestamp::now, |time| time.parse().unwrap());
        let sightings = vec![seen(&site, &portrait, sequence, captured_at)];
        let batch = Some(Sightings(v1::SightingBatch { batch_id: sequence, sightings }));
        let (answers, status) = converse(channel.clone(), vec![hello(&site), batch]).await;
        assert!(status.is_none() && answers.len() == 2, "{answers:?} {status:?}");
    }
    let listed = site.cli.json(&["sightings", "list"]);
    let summary = |sighting: &Value| {
        let prediction = &sighting["prediction"];
        format!("{} {} {}", sighting["sequence"], prediction["decision"], prediction["reason"])
    };
    let shown: Vec<_> = listed["sightings"].as_array().unwrap().iter().map(summary).collect();
    assert_eq!(shown, ["2 \"accepted\" \"MATCHED\"", "1 \"pending\" \"TIME_IMPLAUSIBLE\""]);
    let queue = site.cli.json(&["review", "list"]);
    assert_eq!((&queue["sightings"][0]["time_implausible"], &queue["total_size"]), (&true.into(), &1.into()));
    assert!(queue["sightings"][0]["captured_at"].as_str().unwrap().starts_with("2076-01-01"), "it is kept");

    // Who is not active, or has refused, is nobody from that moment on; and somebody again.
    let channel_again = channel.clone();
    let decided = async |sequence: u64| {
        let sightings = vec![seen(&site, &portrait, sequence, Timestamp::now())];
        let batch = Some(Sightings(v1::SightingBatch { batch_id: sequence, sightings }));
        let (_, status) = converse(channel_again.clone(), vec![hello(&site), batch]).await;
        assert!(status.is_none(), "{status:?}");
        summary(&site.cli.json(&["sightings", "list", "--limit", "1"])["sightings"][0])
    };
    let mut watching = site.cli.start(&["sightings", "watch", "-o", "jsonl"], &site.path("watched"));
    site.cli.json(&["students", "deactivate", "17"]);
    assert_eq!(decided(3).await, "3 \"unknown\" \"EMPTY_GALLERY\"");
    assert!(site.cli.fails(1, &["enroll", "17", portrait.to_str().unwrap()]).contains("is not active"));
    site.cli.json(&["students", "reactivate", "17"]);
    assert_eq!(decided(4).await, "4 \"accepted\" \"MATCHED\"");
    site.cli.json(&["students", "update", "17", "--photo-consent", "refused"]);
    assert_eq!(decided(5).await, "5 \"unknown\" \"EMPTY_GALLERY\"");
    site.cli.json(&["students", "update", "17", "--photo-consent", "given"]);
    assert_eq!(decided(6).await, "6 \"accepted\" \"MATCHED\"");
    // Whoever watches is told of each; what was before the watching began is not.
    until("the last sighting is told", || watching.output().contains("\"sequence\":6,"));
    let told = watching.output();
    let told: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.last().unwrap()["sequence"], 6);
    assert!(
        told.windows(2).all(|pair| pair[0]["sequence"].as_u64() < pair[1]["sequence"].as_u64()),
        "{told:?}"
    );
    assert_eq!(watching.exit_code(), None);
    watching.terminate();
    for (name, lines) in [("sightings.csv", 7), ("sightings.jsonl", 6)] {
        let path = site.path(name);
        assert!(site.cli.run(&["sightings", "export", path.to_str().unwrap()]).status.success());
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), lines, "{name}");
    }

    // The file of the documents, and what was written is read again.
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/STUDENTS.md")).unwrap();
    let example = document.split("```csv\n").nth(1).unwrap().split("```").next().unwrap();
    let file = |name: &str| site.path(name).to_str().unwrap().to_owned();
    std::fs::write(file("example.csv"), example).unwrap();
    let tried = site.cli.json(&["students", "import", &file("example.csv"), "--dry-run"]);
    assert_eq!(
        (&tried["applied"], &tried["created"], &tried["missing"]),
        (&false.into(), &2.into(), &1.into())
    );
    assert_eq!(site.cli.json(&["students", "import", &file("example.csv")])["created"], 2);
    assert_eq!(site.cli.json(&["students", "show", "0018"])["name"], "Lovelace, Ada");
    assert!(site.cli.run(&["students", "export", &file("all.csv"), "--active"]).status.success());
    let again = site.cli.json(&["students", "import", &file("all.csv"), "--deactivate-missing"]);
    assert_eq!(
        (&again["unchanged"], &again["updated"], &again["applied"]),
        (&3.into(), &0.into(), &true.into())
    );
    std::fs::write(file("bad.csv"), "number,email\n0018,GRACE@example.org\n0017,g@x\n").unwrap();
    let refused = site.cli.run(&["students", "import", &file("bad.csv")]);
    assert_eq!(refused.status.code(), Some(1));
    let told = String::from_utf8(refused.stdout).unwrap();
    assert!(told.contains("is that of student \"0017\""), "{told}");
    assert_eq!(site.cli.json(&["students", "show", "0017"])["email"], "grace@example.org");
    std::fs::write(file("latin.csv"), b"number;name\r\n0018;Zo\xeb\r\n").unwrap();
    assert!(site.cli.fails(2, &["students", "import", &file("latin.csv")]).contains("is no UTF-8"));
    site.cli.json(&["students", "import", &file("latin.csv"), "--encoding", "latin1"]);
    assert_eq!(site.cli.json(&["students", "show", "0018"])["name"], "Zo\u{eb}");

    // Another machine under the same name, and the name again after a revocation.
    let update = ["devices", "update", "camera", "--name", "door", "--classroom", "Room 2"];
    assert_eq!(site.cli.json(&update)["classroom"], "Room 2");
    site.cli.fails(2, &["devices", "replace", "door"]);
    let second = site.cli.json(&["devices", "replace", "door", "--yes"]);
    assert_eq!((&second["name"], &second["classroom"]), (&"door".into(), &"Room 2".into()));
    let (_, status) = converse(channel, vec![hello(&site)]).await;
    assert!(status.unwrap().message().contains("revoked"));
    site.cli.fails(1, &["devices", "add", "door"]);
    site.cli.fails(2, &["devices", "revoke", "door"]);
    site.cli.json(&["devices", "revoke", "door", "--yes"]);
    assert_eq!(site.cli.json(&["devices", "show", "door"])["id"], second["id"]);
    let third = site.cli.json(&["devices", "add", "door"]);
    assert_eq!(site.cli.json(&["devices", "show", "door"])["id"], third["id"]);
    let devices = site.cli.json(&["devices", "list", "--all"]);
    assert_eq!((devices["devices"].as_array().unwrap().len(), &devices["total_size"]), (3, &3.into()));

    // Who is erased leaves the number to others.
    let erased = site.cli.json(&["students", "erase", "17", "--yes"]);
    let pseudonym = erased["student"]["number"].as_str().unwrap();
    assert!(pseudonym.starts_with("erased-") && erased["student"]["name"] == "", "{erased:#}");
    site.cli.fails(3, &["students", "show", "17"]);
    assert!(add("17", "Zo\u{eb} Example").status.success());
    assert_eq!(site.cli.json(&["sightings", "list"])["sightings"][0]["student"]["number"], pseudonym);
}
