use std::{fs::File, sync::Arc, time::Duration};

use cavs_proto::v1;
use cavs_types::DeviceId;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, Transaction};

use super::{
    Seal, SealedPart, SpoolError, SpoolOptions, SpoolStatus, StoredFrame, captures, expiry,
    format::{self, SealedRow, signed},
    watched,
};
use crate::{
    clock::{self, Stamp},
    sighting::{RunId, Sighting, SightingKey},
    source::Cursor,
    watch::{Observation, WatchLog},
};

/// What one frame leaves in the spool.
#[derive(Debug, Clone, Default)]
pub struct FrameRecord {
    /// Where the source goes on after the frame.
    pub cursor: Option<Cursor>,
    /// The camera that sent it to a proxy, and that camera's name for it, by which a frame that is sent
    /// again is known; `None` where it has none.
    pub capture: Option<(DeviceId, String)>,
    /// Its sightings; none is a frame without faces, or a bad one.
    pub sightings: Vec<Sighting>,
    /// What is known of the device's own camera with it; `None` for those of a proxy's cameras, which prove nothing
    /// by not having seen somebody.
    pub watch: Option<Observation>,
}

/// What a transaction added to the spool and what it had to give up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Appended {
    /// Sightings that were added.
    pub stored: u64,
    /// Sightings given up, to make room or because of their age.
    pub lost: u64,
    /// Those of `lost` that repeated an earlier sighting of their track.
    pub lost_repeats: u64,
    /// Those of `lost` that had become too old.
    pub lost_expired: u64,
    /// Face crops given up to make room.
    pub lost_evidence: u64,
}

/// The side of the spool that stores.
#[derive(Debug)]
pub struct Writer {
    pub(super) connection: Connection,
    _lock: Arc<File>,
    pub(super) seal: Arc<Seal>,
    pub(super) run: RunId,
    pub(super) boot_epoch: u64,
    pub(super) last_sequence: u64,
    pub(super) max_bytes: u64,
    max_age: Option<Duration>,
    watch: WatchLog,
    watch_interval: Duration,
    /// When it was last noted what was watched, since the kernel's start.
    watch_noted: Duration,
    /// Frames had to wait for room on the disk since the last ones were stored.
    disk_was_full: bool,
}

impl Writer {
    pub(super) fn new(
        connection: Connection,
        lock: Arc<File>,
        seal: Arc<Seal>,
        (run, boot_epoch): (RunId, u64),
        options: &SpoolOptions,
    ) -> Self {
        let SpoolOptions { max_bytes, max_age, watch_interval, .. } = *options;
        Self {
            connection,
            _lock: lock,
            seal,
            run,
            boot_epoch,
            last_sequence: 0,
            max_bytes,
            max_age,
            watch: WatchLog::default(),
            watch_interval,
            watch_noted: Duration::ZERO,
            disk_was_full: false,
        }
    }

    /// This start of the agent.
    #[must_use]
    pub fn run(&self) -> RunId {
        self.run
    }

    /// The epoch of this start.
    #[must_use]
    pub fn boot_epoch(&self) -> u64 {
        self.boot_epoch
    }

    /// What the spool's records are sealed with.
    #[must_use]
    pub fn seal(&self) -> Arc<Seal> {
        Arc::clone(&self.seal)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Bounds the spool otherwise from the next append on.
    pub fn set_bounds(&mut self, max_bytes: u64, max_age: Option<Duration>) {
        (self.max_bytes, self.max_age) = (max_bytes, max_age);
    }

    /// How far a source had come.
    ///
    /// # Errors
    /// `Database`.
    pub fn cursor(&self, source: &str) -> Result<Option<String>, SpoolError> {
        format::cursor(&self.connection, source)
    }

    /// What the spool holds and has lost.
    ///
    /// # Errors
    /// `Database`.
    pub fn status(&self) -> Result<SpoolStatus, SpoolError> {
        format::status(&self.connection)
    }

    /// As [`Self::store`], where nobody asks where frames are.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub fn append(&mut self, frames: &[FrameRecord]) -> Result<Appended, SpoolError> {
        Ok(self.store(frames)?.1)
    }

    /// Stores frames in one transaction: their sightings and their cursors, or nothing of them. One
    /// that was stored before, as its `capture` says, is not stored again; what is given back says where each
    /// is.
    ///
    /// What does not fit drives out the oldest evidence, then the worst of those sightings that
    /// repeat an earlier one of their track, then the oldest sightings.
    ///
    /// # Errors
    /// `Database`; nothing was stored, and the same frames may be tried again.
    pub fn store(&mut self, frames: &[FrameRecord]) -> Result<(Vec<StoredFrame>, Appended), SpoolError> {
        let stored = self.store_frames(frames);
        match &stored {
            Ok(_) => {
                let watched = frames.iter().filter_map(|frame| frame.watch.as_ref());
                watched.for_each(|seen| self.watch.observe(seen, self.disk_was_full));
                self.disk_was_full = false;
            }
            Err(error) => self.disk_was_full |= error.is_full(),
        }
        stored
    }

    /// It is time for [`Self::note_watch`].
    #[must_use]
    pub fn is_watch_due(&self) -> bool {
        clock::since_boot().saturating_sub(self.watch_noted) >= self.watch_interval
    }

    /// Notes what was watched since the last time, and that all that was seen until then is stored.
    ///
    /// # Errors
    /// `Database`; nothing was noted, and it is with the next time.
    pub fn note_watch(&mut self) -> Result<(), SpoolError> {
        self.watch_noted = clock::since_boot();
        if self.watch.is_empty() {
            return Ok(());
        }
        let transaction = format::begin(&mut self.connection)?;
        watched::note(&transaction, self.boot_epoch, self.last_sequence, &self.watch)?;
        transaction.commit()?;
        self.watch.on_stored();
        Ok(())
    }

    fn store_frames(&mut self, frames: &[FrameRecord]) -> Result<(Vec<StoredFrame>, Appended), SpoolError> {
        let transaction = format::begin(&mut self.connection)?;
        let mut appended = Appended::default();
        let mut stored = Vec::with_capacity(frames.len());
        for frame in frames {
            if let Some((camera, name)) = &frame.capture
                && let Some(known) = captures::find(&transaction, *camera, name)?
            {
                stored.push(known);
                continue;
            }
            let first = SightingKey { boot_epoch: self.boot_epoch, sequence: self.last_sequence + 1 };
            for sighting in &frame.sightings {
                let start = (self.run, self.boot_epoch);
                insert(&transaction, &self.seal, start, &mut self.last_sequence, sighting)?;
                appended.stored += 1;
            }
            if let Some(cursor) = &frame.cursor {
                let sql = "INSERT INTO cursors (source, position) VALUES (?, ?)
                           ON CONFLICT (source) DO UPDATE SET position = excluded.position";
                transaction.prepare_cached(sql)?.execute([&cursor.source, &cursor.position])?;
            }
            let count = frame.sightings.len() as u64;
            if let Some((camera, name)) = &frame.capture {
                captures::remember(&transaction, *camera, name, first, count)?;
            }
            stored.push(StoredFrame { first, count, repeated: false, waiting: count });
        }
        if frames.iter().any(|frame| frame.capture.is_some()) {
            captures::forget_oldest(&transaction)?;
        }
        let is_too_large = format::status(&transaction)?.bytes > self.max_bytes;
        if is_too_large {
            // Noted before anything is given up, which is noted there.
            watched::note(&transaction, self.boot_epoch, self.last_sequence, &self.watch)?;
        }
        make_room(&transaction, self.max_bytes, &mut appended)?;
        transaction.commit()?;
        if is_too_large {
            self.watch.on_stored();
        }
        Ok((stored, appended))
    }

    /// Gives up the sightings that have waited too long at `now`, where there is a bound of age. Those that
    /// were stored under a wrong clock are as old as the time since the kernel's start says, or else as the
    /// first moment after them at which the time was known.
    ///
    /// # Errors
    /// `Database`; nothing was given up.
    pub fn expire(&mut self, now: Stamp) -> Result<Appended, SpoolError> {
        self.expire_during(now, &clock::boot_id())
    }

    pub(super) fn expire_during(&mut self, now: Stamp, boot_id: &str) -> Result<Appended, SpoolError> {
        let mut expired = Appended::default();
        let Some(max_age) = self.max_age else { return Ok(expired) };
        self.note_watch()?;
        let transaction = format::begin(&mut self.connection)?;
        expired.lost = expiry::expire(&transaction, &self.seal, max_age, now, boot_id)?;
        expired.lost_expired = expired.lost;
        if expired.lost > 0 {
            let until = now.wall.checked_sub(max_age).ok().filter(|_| now.synchronised);
            watched::mark_lost(&transaction, until.map(|until| until.as_millisecond()))?;
        }
        note_losses(&transaction, &expired)?;
        transaction.commit()?;
        Ok(expired)
    }

    /// Gives up a tenth of what the spool holds, evidence first. Its pages can be used again where
    /// the disk has no new ones to give.
    ///
    /// # Errors
    /// `Database`: the disk may be too full even for that.
    pub fn shed(&mut self) -> Result<Appended, SpoolError> {
        let transaction = format::begin(&mut self.connection)?;
        let bytes = format::status(&transaction)?.bytes;
        watched::note(&transaction, self.boot_epoch, self.last_sequence, &self.watch)?;
        let mut shed = Appended::default();
        make_room(&transaction, bytes - bytes / 10, &mut shed)?;
        transaction.commit()?;
        self.watch.on_stored();
        Ok(shed)
    }
}

/// Inserts a sighting under the next number.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    seal: &Seal,
    (run, boot_epoch): (RunId, u64),
    last_sequence: &mut u64,
    sighting: &Sighting,
) -> Result<(), SpoolError> {
    // A number is spent even where the transaction fails: no two sightings share one.
    *last_sequence += 1;
    let key = SightingKey { boot_epoch, sequence: *last_sequence };
    sealed(seal, run, key, sighting)?.insert(transaction).map(drop)
}

fn sealed(seal: &Seal, run: RunId, key: SightingKey, sighting: &Sighting) -> Result<SealedRow, SpoolError> {
    let body = v1::CapturedSighting { run_id: run.to_wire(), ..sighting.to_wire() };
    let evidence = sighting.face.evidence.as_ref();
    let evidence = evidence.map(|evidence| seal.seal(key, SealedPart::Evidence, &evidence.0)).transpose()?;
    Ok(SealedRow {
        key,
        quality: sighting.face.quality.unified_score,
        repeat: sighting.track.is_some_and(|track| track.ordinal > 0),
        stored_at: sighting.taken.synchronised.then(|| sighting.taken.wall.as_millisecond()),
        body: seal.seal(key, SealedPart::Body, &body.encode_to_vec())?,
        evidence,
    })
}

pub(super) fn make_room(
    transaction: &Transaction<'_>,
    max_bytes: u64,
    appended: &mut Appended,
) -> Result<(), SpoolError> {
    const OLDEST_EVIDENCE: &str = "UPDATE sightings SET evidence = NULL WHERE rowid =
        (SELECT rowid FROM sightings INDEXED BY sightings_with_evidence
         WHERE evidence IS NOT NULL ORDER BY boot_epoch, sequence LIMIT 1)";
    const WORST_REPEAT: &str = "DELETE FROM sightings WHERE rowid =
        (SELECT rowid FROM sightings INDEXED BY repeats
         WHERE repeat = 1 ORDER BY quality, boot_epoch, sequence LIMIT 1) RETURNING stored_at";
    const OLDEST_SIGHTING: &str = "DELETE FROM sightings WHERE rowid =
        (SELECT rowid FROM sightings ORDER BY boot_epoch, sequence LIMIT 1) RETURNING stored_at";
    let mut statement = transaction.prepare_cached(OLDEST_EVIDENCE)?;
    while format::status(transaction)?.bytes > max_bytes && statement.execute([])? > 0 {
        appended.lost_evidence += 1;
    }
    let mut lost_others = 0;
    let (mut lost_until, mut is_unknown) = (None, false);
    for (sql, count) in [(WORST_REPEAT, &mut appended.lost_repeats), (OLDEST_SIGHTING, &mut lost_others)] {
        let mut statement = transaction.prepare_cached(sql)?;
        while format::status(transaction)?.bytes > max_bytes
            && let Some(stored_at) = statement.query_row([], |row| row.get::<_, Option<i64>>(0)).optional()?
        {
            *count += 1;
            lost_until = lost_until.max(stored_at);
            is_unknown |= stored_at.is_none();
        }
    }
    // Repeats, too: who stays in view from one session to the next is known to be there by them alone.
    if is_unknown || lost_until.is_some() {
        watched::mark_lost(transaction, lost_until.filter(|_| !is_unknown))?;
    }
    appended.lost = appended.lost_repeats + lost_others;
    note_losses(transaction, appended)
}

fn note_losses(transaction: &Transaction<'_>, lost: &Appended) -> Result<(), SpoolError> {
    if lost.lost > 0 || lost.lost_evidence > 0 {
        let counts = [lost.lost, lost.lost_repeats, lost.lost_expired, lost.lost_evidence].map(signed);
        transaction.execute(
            "UPDATE state SET lost = lost + ?, lost_repeats = lost_repeats + ?,
             lost_expired = lost_expired + ?, lost_evidence = lost_evidence + ?",
            counts,
        )?;
    }
    Ok(())
}
