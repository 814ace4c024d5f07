//! Durability is shown: the kernel is asked what the spool does before it says that it is done.
//! `kill -9` can't show it, since the page cache survives.

use std::{
    env, fs,
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use jiff::Timestamp;

use super::*;
use crate::{
    clock::Stamp,
    sighting::{Sighting, SightingKey},
    vision::fake,
};

const DIRECTORY: &str = "CAVS_TEST_SYNC_DIRECTORY";
const UNSYNCHRONISED: &str = "CAVS_TEST_SYNC_OFF";
const ROUNDS: usize = 30;

/// What the traced process does: store, say so; settle, say so.
fn child(directory: &Path) {
    let options = SpoolOptions::new(directory.join("spool.db"), 1 << 30);
    let Spool { mut writer, mut outbox, .. } = Spool::open(&options, Timestamp::now()).unwrap();
    if env::var_os(UNSYNCHRONISED).is_some() {
        for connection in [writer.connection(), outbox.connection()] {
            connection.pragma_update(None, "synchronous", "OFF").unwrap();
        }
    }
    // Straight to the descriptor: the test harness keeps `println!` to itself.
    let mut said = std::io::stdout();
    let mut say = |word: &[u8]| {
        said.write_all(word).unwrap();
        said.flush().unwrap();
    };
    say(b"ready\n");
    for round in 0..ROUNDS {
        let pack_digest = cavs_embedding::PackDigest::from_bytes([7; 32]);
        let (taken, face, frame) = (Stamp::now(), fake::face(0), round.to_string());
        let sighting = Sighting { taken, frame, pack_digest, face, track: None, camera: None };
        writer.append(&[FrameRecord { sightings: vec![sighting], ..FrameRecord::default() }]).unwrap();
        say(b"stored\n");
        let key = SightingKey { boot_epoch: writer.boot_epoch(), sequence: round as u64 + 1 };
        outbox.settle(&[(key, Settlement::Delivered)]).unwrap();
        say(b"settled\n");
    }
}

/// Runs the child under strace; gives its words with the number of syncs before each, or why there
/// is no trace.
fn trace(unsynchronised: bool) -> Result<Vec<(String, usize)>, String> {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=fdatasync,fsync,write", "-e", "signal=none", "-o"]).arg(&log);
    command.arg(env::current_exe().unwrap());
    // The test below, which is the child where the directory is set.
    let test = "spool::sync_tests::the_disk_is_asked_before_anything_is_acknowledged";
    command.args(["--exact", "--nocapture", "--test-threads=1", test]);
    command.env(DIRECTORY, dir.path()).stdout(Stdio::null()).stderr(Stdio::null());
    if unsynchronised {
        command.env(UNSYNCHRONISED, "1");
    }
    let status = command.status().map_err(|error| format!("strace can't be run: {error}"))?;
    if !status.success() {
        return Err(format!("strace may not trace here ({status})"));
    }
    let text = fs::read_to_string(&log).map_err(|error| error.to_string())?;
    let (mut words, mut syncs, mut ready) = (Vec::new(), 0, false);
    for line in text.lines() {
        let word = ["ready", "stored", "settled"]
            .into_iter()
            .find(|w| line.contains(&format!("write(1, \"{w}\\n\"")));
        if line.contains("fdatasync(") || line.contains("fsync(") {
            syncs += 1;
        } else if let Some(word) = word {
            if ready {
                words.push((word.to_owned(), syncs));
            }
            ready = true;
            syncs = 0;
        }
    }
    Ok(words)
}

#[test]
fn the_disk_is_asked_before_anything_is_acknowledged() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return child(Path::new(&directory));
    }
    let synchronised = match trace(false) {
        Ok(words) => words,
        Err(reason) => {
            println!("BAR spool-syncs-per-acknowledgement - 1 SKIP {reason}");
            return;
        }
    };
    assert_eq!(synchronised.len(), 2 * ROUNDS);
    let fewest = synchronised.iter().map(|(_, syncs)| *syncs).min().unwrap();
    assert!(synchronised.iter().all(|(_, syncs)| *syncs >= 1), "{synchronised:?}");
    println!("BAR spool-syncs-per-acknowledgement {fewest} 1 ok");
    // The same test has to fail where synchronisation is off, else it shows nothing.
    let control = trace(true).unwrap();
    let without = control.iter().filter(|(_, syncs)| *syncs == 0).count();
    assert!(without > control.len() / 2, "{control:?}");
    println!("BAR spool-syncs-control-unsynced {without} 1 ok");
}
