use std::{collections::BTreeMap, fs::File, sync::Arc};

use bytes::Bytes;
use cavs_proto::v1;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{
    Seal, SealedPart, SpoolError, SpoolStatus,
    boots::Boots,
    format::{self, signed, unsigned},
    watched,
};
use crate::{
    clock::{self, ClockAnchor},
    sighting::{SightingKey, correct_times},
};

/// Rejected sightings that are kept for the operator, the newest; all are counted.
const REJECTED_KEPT: i64 = 1000;

/// Sightings that are remembered as settled, on a full disk: about 20 MB. Beyond that, none are offered.
const UNSETTLED: usize = 200_000;

/// Reason of a row that can't be decrypted or decoded any more.
const RECORD_DAMAGED: &str = "SPOOL_RECORD_DAMAGED";

/// How much is offered at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most sightings of one batch.
    pub count: usize,
    /// Most bytes; one sighting is always offered, however large it is.
    pub bytes: usize,
}

/// What the server said of a sighting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It is committed there, now or before.
    Delivered,
    /// It will never be taken there; it is set aside.
    Rejected {
        /// Such as `EMBEDDING_INVALID`; stable.
        reason: String,
        /// The reason in words, for the log.
        message: String,
    },
}

/// The side of the spool that offers sightings and takes out what is settled.
#[derive(Debug)]
pub struct Outbox {
    pub(super) connection: Connection,
    _lock: Arc<File>,
    seal: Arc<Seal>,
    pub(super) boots: Boots,
    /// What is settled and could not be taken out, as the disk is full. It is not offered again by this
    /// process; by the next one it is, which the server takes for the repetition that it is.
    unsettled: BTreeMap<SightingKey, Settlement>,
}

impl Outbox {
    pub(super) fn new(connection: Connection, lock: Arc<File>, seal: Arc<Seal>, boots: Boots) -> Self {
        Self { connection, _lock: lock, seal, boots, unsettled: BTreeMap::new() }
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Takes in what time it is, so that sightings of a clock that was wrong are corrected when they
    /// are offered. It holds for every start of the agent since the kernel's.
    ///
    /// # Errors
    /// `Database`.
    pub fn learn_time(&mut self, anchor: ClockAnchor) -> Result<(), SpoolError> {
        self.boots.learn(&self.connection, &clock::boot_id(), anchor)
    }

    /// When the oldest sighting was stored, in milliseconds since 1970; `None` where there is none,
    /// or its clock was wrong.
    ///
    /// # Errors
    /// `Database`.
    pub fn oldest_stored_at(&self) -> Result<Option<i64>, SpoolError> {
        let sql = "SELECT stored_at FROM sightings ORDER BY boot_epoch, sequence LIMIT 1";
        let mut statement = self.connection.prepare_cached(sql)?;
        Ok(statement.query_row([], |row| row.get(0)).optional()?.flatten())
    }

    /// What the spool holds, without what is settled.
    ///
    /// # Errors
    /// `Database`.
    pub fn status(&self) -> Result<SpoolStatus, SpoolError> {
        let status = format::status(&self.connection)?;
        let spooled = status.spooled.saturating_sub(self.unsettled.len() as u64);
        Ok(SpoolStatus { spooled, ..status })
    }

    /// The disk is so full that nothing can be taken out.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        !self.unsettled.is_empty()
    }

    /// The oldest sightings after a key (or from the start), ready for the wire.
    ///
    /// A row that can't be decoded is set aside like a rejected one.
    ///
    /// # Errors
    /// `Database`.
    pub fn next(
        &mut self,
        after: Option<SightingKey>,
        limits: BatchLimits,
    ) -> Result<Vec<v1::CapturedSighting>, SpoolError> {
        if self.unsettled.len() >= UNSETTLED {
            return Ok(Vec::new());
        }
        let (mut sightings, damaged) = self.read(after, limits)?;
        if !self.unsettled.is_empty() {
            let key =
                |s: &v1::CapturedSighting| SightingKey { boot_epoch: s.boot_epoch, sequence: s.sequence };
            let last = sightings.iter().map(key).chain(damaged.iter().copied()).max();
            sightings.retain(|sighting| !self.unsettled.contains_key(&key(sighting)));
            let new = damaged.iter().any(|key| !self.unsettled.contains_key(key));
            if let (true, false, Some(last)) = (sightings.is_empty(), new, last) {
                return self.next(Some(last), limits);
            }
        }
        if damaged.is_empty() {
            return Ok(sightings);
        }
        let message = "the record can't be decrypted and decoded".to_owned();
        let settlement = Settlement::Rejected { reason: RECORD_DAMAGED.to_owned(), message };
        let damaged: Vec<_> = damaged.into_iter().map(|key| (key, settlement.clone())).collect();
        self.settle(&damaged)?;
        if sightings.is_empty() { self.next(after, limits) } else { Ok(sightings) }
    }

    fn read(
        &self,
        after: Option<SightingKey>,
        limits: BatchLimits,
    ) -> Result<(Vec<v1::CapturedSighting>, Vec<SightingKey>), SpoolError> {
        let after = after.unwrap_or(SightingKey { boot_epoch: 0, sequence: 0 });
        let mut statement = self.connection.prepare_cached(
            "SELECT boot_epoch, sequence, body, evidence FROM sightings
             WHERE (boot_epoch, sequence) > (?, ?) ORDER BY boot_epoch, sequence LIMIT ?",
        )?;
        let count = i64::try_from(limits.count).unwrap_or(i64::MAX);
        let mut rows = statement.query(params![signed(after.boot_epoch), signed(after.sequence), count])?;
        let (mut sightings, mut damaged, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let key = SightingKey { boot_epoch: unsigned(row.get(0)?), sequence: unsigned(row.get(1)?) };
            let body: Vec<u8> = row.get(2)?;
            let evidence: Vec<u8> = row.get::<_, Option<_>>(3)?.unwrap_or_default();
            bytes += body.len() + evidence.len();
            if bytes > limits.bytes && !sightings.is_empty() {
                break;
            }
            match self.decode(key, body, evidence) {
                Some(sighting) => sightings.push(sighting),
                None => damaged.push(key),
            }
        }
        Ok((sightings, damaged))
    }

    /// Evidence that can't be opened is left out: the sighting is worth more than its picture.
    fn decode(&self, key: SightingKey, body: Vec<u8>, evidence: Vec<u8>) -> Option<v1::CapturedSighting> {
        let body = self.seal.open(key, SealedPart::Body, body)?;
        let mut sighting = v1::CapturedSighting::decode(Bytes::from(body)).ok()?;
        correct_times(&mut sighting, self.boots.anchor(key.boot_epoch));
        let evidence = self.seal.open(key, SealedPart::Evidence, evidence).unwrap_or_default().into();
        Some(v1::CapturedSighting {
            boot_epoch: key.boot_epoch,
            sequence: key.sequence,
            evidence,
            ..sighting
        })
    }

    /// Takes acknowledged sightings out, in one transaction. On a disk that is too full for that, they are
    /// remembered, and taken out with later ones or by [`Self::settle_rest`].
    ///
    /// # Errors
    /// `Database`; nothing was taken out, and they will be offered again.
    pub fn settle(&mut self, settlements: &[(SightingKey, Settlement)]) -> Result<(), SpoolError> {
        if self.unsettled.is_empty() {
            match self.take_out(settlements) {
                Err(error) if error.is_full() => tracing::error!(
                    %error,
                    "the disk is full: what was delivered can't be taken out of the spool; delivering goes on"
                ),
                result => return result,
            }
        }
        self.unsettled.extend(settlements.iter().cloned());
        self.settle_rest()
    }

    /// Takes out what could not be taken out before.
    ///
    /// # Errors
    /// `Database`, for another reason than a full disk.
    pub fn settle_rest(&mut self) -> Result<(), SpoolError> {
        if self.unsettled.is_empty() {
            return Ok(());
        }
        // The journal's pages can be used again once what they say is in the database.
        let _ = self.connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        let rest: Vec<_> = self.unsettled.iter().map(|(key, settled)| (*key, settled.clone())).collect();
        match self.take_out(&rest) {
            Err(error) if error.is_full() => Ok(()),
            result => {
                result?;
                self.unsettled.clear();
                tracing::info!(
                    sightings = rest.len(),
                    "there is room again: what was delivered is taken out"
                );
                Ok(())
            }
        }
    }

    fn take_out(&mut self, settlements: &[(SightingKey, Settlement)]) -> Result<(), SpoolError> {
        let transaction = format::begin(&mut self.connection)?;
        for (key, settlement) in settlements {
            match settlement {
                Settlement::Delivered => take_out_delivered(&transaction, *key)?,
                Settlement::Rejected { reason, .. } => set_aside(&transaction, *key, reason)?,
            }
        }
        transaction.commit()?;
        for (key, settlement) in settlements {
            if let Settlement::Rejected { reason, message } = settlement {
                tracing::warn!(sighting = %key, reason, message, "a sighting was rejected and set aside");
            }
        }
        Ok(())
    }
}

fn take_out_delivered(transaction: &Transaction<'_>, key: SightingKey) -> Result<(), SpoolError> {
    if delete(transaction, key)? == 0 {
        // It was driven out while it was under way, but has arrived after all.
        transaction.execute("UPDATE state SET lost = max(lost - 1, 0)", [])?;
    }
    Ok(())
}

fn set_aside(transaction: &Transaction<'_>, key: SightingKey, reason: &str) -> Result<(), SpoolError> {
    let (epoch, sequence) = (signed(key.boot_epoch), signed(key.sequence));
    transaction
        .prepare_cached(
            "INSERT OR IGNORE INTO rejected (boot_epoch, sequence, reason, body)
             SELECT boot_epoch, sequence, ?3, body FROM sightings WHERE boot_epoch = ?1 AND sequence = ?2",
        )?
        .execute(params![epoch, sequence, reason])?;
    let sql = "SELECT stored_at FROM sightings WHERE boot_epoch = ? AND sequence = ?";
    let stored_at = transaction.query_row(sql, [epoch, sequence], |row| row.get(0)).optional()?;
    if let Some(stored_at) = stored_at {
        // Nobody will ever look at it.
        watched::mark_lost(transaction, stored_at)?;
    }
    if delete(transaction, key)? > 0 {
        transaction.execute("UPDATE state SET rejected = rejected + 1", [])?;
    }
    transaction.execute(
        "DELETE FROM rejected WHERE rowid NOT IN (SELECT rowid FROM rejected ORDER BY rowid DESC LIMIT ?)",
        [REJECTED_KEPT],
    )?;
    Ok(())
}

fn delete(transaction: &Transaction<'_>, key: SightingKey) -> Result<usize, SpoolError> {
    let sql = "DELETE FROM sightings WHERE boot_epoch = ? AND sequence = ?";
    Ok(transaction.prepare_cached(sql)?.execute([signed(key.boot_epoch), signed(key.sequence)])?)
}
