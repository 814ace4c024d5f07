//! Starts of agents: their sightings are never taken for each other's, and two of one device are noticed.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use cavs_embedding::UnitEmbedding;
use cavs_proto::{error_reason, v1};
use cavs_tests::{
    Device, Process, Site, SiteOptions,
    demo::{Class, DemoData},
};
use cavs_types::ErrorReason;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Channel};
use v1::{
    ingest_service_client::IngestServiceClient, sighting_result::Outcome, stream_request::Message as Up,
    stream_response::Message as Down,
};

use crate::bad_input::{converse, device_channel, device_channel_to};

const CLASS: Class = Class { students: 3, strangers: 0, seconds: 20, frames: 8, seed: 21 };

/// An epoch that every clock of today is below: each start with a new spool gets the next one.
const EPOCH: u64 = 4_000_000_000;

/// A place for a spool that is lost with every start, and whose clock always says the same: a memory card
/// that forgets, in a device without a battery.
fn without_memory(site: &Site, device: &Device, name: &str) -> Device {
    let directory = site.path(name);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("spool.db.epoch"), format!("{EPOCH}\n")).unwrap();
    Device { id: device.id.clone(), certificate: device.certificate.clone(), directory }
}

/// A folder with `copies` of every second frame of the class, the first or the second one.
fn frames(site: &Site, cast: &DemoData, which: usize, copies: usize) -> PathBuf {
    let folder = site.path(&format!("frames-{which}"));
    let _ = fs::create_dir(&folder);
    let mut names: Vec<_> = fs::read_dir(&cast.frames).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "jpg"));
    names.sort();
    for (index, path) in names.iter().enumerate().filter(|(index, _)| index % 2 == which) {
        for copy in 0..copies {
            fs::copy(path, folder.join(format!("{copy:03}-{index}.jpg"))).unwrap();
        }
    }
    folder
}

/// What the agent says that it stored.
fn seen(agent: &Process) -> i64 {
    let output = agent.output();
    let ended = output.lines().find(|line| line.contains("the source has ended")).unwrap();
    let (_, rest) = ended.rsplit_once("sightings=").unwrap();
    rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap()
}

async fn number(site: &Site, sql: &str) -> i64 {
    site.database().await.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_says_the_same_again_costs_no_sighting() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    let cast = DemoData::of_class(CLASS).unwrap();
    let device = site.add_device("camera");
    let mut all = 0;
    for run in 0..2 {
        let place = without_memory(&site, &device, "state");
        let config = site.configure_agent(&place, &frames(&site, &cast, run, 1), "");
        let mut agent = site.start_agent(&place, &config);
        assert_eq!(agent.wait(Duration::from_secs(120)), Some(0), "{}", agent.output());
        assert!(seen(&agent) > 0, "{}", agent.output());
        all += seen(&agent);
        assert_eq!(number(&site, "SELECT count(*) FROM sightings").await, all, "after run {run}");
    }
    assert_eq!(number(&site, "SELECT count(DISTINCT boot_epoch) FROM sightings").await, 1);
    assert_eq!(number(&site, "SELECT count(DISTINCT run_id) FROM sightings").await, 2);
    let shown = site.cli.json(&["devices", "show", "camera"]);
    assert!(shown["connected_twice"].is_null(), "one after the other is no alarm: {shown:#}");

    // An agent from before there were run ids: what it shows tells its sightings apart.
    let (certificate, key) = (&device.certificate.certificate, &device.certificate.key);
    let channel = device_channel(&site, certificate, key).await;
    let pack_digest = site.pack_digest().to_string();
    let hello = v1::Hello { pack_digest: pack_digest.clone(), boot_epoch: 7, ..Default::default() };
    let batch = |sightings| Some(Up::Sightings(v1::SightingBatch { batch_id: 1, sightings }));
    let outcomes = |answers: &[Down]| -> Vec<Outcome> {
        let acks = answers.iter().filter_map(|answer| match answer {
            Down::Ack(ack) => Some(ack.results.iter().map(v1::SightingResult::outcome).collect::<Vec<_>>()),
            Down::Welcome(_) | Down::Settings(_) | Down::Cameras(_) | Down::Notice(_) | Down::WatchAck(_) => {
                None
            }
        });
        acks.flatten().collect()
    };
    // With messages and capabilities that no server of today knows.
    let later = v1::Hello { capabilities: vec![99], ..hello.clone() };
    let messages = vec![
        None,
        Some(Up::Hello(later)),
        None,
        batch(vec![old("1.jpg", 1.0), old("2.jpg", 2.0), old("1.jpg", 1.0)]),
        None,
    ];
    let (answers, status) = converse(channel.clone(), messages).await;
    assert!(status.is_none(), "{status:?}");
    assert_eq!(outcomes(&answers), [Outcome::Stored, Outcome::Stored, Outcome::Duplicate]);
    let unknown = "cavs_device_messages_unknown_total 3";
    assert!(site.monitoring("/metrics").1.contains(unknown), "{}", site.monitoring("/metrics").1);

    // What such an agent sent before the server knew of runs, and offers again after that.
    let nil = "UPDATE sightings SET run_id = '00000000-0000-0000-0000-000000000000' WHERE frame = '1.jpg'";
    site.database().await.execute(nil, &[]).await.unwrap();
    let messages = vec![Some(Up::Hello(hello)), batch(vec![old("1.jpg", 1.0), old("3.jpg", 3.0)])];
    let (answers, _) = converse(channel.clone(), messages).await;
    assert_eq!(outcomes(&answers), [Outcome::Duplicate, Outcome::Stored]);

    // A doctor looks whether the device would be welcomed, and sends nothing.
    let probe = v1::Hello { pack_digest, probe: true, run_id: vec![5; 16].into(), ..Default::default() };
    let messages = vec![Some(Up::Hello(probe)), batch(vec![old("4.jpg", 4.0)])];
    let (answers, status) = converse(channel, messages).await;
    assert!(matches!(answers.as_slice(), [Down::Welcome(_)]), "{answers:?}");
    assert_eq!(error_reason(&status.unwrap()), Some(ErrorReason::StreamOrder));
}

/// A sighting without a run id, always of the same number, of a pack that is not served.
fn old(frame: &str, x: f32) -> v1::CapturedSighting {
    v1::CapturedSighting {
        boot_epoch: 7,
        sequence: 1,
        capture_time: Some(prost_types::Timestamp { seconds: 1_790_000_000, nanos: 0 }),
        embedding: UnitEmbedding::normalize(vec![1.0, x]).unwrap().to_le_bytes().into(),
        pack_digest: "11".repeat(32),
        bounding_box: Some(v1::BoundingBox { x, y: 1.0, width: 9.0, height: 9.0 }),
        detection_score: 0.9,
        quality: Some(v1::FaceQuality::default()),
        frame: frame.to_owned(),
        ..Default::default()
    }
}

/// A stream that is held open.
struct Stream {
    up: mpsc::Sender<v1::StreamRequest>,
    down: Streaming<v1::StreamResponse>,
}

impl Stream {
    /// Greets as a start of a proxy's agent.
    async fn open(channel: &Channel, pack_digest: &str, run: u8) -> Result<Self, Status> {
        let (up, outgoing) = mpsc::channel(8);
        let hello = v1::Hello {
            pack_digest: pack_digest.to_owned(),
            run_id: vec![run; 16].into(),
            capabilities: vec![v1::Capability::Proxy.into()],
            ..Default::default()
        };
        up.send(v1::StreamRequest { message: Some(Up::Hello(hello)) }).await.unwrap();
        let response =
            IngestServiceClient::new(channel.clone()).stream(ReceiverStream::new(outgoing)).await?;
        let mut stream = Self { up, down: response.into_inner() };
        let first = stream.hear().await?;
        assert!(matches!(first, Down::Welcome(_)), "{first:?}");
        Ok(stream)
    }

    async fn say(&self, message: Up) {
        self.up.send(v1::StreamRequest { message: Some(message) }).await.unwrap();
    }

    async fn hear(&mut self) -> Result<Down, Status> {
        let heard = tokio::time::timeout(Duration::from_secs(30), self.down.message()).await.unwrap()?;
        Ok(heard.unwrap().message.unwrap())
    }

    /// What comes, from the first message that is one of these on.
    async fn hear_until(&mut self, found: impl Fn(&Down) -> bool) -> Down {
        loop {
            let heard = self.hear().await.unwrap();
            if found(&heard) {
                return heard;
            }
        }
    }
}

fn reason<T>(result: Result<T, Status>) -> Option<ErrorReason> {
    error_reason(&result.err().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_device_has_one_place_on_all_servers_and_a_proxys_cameras_have_their_own_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    let embedded = "database = { embedded = true, data_dir = \"db\" }";
    let url = format!(
        "database.url = \"host={} user=cavs dbname=cavs\"",
        site.path("db").canonicalize().unwrap().display()
    );
    let text = fs::read_to_string(site.path("server.toml")).unwrap();
    fs::write(site.path("second.toml"), text.replace(embedded, &url)).unwrap();
    let (_second, _) = site.start_another_server("second");
    let ready: serde_json::Value =
        serde_json::from_slice(&fs::read(site.path("second.ready")).unwrap()).unwrap();
    let second_port = ready["devices"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();

    let device = site.add_device("camera");
    let (certificate, key) = (&device.certificate.certificate, &device.certificate.key);
    let first = device_channel(&site, certificate, key).await;
    let second = device_channel_to(&site, second_port, certificate, key).await;
    let pack = site.pack_digest().to_string();

    // A start, and another one on another server: that has the place. It may be a restart.
    let mut one = Stream::open(&first, &pack, 1).await.unwrap();
    let mut other = Stream::open(&second, &pack, 2).await.unwrap();
    one.say(Up::Heartbeat(v1::Heartbeat::default())).await;
    let refused = loop {
        match one.hear().await {
            Ok(_) => {}
            Err(status) => break Err::<(), _>(status),
        }
    };
    assert_eq!(reason(refused), Some(ErrorReason::DeviceConnectedTwice));
    assert!(!alarm(&site), "its last word may have been under way");
    // It is none: the first one comes back. It does not get the place, and both are told.
    let earlier = "UPDATE superseded_runs SET superseded_at = now() - interval '5 s'";
    site.database().await.execute(earlier, &[]).await.unwrap();
    assert_eq!(reason(Stream::open(&first, &pack, 1).await), Some(ErrorReason::DeviceConnectedTwice));
    assert!(alarm(&site));
    let notice = other.hear_until(|heard| matches!(heard, Down::Notice(_))).await;
    let Down::Notice(notice) = notice else { unreachable!() };
    assert_eq!(notice.reason, ErrorReason::DeviceConnectedTwice.as_str());
    // Until the other one has left.
    drop(other.up);
    while other.down.message().await.unwrap().is_some() {}
    let mut one = Stream::open(&first, &pack, 1).await.unwrap();

    // What a proxy says of its cameras is told apart by its runs, too.
    site.cli.json(&["devices", "add", "door", "--kind", "esp32_cam", "--classroom", "Room 1"]);
    let door = site.cli.json(&["devices", "assign", "door", "--proxy", "camera"]);
    let camera_id = door["id"].as_str().unwrap().to_owned();
    let of_run = |run: u8| v1::CapturedSighting {
        camera_id: camera_id.clone(),
        run_id: vec![run; 16].into(),
        ..old("1.jpg", 1.0)
    };
    let sightings = vec![of_run(1), of_run(3), of_run(1)];
    one.say(Up::Sightings(v1::SightingBatch { batch_id: 1, sightings })).await;
    let Down::Ack(ack) = one.hear_until(|heard| matches!(heard, Down::Ack(_))).await else { unreachable!() };
    let outcomes: Vec<_> = ack.results.iter().map(v1::SightingResult::outcome).collect();
    assert_eq!(outcomes, [Outcome::Stored, Outcome::Stored, Outcome::Duplicate]);
    assert_eq!(number(&site, "SELECT count(*) FROM sightings WHERE device_id <> via").await, 2);
}

fn alarm(site: &Site) -> bool {
    site.cli.json(&["devices", "show", "camera"])["connected_twice"]["now"] == true
}

fn twin(site: &Site, device: &Device, frames: &Path, name: &str) -> Process {
    let place = without_memory(site, device, name);
    let config = site.configure_agent(&place, frames, "rate = 4");
    site.start_agent(&place, &config)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_agents_with_one_certificate_lose_nothing_and_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    let cast = DemoData::of_class(CLASS).unwrap();
    let device = site.add_device("camera");
    let folders = [0, 1].map(|which| frames(&site, &cast, which, 16));
    let mut agents = [("one", &folders[0]), ("other", &folders[1])]
        .map(|(name, folder)| twin(&site, &device, folder, name));
    let noticed = async {
        while !alarm(&site) {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), noticed).await;
    assert!(in_time.is_ok(), "no alarm:\n{}", agents[0].output());
    for agent in &mut agents {
        assert_eq!(agent.wait(Duration::from_secs(240)), Some(0), "{}", agent.output());
    }
    let sum: i64 = agents.iter().map(seen).sum();
    assert_eq!(number(&site, "SELECT count(*) FROM sightings").await, sum, "lost or merged");
    assert_eq!(number(&site, "SELECT count(DISTINCT boot_epoch) FROM sightings").await, 1);
    assert_eq!(number(&site, "SELECT count(DISTINCT run_id) FROM sightings").await, 2);

    // Both are told, and everybody else is.
    for agent in &agents {
        assert!(agent.output().contains("DEVICE_CONNECTED_TWICE"), "{}", agent.output());
        let attempts = agent.output().matches("DEVICE_CONNECTED_TWICE").count();
        assert!(attempts < 12, "{attempts} attempts:\n{}", agent.output());
    }
    let table = String::from_utf8(site.cli.run(&["devices", "show", "camera"]).stdout).unwrap();
    assert!(table.contains("ALARM") && table.contains("connected twice"), "{table}");
    assert!(number(&site, "SELECT sum(noticed)::bigint FROM device_conflicts").await > 0);
    let metrics = site.monitoring("/metrics").1;
    let counted = metrics.lines().find_map(|l| l.strip_prefix("cavs_devices_connected_twice_total "));
    assert!(counted.unwrap().parse::<u64>().unwrap() > 0);
    let log = fs::read_to_string(site.path("server.log")).unwrap();
    assert!(log.contains("a device is connected twice"), "{log}");
    let welcomed = log.matches("a device connected").count();
    assert!((2..10).contains(&welcomed), "{welcomed} connections");
}
