use std::{fs::File, sync::Arc};

use rusqlite::{Connection, Transaction, params};

use super::{
    SpoolError, SpoolStatus,
    format::{self, encode_body, signed},
};
use crate::{
    sighting::{Sighting, SightingKey},
    source::Cursor,
};

/// What one frame leaves in the spool.
#[derive(Debug, Clone, Default)]
pub struct FrameRecord {
    /// Where the source goes on after the frame.
    pub cursor: Option<Cursor>,
    /// Its sightings; none is a frame without faces, or a bad one.
    pub sightings: Vec<Sighting>,
}

/// What an append did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Sightings stored.
    pub stored: u64,
    /// Sightings dropped to make room.
    pub lost: u64,
    /// Face crops dropped to make room.
    pub lost_evidence: u64,
}

/// The side of the spool that stores.
#[derive(Debug)]
pub struct Writer {
    connection: Connection,
    _lock: Arc<File>,
    boot_epoch: u64,
    last_sequence: u64,
    max_bytes: u64,
}

impl Writer {
    pub(super) fn new(connection: Connection, lock: Arc<File>, boot_epoch: u64, max_bytes: u64) -> Self {
        Self { connection, _lock: lock, boot_epoch, last_sequence: 0, max_bytes }
    }

    /// The epoch of this start.
    #[must_use]
    pub fn boot_epoch(&self) -> u64 {
        self.boot_epoch
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// How far a source had come.
    ///
    /// # Errors
    /// `Database`.
    pub fn cursor(&self, source: &str) -> Result<Option<String>, SpoolError> {
        format::cursor(&self.connection, source)
    }

    /// What the spool holds.
    ///
    /// # Errors
    /// `Database`.
    pub fn status(&self) -> Result<SpoolStatus, SpoolError> {
        format::status(&self.connection)
    }

    /// Stores frames in one transaction: their sightings and their cursors, or nothing of them.
    /// What does not fit drives out the oldest evidence, then the oldest sightings.
    ///
    /// # Errors
    /// `Database`; nothing was stored, and the same frames may be tried again.
    pub fn append(&mut self, frames: &[FrameRecord]) -> Result<Appended, SpoolError> {
        let transaction = format::begin(&mut self.connection)?;
        let mut appended = Appended::default();
        for frame in frames {
            for sighting in &frame.sightings {
                // A number is spent even where the transaction fails: no two sightings share one.
                self.last_sequence += 1;
                let key = SightingKey { boot_epoch: self.boot_epoch, sequence: self.last_sequence };
                insert(&transaction, key, sighting)?;
                appended.stored += 1;
            }
            if let Some(cursor) = &frame.cursor {
                let sql = "INSERT INTO cursors (source, position) VALUES (?, ?)
                           ON CONFLICT (source) DO UPDATE SET position = excluded.position";
                transaction.prepare_cached(sql)?.execute([&cursor.source, &cursor.position])?;
            }
        }
        make_room(&transaction, self.max_bytes, &mut appended)?;
        transaction.commit()?;
        Ok(appended)
    }
}

fn insert(transaction: &Transaction<'_>, key: SightingKey, sighting: &Sighting) -> Result<(), SpoolError> {
    let sql = "INSERT INTO sightings (boot_epoch, sequence, body, evidence) VALUES (?, ?, ?, ?)";
    let body = encode_body(&sighting.to_wire());
    let evidence = sighting.face.evidence.as_ref().map(|evidence| &evidence.0);
    let row = params![signed(key.boot_epoch), signed(key.sequence), body, evidence];
    transaction.prepare_cached(sql)?.execute(row)?;
    Ok(())
}

fn make_room(
    transaction: &Transaction<'_>,
    max_bytes: u64,
    appended: &mut Appended,
) -> Result<(), SpoolError> {
    const OLDEST_EVIDENCE: &str = "UPDATE sightings SET evidence = NULL WHERE rowid =
        (SELECT rowid FROM sightings INDEXED BY sightings_with_evidence
         WHERE evidence IS NOT NULL ORDER BY boot_epoch, sequence LIMIT 1)";
    const OLDEST_SIGHTING: &str = "DELETE FROM sightings WHERE rowid =
        (SELECT rowid FROM sightings ORDER BY boot_epoch, sequence LIMIT 1)";
    for (sql, count) in
        [(OLDEST_EVIDENCE, &mut appended.lost_evidence), (OLDEST_SIGHTING, &mut appended.lost)]
    {
        let mut statement = transaction.prepare_cached(sql)?;
        while format::status(transaction)?.bytes > max_bytes && statement.execute([])? > 0 {
            *count += 1;
        }
    }
    if appended.lost > 0 || appended.lost_evidence > 0 {
        transaction.execute(
            "UPDATE state SET lost = lost + ?, lost_evidence = lost_evidence + ?",
            [signed(appended.lost), signed(appended.lost_evidence)],
        )?;
    }
    Ok(())
}
