//! What the devices of a school have said, said again to another server that knows nothing of it.

use std::{
    collections::BTreeMap,
    fmt::{self, Display, Formatter},
    hash::{DefaultHasher, Hash, Hasher},
    path::Path,
    process::Command,
};

use cavs_embedding::PackDigest;
use cavs_proto::v1::{
    self, capture_clock::Trust, ingest_service_client::IngestServiceClient, stream_request::Message,
};
use cavs_server::biometrics::{Keyring, Owner};
use cavs_types::SightingId;
use jiff::{Timestamp, civil::Date};
use prost_types::Timestamp as WireTime;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_postgres::Row;
use tokio_stream::wrappers::ReceiverStream;
use uuid::Uuid;

use super::{
    cast::Cast,
    lessons::{Lessons, Marks},
    reviewer::Reviewer,
};
use crate::{Device, Site, flood::channel};

/// Periods of one report.
const PERIODS: usize = 16;

/// Everything that devices have said.
pub(super) struct History {
    devices: Vec<Said>,
}

/// What one device has said.
struct Said {
    device: Device,
    sightings: Vec<v1::CapturedSighting>,
    periods: Vec<v1::WatchedPeriod>,
    delivered_until: Option<Timestamp>,
}

/// Copies a school that stands still.
pub(super) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

impl History {
    /// Reads what the server has kept of it.
    pub(super) fn read(site: &Site, devices: Vec<Device>) -> Self {
        let runtime = runtime();
        let read = |device| runtime.block_on(Said::read(site, device));
        Self { devices: devices.into_iter().map(read).collect() }
    }

    /// How many sightings were kept.
    pub(super) fn sightings(&self) -> usize {
        self.devices.iter().map(|said| said.sightings.len()).sum()
    }

    /// Says everything to a copy of the school, in another order and in other batches, and once more; the marks.
    pub(super) fn play(&self, copy: &Path, cast: &Cast, lessons: &Lessons, reviewer: &Reviewer<'_>) -> Marks {
        let mut site = Site::of_copy(copy);
        site.start_server();
        let runtime = runtime();
        // A part of it first, so that the second saying tells new things between those that it repeats.
        for (seed, part) in [(1, 0.6), (2, 1.0)] {
            for said in self.devices.iter().rev() {
                runtime.block_on(said.say(&site, seed, part));
            }
        }
        lessons.show_cards_again(cast, &site.cli);
        reviewer.review(&site);
        lessons.settle(&site);
        let marks = lessons.marks(&site);
        assert_eq!(site.take_server().terminate(), Some(0));
        marks
    }
}

impl Display for History {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let periods: usize = self.devices.iter().map(|said| said.periods.len()).sum();
        write!(
            f,
            "{} sightings and {periods} watched periods of {} devices",
            self.sightings(),
            self.devices.len()
        )
    }
}

impl Said {
    async fn read(site: &Site, device: Device) -> Self {
        let client = site.database().await;
        let id: Uuid = device.id.parse().unwrap();
        let keyring = Keyring::load(Some(&site.path("vault.key"))).unwrap();
        // A face that was erased is gone; its sighting is not said again.
        let sql = "SELECT s.*, k.id AS key_id, k.epoch, k.wrapped, p.sealed AS probe
                   FROM sightings s JOIN data_keys k ON k.site_id = s.site_id AND k.day = s.day
                   JOIN probes p ON p.site_id = s.site_id AND p.day = s.day AND p.sighting_id = s.id
                   WHERE device_id = $1 ORDER BY s.id";
        let rows = client.query(sql, &[&id]).await.unwrap();
        let sightings = rows.iter().map(|row| captured(row, &keyring)).collect();
        let pack = site.pack_digest().to_string();
        let sql = "SELECT started_at, ended_at, state FROM watched_periods WHERE device_id = $1";
        let rows = client.query(sql, &[&id]).await.unwrap();
        let periods = rows.iter().map(|row| period(row, &pack)).collect();
        let sql = "SELECT delivered_until FROM devices WHERE id = $1";
        let delivered_until = client.query_one(sql, &[&id]).await.unwrap().get(0);
        Self { device, sightings, periods, delivered_until }
    }

    /// Says a part of it, or all, in the order of a seed; of all, last of all that everything was said.
    async fn say(&self, site: &Site, seed: u64, part: f64) {
        let channel = channel(site, site.device_port(), Some(&self.device)).await;
        let (outbox, inbox) = mpsc::channel(1);
        let hello = v1::Hello {
            agent_version: "replay".into(),
            pack_digest: site.pack_digest().to_string(),
            boot_epoch: seed,
            ..v1::Hello::default()
        };
        let send = |message| outbox.send(v1::StreamRequest { message: Some(message) });
        send(Message::Hello(hello)).await.unwrap();
        let answers = IngestServiceClient::new(channel).stream(ReceiverStream::new(inbox)).await;
        let mut answers = answers.unwrap().into_inner();
        answers.message().await.unwrap().unwrap();
        let sightings = shuffled(&self.sightings, seed, part);
        let periods = shuffled(&self.periods, seed, part);
        let (before, after) = periods.split_at(periods.len() / 2);
        let mut number = 0;
        let mut report = |periods: &[v1::WatchedPeriod], delivered_until: Option<Timestamp>| {
            number += 1;
            Message::Watch(v1::WatchReport {
                report_id: number,
                periods: periods.to_vec(),
                delivered_until_time: delivered_until.map(wire),
            })
        };
        let mut messages: Vec<Message> =
            before.chunks(PERIODS).map(|periods| report(periods, None)).collect();
        let mut left = &sightings[..];
        while !left.is_empty() {
            let size = 1 + usize::try_from(hash(&(seed, left.len())) % 24).unwrap();
            let (batch, rest) = left.split_at(size.min(left.len()));
            left = rest;
            messages.push(Message::Sightings(v1::SightingBatch {
                batch_id: u64::try_from(messages.len()).unwrap(),
                sightings: batch.to_vec(),
            }));
        }
        messages.extend(after.chunks(PERIODS).map(|periods| report(periods, None)));
        messages.push(report(&[], self.delivered_until.filter(|_| part >= 1.0)));
        for message in messages {
            send(message).await.unwrap();
            loop {
                match answers.message().await.unwrap().unwrap().message.unwrap() {
                    v1::stream_response::Message::Ack(ack) => {
                        let rejected = |result: &&v1::SightingResult| {
                            result.outcome() == v1::sighting_result::Outcome::Rejected
                        };
                        assert!(!ack.results.iter().any(|result| rejected(&result)), "{ack:?}");
                        break;
                    }
                    v1::stream_response::Message::WatchAck(_) => break,
                    v1::stream_response::Message::Welcome(_)
                    | v1::stream_response::Message::Settings(_)
                    | v1::stream_response::Message::Cameras(_)
                    | v1::stream_response::Message::Notice(_) => {}
                }
            }
        }
    }
}

/// A sighting as its device has said it.
fn captured(row: &Row, keyring: &Keyring) -> v1::CapturedSighting {
    let id = SightingId::from(row.get::<_, Uuid>("id"));
    let digest: [u8; 32] = row.get::<_, &[u8]>("pack_digest").try_into().unwrap();
    let pack = PackDigest::from_bytes(digest);
    let (key, day) = (row.get::<_, Uuid>("key_id"), row.get::<_, Date>("day"));
    let owner = Owner::DayKey(row.get::<_, Uuid>("site_id").into(), day);
    let key = keyring.with(row.get::<_, i32>("epoch").unsigned_abs(), |epoch| {
        epoch.open_data_key(key.into(), owner, row.get("wrapped"))
    });
    let embedding = key.unwrap().open(Owner::Probe(id, pack), row.get("probe")).unwrap().to_vec();
    let time = |column| row.get::<_, Option<Timestamp>>(column).map(wire);
    let trust = match row.get::<_, &str>("clock_trust") {
        "synchronised" => Trust::Synchronised,
        "corrected" => Trust::Corrected,
        "unsynchronised" => Trust::Unsynchronised,
        _ => Trust::Unspecified,
    };
    let uncertainty_ms = row.get::<_, Option<i64>>("clock_uncertainty_ms").map(i64::unsigned_abs);
    let clock = v1::CaptureClock { trust: trust.into(), uncertainty_ms, since_boot_ms: 0 };
    let track = row.get::<_, Option<i64>>("track_id").map(|id| v1::SightingTrack {
        id: id.unsigned_abs(),
        enter_time: time("track_entered_at"),
        last_seen_time: time("track_last_seen_at"),
        left: row.get::<_, Option<bool>>("track_left").unwrap_or_default(),
        ordinal: 0,
        shots: 1,
        entered_clock: Some(clock),
        last_seen_clock: Some(clock),
    });
    let quality: BTreeMap<String, Value> = serde_json::from_value(row.get("quality")).unwrap();
    let component =
        |name: &str| quality.get(name).and_then(Value::as_u64).map(|value| value.try_into().unwrap());
    let least = |name| component(name).unwrap_or_default();
    v1::CapturedSighting {
        boot_epoch: row.get::<_, i64>("boot_epoch").unsigned_abs(),
        sequence: row.get::<_, i64>("sequence").unsigned_abs(),
        capture_time: time("captured_at"),
        embedding: embedding.into(),
        pack_digest: pack.to_string(),
        bounding_box: Some(v1::BoundingBox {
            x: row.get("box_x"),
            y: row.get("box_y"),
            width: row.get("box_width"),
            height: row.get("box_height"),
        }),
        detection_score: row.get("detection_score"),
        quality: Some(v1::FaceQuality {
            unified_score: least("unified_score"),
            inter_eye_distance: least("inter_eye_distance"),
            head_size: least("head_size"),
            sharpness: least("sharpness"),
            under_exposure_prevention: least("under_exposure_prevention"),
            over_exposure_prevention: least("over_exposure_prevention"),
            head_pose_yaw: least("head_pose_yaw"),
            head_pose_pitch: least("head_pose_pitch"),
            head_pose_roll: least("head_pose_roll"),
            landmark_confidence: component("landmark_confidence"),
        }),
        liveness: row.get("liveness"),
        evidence: Vec::new().into(),
        frame: row.get("frame"),
        track,
        clock: Some(clock),
        camera_id: String::new(),
        run_id: row.get::<_, Uuid>("run_id").as_bytes().to_vec().into(),
    }
}

fn period(row: &Row, pack: &str) -> v1::WatchedPeriod {
    let state: &str = row.get("state");
    let state = v1::WatchState::from_str_name(&format!("WATCH_STATE_{}", state.to_uppercase())).unwrap();
    let clock =
        v1::CaptureClock { trust: Trust::Synchronised.into(), uncertainty_ms: Some(0), since_boot_ms: 0 };
    v1::WatchedPeriod {
        camera_id: String::new(),
        state: state.into(),
        start_time: Some(wire(row.get("started_at"))),
        end_time: Some(wire(row.get("ended_at"))),
        clock: Some(clock),
        pack_digest: pack.to_owned(),
    }
}

fn wire(time: Timestamp) -> WireTime {
    WireTime { seconds: time.as_second(), nanos: time.subsec_nanosecond() }
}

/// A part, in an order that has nothing to do with time.
fn shuffled<T: Clone>(all: &[T], seed: u64, part: f64) -> Vec<T> {
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|at| hash(&(seed, *at)));
    order.truncate((all.len() as f64 * part) as usize);
    order.into_iter().map(|at| all[at].clone()).collect()
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}
