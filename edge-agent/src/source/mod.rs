//! Where frames come from.

mod directory;

use std::{future::Future, io, path::PathBuf, time::Duration};

use jiff::Timestamp;
use thiserror::Error;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

pub use directory::DirectorySource;
pub(crate) use directory::read_bounded;

/// Longest encoded frame that is read, in bytes; longer ones are bad frames.
pub const MAX_FRAME_BYTES: u64 = 32 << 20;

/// One encoded picture with its time.
#[derive(Debug)]
pub struct Frame {
    /// What the source calls it: a file name, a frame number.
    pub name: String,
    /// When it was taken.
    pub captured_at: Timestamp,
    /// The encoded picture, or why it could not be read.
    pub image: io::Result<Vec<u8>>,
    /// Where the source goes on after this frame, where it can go on at all.
    pub cursor: Option<Cursor>,
}

/// How far a source that can be resumed has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Which source.
    pub source: String,
    /// The last frame that was taken care of.
    pub position: String,
}

/// Why a source can give no more frames.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The directory can't be listed.
    #[error("source.path: {path}: {source}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Something that gives frames, one after the other.
pub trait Source: Send + 'static {
    /// The next frame, or `None` at the end.
    ///
    /// # Errors
    /// The source can't go on. A frame that can't be read is no such error, but a [`Frame`].
    fn next_frame(&mut self) -> impl Future<Output = Result<Option<Frame>, SourceError>> + Send;
}

/// Passes frames on, at most one per `period`, until the source ends, nobody wants them, or `stop`.
///
/// # Errors
/// The source's own.
pub async fn pump<S: Source>(
    mut source: S,
    period: Option<Duration>,
    frames: mpsc::Sender<Frame>,
    stop: CancellationToken,
) -> Result<(), SourceError> {
    let mut ticks = period.map(|period| {
        let mut ticks = interval(period);
        // A slow frame must not be followed by a burst: the rate is a promise to the room.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let pumping = async {
        loop {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let Some(frame) = source.next_frame().await? else { return Ok(()) };
            if frames.send(frame).await.is_err() {
                return Ok(());
            }
        }
    };
    // Stopping between two awaits loses at most one frame that nobody has seen: its cursor is not
    // persisted, so it comes again.
    stop.run_until_cancelled(pumping).await.unwrap_or(Ok(()))
}
