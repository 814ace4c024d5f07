use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use jiff::Timestamp;

use super::*;
use crate::{
    clock::Stamp,
    sighting::{Sighting, SightingKey},
    source::Cursor,
    vision::fake,
};

/// Bytes of a fake face crop in the spool: nonce, picture and tag.
const SEALED_EVIDENCE: u64 = 12 + 600 + 16;

const ALL: BatchLimits = BatchLimits { count: 1000, bytes: usize::MAX };

fn open_bounded(dir: &Path, max_bytes: u64) -> Spool {
    Spool::open(&SpoolOptions::new(dir.join("spool.db"), max_bytes), Timestamp::now()).unwrap()
}

fn open(dir: &Path) -> Spool {
    open_bounded(dir, 1 << 30)
}

fn sighting(frame: &str) -> Sighting {
    let pack_digest = cavs_embedding::PackDigest::from_bytes([7; 32]);
    let (taken, face) = (Stamp::now(), fake::face(0));
    Sighting { taken, frame: frame.to_owned(), pack_digest, face, track: None, camera: None }
}

fn record(frame: &str, faces: usize) -> FrameRecord {
    let cursor = Cursor { source: "s".to_owned(), position: frame.to_owned() };
    FrameRecord { cursor: Some(cursor), sightings: vec![sighting(frame); faces], ..FrameRecord::default() }
}

fn keys(outbox: &mut Outbox) -> Vec<SightingKey> {
    let all = outbox.next(None, ALL).unwrap();
    all.iter().map(|s| SightingKey { boot_epoch: s.boot_epoch, sequence: s.sequence }).collect()
}

#[test]
fn sightings_and_cursor_survive_a_restart_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.writer.append(&[record("a", 2), record("b", 0), record("c", 1)]).unwrap();
    let first_epoch = spool.writer.boot_epoch();
    drop(spool);
    let mut spool = open(dir.path());
    assert!(spool.writer.boot_epoch() > first_epoch);
    assert_eq!(spool.writer.cursor("s").unwrap().as_deref(), Some("c"));
    assert_eq!(spool.writer.cursor("other").unwrap(), None);
    spool.writer.append(&[record("d", 1)]).unwrap();
    let all = spool.outbox.next(None, ALL).unwrap();
    assert_eq!(all.iter().map(|s| s.frame.as_str()).collect::<Vec<_>>(), ["a", "a", "c", "d"]);
    assert_eq!(all.iter().map(|s| s.sequence).collect::<Vec<_>>(), [1, 2, 3, 1]);
    assert_eq!(all[0].evidence.len(), 600);
    assert_eq!(all[0].embedding.len(), 16);
}

#[test]
fn what_is_settled_is_gone_and_what_is_rejected_is_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.writer.append(&[record("a", 3)]).unwrap();
    let keys_before = keys(&mut spool.outbox);
    let (reason, message) = ("EMBEDDING_INVALID".to_owned(), "not of unit norm".to_owned());
    let settlements =
        [(keys_before[0], Settlement::Delivered), (keys_before[1], Settlement::Rejected { reason, message })];
    spool.outbox.settle(&settlements).unwrap();
    assert_eq!(keys(&mut spool.outbox), keys_before[2..]);
    let status = spool.outbox.status().unwrap();
    assert_eq!((status.spooled, status.rejected, status.lost), (1, 1, 0));
    let kept: String =
        spool.writer.connection().query_row("SELECT reason FROM rejected", [], |row| row.get(0)).unwrap();
    assert_eq!(kept, "EMBEDDING_INVALID");
}

#[test]
fn batches_end_at_their_limits() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.writer.append(&[record("a", 5)]).unwrap();
    let two = spool.outbox.next(None, BatchLimits { count: 2, ..ALL }).unwrap();
    assert_eq!(two.len(), 2);
    let after = SightingKey { boot_epoch: two[1].boot_epoch, sequence: two[1].sequence };
    assert_eq!(spool.outbox.next(Some(after), ALL).unwrap()[0].sequence, 3);
    assert_eq!(spool.outbox.next(None, BatchLimits { bytes: 1, ..ALL }).unwrap().len(), 1);
    assert_eq!(spool.outbox.next(None, BatchLimits { bytes: 2200, ..ALL }).unwrap().len(), 2);
}

#[test]
fn overflow_takes_the_oldest_evidence_first_then_the_oldest_sightings_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    // Of one moment: a time takes more or fewer bytes by what it says.
    let seen = sighting("a");
    let record =
        |frame: &str, faces| FrameRecord { sightings: vec![seen.clone(); faces], ..record(frame, 0) };
    let mut probe = open(dir.path());
    probe.writer.append(&[record("a", 1)]).unwrap();
    let one = probe.writer.status().unwrap().bytes;
    drop(probe);

    // Room for four sightings of which two have lost their evidence.
    let dir = tempfile::tempdir().unwrap();
    let room = 4 * (one + 16) - 2 * SEALED_EVIDENCE;
    let mut spool = open_bounded(dir.path(), room);
    assert_eq!(
        spool.writer.append(&[record("a", 4)]).unwrap(),
        Appended { stored: 4, lost_evidence: 2, ..Appended::default() }
    );
    let lengths = |outbox: &mut Outbox| -> Vec<(u64, usize)> {
        outbox.next(None, ALL).unwrap().iter().map(|s| (s.sequence, s.evidence.len())).collect()
    };
    assert_eq!(lengths(&mut spool.outbox), [(1, 0), (2, 0), (3, 600), (4, 600)]);
    spool.writer.append(&[record("b", 3)]).unwrap();
    assert_eq!(lengths(&mut spool.outbox), [(3, 0), (4, 0), (5, 0), (6, 0), (7, 0)]);
    let status = spool.writer.status().unwrap();
    assert_eq!((status.spooled, status.lost, status.lost_evidence), (5, 2, 7));
    assert!(status.bytes <= room);
    // What was driven out while it was under way and arrived nevertheless is not lost.
    let driven_out = SightingKey { boot_epoch: spool.writer.boot_epoch(), sequence: 1 };
    spool.outbox.settle(&[(driven_out, Settlement::Delivered)]).unwrap();
    assert_eq!(spool.writer.status().unwrap().lost, 1);
}

#[test]
fn the_counters_return_to_zero() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.writer.append(&[record("a", 7)]).unwrap();
    let all: Vec<_> = keys(&mut spool.outbox).into_iter().map(|k| (k, Settlement::Delivered)).collect();
    spool.outbox.settle(&all).unwrap();
    assert_eq!(spool.writer.status().unwrap(), SpoolStatus::default());
}

#[test]
fn a_damaged_spool_is_moved_aside_and_its_epoch_still_increases() {
    for damage in [b"this is no database, but it is long enough".repeat(400), vec![0; 4096]] {
        let dir = tempfile::tempdir().unwrap();
        let mut spool = open(dir.path());
        spool.writer.append(&[record("a", 1)]).unwrap();
        let epoch = spool.writer.boot_epoch();
        drop(spool);
        fs::write(dir.path().join("spool.db"), &damage).unwrap();
        let options = SpoolOptions::new(dir.path().join("spool.db"), 1 << 30);
        // A clock that went back must not bring an old epoch back.
        let mut spool = Spool::open(&options, Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(fs::read(&spool.quarantined.as_ref().unwrap().path).unwrap(), damage);
        assert_eq!(spool.writer.boot_epoch(), epoch + 1);
        spool.writer.append(&[record("b", 1)]).unwrap();
        assert_eq!(keys(&mut spool.outbox).len(), 1);
    }
}

#[test]
fn a_row_that_cannot_be_decoded_does_not_block_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.writer.append(&[record("a", 3)]).unwrap();
    let damage = "UPDATE sightings SET body = x'FFFFFF' WHERE sequence <= 2";
    spool.writer.connection().execute(damage, []).unwrap();
    let limits = BatchLimits { count: 2, ..ALL };
    assert_eq!(spool.outbox.next(None, limits).unwrap()[0].sequence, 3);
    assert_eq!(spool.outbox.status().unwrap().rejected, 2);
}

#[test]
fn one_agent_at_a_time_and_nobody_else_may_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.writer.append(&[record("a", 1)]).unwrap();
    let options = SpoolOptions::new(dir.path().join("spool.db"), 1);
    let error = Spool::open(&options, Timestamp::now()).unwrap_err();
    assert!(matches!(error, SpoolError::Locked(_)), "{error}");
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.file_name());
    }
}

#[test]
fn a_spool_of_a_newer_agent_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    spool.writer.connection().execute("UPDATE state SET format = 99", []).unwrap();
    spool.writer.connection().pragma_update(None, "user_version", 99).unwrap();
    drop(spool);
    let options = SpoolOptions::new(dir.path().join("spool.db"), 1);
    let error = Spool::open(&options, Timestamp::now()).unwrap_err();
    assert!(matches!(error, SpoolError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn a_commit_is_on_the_disk_before_it_returns() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let number = |pragma| -> i64 {
        spool.writer.connection().pragma_query_value(None, pragma, |row| row.get(0)).unwrap()
    };
    let journal: String =
        spool.writer.connection().pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    // 2 is FULL.
    assert_eq!((number("synchronous"), number("page_size"), journal.as_str()), (2, 8192, "wal"));
}

#[test]
fn a_frame_is_stored_with_its_cursor_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let trap = "CREATE TRIGGER trap BEFORE INSERT ON cursors WHEN NEW.position = 'b'
                BEGIN SELECT RAISE(ABORT, 'trap'); END";
    spool.writer.connection().execute(trap, []).unwrap();
    let frames = [record("a", 2), record("b", 2)];
    spool.writer.append(&frames).unwrap_err();
    assert_eq!(spool.writer.cursor("s").unwrap(), None);
    assert_eq!(keys(&mut spool.outbox), []);
    spool.writer.connection().execute("DROP TRIGGER trap", []).unwrap();
    spool.writer.append(&frames).unwrap();
    assert_eq!(spool.writer.cursor("s").unwrap().as_deref(), Some("b"));
    assert_eq!(keys(&mut spool.outbox).len(), 4);
}

#[test]
fn repeats_of_a_track_go_before_anybodys_only_sighting() {
    let note = |ordinal| crate::track::SightingTrack {
        id: 1,
        entered: Stamp::default(),
        last_seen: Stamp::default(),
        left: false,
        ordinal,
        shots: 1,
    };
    let make = |frame: &str, ordinal, quality| {
        let mut sighting = sighting(frame);
        sighting.track = Some(note(ordinal));
        sighting.face.quality.unified_score = quality;
        sighting.face.evidence = None;
        FrameRecord { sightings: vec![sighting], ..FrameRecord::default() }
    };
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let all = [make("first", 0, 10), make("good", 1, 90), make("bad", 2, 20), make("other", 0, 5)];
    spool.writer.append(&all).unwrap();
    let bytes = spool.writer.status().unwrap().bytes;
    drop(spool);
    let frames = |outbox: &mut Outbox| -> Vec<String> {
        outbox.next(None, ALL).unwrap().into_iter().map(|s| s.frame).collect()
    };
    let mut spool = open_bounded(dir.path(), bytes);
    spool.writer.append(&[make("next", 0, 50)]).unwrap();
    assert_eq!(frames(&mut spool.outbox), ["first", "good", "other", "next"]);
    spool.writer.append(&[make("again", 0, 50), make("more", 0, 50)]).unwrap();
    assert_eq!(frames(&mut spool.outbox), ["other", "next", "again", "more"]);
    let status = spool.writer.status().unwrap();
    assert_eq!((status.lost, status.lost_repeats), (3, 2));
}

#[test]
fn what_waited_too_long_is_given_up_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let day = std::time::Duration::from_secs(86_400);
    let options =
        SpoolOptions { max_age: Some(30 * day), ..SpoolOptions::new(dir.path().join("spool.db"), 1 << 30) };
    let mut spool = Spool::open(&options, Timestamp::now()).unwrap();
    let start = Stamp { synchronised: true, ..Stamp::now() };
    for age in 0..40 {
        let mut record = record(&age.to_string(), 1);
        record.sightings[0].taken = start.after(age * day);
        spool.writer.append(&[record]).unwrap();
    }
    let lost = spool.writer.expire(start.after(39 * day)).unwrap();
    assert_eq!((lost.lost, lost.lost_expired), (9, 9));
    assert_eq!(spool.outbox.next(None, ALL).unwrap()[0].frame, "9");
    assert_eq!(spool.outbox.oldest_stored_at().unwrap(), Some(start.after(9 * day).wall.as_millisecond()));
    // A clock that may be wrong gives nothing up.
    let unsure = Stamp { synchronised: false, ..start.after(4000 * day) };
    assert_eq!(spool.writer.expire(unsure).unwrap(), Appended::default());
    assert_eq!(spool.writer.status().unwrap().lost_expired, 9);
}

#[test]
fn times_of_a_wrong_clock_are_corrected_when_the_time_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let now = Stamp::now();
    let lost = Stamp { wall: Timestamp::UNIX_EPOCH, synchronised: false, ..now };
    let mut early = record("early", 1);
    early.sightings[0].taken = lost;
    spool.writer.append(&[early]).unwrap();
    let trust = |spool: &mut Spool| {
        let sighting = spool.outbox.next(None, ALL).unwrap().remove(0);
        (sighting.capture_time.unwrap().seconds, sighting.clock.unwrap().trust())
    };
    use cavs_proto::v1::capture_clock::Trust;
    assert_eq!(trust(&mut spool), (0, Trust::Unsynchronised));
    let anchor = crate::clock::ClockAnchor::learn(now.wall, now.since_boot, now.since_boot).unwrap();
    spool.outbox.learn_time(anchor).unwrap();
    let (seconds, corrected) = trust(&mut spool);
    assert_eq!(corrected, Trust::Corrected);
    assert!((seconds - now.wall.as_second()).abs() <= 1);
    // The next start of the agent still knows it.
    drop(spool);
    assert_eq!(trust(&mut open(dir.path())).1, Trust::Corrected);
}

/// A new memory card in a device whose clock says the same again.
#[test]
fn two_spools_of_one_second_share_no_key() {
    let now = Timestamp::from_second(1_620_194_400).unwrap();
    let all = [0, 1].map(|_| {
        let dir = tempfile::tempdir().unwrap();
        let options = SpoolOptions::new(dir.path().join("spool.db"), 1 << 30);
        let mut spool = Spool::open(&options, now).unwrap();
        spool.writer.append(&[record("a", 1)]).unwrap();
        spool.outbox.next(None, ALL).unwrap().remove(0)
    });
    let [one, other] = &all;
    assert_ne!(one.boot_epoch, other.boot_epoch, "for servers that know no runs");
    assert_eq!((one.run_id.len(), other.run_id.len()), (16, 16));
    assert_ne!(one.run_id, other.run_id);
}

/// What is offered again keeps the run that it was stored in, also after the start of another one.
#[test]
fn a_sighting_keeps_its_run() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.writer.append(&[record("a", 1)]).unwrap();
    let run = spool.writer.run();
    drop(spool);
    let mut spool = open(dir.path());
    assert_ne!(spool.writer.run(), run);
    spool.writer.append(&[record("b", 1)]).unwrap();
    let all = spool.outbox.next(None, ALL).unwrap();
    assert_eq!(all[0].run_id, run.to_wire());
    assert_eq!(all[1].run_id, spool.writer.run().to_wire());
}
