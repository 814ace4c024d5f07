use std::path::Path;

use super::*;
use crate::{
    sighting::{Sighting, SightingKey},
    spool::{FrameRecord, Settlement, Spool, SpoolOptions},
    vision::{Vision, fake},
    watch::{CameraView, Observation},
};

const NOON: i64 = 1_800_000_000;

fn open(dir: &Path, now: i64, max_bytes: u64) -> Spool {
    let options = SpoolOptions::new(dir.join("spool.db"), max_bytes);
    Spool::open(&options, Timestamp::from_second(now).unwrap()).unwrap()
}

/// The kernel started at noon.
fn at(second: u64) -> Stamp {
    let wall = Timestamp::from_second(NOON + i64::try_from(second).unwrap()).unwrap();
    Stamp { wall, since_boot: Duration::from_secs(second), synchronised: true }
}

/// A frame in which so many people were seen, while somebody has been waiting to be sent since `unsent`.
fn frame(second: u64, people: usize, unsent: Option<u64>) -> FrameRecord {
    let (taken, pack_digest, face) = (at(second), fake::FakeVision.pack_digest(), fake::face(0));
    let sighting = Sighting { taken, frame: "f".into(), pack_digest, face, track: None, camera: None };
    let watch = Observation {
        at: taken,
        view: CameraView::Clear,
        complete_until: unsent.map_or(taken, at),
        dropped: 0,
        patience: Duration::from_secs(100),
        pack: pack_digest,
    };
    FrameRecord { sightings: vec![sighting; people], watch: Some(watch), ..FrameRecord::default() }
}

/// What can be told: periods in seconds after noon, and up to when everything is delivered.
fn told(spool: &Spool) -> (Vec<(i64, i64, WatchState)>, Option<i64>) {
    let report = spool.outbox.watch_report(100).unwrap();
    let second = |time: &Option<prost_types::Timestamp>| time.unwrap().seconds - NOON;
    let periods = report.periods.iter().map(|OfferedPeriod { wire, .. }| {
        assert_eq!(wire.clock.unwrap().trust(), Trust::Synchronised);
        let state = cavs_proto::enum_from_wire("state", wire.state).unwrap();
        (second(&wire.start_time), second(&wire.end_time), state)
    });
    (periods.collect(), report.delivered_until.map(|until| until.as_second() - NOON))
}

fn deliver(spool: &mut Spool, sequence: u64) {
    let key = SightingKey { boot_epoch: spool.writer.boot_epoch(), sequence };
    spool.outbox.settle(&[(key, Settlement::Delivered)]).unwrap();
}

#[test]
fn a_period_is_told_as_far_as_what_was_seen_in_it_is_delivered() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path(), NOON, 1 << 30);
    spool.writer.append(&[frame(0, 0, None), frame(10, 0, None)]).unwrap();
    assert_eq!(told(&spool), (vec![], None), "not noted yet");
    spool.writer.note_watch().unwrap();
    assert_eq!(told(&spool), (vec![(0, 10, WatchState::Watching)], Some(10)));

    spool.writer.append(&[frame(20, 1, None), frame(30, 0, Some(25))]).unwrap();
    spool.writer.note_watch().unwrap();
    assert_eq!(told(&spool).1, Some(10), "a sighting waits");
    deliver(&mut spool, 1);
    assert_eq!(told(&spool), (vec![(0, 25, WatchState::Watching)], Some(25)), "somebody is not sent yet");
    // Told while the period goes on.
    let offered = spool.outbox.watch_report(100).unwrap().periods;
    spool.writer.append(&[frame(40, 1, None)]).unwrap();
    spool.writer.note_watch().unwrap();
    spool.outbox.settle_watch(&offered).unwrap();
    spool.outbox.settle_watch(&offered).unwrap();
    assert_eq!(told(&spool), (vec![], Some(25)));
    deliver(&mut spool, 2);
    assert_eq!(told(&spool), (vec![(25, 40, WatchState::Watching)], Some(40)));
    let offered = spool.outbox.watch_report(100).unwrap().periods;
    spool.outbox.settle_watch(&offered).unwrap();
    assert_eq!(told(&spool), (vec![], Some(40)));
}

#[test]
fn what_a_start_had_not_completed_when_it_was_killed_is_not_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path(), NOON, 1 << 30);
    spool.writer.append(&[frame(0, 0, None), frame(30, 1, Some(20))]).unwrap();
    spool.writer.note_watch().unwrap();
    drop(spool);
    let mut spool = open(dir.path(), NOON + 100, 1 << 30);
    spool.writer.append(&[frame(100, 0, None), frame(110, 0, None)]).unwrap();
    spool.writer.note_watch().unwrap();
    assert_eq!(
        told(&spool),
        (vec![(100, 110, WatchState::Watching)], None),
        "the first one's sighting waits"
    );
    let first =
        spool.outbox.next(None, crate::spool::BatchLimits { count: 9, bytes: 1 << 20 }).unwrap().remove(0);
    let key = SightingKey { boot_epoch: first.boot_epoch, sequence: first.sequence };
    spool.outbox.settle(&[(key, Settlement::Delivered)]).unwrap();
    let both = vec![(0, 20, WatchState::Watching), (100, 110, WatchState::Watching)];
    assert_eq!(told(&spool), (both, Some(110)));
}

#[test]
fn sightings_that_are_given_up_take_the_proof_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path(), NOON, 1 << 30);
    spool.writer.append(&[frame(0, 0, None), frame(50, 1, None), frame(100, 1, None)]).unwrap();
    spool.writer.note_watch().unwrap();
    let bytes = spool.writer.status().unwrap().bytes;
    // Without pictures, the older one goes.
    spool.writer.set_bounds(bytes / 3, None);
    let appended = spool.writer.append(&[frame(150, 0, None)]).unwrap();
    assert_eq!(appended.lost, 1, "{appended:?}");
    spool.writer.note_watch().unwrap();
    deliver(&mut spool, 2);
    let (mut periods, until) = told(&spool);
    periods.sort_by_key(|period| period.0);
    assert_eq!(periods[0], (0, 50, WatchState::SightingsLost));
    assert_eq!(periods[1], (50, 150, WatchState::Watching));
    assert_eq!(until, Some(150));

    // Also one that the server never takes.
    spool.writer.set_bounds(1 << 30, None);
    spool.writer.append(&[frame(160, 1, None), frame(170, 0, None)]).unwrap();
    spool.writer.note_watch().unwrap();
    let key = SightingKey { boot_epoch: spool.writer.boot_epoch(), sequence: 3 };
    let rejected = Settlement::Rejected { reason: "X".into(), message: "x".into() };
    spool.outbox.settle(&[(key, rejected)]).unwrap();
    let (periods, _) = told(&spool);
    assert!(periods.contains(&(0, 160, WatchState::SightingsLost)), "{periods:?}");
    assert!(periods.contains(&(160, 170, WatchState::Watching)), "{periods:?}");

    // Also before it is noted what was watched at its time.
    spool.writer.append(&[frame(180, 1, None), frame(190, 0, None)]).unwrap();
    let key = SightingKey { sequence: 4, ..key };
    let rejected = Settlement::Rejected { reason: "X".into(), message: "x".into() };
    spool.outbox.settle(&[(key, rejected)]).unwrap();
    spool.writer.note_watch().unwrap();
    let (periods, _) = told(&spool);
    assert!(periods.contains(&(160, 180, WatchState::SightingsLost)), "{periods:?}");
    assert!(periods.contains(&(180, 190, WatchState::Watching)), "{periods:?}");
}
