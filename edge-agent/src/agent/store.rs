use std::{
    ops::AddAssign,
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Stamp,
    spool::{Appended, FrameRecord, SpoolError, Writer},
    vision::Seen,
    vitals::Vitals,
};

/// Most frames of one transaction.
const MAX_FRAMES: usize = 32;

/// Pause before a failed transaction is tried again: space may be freed, a lock may go.
const RETRY: Duration = Duration::from_secs(1);

/// From one look for sightings that are too old to the next.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// A retry that is worth a line in the log, after the first one.
const LOG_EVERY: u32 = 60;

/// What went through the agent since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames, bad ones included.
    pub frames: u64,
    /// Frames that could not be analysed.
    pub bad_frames: u64,
    /// Frames in which nothing moved, so that they were not analysed.
    pub still_frames: u64,
    /// Frames of a camera that came while the agent was busy.
    pub dropped_frames: u64,
    /// Sightings stored.
    pub sightings: u64,
    /// Sightings dropped to make room.
    pub lost: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, more: Self) {
        let Self { frames, bad_frames, still_frames, dropped_frames, sightings, lost } = more;
        self.frames += frames;
        self.bad_frames += bad_frames;
        self.still_frames += still_frames;
        self.dropped_frames += dropped_frames;
        self.sightings += sightings;
        self.lost += lost;
    }
}

/// Stores what was seen until nothing more comes. Blocks: give it a thread.
///
/// # Errors
/// Damage of the spool, or anything else that did not pass until `abort`.
pub(super) fn store(
    writer: &mut Writer,
    mut seen: mpsc::Receiver<Seen>,
    spooled: &Notify,
    abort: &CancellationToken,
    vitals: &Vitals,
) -> Result<Totals, SpoolError> {
    let mut totals = Totals::default();
    let mut expiry = Expiry::default();
    while let Some(first) = seen.blocking_recv() {
        let before = totals;
        let mut records = vec![record(first, &mut totals, vitals)];
        while records.len() < MAX_FRAMES
            && let Ok(next) = seen.try_recv()
        {
            records.push(record(next, &mut totals, vitals));
        }
        let appended = append(writer, &records, abort)?;
        vitals.bad.add(totals.bad_frames - before.bad_frames);
        vitals.done.add(totals.frames - before.frames);
        totals.sightings += appended.stored;
        report_losses(&appended, &mut totals, "the spool is full");
        if appended.stored > 0 {
            spooled.notify_one();
        }
        if expiry.is_due(Instant::now()) {
            match writer.expire(Stamp::now()) {
                Ok(expired) => report_losses(&expired, &mut totals, "sightings waited too long"),
                Err(error) if error.is_damage() => return Err(error),
                Err(error) => tracing::warn!(%error, "old sightings could not be given up"),
            }
        }
    }
    Ok(totals)
}

fn report_losses(appended: &Appended, totals: &mut Totals, why: &'static str) {
    totals.lost += appended.lost;
    if appended.lost > 0 || appended.lost_evidence > 0 {
        tracing::warn!(
            sightings = appended.lost,
            repeats = appended.lost_repeats,
            expired = appended.lost_expired,
            evidence = appended.lost_evidence,
            "{why}; something was given up"
        );
    }
}

/// When it is time to look for sightings that are too old.
#[derive(Default)]
struct Expiry {
    last: Option<Instant>,
}

impl Expiry {
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= EXPIRE_EVERY);
        if due {
            self.last = Some(now);
        }
        due
    }
}

fn record(seen: Seen, totals: &mut Totals, vitals: &Vitals) -> FrameRecord {
    let Seen { frame, cursor, still, faces, result } = seen;
    vitals.faces.add(faces as u64);
    // The tracks' last word comes without a frame.
    let counted = u64::from(!frame.is_empty());
    totals.frames += counted;
    totals.still_frames += u64::from(still) * counted;
    let sightings = result.unwrap_or_else(|failure| {
        totals.bad_frames += 1;
        tracing::warn!(frame, reason = failure.reason, message = failure.message, "a bad frame was left out");
        Vec::new()
    });
    FrameRecord { cursor, sightings }
}

fn append(
    writer: &mut Writer,
    records: &[FrameRecord],
    abort: &CancellationToken,
) -> Result<Appended, SpoolError> {
    let mut attempts = 0;
    loop {
        match writer.append(records) {
            Ok(appended) => return Ok(appended),
            Err(error) if error.is_damage() || abort.is_cancelled() => return Err(error),
            Err(error) => {
                if attempts % LOG_EVERY == 0 {
                    tracing::error!(%error, attempts, "nothing can be stored; the source waits");
                }
                attempts += 1;
                // On a full disk, pages of the spool itself are what can be had.
                if error.is_full() && writer.shed().is_ok_and(|shed| shed != Appended::default()) {
                    tracing::warn!("the disk is full; a part of the spool was given up");
                    continue;
                }
                thread::sleep(RETRY);
            }
        }
    }
}
