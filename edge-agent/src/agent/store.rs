use std::ops::AddAssign;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    health::HealthCounters,
    recorder::{EXPIRE_EVERY, FrameRecorder, RecordSource, StoredReply},
    spool::{Appended, FrameRecord, SpoolError, Writer},
    stages::{FrameOutcome, ProcessedFrame},
};

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
    /// Sightings that reached the spool.
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

/// Stores what frames showed until no more come. Blocks: give it a blocking thread of the runtime.
///
/// # Errors
/// Damage of the spool, or anything else that did not pass until `abort`.
pub(super) fn store(
    writer: &mut Writer,
    frames: mpsc::Receiver<ProcessedFrame>,
    spooled: &Notify,
    abort: &CancellationToken,
    counters: &HealthCounters,
) -> Result<Totals, SpoolError> {
    let mut source = SourceFrames { totals: Totals::default(), counted: Totals::default(), abort, counters };
    FrameRecorder { writer, spooled, counters, expire_every: EXPIRE_EVERY }.run(frames, &mut source)?;
    Ok(source.totals)
}

/// The frames of the agent's own source, which waits until they can be stored.
struct SourceFrames<'a> {
    totals: Totals,
    /// As of the last time that something was stored.
    counted: Totals,
    abort: &'a CancellationToken,
    counters: &'a HealthCounters,
}

impl RecordSource for SourceFrames<'_> {
    type Item = ProcessedFrame;

    fn record(&mut self, frame: ProcessedFrame) -> (FrameRecord, Option<StoredReply>) {
        let ProcessedFrame { name, cursor, outcome, watch } = frame;
        let FrameOutcome { still, faces, result, .. } = outcome;
        let totals = &mut self.totals;
        self.counters.faces.add(faces as u64);
        // The tracks' last sightings come without a frame.
        let counted = u64::from(!name.is_empty());
        totals.frames += counted;
        totals.still_frames += u64::from(still) * counted;
        let sightings = result.unwrap_or_else(|failure| {
            totals.bad_frames += 1;
            let (reason, message) = (failure.reason, failure.message);
            tracing::warn!(frame = name, reason, message, "a bad frame was left out");
            Vec::new()
        });
        (FrameRecord { cursor, sightings, watch, capture: None }, None)
    }

    fn on_stored(&mut self, appended: &Appended) {
        self.counters.bad.add(self.totals.bad_frames - self.counted.bad_frames);
        self.counters.done.add(self.totals.frames - self.counted.frames);
        self.totals.sightings += appended.stored;
        self.totals.lost += appended.lost;
        self.counted = self.totals;
    }

    fn retry_until(&self) -> Option<&CancellationToken> {
        Some(self.abort)
    }
}
