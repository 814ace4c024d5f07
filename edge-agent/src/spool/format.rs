//! The spool's layout in SQLite, and what both sides of it share.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use super::{Seal, SealedPart, SpoolError, SpoolStatus};
use crate::sighting::SightingKey;

/// `user_version` of the layout below.
pub(super) const FORMAT: i64 = 2;

/// Bytes of a page; the recovery of damaged spools relies on it too.
pub(super) const PAGE_BYTES: usize = 8192;

/// Columns of `sightings`, by which the recovery knows its rows.
pub(super) const SIGHTING_COLUMNS: usize = 7;

/// How long one side waits for the other's transaction.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// What is sealed into `state.key_check`, to find out whether the key is the spool's.
const KEY_CHECK: &[u8] = b"cavs spool key check";

/// One row of `state`; its counters follow the rows by triggers, so that they can't disagree.
/// The format is there a second time, so that one damaged byte is not taken for a newer agent.
const STATE: &str = "
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    boot_epoch INTEGER NOT NULL,
    spooled INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    lost_repeats INTEGER NOT NULL DEFAULT 0,
    lost_expired INTEGER NOT NULL DEFAULT 0,
    lost_damaged INTEGER NOT NULL DEFAULT 0,
    lost_evidence INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0,
    format INTEGER NOT NULL,
    key_check BLOB NOT NULL
) STRICT;
INSERT INTO state (id, boot_epoch, format, key_check) VALUES (1, 0, 2, x'');
CREATE TABLE cursors (source TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE rejected (
    boot_epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (boot_epoch, sequence)
) STRICT;
";

/// The sightings and what the server's clock said during the start that stored them.
///
/// `body` is a sealed `CapturedSighting` with its run, without key and evidence; `evidence` is sealed too.
/// `stored_at` is NULL where the wall clock was not to be trusted. `repeat` is 1 where an earlier
/// sighting of the same track exists. The 512 are what a row was measured to cost in pages and
/// indexes, beside its blobs.
const SIGHTINGS: &str = "
CREATE TABLE sightings (
    boot_epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    quality INTEGER NOT NULL,
    repeat INTEGER NOT NULL,
    stored_at INTEGER,
    body BLOB NOT NULL,
    evidence BLOB,
    UNIQUE (boot_epoch, sequence)
) STRICT;
CREATE INDEX sightings_with_evidence ON sightings (boot_epoch, sequence) WHERE evidence IS NOT NULL;
CREATE INDEX repeats ON sightings (quality, boot_epoch, sequence) WHERE repeat = 1;
CREATE TABLE boots (
    boot_epoch INTEGER PRIMARY KEY,
    boot_id TEXT NOT NULL,
    anchor_boot_us INTEGER,
    anchor_learnt_ms INTEGER,
    anchor_uncertainty_ms INTEGER
) STRICT;
CREATE TRIGGER sighting_added AFTER INSERT ON sightings BEGIN
    UPDATE state SET spooled = spooled + 1,
        bytes = bytes + length(NEW.body) + ifnull(length(NEW.evidence), 0) + 512;
END;
CREATE TRIGGER sighting_removed AFTER DELETE ON sightings BEGIN
    UPDATE state SET spooled = spooled - 1,
        bytes = bytes - length(OLD.body) - ifnull(length(OLD.evidence), 0) - 512;
END;
CREATE TRIGGER evidence_removed AFTER UPDATE OF evidence ON sightings BEGIN
    UPDATE state SET
        bytes = bytes - ifnull(length(OLD.evidence), 0) + ifnull(length(NEW.evidence), 0);
END;
";

/// What of format 1, which had no encryption, becomes format 2 before its rows are sealed.
const FROM_1: &str = "
DROP TRIGGER sighting_added; DROP TRIGGER sighting_removed; DROP TRIGGER evidence_removed;
DROP INDEX sightings_with_evidence;
ALTER TABLE sightings RENAME TO plain_sightings;
DELETE FROM rejected;
ALTER TABLE state ADD COLUMN lost_repeats INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN lost_expired INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN lost_damaged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE state ADD COLUMN format INTEGER NOT NULL DEFAULT 2;
ALTER TABLE state ADD COLUMN key_check BLOB NOT NULL DEFAULT x'';
UPDATE state SET spooled = 0, bytes = 0;
";

/// How SQLite uses the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// With an index of the journal in a file of its own.
    Usual,
    /// With that index in this process's memory: for a disk that has no room for the file.
    WithoutSharedMemory,
}

/// Opens a connection and sets what holds per connection.
pub(super) fn connect(path: &Path, access: Access) -> Result<Connection, SpoolError> {
    // Without CREATE: the file was made beforehand, with its rights.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match access {
        Access::Usual => Connection::open_with_flags(path, flags)?,
        // Its connections of one process see each other, and keep all others out.
        Access::WithoutSharedMemory => Connection::open_with_flags_and_vfs(path, flags, c"unix-excl")?,
    };
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // The page size comes first: WAL fixes it.
    connection.pragma_update(None, "page_size", PAGE_BYTES as i64)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit is on the disk when it returns. NORMAL would lose acknowledged transactions
    // with the power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    Ok(connection)
}

/// Makes the layout in a new database, brings an older one up to date, refuses one of a later agent
/// and one with another key.
pub(super) fn prepare(connection: &mut Connection, path: &Path, seal: &Seal) -> Result<(), SpoolError> {
    let transaction = begin(connection)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let mut fresh = true;
    match found {
        0 => transaction.execute_batch(&[STATE, SIGHTINGS].concat())?,
        1 => upgrade(&transaction, seal)?,
        FORMAT => fresh = false,
        _ => return Err(newer_or_damaged(&transaction, path, found)),
    }
    if fresh {
        let check = seal.seal_with(KEY_CHECK, b"")?;
        transaction.execute("UPDATE state SET key_check = ?", [check])?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    let check: Vec<u8> = transaction.query_row("SELECT key_check FROM state", [], |row| row.get(0))?;
    seal.open_with(KEY_CHECK, check).ok_or(SpoolError::OtherKey)?;
    transaction.commit()?;
    if found == 1 {
        // The plain rows must not stay in free pages.
        connection.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")?;
    }
    Ok(())
}

/// A newer agent says its format in two places; damage changes one of them.
fn newer_or_damaged(transaction: &Transaction<'_>, path: &Path, found: i64) -> SpoolError {
    let said: Option<i64> =
        transaction.query_row("SELECT format FROM state", [], |row| row.get(0)).optional().ok().flatten();
    if found > FORMAT && said == Some(found) {
        SpoolError::Newer { path: path.to_path_buf(), found, known: FORMAT }
    } else {
        corrupt(format!("format {found} in the header, {said:?} in the state"))
    }
}

fn upgrade(transaction: &Transaction<'_>, seal: &Seal) -> Result<(), SpoolError> {
    transaction.execute_batch(FROM_1)?;
    transaction.execute_batch(SIGHTINGS)?;
    let mut rows = transaction.prepare("SELECT boot_epoch, sequence, body, evidence FROM plain_sightings")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let key = SightingKey { boot_epoch: unsigned(row.get(0)?), sequence: unsigned(row.get(1)?) };
        let (body, evidence): (Vec<u8>, Option<Vec<u8>>) = (row.get(2)?, row.get(3)?);
        let evidence =
            evidence.map(|evidence| seal.seal(key, SealedPart::Evidence, &evidence)).transpose()?;
        let body = seal.seal(key, SealedPart::Body, &body)?;
        SealedRow { key, quality: 0, repeat: false, stored_at: None, body, evidence }.insert(transaction)?;
    }
    drop(rows);
    transaction.execute_batch("DROP TABLE plain_sightings")?;
    Ok(())
}

/// A row of `sightings`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SealedRow {
    pub(super) key: SightingKey,
    pub(super) quality: u8,
    pub(super) repeat: bool,
    /// Milliseconds since 1970.
    pub(super) stored_at: Option<i64>,
    pub(super) body: Vec<u8>,
    pub(super) evidence: Option<Vec<u8>>,
}

impl SealedRow {
    /// Inserts the row unless there is one of this key; gives the number of rows inserted.
    pub(super) fn insert(&self, transaction: &Transaction<'_>) -> Result<usize, SpoolError> {
        let sql = "INSERT OR IGNORE INTO sightings
            (boot_epoch, sequence, quality, repeat, stored_at, body, evidence) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let (epoch, sequence) = (signed(self.key.boot_epoch), signed(self.key.sequence));
        let (body, evidence) = (&self.body, &self.evidence);
        let row =
            rusqlite::params![epoch, sequence, self.quality, self.repeat, self.stored_at, body, evidence];
        Ok(transaction.prepare_cached(sql)?.execute(row)?)
    }
}

/// Starts a transaction that takes the write lock at once: two writers wait instead of failing.
pub(super) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, SpoolError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

pub(super) fn status(connection: &Connection) -> Result<SpoolStatus, SpoolError> {
    let sql = "SELECT spooled, bytes, lost, lost_repeats, lost_expired, lost_damaged, lost_evidence, rejected
               FROM state";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| {
        let count = |at| row.get::<_, i64>(at).map(unsigned);
        Ok(SpoolStatus {
            spooled: count(0)?,
            bytes: count(1)?,
            lost: count(2)?,
            lost_repeats: count(3)?,
            lost_expired: count(4)?,
            lost_damaged: count(5)?,
            lost_evidence: count(6)?,
            rejected: count(7)?,
        })
    })?)
}

/// Finds all sightings as they are offered: by their index, which `quick_check` does not compare with the rows. Reads
/// none of the pages that their bodies and pictures take.
pub(super) fn validate_keys(connection: &Connection) -> Result<(), SpoolError> {
    let sql = "SELECT boot_epoch, sequence, quality FROM sightings ORDER BY boot_epoch, sequence";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        (0..3).try_for_each(|column| row.get::<_, i64>(column).map(drop))?;
    }
    Ok(())
}

pub(super) fn cursor(connection: &Connection, source: &str) -> Result<Option<String>, SpoolError> {
    let sql = "SELECT position FROM cursors WHERE source = ?";
    Ok(connection.query_row(sql, [source], |row| row.get(0)).optional()?)
}

/// An error that says of itself that the database is damaged.
pub(super) fn corrupt(verdict: String) -> SpoolError {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(code, Some(verdict)).into()
}

/// SQLite's integers are signed; keys and counters never come near the limit.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// See [`signed`].
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
