use std::{fs::File, sync::Arc};

use bytes::Bytes;
use cavs_proto::v1;
use prost::Message;
use rusqlite::{Connection, Transaction, params};

use super::{
    SpoolError, SpoolStatus,
    format::{self, signed, unsigned},
};
use crate::sighting::SightingKey;

/// Rejected sightings that are kept for the operator, the newest; all are counted.
const REJECTED_KEPT: i64 = 1000;

/// Reason of a row that can't be decoded any more.
const RECORD_DAMAGED: &str = "SPOOL_RECORD_DAMAGED";

/// How much is offered at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Most sightings.
    pub count: usize,
    /// Most bytes; one sighting is always offered, however large it is.
    pub bytes: usize,
}

/// What the server said of a sighting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settlement {
    /// It has it.
    Delivered,
    /// It will never take it.
    Rejected {
        /// The server's stable reason.
        reason: String,
        /// The reason in words.
        message: String,
    },
}

/// The side of the spool that offers sightings and takes out what is settled.
#[derive(Debug)]
pub struct Outbox {
    connection: Connection,
    _lock: Arc<File>,
}

impl Outbox {
    pub(super) fn new(connection: Connection, lock: Arc<File>) -> Self {
        Self { connection, _lock: lock }
    }

    /// What the spool holds.
    ///
    /// # Errors
    /// `Database`.
    pub fn status(&self) -> Result<SpoolStatus, SpoolError> {
        format::status(&self.connection)
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
        let (sightings, damaged) = self.read(after, limits)?;
        if damaged.is_empty() {
            return Ok(sightings);
        }
        let message = "the record can't be decoded".to_owned();
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
            match v1::CapturedSighting::decode(Bytes::from(body)) {
                Ok(sighting) => sightings.push(v1::CapturedSighting {
                    boot_epoch: key.boot_epoch,
                    sequence: key.sequence,
                    evidence: evidence.into(),
                    ..sighting
                }),
                Err(_) => damaged.push(key),
            }
        }
        Ok((sightings, damaged))
    }

    /// Takes acknowledged sightings out, in one transaction.
    ///
    /// # Errors
    /// `Database`; nothing was taken out, and they will be offered again.
    pub fn settle(&mut self, settlements: &[(SightingKey, Settlement)]) -> Result<(), SpoolError> {
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
