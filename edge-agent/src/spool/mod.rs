//! What was seen and not yet acknowledged, on disk (SQLite, WAL, `synchronous=FULL`), encrypted.
//!
//! [`Writer`] makes sightings durable and keeps the spool within its bounds, [`Outbox`] offers them
//! and takes them out once they are acknowledged; each has its own connection. The layout is in
//! `format`, the encryption in `seal` and `device_key`, the recovery of damaged spools in `recover`
//! and `carve`. One process owns a spool at a time.

mod boots;
mod captures;
mod carve;
mod device_key;
mod expiry;
mod files;
mod format;
mod open;
mod outbox;
mod recover;
mod seal;
mod watched;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use captures::StoredFrame;
pub(crate) use open::WATCH_INTERVAL;
pub use open::{Spool, SpoolOptions};
pub use outbox::{BatchLimits, Outbox, Settlement};
pub use recover::Quarantined;
pub use seal::Seal;
pub use watched::{OfferedPeriod, WatchReport};
pub use writer::{Appended, FrameRecord, Writer};

use seal::SealedPart;

/// What a spool holds and what it had to give up. Counters are since the spool was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Sightings that wait for their acknowledgement.
    pub spooled: u64,
    /// Bytes that they take, evidence and overhead included.
    pub bytes: u64,
    /// Sightings lost before their acknowledgement, for whatever reason.
    pub lost: u64,
    /// Those of `lost` that repeated an earlier sighting of their track.
    pub lost_repeats: u64,
    /// Those of `lost` that became too old.
    pub lost_expired: u64,
    /// Those of `lost` that could not be recovered from a damaged spool.
    pub lost_damaged: u64,
    /// Face crops lost before their acknowledgement. Their sightings may have been delivered
    /// without them.
    pub lost_evidence: u64,
    /// Sightings that the server will never take.
    pub rejected: u64,
}

/// Why the spool can't be used.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// A file or folder of the spool can't be made, opened or moved.
    #[error("spool.path: {path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Another agent holds its lock.
    #[error("spool.path: {0}: another agent is using this spool; every agent needs its own")]
    Locked(PathBuf),
    /// A later version of the agent made it.
    #[error("spool.path: {path}: made by a newer agent (format {found}, this agent knows {known})")]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The format that it says it has.
        found: i64,
        /// The newest format that this agent knows.
        known: i64,
    },
    /// The key file is no key.
    #[error("spool.key_file: {path}: a key has at least {least} bytes")]
    KeyTooShort {
        /// The key file.
        path: PathBuf,
        /// Least length of a key, in bytes.
        least: usize,
    },
    /// The database was encrypted with another key. An open moves it aside.
    #[error("spool: encrypted with another key")]
    OtherKey,
    /// The cryptographic library refused, which it never does.
    #[error("spool: {0} failed")]
    Crypto(&'static str),
    /// SQLite failed; [`SpoolError::is_damage`] and [`SpoolError::is_full`] say how.
    #[error("spool: {0}")]
    Database(#[from] rusqlite::Error),
}

/// Whether an agent has the spool at `path` open now.
#[must_use]
pub fn is_in_use(path: &Path) -> bool {
    let lock = crate::files::with_suffix(path, ".lock");
    lock.exists() && matches!(files::lock(path), Err(SpoolError::Locked(_)))
}

/// The seal of the spool that `options` name, to read what was sealed with it.
///
/// # Errors
/// `File` where there is no key, `OtherKey` where it is not this device's, `KeyTooShort`, `Crypto`.
pub fn existing_seal(options: &SpoolOptions) -> Result<Seal, SpoolError> {
    device_key::existing(&options.path, options.key_file.as_deref())
}

impl SpoolError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { path, source }
    }

    /// The database file itself is damaged: not a lack of space or rights, which may pass.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        self.code().is_some_and(|code| code == DatabaseCorrupt || code == NotADatabase)
    }

    /// The disk, or what the spool may have of it, is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, StorageFull};
        match self {
            Self::File { source, .. } => matches!(source.kind(), StorageFull | QuotaExceeded),
            Self::Database(_) => self.code() == Some(rusqlite::ErrorCode::DiskFull),
            Self::Locked(_)
            | Self::Newer { .. }
            | Self::KeyTooShort { .. }
            | Self::OtherKey
            | Self::Crypto(_) => false,
        }
    }

    /// There may be no room for SQLite's index of its journal, which it makes anew at every start.
    fn lacks_shared_memory(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, DiskFull, SystemIoFailure};
        self.code().is_some_and(|code| matches!(code, CannotOpen | DiskFull | SystemIoFailure))
    }

    /// While opening, everything counts as damage that is not known to be something else: a schema
    /// that makes no sense gives errors of every kind.
    fn is_damage_at_open(&self) -> bool {
        use rusqlite::ErrorCode::{
            CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, PermissionDenied, ReadOnly,
            SystemIoFailure,
        };
        const PASSING: [rusqlite::ErrorCode; 7] =
            [CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, OutOfMemory, PermissionDenied, ReadOnly];
        match self {
            Self::Database(error) => match error.sqlite_error() {
                // A file that is too short for its own header; other failures are the disk's.
                Some(error) if error.code == SystemIoFailure => {
                    error.extended_code == rusqlite::ffi::SQLITE_IOERR_SHORT_READ
                }
                Some(error) => !PASSING.contains(&error.code),
                // Values of types that the layout does not allow.
                None => true,
            },
            Self::File { .. }
            | Self::Locked(_)
            | Self::Newer { .. }
            | Self::KeyTooShort { .. }
            | Self::OtherKey
            | Self::Crypto(_) => false,
        }
    }

    fn code(&self) -> Option<rusqlite::ErrorCode> {
        let Self::Database(error) = self else { return None };
        error.sqlite_error_code()
    }
}

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod sync_tests;
#[cfg(test)]
mod tests;
