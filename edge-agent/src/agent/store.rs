use std::ops::AddAssign;

use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use crate::{
    keeper::{EXPIRE_EVERY, Feed, Keeper, Reply},
    spool::{Appended, FrameRecord, SpoolError, Writer},
    stages::Seen,
    vitals::Vitals,
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

/// Stores what was seen until nothing more comes. Blocks: give it a blocking thread of the runtime.
///
/// # Errors
/// Damage of the spool, or anything else that did not pass until `abort`.
pub(super) fn store(
    writer: &mut Writer,
    seen: mpsc::Receiver<Seen>,
    spooled: &Notify,
    abort: &CancellationToken,
    vitals: &Vitals,
) -> Result<Totals, SpoolError> {
    let mut feed = OwnFrames { totals: Totals::default(), counted: Totals::default(), abort, vitals };
    Keeper { writer, spooled, vitals, expire_every: EXPIRE_EVERY }.keep(seen, &mut feed)?;
    Ok(feed.totals)
}

/// The frames of the agent's own source, which waits until they can be stored.
struct OwnFrames<'a> {
    totals: Totals,
    /// As of the last time that something was stored.
    counted: Totals,
    abort: &'a CancellationToken,
    vitals: &'a Vitals,
}

impl Feed for OwnFrames<'_> {
    type Item = Seen;

    fn record(&mut self, seen: Seen) -> (FrameRecord, Option<Reply>) {
        let Seen { frame, cursor, still, faces, result } = seen;
        let totals = &mut self.totals;
        self.vitals.faces.add(faces as u64);
        // The tracks' last word comes without a frame.
        let counted = u64::from(!frame.is_empty());
        totals.frames += counted;
        totals.still_frames += u64::from(still) * counted;
        let sightings = result.unwrap_or_else(|failure| {
            totals.bad_frames += 1;
            let (reason, message) = (failure.reason, failure.message);
            tracing::warn!(frame, reason, message, "a bad frame was left out");
            Vec::new()
        });
        (FrameRecord { cursor, sightings, mark: None }, None)
    }

    fn kept(&mut self, appended: &Appended) {
        self.vitals.bad.add(self.totals.bad_frames - self.counted.bad_frames);
        self.vitals.done.add(self.totals.frames - self.counted.frames);
        self.totals.sightings += appended.stored;
        self.totals.lost += appended.lost;
        self.counted = self.totals;
    }

    fn retries(&self) -> Option<&CancellationToken> {
        Some(self.abort)
    }
}
