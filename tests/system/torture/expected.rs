//! Keeps what was spooled, and compares what arrived.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use cavs_edge_agent::{
    clock::Stamp,
    health::{HealthCounters, HealthReporter},
    sighting::Sighting,
    spool::{FrameRecord, Spool, SpoolOptions, Writer},
    uplink::{Endpoint, Uplink, UplinkSettingsLink, machine::Timing},
    vision::{Evidence, fake},
};
use cavs_embedding::{PackDigest, UnitEmbedding};
use cavs_proto::v1::{Hello, SettingsReport};
use cavs_server::biometrics::{Keyring, Owner};
use cavs_tests::{Device, Site};
use cavs_types::SightingId;
use jiff::{Timestamp, civil::Date};
use serde_json::Value;
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_postgres::{Client, Row};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Components of the embeddings of the pack that is tested with.
const DIMENSION: u64 = 128;

/// The sighting of a number: everything about it follows from that.
fn sighting(index: u64, pack_digest: PackDigest) -> Sighting {
    let component = |at: u64| ((index * 31 + at * 17) % 97) as f32 - 48.0;
    let mut face = fake::face((index % 200) as u8);
    face.embedding = UnitEmbedding::normalize((0..DIMENSION).map(component).collect()).unwrap();
    face.quality.unified_score = (index % 101) as u8;
    face.score = (index % 1000) as f32 / 1000.0;
    face.evidence = index.is_multiple_of(4).then(|| Evidence(format!("face {index}").into_bytes()));
    // Whole milliseconds: the database keeps microseconds.
    let wall = Timestamp::from_millisecond(1_790_000_000_000 + index as i64 * 40).unwrap();
    let taken = Stamp { wall, since_boot: Duration::from_secs(9), synchronised: true };
    Sighting { taken, frame: index.to_string(), pack_digest, face, track: None, camera: None }
}

/// A device with a spool and an uplink of its own, in this process.
pub(super) struct Expected {
    device: Device,
    pack: PackDigest,
    epoch: u64,
    spooled: Arc<Notify>,
    drain: CancellationToken,
    uplink: JoinHandle<()>,
    /// Sightings that were spooled.
    count: u64,
    writer: Writer,
}

/// How what arrived differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) spooled: usize,
    pub(super) lost: usize,
    pub(super) doubled: usize,
    pub(super) altered: usize,
}

impl Expected {
    /// Registers a device and begins to offer what it will spool.
    pub(super) fn start(site: &Site) -> Self {
        let device = site.add_device("expected");
        let pack = site.pack_digest();
        let path = device.directory.join("spool.db");
        let options = SpoolOptions::new(path.clone(), 1 << 40);
        let Spool { writer, outbox, .. } = Spool::open(&options, Timestamp::now()).unwrap();
        let endpoint = Endpoint {
            address: format!("https://localhost:{}", site.device_port()).parse().unwrap(),
            ca: site.path("certs/ca.pem"),
            certificate: device.certificate.certificate.clone(),
            key: device.certificate.key.clone(),
            server_name: None,
        };
        let (wanted, _) = watch::channel(None);
        let (_, report) = watch::channel(SettingsReport::default());
        let (spooled, drain, epoch) =
            (Arc::new(Notify::new()), CancellationToken::new(), writer.boot_epoch());
        let uplink = Uplink {
            endpoint,
            outbox,
            hello: Hello {
                pack_digest: pack.to_string(),
                boot_epoch: epoch,
                run_id: writer.run().to_wire(),
                ..Hello::default()
            },
            spooled: Arc::clone(&spooled),
            timing: Timing::default(),
            seed: 7,
            settings: UplinkSettingsLink { wanted, report },
            reporter: HealthReporter::new(Arc::new(HealthCounters::default()), &path),
            proxied: None,
            give_up_when_refused: false,
        };
        let draining = drain.clone();
        let uplink = tokio::spawn(async move { uplink.run(draining).await.unwrap() });
        Self { device, pack, epoch, spooled, drain, uplink, count: 0, writer }
    }

    /// Spools one sighting more.
    pub(super) fn see(&mut self) {
        let record =
            FrameRecord { sightings: vec![sighting(self.count, self.pack)], ..FrameRecord::default() };
        let appended = self.writer.append(&[record]).unwrap();
        assert_eq!((appended.stored, appended.lost), (1, 0));
        self.count += 1;
        self.spooled.notify_one();
    }

    /// Spools sightings from a thread of its own until it is told to stop.
    pub(super) fn stream(mut self, pace: Duration) -> Streaming {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                self.see();
                thread::sleep(pace);
            }
            self
        });
        Streaming { stop, thread }
    }

    pub(super) fn device(&self) -> Uuid {
        self.device.id.parse().unwrap()
    }

    /// Waits until everything was acknowledged, and compares it with what the database has.
    pub(super) async fn compare(self, site: &Site, client: &Client) -> Comparison {
        self.drain.cancel();
        let drained = timeout(Duration::from_secs(300), self.uplink).await;
        assert!(drained.is_ok_and(|ended| ended.is_ok()), "it did not drain");
        let sql = "SELECT s.*, k.id AS key_id, k.epoch, k.wrapped, p.sealed AS probe, e.sealed AS image
                   FROM sightings s JOIN data_keys k ON k.site_id = s.site_id AND k.day = s.day
                   JOIN probes p ON p.site_id = s.site_id AND p.day = s.day AND p.sighting_id = s.id
                   LEFT JOIN evidence e ON e.site_id = s.site_id AND e.day = s.day AND e.sighting_id = s.id
                   WHERE device_id = $1";
        let device: Uuid = self.device.id.parse().unwrap();
        let rows = client.query(sql, &[&device]).await.unwrap();
        let mut found: HashMap<u64, Vec<&Row>> = HashMap::new();
        for row in &rows {
            let index = row.get::<_, String>("frame").parse().unwrap();
            found.entry(index).or_default().push(row);
        }
        let keyring = Keyring::load(Some(&site.path("vault.key"))).unwrap();
        let open = |row: &Row, owner: Owner, column| -> Vec<u8> {
            let (id, day) = (row.get::<_, Uuid>("key_id"), row.get::<_, Date>("day"));
            let owner_of_key = Owner::DayKey(row.get::<_, Uuid>("site_id").into(), day);
            let key = keyring.with(row.get::<_, i32>("epoch").unsigned_abs(), |epoch| {
                epoch.open_data_key(id.into(), owner_of_key, row.get("wrapped"))
            });
            key.unwrap().open(owner, row.get(column)).unwrap().to_vec()
        };
        let altered = |index: u64, row: &Row| {
            let expected = sighting(index, self.pack);
            let (face, id) = (&expected.face, SightingId::from(row.get::<_, Uuid>("id")));
            let quality: Value = row.get("quality");
            let evidence =
                row.get::<_, Option<&[u8]>>("image").map(|_| open(row, Owner::Evidence(id), "image"));
            row.get::<_, i64>("boot_epoch") != self.epoch as i64
                || row.get::<_, i64>("sequence") != index as i64 + 1
                || row.get::<_, Timestamp>("captured_at") != expected.taken.wall
                || row.get::<_, f32>("box_x") != face.bounding_box.x
                || row.get::<_, f32>("detection_score") != face.score
                || quality["unified_score"] != face.quality.unified_score
                || row.get::<_, &str>("clock_trust") != "synchronised"
                || row.get::<_, &[u8]>("pack_digest") != self.pack.as_bytes()
                || open(row, Owner::Probe(id, self.pack), "probe") != face.embedding.to_le_bytes()
                || evidence != face.evidence.as_ref().map(|evidence| evidence.0.clone())
        };
        Comparison {
            spooled: self.count as usize,
            lost: (0..self.count).filter(|index| !found.contains_key(index)).count(),
            doubled: found.values().map(|rows| rows.len() - 1).sum(),
            altered: found
                .iter()
                .filter(|(index, rows)| rows.iter().any(|row| altered(**index, row)))
                .count(),
        }
    }
}

/// Spools all the time.
pub(super) struct Streaming {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Expected>,
}

impl Streaming {
    pub(super) fn stop(self) -> Expected {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
