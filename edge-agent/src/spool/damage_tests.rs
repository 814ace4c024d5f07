//! What becomes of spools whose bytes were changed behind the agent's back.

use std::{collections::BTreeMap, fs, path::Path};

use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use crate::files::with_suffix;
use crate::{
    clock::Stamp,
    sighting::{Sighting, SightingKey},
    vision::fake,
};

const ALL: BatchLimits = BatchLimits { count: 100_000, bytes: usize::MAX };

/// A small generator, so that a seed says everything about a run.
struct RandomSource(u64);

impl RandomSource {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as usize) % bound.max(1)
    }
}

fn open(dir: &Path) -> Spool {
    let options = SpoolOptions::new(dir.join("spool.db"), 1 << 30);
    Spool::open(&options, Timestamp::now()).unwrap()
}

fn record(name: String, evidence: usize) -> FrameRecord {
    let mut face = fake::face(0);
    face.evidence = Some(crate::vision::Evidence(vec![0xAB; evidence]));
    let pack_digest = cavs_embedding::PackDigest::from_bytes([7; 32]);
    let sighting =
        Sighting { taken: Stamp::now(), frame: name, pack_digest, face, track: None, camera: None };
    FrameRecord { sightings: vec![sighting], ..FrameRecord::default() }
}

type Contents = BTreeMap<(u64, u64), (String, Bytes)>;

fn contents(spool: &mut Spool) -> Contents {
    let all = spool.outbox.next(None, ALL).unwrap();
    all.into_iter().map(|s| ((s.boot_epoch, s.sequence), (s.frame, s.evidence))).collect()
}

/// Fills a spool with small and overflowing rows; gives what is in it.
fn fill(dir: &Path, rows: usize) -> Contents {
    let mut spool = open(dir);
    for row in 0..rows {
        let evidence = if row % 7 == 0 { 20_000 } else { 500 };
        spool.writer.append(&[record(format!("frame {row}"), evidence)]).unwrap();
    }
    contents(&mut spool)
}

fn damage(dir: &Path, random: &mut RandomSource) {
    let path = dir.join("spool.db");
    let target = match random.below(10) {
        0 => with_suffix(&path, "-wal"),
        1 => with_suffix(&path, ".key"),
        2 => with_suffix(&path, ".epoch"),
        _ => path,
    };
    let Ok(mut bytes) = fs::read(&target) else { return };
    if bytes.is_empty() {
        return;
    }
    match random.below(5) {
        0 => bytes.truncate(random.below(bytes.len())),
        1 => {
            let (from, length) = (random.below(bytes.len()), random.below(20_000));
            let to = (from + length).min(bytes.len());
            bytes[from..to].fill(random.below(256) as u8);
        }
        // The header and the first pages are where a single bit does most.
        kind => {
            let range = if kind == 2 { bytes.len().min(200) } else { bytes.len() };
            for _ in 0..=random.below(16) {
                let at = random.below(range);
                bytes[at] ^= 1 << random.below(8);
            }
        }
    }
    fs::write(&target, bytes).unwrap();
}

/// Opens a randomly damaged spool unaided: it takes new sightings, and whatever it still offers of
/// the old ones is unchanged.
fn survive(seed: u64, template: &Path, before: &Contents) -> usize {
    let dir = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(template).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), dir.path().join(entry.file_name())).unwrap();
    }
    damage(dir.path(), &mut RandomSource(seed));
    let mut spool = open(dir.path());
    spool.writer.append(&[record("new".to_owned(), 10)]).unwrap();
    let after = contents(&mut spool);
    let old_epoch = before.keys().next_back().unwrap().0;
    let mut kept = 0;
    for (key, (frame, evidence)) in &after {
        if key.0 > old_epoch {
            assert_eq!(frame, "new", "seed {seed}");
            continue;
        }
        let (old_frame, old_evidence) = &before[key];
        assert_eq!(frame, old_frame, "seed {seed}");
        assert!(evidence == old_evidence || evidence.is_empty(), "seed {seed}");
        kept += 1;
    }
    assert!(after.keys().any(|key| key.0 > old_epoch), "seed {seed}: the epoch did not increase");
    kept
}

fn survive_all(count: u64) -> f64 {
    let dir = tempfile::tempdir().unwrap();
    let before = fill(dir.path(), 40);
    let kept: usize = (0..count).map(|seed| survive(seed, dir.path(), &before)).sum();
    kept as f64 / (count as f64 * before.len() as f64)
}

#[test]
fn damaged_spools_start_unaided_and_keep_most_of_their_rows() {
    let kept = survive_all(40);
    assert!(kept > 0.5, "{kept}");
}

#[test]
#[cfg(feature = "torture")]
fn torture_five_hundred_damaged_spools() {
    let kept = survive_all(500);
    println!("BAR damaged-spools-started 500 500 ok");
    println!("BAR damaged-spools-rows-kept {kept:.3} 0.5 {}", if kept >= 0.5 { "ok" } else { "SHORT" });
}

#[test]
fn only_the_newest_damaged_spool_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool.db");
    for start in 0..4 {
        fs::write(&path, b"no database at all, but longer than its header".repeat(9)).unwrap();
        let options = SpoolOptions::new(path.clone(), 1 << 30);
        let now = Timestamp::from_second(1_800_000_000 + start).unwrap();
        assert!(Spool::open(&options, now).unwrap().quarantined.unwrap().path.exists());
    }
    let kept = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(kept.filter(|name| name.to_string_lossy().contains(".damaged-")).count(), 1);
}

#[test]
fn a_damaged_journal_does_not_keep_the_agent_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    for row in 0..30 {
        spool.writer.append(&[record(format!("frame {row}"), 500)]).unwrap();
    }
    // As after a kill: nothing of the journal is in the database yet.
    for seed in 0..20 {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        let journal = copy.path().join("spool.db-wal");
        let mut bytes = fs::read(&journal).unwrap();
        let mut random = RandomSource(seed);
        let at = random.below(bytes.len());
        bytes[at] ^= 1 << random.below(8);
        fs::write(&journal, bytes).unwrap();
        let mut survivor = open(copy.path());
        survivor.writer.append(&[record("new".to_owned(), 10)]).unwrap();
        let frames: Vec<_> = contents(&mut survivor).into_values().map(|(frame, _)| frame).collect();
        assert_eq!(frames.last().map(String::as_str), Some("new"), "seed {seed}");
    }
}

#[test]
fn rows_are_recovered_though_the_root_of_everything_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let before = fill(dir.path(), 60);
    let path = dir.path().join("spool.db");
    let mut bytes = fs::read(&path).unwrap();
    bytes[..8192].fill(0);
    fs::write(&path, bytes).unwrap();
    let mut spool = open(dir.path());
    let quarantined = spool.quarantined.take().unwrap();
    let after = contents(&mut spool);
    assert!(after.len() >= before.len() - 4, "{} of {}", after.len(), before.len());
    assert_eq!(quarantined.recovered as usize, after.len());
    assert!(after.iter().all(|(key, row)| before[key] == *row), "evidence over many pages included");
}

#[test]
fn a_spool_from_another_device_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), 3);
    fs::remove_file(dir.path().join("spool.db.key")).unwrap();
    let mut spool = open(dir.path());
    let quarantined = spool.quarantined.take().unwrap();
    assert!(quarantined.cause.contains("another key"), "{}", quarantined.cause);
    assert_eq!((quarantined.recovered, quarantined.lost), (0, 3));
    let status = spool.writer.status().unwrap();
    assert_eq!((status.spooled, status.lost, status.lost_damaged), (0, 3, 3));
}

#[test]
fn nothing_biometric_is_readable_in_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let spool = open(dir.path());
    let mut record = record("frame".to_owned(), 0);
    let marked = vec![0.5, 0.5, 0.5, 0.5];
    record.sightings[0].face.embedding = cavs_embedding::UnitEmbedding::new(marked).unwrap();
    record.sightings[0].face.evidence = Some(crate::vision::Evidence(b"a face crop of somebody".to_vec()));
    let probe = record.sightings[0].face.embedding.to_le_bytes();
    let mut writer = spool.writer;
    writer.append(&[record]).unwrap();
    for entry in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        for secret in [probe.as_slice(), b"a face crop"] {
            assert!(!bytes.windows(secret.len()).any(|window| window == secret));
        }
    }
}

#[test]
fn a_full_disk_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    let pages = |spool: &Spool| -> i64 {
        spool.writer.connection().pragma_query_value(None, "page_count", |row| row.get(0)).unwrap()
    };
    for row in 0..50 {
        spool.writer.append(&[record(format!("old {row}"), 3000)]).unwrap();
    }
    let full = pages(&spool);
    spool.writer.connection().pragma_update_and_check(None, "max_page_count", full, |_| Ok(())).unwrap();
    let mut shed = Appended::default();
    for row in 0..50 {
        let new = [record(format!("new {row}"), 3000)];
        while let Err(error) = spool.writer.append(&new) {
            assert!(error.is_full(), "{error}");
            let given_up = spool.writer.shed().unwrap();
            assert_ne!(given_up, Appended::default());
            shed.lost += given_up.lost;
            shed.lost_evidence += given_up.lost_evidence;
        }
    }
    let status = spool.writer.status().unwrap();
    assert_eq!((status.lost, status.lost_evidence), (shed.lost, shed.lost_evidence));
    assert_eq!(status.spooled + status.lost, 100, "everything is there or counted");
    assert_eq!(pages(&spool), full);
    assert!(contents(&mut spool).values().any(|(frame, _)| frame == "new 49"));
}

#[test]
fn a_spool_of_the_first_format_is_encrypted_and_keeps_its_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("spool.db");
    let plain = rusqlite::Connection::open(&path).unwrap();
    plain.execute_batch(include_str!("format_1.sql")).unwrap();
    let body = prost::Message::encode_to_vec(&cavs_proto::v1::CapturedSighting {
        frame: "an old frame that was plain".to_owned(),
        ..Default::default()
    });
    let insert = "INSERT INTO sightings (boot_epoch, sequence, body, evidence) VALUES (5, ?, ?, x'AABB')";
    for sequence in 1..=3 {
        plain.execute(insert, rusqlite::params![sequence, body]).unwrap();
    }
    drop(plain);
    let mut spool = open(dir.path());
    assert_eq!(spool.quarantined, None);
    let contents = contents(&mut spool);
    assert_eq!(contents.keys().copied().collect::<Vec<_>>(), [(5, 1), (5, 2), (5, 3)]);
    assert_eq!(contents[&(5, 2)].1.as_ref(), [0xAA, 0xBB]);
    assert_eq!(spool.writer.status().unwrap().spooled, 3);
    drop(spool);
    let bytes = fs::read(&path).unwrap();
    assert!(!bytes.windows(13).any(|window| window == b"an old frame "));
}

/// A spool on a disk that takes nothing any more, as far as a test can have one: writing a file fails with
/// "no space left on device", the database may not grow, and every deletion would have it grow.
fn fill_disk(dir: &Path, spool: &Spool) {
    let connection = spool.writer.connection();
    connection
        .execute_batch(
            "CREATE TABLE filler (x BLOB);
             CREATE TRIGGER full AFTER DELETE ON sightings BEGIN INSERT INTO filler VALUES (zeroblob(1 << 20)); END",
        )
        .unwrap();
    std::os::unix::fs::symlink("/dev/full", dir.join("spool.db.epoch.new")).unwrap();
}

#[test]
fn an_agent_on_a_full_disk_starts_and_sends_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.writer.append(&[record("a".to_owned(), 10), record("b".to_owned(), 10)]).unwrap();
    fill_disk(dir.path(), &spool);
    drop(spool);

    // It starts, although not even its epoch can be written.
    let mut spool = open(dir.path());
    let connection = spool.outbox.connection();
    let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())).unwrap();
    // It offers everything, and nothing twice, although nothing can be taken out.
    let limits = BatchLimits { count: 1, bytes: usize::MAX };
    let mut frames = Vec::new();
    while let Some(sighting) = spool.outbox.next(None, limits).unwrap().pop() {
        let key = SightingKey { boot_epoch: sighting.boot_epoch, sequence: sighting.sequence };
        frames.push(sighting.frame);
        spool.outbox.settle(&[(key, Settlement::Delivered)]).unwrap();
        assert!(spool.outbox.is_stuck(), "and it says so");
    }
    assert_eq!(frames, ["a", "b"]);
    assert_eq!(spool.outbox.status().unwrap().spooled, 0, "nothing waits for the server");
    assert_eq!(spool.writer.status().unwrap().spooled, 2, "what takes room is still there");

    // Somebody made room.
    spool.outbox.connection().execute_batch("DROP TRIGGER full").unwrap();
    spool.outbox.settle_rest().unwrap();
    assert!(!spool.outbox.is_stuck());
    assert_eq!(spool.writer.status().unwrap().spooled, 0);
}

/// SQLite makes a file for the index of its journal at every start, for which there may be no room.
#[test]
fn a_spool_opens_without_room_for_the_index_of_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut spool = open(dir.path());
    spool.writer.append(&[record("a".to_owned(), 10)]).unwrap();
    drop(spool);
    std::os::unix::fs::symlink("/dev/full", dir.path().join("spool.db-shm")).unwrap();
    let mut spool = open(dir.path());
    assert!(spool.quarantined.is_none());
    assert_eq!(spool.outbox.next(None, ALL).unwrap().len(), 1);
    spool.writer.append(&[record("b".to_owned(), 10)]).unwrap();
    assert_eq!(spool.outbox.next(None, ALL).unwrap().len(), 2, "both sides see each other");
}
