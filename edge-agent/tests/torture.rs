//! The bars that take minutes: run by `scripts/torture`, one line `BAR name figure bar ok|SHORT` each.
#![cfg_attr(
    not(feature = "torture"),
    allow(dead_code, unused_imports, reason = "only the long tests need them")
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod support;

use std::{
    collections::HashMap,
    env,
    fs::{self, File},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use cavs_edge_agent::{
    agent::{self, StopCondition},
    clock::Stamp,
    config::{CameraConfig, CameraKind, Config, Override, SourceConfig, SourceKind, VisionConfig},
    gate::{Luma, MotionGate, MotionOptions},
    sighting::{Sighting, SightingKey},
    spool::{BatchLimits, FrameRecord, Settlement, Spool, SpoolOptions},
    uplink::{
        Failure,
        machine::{Action, Machine, Timing},
    },
    vision::{
        Evidence, PackVision, Vision,
        fake::{self, FakeVision},
    },
};
use cavs_embedding::{PackDigest, UnitEmbedding};
use cavs_proto::v1::{BatchAck, SightingResult, Welcome, sighting_result::Outcome};
use jiff::Timestamp;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use support::{FakeServer, Fault, start_test, write_frames};

/// Prints a bar's line. `at_least` says whether more is better.
fn bar(name: &str, figure: f64, bar: f64, at_least: bool) {
    let met = if at_least { figure >= bar } else { figure <= bar };
    println!("BAR {name} {figure:.2} {bar} {}", if met { "ok" } else { "SHORT" });
}

fn number(variable: &str, default: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A sighting of the size that a real one has: 512 components, about 2.3 kB on the disk.
fn sighting(index: u64, evidence: usize) -> Sighting {
    let mut face = fake::face(0);
    let component = |at: u64| ((index * 31 + at * 17) % 97) as f32 - 48.0;
    face.embedding = UnitEmbedding::normalize((0..512).map(component).collect()).unwrap();
    face.evidence = (evidence > 0).then(|| Evidence(vec![0x5A; evidence]));
    let pack_digest = PackDigest::from_bytes([7; 32]);
    Sighting {
        taken: Stamp::now(),
        frame: format!("{index:08}"),
        pack_digest,
        face,
        track: None,
        camera: None,
    }
}

fn record(index: u64, evidence: usize) -> FrameRecord {
    FrameRecord { sightings: vec![sighting(index, evidence)], ..FrameRecord::default() }
}

fn open(dir: &Path) -> Spool {
    Spool::open(&SpoolOptions::new(dir.join("spool.db"), 1 << 40), Timestamp::now()).unwrap()
}

#[test]
#[cfg(feature = "torture")]
fn torture_spool_rates() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut raw = File::create(dir.path().join("raw")).unwrap();
    let (mut spooled, mut written) = (Duration::ZERO, Duration::ZERO);
    // In turns, so that both see the same moods of the disk.
    for round in 0..20 {
        let records: Vec<_> = (0..25).map(|index| record(round * 25 + index, 0)).collect();
        let began = Instant::now();
        for record in &records {
            spool.writer.append(std::slice::from_ref(record)).unwrap();
        }
        spooled += began.elapsed();
        let began = Instant::now();
        for _ in &records {
            raw.write_all(&[0xA5; 2300]).unwrap();
            raw.sync_data().unwrap();
        }
        written += began.elapsed();
    }
    let rate = |time: Duration| 500.0 / time.as_secs_f64();
    println!("INFO spool-single-per-second {:.0}, raw {:.0}", rate(spooled), rate(written));
    bar("spool-single-against-raw", rate(spooled) / rate(written), 0.5, true);

    let batches: Vec<Vec<_>> =
        (0..200).map(|batch| (0..32).map(|index| record(batch * 32 + index, 0)).collect()).collect();
    let began = Instant::now();
    for batch in &batches {
        spool.writer.append(batch).unwrap();
    }
    bar("spool-batches-of-32-per-second", 6400.0 / began.elapsed().as_secs_f64(), 5000.0, true);
}

/// Thirty simulated days without a network, then everything that was seen is brought in order.
fn month_then_drain(count: u64, evidence: usize) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let mut stored = 0;
    while stored < count {
        let batch: Vec<_> = (stored..count.min(stored + 1024)).map(|index| record(index, evidence)).collect();
        stored += spool.writer.append(&batch).unwrap().stored;
    }
    let mut now = Instant::now();
    let mut machine = Machine::new(Timing::default(), 3, now);
    let month = now + Duration::from_secs(30 * 86_400);
    while now < month {
        now = machine.deadline().max(now);
        machine.on_time(now);
        while let Some(action) = machine.poll_action() {
            if action == Action::Connect {
                machine.on_failure(Failure::Transport("no network".to_owned()), now);
            }
        }
    }
    let back = now;
    now = machine.deadline();
    assert!(now.duration_since(back) <= Duration::from_secs(15));
    machine.on_time(now);
    let began = Instant::now();
    let (mut loaded, mut expected, mut acks) = (Vec::new(), 0_u64, Vec::new());
    while spool.outbox.status().unwrap().spooled > 0 {
        if let Some(ack) = acks.pop() {
            machine.on_ack(ack, now);
        }
        while let Some(action) = machine.poll_action() {
            match action {
                Action::Connect => {
                    machine.on_connected(now);
                    let welcome =
                        Welcome { max_batch_size: 256, max_unacknowledged_batches: 8, ..Default::default() };
                    machine.on_welcome(&welcome, now);
                }
                Action::Load { after, limit } => {
                    let limits = BatchLimits { count: limit, bytes: 2 << 20 };
                    loaded = spool.outbox.next(after, limits).unwrap();
                    let key = |s: &cavs_proto::v1::CapturedSighting| SightingKey {
                        boot_epoch: s.boot_epoch,
                        sequence: s.sequence,
                    };
                    machine.on_loaded(loaded.iter().map(key).collect(), now);
                }
                Action::SendBatch { batch_id } => {
                    let results = std::mem::take(&mut loaded).into_iter().map(|sighting| {
                        assert_eq!(sighting.frame, format!("{expected:08}"), "in order, without a gap");
                        expected += 1;
                        SightingResult {
                            boot_epoch: sighting.boot_epoch,
                            sequence: sighting.sequence,
                            outcome: Outcome::Stored.into(),
                            ..Default::default()
                        }
                    });
                    acks.insert(0, BatchAck { batch_id, results: results.collect() });
                }
                Action::Settle(settlements) => {
                    assert!(settlements.iter().all(|(_, settlement)| *settlement == Settlement::Delivered));
                    spool.outbox.settle(&settlements).unwrap();
                }
                Action::SendHeartbeat | Action::Disconnect { .. } => {}
                Action::LoadWatch { .. } | Action::SendWatch { .. } | Action::SettleWatch => {
                    panic!("this server takes no reports")
                }
            }
        }
    }
    assert_eq!(expected, count);
    count as f64 / began.elapsed().as_secs_f64()
}

#[test]
fn a_month_offline_drains_in_order() {
    month_then_drain(2000, 100);
}

#[test]
#[cfg(feature = "torture")]
fn torture_month_offline() {
    let count = number("CAVS_TORTURE_SIGHTINGS", 1_000_000);
    bar(&format!("drain-{count}-per-second"), month_then_drain(count, 0), 5000.0, true);
    let count = count / 20;
    println!("INFO drain-{count}-with-evidence-of-20kB-per-second {:.0}", month_then_drain(count, 20_000));
}

/// A shell script that writes five pictures a second.
const EMPTY_ROOM: &str = r"while true; do printf '\377\330\377\332\000\002light\377\331'; sleep 0.2; done";

const CHILD: &str = "CAVS_TORTURE_AGENT_CONFIG";

/// The agent that is killed: a test that kills it, in a process of its own.
async fn tortured_agent(file: &Path) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rate = Override::from_flag("source.rate=200").unwrap();
    let config = Config::load(file, &[rate]).unwrap();
    agent::run(&config, FakeVision, StopCondition::Shutdown, CancellationToken::new()).await.unwrap();
}

/// Kills the agent at random moments while the server fails too, drains, and judges what arrived.
/// Gives the sightings that are missing and those that are too many.
async fn kill_agents(kills: u64) -> (usize, usize) {
    let dir = tempfile::tempdir().unwrap();
    let frames = (kills as usize) * 12;
    write_frames(dir.path(), frames, 2);
    let faults: Vec<_> = (0..kills as u32)
        .map(|kill| if kill % 3 == 0 { Fault::BeforeWelcome } else { Fault::LosesAck(1 + kill % 7) })
        .collect();
    let server = FakeServer::start(dir.path(), &faults).await;
    let config = server.config(dir.path(), &[]);
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    for _ in 0..kills {
        let mut child = start_test("twenty_kills_lose_and_double_nothing", CHILD, dir.path());
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        sleep(Duration::from_millis(20 + (random >> 33) % 280)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let run = agent::run(&config, FakeVision, StopCondition::Drained, CancellationToken::new());
    timeout(Duration::from_secs(600), run).await.expect("the agent did not drain").unwrap();
    server.state(|state| {
        let mut faces: HashMap<&str, usize> = HashMap::new();
        for (key, (_, frame)) in &state.offered {
            assert!(state.acknowledged.contains_key(key), "{key}");
            *faces.entry(frame).or_default() += 1;
        }
        let lost = (0..frames).map(|frame| {
            2_usize.saturating_sub(*faces.get(format!("{frame:04}.jpg").as_str()).unwrap_or(&0))
        });
        let doubled = faces.values().map(|count| count.saturating_sub(2));
        (lost.sum(), doubled.sum())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_kills_lose_and_double_nothing() {
    if let Some(file) = env::var_os(CHILD) {
        return tortured_agent(Path::new(&file)).await;
    }
    assert_eq!(kill_agents(20).await, (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(feature = "torture")]
async fn torture_two_hundred_kills() {
    let (lost, doubled) = kill_agents(200).await;
    bar("agent-200-kills-lost", lost as f64, 0.0, false);
    bar("agent-200-kills-doubled", doubled as f64, 0.0, false);
}

/// What the process has caused to be written to disks, in bytes.
fn written() -> Option<f64> {
    let io = fs::read_to_string("/proc/self/io").ok()?;
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: "))?;
    line.trim().parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(feature = "torture")]
async fn torture_idle_writes() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::start(dir.path(), &[]).await;
    let mut config = server.config(dir.path(), &[]);
    // A camera in an empty room: pictures without faces, for ever.
    let arguments = vec!["-c".to_owned(), EMPTY_ROOM.to_owned()];
    let kind = CameraKind::Command { program: "sh".to_owned(), arguments };
    let camera = CameraConfig { kind, stall: Duration::from_secs(10) };
    config.source = SourceConfig { kind: SourceKind::Camera(camera), period: None };
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running =
        tokio::spawn(async move { agent::run(&config, FakeVision, StopCondition::Shutdown, stop).await });
    sleep(Duration::from_secs(5)).await;
    let Some(before) = written() else {
        println!("BAR idle-megabytes-a-day - 50 SKIP /proc/self/io can't be read");
        return;
    };
    let seconds = 40;
    sleep(Duration::from_secs(seconds)).await;
    let after = written().unwrap();
    shutdown.cancel();
    running.await.unwrap().unwrap();
    bar("idle-megabytes-a-day", (after - before) / 1e6 * 86_400.0 / seconds as f64, 50.0, false);
}

/// Median time of a few runs, in seconds.
fn seconds(mut work: impl FnMut()) -> f64 {
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            let began = Instant::now();
            work();
            began.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[4]
}

/// What an empty room costs against a busy one, and how much memory the networks take. Needs a frame of
/// a full class in `CAVS_FRAME`; `CAVS_PACK` names another pack than the built-in one.
#[test]
#[cfg(feature = "torture")]
fn torture_gate_and_memory() {
    let Some(frame) = env::var_os("CAVS_FRAME") else {
        println!("BAR empty-room-cost-percent - 5 SKIP CAVS_FRAME is not set");
        println!("BAR resident-megabytes - 150 SKIP CAVS_FRAME is not set");
        return;
    };
    let config = VisionConfig {
        device: cavs_models::ComputeDevice::Cpu,
        pack: env::var_os("CAVS_PACK").map(Into::into),
        detect_long_side: None,
        min_score: 0.6,
        threads: 1,
        max_pixels: 8 << 20,
        liveness_calibration: None,
    };
    let mut vision = PackVision::load(&config, None).unwrap();
    let busy = fs::read(frame).unwrap();
    println!("INFO faces in the frame {}", vision.analyze(&busy).unwrap().faces.len());
    let analyze = seconds(|| drop(vision.analyze(&busy)));
    // Five frames a second of a room in which nothing has moved for an hour.
    let mut gate = MotionGate::new(MotionOptions::default());
    let at =
        |frame: u32| Stamp::default().after(Duration::from_hours(1) + frame * Duration::from_millis(200));
    gate.classify(Stamp::default(), Luma::of_jpeg(&busy).as_ref());
    gate.classify(at(0), Luma::of_jpeg(&busy).as_ref());
    let mut frames = 1..;
    let mut look = || {
        let taken = at(frames.next().unwrap());
        gate.can_skip(taken) || !gate.classify(taken, Luma::of_jpeg(&busy).as_ref()).passes()
    };
    let gate = seconds(|| assert_eq!((0..10).filter(|_| look()).count(), 10)) / 10.0;
    // Five frames a second, of which one in thirty seconds is analysed.
    bar("empty-room-cost-percent", 100.0 * (gate + analyze / 150.0) / analyze, 5.0, false);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: f64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    bar("resident-megabytes", kilobytes * 1024.0 / 1e6, 150.0, false);
}
