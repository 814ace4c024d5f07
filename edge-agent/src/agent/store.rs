use std::{thread, time::Duration};

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    spool::{Appended, FrameRecord, SpoolError, Writer},
    vision::Seen,
};

/// Most frames of one transaction.
const MAX_FRAMES: usize = 32;

/// Pause before a failed transaction is tried again: space may be freed, a lock may go.
const RETRY: Duration = Duration::from_secs(1);

/// A retry that is worth a line in the log, after the first one.
const LOG_EVERY: u32 = 60;

/// What went through the agent since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Frames, bad ones included.
    pub frames: u64,
    /// Frames that could not be analysed.
    pub bad_frames: u64,
    /// Sightings stored.
    pub sightings: u64,
    /// Sightings dropped to make room.
    pub lost: u64,
}

/// Stores what was seen until nothing more comes. Blocks: give it a thread.
///
/// # Errors
/// Damage of the spool, or anything else that did not pass until `abort`.
pub(super) fn store(
    mut writer: Writer,
    mut seen: mpsc::Receiver<Seen>,
    spooled: &Notify,
    abort: &CancellationToken,
) -> Result<Totals, SpoolError> {
    let mut totals = Totals::default();
    while let Some(first) = seen.blocking_recv() {
        let mut records = vec![record(first, &mut totals)];
        while records.len() < MAX_FRAMES
            && let Ok(next) = seen.try_recv()
        {
            records.push(record(next, &mut totals));
        }
        let appended = append(&mut writer, &records, abort)?;
        totals.sightings += appended.stored;
        totals.lost += appended.lost;
        if appended.lost > 0 || appended.lost_evidence > 0 {
            tracing::warn!(
                sightings = appended.lost,
                evidence = appended.lost_evidence,
                "the spool is full; the oldest was dropped"
            );
        }
        if appended.stored > 0 {
            spooled.notify_one();
        }
    }
    Ok(totals)
}

fn record(seen: Seen, totals: &mut Totals) -> FrameRecord {
    totals.frames += 1;
    let Seen { frame, cursor, result } = seen;
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
                thread::sleep(RETRY);
            }
        }
    }
}
