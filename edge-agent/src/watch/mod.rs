//! From when to when a camera was watched, and why it was not.
//!
//! That somebody was not seen means nothing where nobody looked. The [`WatchLog`] makes periods of one state of what
//! frames (and their absence) say; the spool keeps them, and the uplink reports each once everything that was seen
//! up to its end is with the server. What is in no period is not claimed: after a power cut, the time in between.

mod log;

use std::time::Duration;

use cavs_embedding::PackDigest;
use cavs_types::WatchState;

use crate::clock::Stamp;

pub use log::WatchLog;
pub(crate) use log::counted_back;

/// Without frames for so long, a camera of any rate counts as failed.
const LEAST_PATIENCE: Duration = Duration::from_secs(10);

/// What a frame, or its absence, says of the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CameraView {
    /// It can be judged.
    Clear,
    /// It is the very picture that was there before: the camera may have begun to hang.
    Repeated,
    /// It has been the very same picture for a minute.
    Frozen,
    /// It is dark or without structure.
    Covered,
    /// It could not be read or decoded.
    Unreadable,
    /// There was no frame.
    Silent,
}

/// What is known of a camera after a frame, or after a while without one.
#[derive(Debug, Clone, Copy)]
pub struct Observation {
    /// When the frame was taken, or that there was none.
    pub at: Stamp,
    /// What it says of the camera.
    pub view: CameraView,
    /// Of what was captured before this moment, no sighting is still to come.
    pub complete_until: Stamp,
    /// Frames that were dropped since the agent's start, as it was busy.
    pub dropped: u64,
    /// How far two frames may be apart while the camera counts as watched.
    pub patience: Duration,
    /// The pack that looks at the frames.
    pub pack: PackDigest,
}

/// From when to when a camera was in one state; the wall clock ran evenly meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedPeriod {
    /// The first moment.
    pub start: Stamp,
    /// The last moment.
    pub end: Stamp,
    /// The state in between.
    pub state: WatchState,
    /// The pack that looked at the frames.
    pub pack: PackDigest,
}

/// How far two frames may be apart of a source that gives one per `period`.
#[must_use]
pub fn patience(period: Option<Duration>) -> Duration {
    LEAST_PATIENCE.max(3 * period.unwrap_or_default())
}
