//! Takes over what can be read of a spool that was moved aside.

use std::{
    collections::HashSet,
    fs::File,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags};

use super::{
    Seal, SealedPart, SpoolError,
    carve::Carver,
    format::{self, SealedRow, signed, unsigned},
};
use crate::files::with_suffix;

/// Rows that are taken over in one transaction: a few megabytes with their evidence.
const PORTION: usize = 256;

/// A spool that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Where it was moved to.
    pub path: PathBuf,
    /// What was wrong with it.
    pub cause: String,
    /// Sightings that were taken over from it.
    pub recovered: u64,
    /// Sightings that it is known to have had beside those.
    pub lost: u64,
}

impl Quarantined {
    pub(super) fn new(path: PathBuf, cause: String) -> Self {
        Self { path, cause, recovered: 0, lost: 0 }
    }
}

/// Reads every row that is left in a damaged spool and stores it in the new one. What opens under
/// the key is genuine, wherever in the file it was found; a row that was delivered already is
/// offered again, which the server takes for the repetition that it is.
pub(super) fn recover(
    quarantined: &mut Quarantined,
    connection: &mut Connection,
    seal: &Seal,
) -> Result<(), SpoolError> {
    let path = quarantined.path.clone();
    let file = File::open(&path).map_err(SpoolError::file(&path))?;
    let journal = File::open(with_suffix(&path, "-wal")).ok();
    let (mut seen, mut lost_evidence) = (HashSet::new(), 0);
    let mut portion = Vec::new();
    for row in Carver::new(file, journal) {
        if seen.contains(&row.key) {
            continue;
        }
        if let Some(row) = genuine(row, seal, &mut lost_evidence) {
            seen.insert(row.key);
            portion.push(row);
        }
        if portion.len() == PORTION {
            store(connection, &mut portion)?;
        }
    }
    store(connection, &mut portion)?;
    quarantined.recovered = seen.len() as u64;
    // Last, since SQLite may throw away what it does not believe of the journal.
    let known = known_depth(&path);
    quarantined.lost = known.map_or(0, |known| known.saturating_sub(quarantined.recovered));
    connection.execute(
        "UPDATE state SET lost = lost + ?1, lost_damaged = lost_damaged + ?1, lost_evidence = lost_evidence + ?2",
        [signed(quarantined.lost), lost_evidence],
    )?;
    Ok(())
}

/// The row, if its body opens; without evidence that does not open.
fn genuine(mut row: SealedRow, seal: &Seal, lost_evidence: &mut i64) -> Option<SealedRow> {
    seal.open(row.key, SealedPart::Body, row.body.clone())?;
    if let Some(evidence) = row.evidence.take() {
        if seal.open(row.key, SealedPart::Evidence, evidence.clone()).is_some() {
            row.evidence = Some(evidence);
        } else {
            *lost_evidence += 1;
        }
    }
    // These were not sealed and may be damaged; they only matter for what goes first on overflow.
    row.quality = row.quality.min(100);
    Some(row)
}

fn store(connection: &mut Connection, rows: &mut Vec<SealedRow>) -> Result<(), SpoolError> {
    let transaction = format::begin(connection)?;
    for row in rows.drain(..) {
        row.insert(&transaction)?;
    }
    transaction.commit()?;
    Ok(())
}

/// How many sightings a damaged spool says that it had, where it still says so and could be right.
fn known_depth(path: &Path) -> Option<u64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).ok()?;
    let spooled: i64 = connection.query_row("SELECT spooled FROM state", [], |row| row.get(0)).ok()?;
    let bytes = path.metadata().ok()?.len();
    // Every row takes more than a hundred bytes: a larger number is damage too.
    Some(unsigned(spooled)).filter(|spooled| *spooled <= bytes / 100)
}
