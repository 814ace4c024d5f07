//! The spool's layout in SQLite, and what both sides of it share.

use std::path::Path;

use cavs_proto::v1;
use prost::Message;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};

use super::{SpoolError, SpoolStatus};

/// `user_version` of the layout below.
pub(super) const FORMAT: i64 = 1;

/// How long one side waits for the other's transaction.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// One row of `state`; its counters follow the rows by triggers, so that they can't disagree.
/// The 512 are what a row was measured to cost in pages and indexes, beside its blobs.
/// `body` is an encoded `CapturedSighting` without key and evidence, which are columns.
const SCHEMA: &str = "
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    boot_epoch INTEGER NOT NULL,
    spooled INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0,
    lost_evidence INTEGER NOT NULL DEFAULT 0,
    rejected INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO state (id, boot_epoch) VALUES (1, 0);
CREATE TABLE cursors (source TEXT PRIMARY KEY, position TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE sightings (
    boot_epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    body BLOB NOT NULL,
    evidence BLOB,
    UNIQUE (boot_epoch, sequence)
) STRICT;
CREATE INDEX sightings_with_evidence ON sightings (boot_epoch, sequence) WHERE evidence IS NOT NULL;
CREATE TABLE rejected (
    boot_epoch INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    reason TEXT NOT NULL,
    body BLOB NOT NULL,
    UNIQUE (boot_epoch, sequence)
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

/// Opens a connection and sets what holds per connection.
pub(super) fn connect(path: &Path) -> Result<Connection, SpoolError> {
    // Without CREATE: the file was made beforehand, with its rights.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    // The page size comes first: WAL fixes it.
    connection.pragma_update(None, "page_size", 8192)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // FULL: a commit is on the disk when it returns. NORMAL would lose acknowledged transactions
    // with the power.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    Ok(connection)
}

/// Makes the layout in a new database, and refuses one of a later agent.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), SpoolError> {
    let transaction = begin(connection)?;
    let found: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > FORMAT {
        return Err(SpoolError::Newer { path: path.to_path_buf(), found, known: FORMAT });
    }
    if found == 0 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Starts a transaction that takes the write lock at once: two writers wait instead of failing.
pub(super) fn begin(connection: &mut Connection) -> Result<Transaction<'_>, SpoolError> {
    Ok(connection.transaction_with_behavior(TransactionBehavior::Immediate)?)
}

pub(super) fn status(connection: &Connection) -> Result<SpoolStatus, SpoolError> {
    let sql = "SELECT spooled, bytes, lost, lost_evidence, rejected FROM state";
    Ok(connection.prepare_cached(sql)?.query_row([], |row| {
        let count = |at| row.get::<_, i64>(at).map(unsigned);
        Ok(SpoolStatus {
            spooled: count(0)?,
            bytes: count(1)?,
            lost: count(2)?,
            lost_evidence: count(3)?,
            rejected: count(4)?,
        })
    })?)
}

pub(super) fn cursor(connection: &Connection, source: &str) -> Result<Option<String>, SpoolError> {
    let sql = "SELECT position FROM cursors WHERE source = ?";
    Ok(connection.query_row(sql, [source], |row| row.get(0)).optional()?)
}

/// A sighting as its `body` column has it.
pub(super) fn encode_body(sighting: &v1::CapturedSighting) -> Vec<u8> {
    sighting.encode_to_vec()
}

/// SQLite's integers are signed; keys and counters never come near the limit.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// See [`signed`].
pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}
