//! What was seen and not yet acknowledged, on disk (SQLite, WAL, `synchronous=FULL`).
//!
//! [`Writer`] makes sightings durable and keeps the spool within its bound, [`Outbox`] offers them
//! and takes them out once they are acknowledged; each has its own connection. The layout is in
//! `format`. One process owns a spool at a time.

mod format;
mod open;
mod outbox;
mod writer;

use std::{io, path::PathBuf};

use thiserror::Error;

pub use open::{Spool, SpoolOptions};
pub use outbox::{BatchLimits, Outbox, Settlement};
pub use writer::{Appended, FrameRecord, Writer};

/// What a spool holds and what it had to give up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpoolStatus {
    /// Sightings that wait.
    pub spooled: u64,
    /// Bytes they take.
    pub bytes: u64,
    /// Sightings dropped before their acknowledgement, since the spool was made.
    pub lost: u64,
    /// Face crops dropped before their acknowledgement, since the spool was made. Their sightings
    /// may have been delivered without them.
    pub lost_evidence: u64,
    /// Sightings that the server will never take, since the spool was made.
    pub rejected: u64,
}

/// Why the spool can't be used.
#[derive(Debug, Error)]
pub enum SpoolError {
    /// A file or folder of the spool can't be made, opened or moved.
    #[error("spool.path: {path}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another agent has it.
    #[error("spool.path: {0}: another agent is using this spool; every agent needs its own")]
    Locked(PathBuf),
    /// A later version of the agent made it.
    #[error("spool.path: {path}: made by a newer agent (format {found}, this agent knows {known})")]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format that this agent knows.
        known: i64,
    },
    /// SQLite refused.
    #[error("spool: {0}")]
    Database(#[from] rusqlite::Error),
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
        let Self::Database(error) = self else { return false };
        error.sqlite_error_code().is_some_and(|code| code == DatabaseCorrupt || code == NotADatabase)
    }
}

#[cfg(test)]
mod tests;
