//! What bad input gets: an error that names the thing, the right code, and nothing half-done.

use std::{fs, path::Path, process::Command, time::Duration};

use cavs_certs::SiteCa;
use cavs_embedding::UnitEmbedding;
use cavs_esp32_emulator::{FrameLoop, FrameLoopOptions};
use cavs_proto::{error_reason, v1};
use cavs_tests::{Site, SiteOptions, TestSite, binary, jpeg_without_face, people};
use cavs_types::ErrorReason;
use tokio_stream::iter;
use tonic::{
    Code, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Identity},
};
use v1::{
    ingest_service_client::IngestServiceClient, sighting_result::Outcome, stream_request::Message as Up,
    stream_response::Message as Down,
};

pub(crate) async fn device_channel(site: &Site, certificate: &Path, key: &Path) -> Channel {
    device_channel_to(site, site.device_port(), certificate, key).await
}

/// As [`device_channel`], to another server of the site.
pub(crate) async fn device_channel_to(site: &Site, port: u16, certificate: &Path, key: &Path) -> Channel {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(read(&site.path("certs/ca.pem"))))
        .identity(Identity::from_pem(read(certificate), read(key)))
        .domain_name("localhost");
    let address = format!("https://127.0.0.1:{port}");
    Channel::from_shared(address).unwrap().tls_config(tls).unwrap().connect().await.unwrap()
}

/// Sends messages on one stream (`None` is one that nobody knows yet), and gives what came back until the stream ended.
pub(crate) async fn converse(channel: Channel, messages: Vec<Option<Up>>) -> (Vec<Down>, Option<Status>) {
    let messages = messages.into_iter().map(|message| v1::StreamRequest { message });
    let mut stream = match IngestServiceClient::new(channel).stream(iter(messages)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return (Vec::new(), Some(status)),
    };
    let mut answers = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(message)) => answers.extend(message.message),
            Ok(None) => return (answers, None),
            Err(status) => return (answers, Some(status)),
        }
    }
}

pub(crate) fn hello(site: &Site) -> Option<Up> {
    let pack_digest = site.pack_digest().to_string();
    let version = "test".to_owned();
    let hello = v1::Hello { agent_version: version, pack_digest, boot_epoch: 1, ..Default::default() };
    Some(Up::Hello(hello))
}

pub(crate) fn sighting(site: &Site, sequence: u64) -> v1::CapturedSighting {
    v1::CapturedSighting {
        boot_epoch: 1,
        sequence,
        capture_time: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
        embedding: UnitEmbedding::normalize(vec![1.0; 128]).unwrap().to_le_bytes().into(),
        pack_digest: site.pack_digest().to_string(),
        bounding_box: Some(v1::BoundingBox { x: 1.0, y: 1.0, width: 9.0, height: 9.0 }),
        detection_score: 0.9,
        quality: Some(v1::FaceQuality::default()),
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_get_an_answer_for_every_sighting() {
    let site = TestSite::start();
    let device = site.add_device("camera");
    let (certificate, key) = (&device.certificate.certificate, &device.certificate.key);
    let channel = device_channel(&site, certificate, key).await;

    let nan = [f32::NAN.to_le_bytes().repeat(128)].concat();
    let sightings = vec![
        sighting(&site, 1),
        v1::CapturedSighting { embedding: nan.into(), ..sighting(&site, 2) },
        v1::CapturedSighting { embedding: vec![0; 511].into(), ..sighting(&site, 3) },
        v1::CapturedSighting {
            embedding: UnitEmbedding::normalize(vec![1.0; 64]).unwrap().to_le_bytes().into(),
            ..sighting(&site, 4)
        },
        v1::CapturedSighting { capture_time: None, ..sighting(&site, 5) },
        sighting(&site, 1),
    ];
    let batch = v1::SightingBatch { batch_id: 7, sightings };
    let (answers, status) = converse(
        channel.clone(),
        vec![hello(&site), Some(Up::Sightings(batch.clone())), Some(Up::Sightings(batch))],
    )
    .await;
    assert!(status.is_none(), "{status:?}");
    let [Down::Welcome(welcome), Down::Ack(first), Down::Ack(second)] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert_eq!(welcome.device_id, device.id);
    let outcomes = |ack: &v1::BatchAck| -> Vec<(i32, String)> {
        ack.results.iter().map(|r| (r.outcome, r.reason.clone())).collect()
    };
    let rejected = |reason: &str| (Outcome::Rejected.into(), reason.to_owned());
    let mut expected = vec![
        (Outcome::Stored.into(), String::new()),
        rejected("EMBEDDING_INVALID"),
        rejected("EMBEDDING_INVALID"),
        rejected("EMBEDDING_INVALID"),
        rejected("SIGHTING_INVALID"),
        (Outcome::Duplicate.into(), String::new()),
    ];
    assert_eq!((first.batch_id, outcomes(first)), (7, expected.clone()));
    expected[0].0 = Outcome::Duplicate.into();
    assert_eq!(outcomes(second), expected);
    let count: i64 =
        site.database().await.query_one("SELECT count(*) FROM sightings", &[]).await.unwrap().get(0);
    assert_eq!(count, 1);

    // The protocol's order, and the pack.
    let reason = |status: Option<Status>| error_reason(&status.unwrap()).unwrap();
    let (_, status) = converse(channel.clone(), vec![Some(Up::Heartbeat(v1::Heartbeat::default()))]).await;
    assert_eq!(reason(status), ErrorReason::StreamOrder);
    let foreign = Some(Up::Hello(v1::Hello { pack_digest: "00".repeat(32), ..Default::default() }));
    let (_, status) = converse(channel.clone(), vec![foreign]).await;
    assert_eq!(reason(status), ErrorReason::ModelPackMismatch);

    // A device that was revoked in the middle of its stream is not listened to any more.
    let sql = "UPDATE devices SET status = 'revoked'";
    site.database().await.execute(sql, &[]).await.unwrap();
    let (_, status) = converse(channel, vec![hello(&site)]).await;
    assert_eq!(reason(status), ErrorReason::DeviceRevoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_on_the_device_listener_are_refused() {
    let site = TestSite::start();
    // Ours, but not registered.
    let ca = SiteCa::load(&site.path("certs")).unwrap();
    let unknown = ca.issue_device(uuid::Uuid::now_v7()).unwrap().save(&site.path("x"), "unknown").unwrap();
    let channel = device_channel(&site, &unknown.certificate, &unknown.key).await;
    let (_, status) = converse(channel, vec![hello(&site)]).await;
    let status = status.unwrap();
    assert_eq!(
        (status.code(), error_reason(&status)),
        (Code::PermissionDenied, Some(ErrorReason::DeviceUnknown))
    );

    // The server's own certificate names no device, and is not for clients.
    let server = site.path("certs/server.pem");
    let channel = device_channel(&site, &server, &site.path("certs/server.key")).await;
    assert!(converse(channel, vec![hello(&site)]).await.1.is_some());

    // A registered id, but in a certificate of another authority.
    let device = site.add_device("camera");
    let forged = SiteCa::create("Another School").unwrap().issue_device(device.id.parse().unwrap()).unwrap();
    let forged = forged.save(&site.path("x"), "forged").unwrap();
    let channel = device_channel(&site, &forged.certificate, &forged.key).await;
    let (answers, status) = converse(channel, vec![hello(&site)]).await;
    assert!(answers.is_empty() && status.is_some());
    site.cli.json(&["devices", "list"]);
}

#[test]
fn pictures_get_verdicts_and_people_get_exit_codes() {
    // Rendered strangers are far more alike than people are.
    let server_toml = "enrollment.unlike_below = 0.9".to_owned();
    let site = TestSite::start_with(&SiteOptions { server_toml, ..SiteOptions::default() });
    let [person, stranger] = people(2).try_into().unwrap();
    let folder = site.path("photographs");
    fs::create_dir(&folder).unwrap();
    let good = fs::read(&person.portraits[0]).unwrap();
    fs::write(folder.join("1-good.jpg"), &good).unwrap();
    fs::write(folder.join("2-same-again.jpg"), &good).unwrap();
    fs::write(folder.join("3-cut-off.jpg"), &good[..200]).unwrap();
    fs::write(folder.join("4-empty.jpg"), b"").unwrap();
    fs::write(folder.join("5-nobody.jpg"), jpeg_without_face()).unwrap();
    let group = FrameLoopOptions { students: 3, frames: 1, ..FrameLoopOptions::default() };
    fs::write(folder.join("6-group.jpg"), FrameLoop::render(&group).unwrap().frame(0)).unwrap();
    fs::copy(&stranger.portraits[0], folder.join("7-somebody-else.jpg")).unwrap();
    site.cli.json(&["students", "add", "1", "--name", "Ada"]);
    let enrolled = site.cli.json(&["enroll", "1", folder.to_str().unwrap()]);
    let reasons: Vec<&str> =
        enrolled["images"].as_array().unwrap().iter().map(|v| v["reason"].as_str().unwrap_or("")).collect();
    assert_eq!(
        reasons,
        [
            "",
            "DUPLICATE_TEMPLATE",
            "IMAGE_CORRUPT",
            "IMAGE_EMPTY",
            "NO_FACE",
            "SEVERAL_FACES",
            "UNLIKE_OTHER_PICTURES"
        ],
        "{enrolled:#}"
    );
    assert_eq!(site.cli.json(&["students", "show", "1"])["template_count"], 1);
    // Unless somebody knows better.
    let pictured = stranger.portraits[0].to_str().unwrap();
    let taken = site.cli.json(&["enroll", "1", pictured, "--accept-unlike"]);
    assert_eq!(
        (&taken["accepted"], &site.cli.json(&["students", "show", "1"])["template_count"]),
        (&1.into(), &2.into())
    );
    // The same face under another number.
    site.cli.json(&["students", "add", "2", "--name", "Bob"]);
    let photograph = person.portraits[0].to_str().unwrap();
    site.cli.fails(1, &["enroll", "2", photograph]);
    assert_eq!(site.cli.json(&["students", "show", "2"])["template_count"], 0);

    assert!(site.cli.fails(1, &["students", "add", "1", "--name", "Eve"]).contains("\"1\" is taken"));
    assert!(site.cli.fails(3, &["students", "show", "77"]).contains("77"));
    assert!(site.cli.fails(3, &["enroll", "77", photograph]).contains("77"));
    let nobody = uuid::Uuid::now_v7().to_string();
    assert!(site.cli.fails(3, &["review", "show", &nobody]).contains(&nobody));
    site.cli.fails(2, &["students", "add"]);
    site.add_user("eve", "viewer", "only looking");
    site.log_in("eve", "only looking");
    site.cli.fails(4, &["students", "add", "9", "--name", "Nine"]);
    site.cli.run(&["logout"]);
    site.cli.fails(4, &["students", "list"]);
    let refused =
        site.cli.run_with_input(&["login", "--username", "eve", "--password-stdin"], "wrong password");
    assert_eq!(refused.status.code(), Some(4));
}

#[test]
fn a_server_says_what_it_lacks() {
    let mut site = TestSite::start_with_pack_folder();
    assert_eq!(site.take_server().terminate(), Some(0));
    site.cli.fails(5, &["students", "list"]);
    let good = fs::read_to_string(site.path("server.toml")).unwrap();
    let fails = |text: &str| {
        let config = site.path("wrong.toml");
        fs::write(&config, text).unwrap();
        let output = Command::new(binary("cavs-server"))
            .args(["serve", "--config", config.to_str().unwrap()])
            .env_remove("CAVS_VAULT_KEY")
            .output()
            .unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let error = fails(&good.replace("vault.key_file = \"vault.key\"", ""));
    assert!(error.contains("no key-encryption key"), "{error}");
    assert!(fails(&good.replace("recognition.pack", "recognition.pakc")).contains("unknown field `pakc`"));

    let embedded = "database = { embedded = true, data_dir = \"db\" }";
    let away = "database.url = \"postgres://cavs@127.0.0.1:1/cavs?connect_timeout=1\"";
    let begun = std::time::Instant::now();
    let error = fails(&good.replace(embedded, away));
    assert!(error.contains("database") && error.contains("refused"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(60));

    let other_key = site.path("other.key");
    let made =
        Command::new(binary("cavs-server")).args(["key", "generate", other_key.to_str().unwrap()]).status();
    assert!(made.unwrap().success());
    let error = fails(&good.replace("vault.key\"", "other.key\""));
    assert!(error.contains("sealed with another"), "{error}");

    let weights = fs::read_dir(site.path("pack")).unwrap().map(|e| e.unwrap().path());
    let weights = weights.into_iter().find(|p| p.extension().is_some_and(|e| e == "safetensors")).unwrap();
    let mut bytes = fs::read(&weights).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&weights, bytes).unwrap();
    let error = fails(&good);
    assert!(error.contains(weights.file_name().unwrap().to_str().unwrap()), "{error}");
    assert!(error.contains("SHA-256 differs"), "{error}");
}
