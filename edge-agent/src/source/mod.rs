//! Where frames come from.

mod any;
pub mod camera;
mod directory;
mod pump;

use std::{future::Future, io, path::PathBuf};

use thiserror::Error;

pub use any::AnySource;
pub use directory::DirectorySource;
pub(crate) use directory::read_bounded;
pub use pump::{PumpCounts, pump, pump_live};

use crate::clock::Stamp;

/// Longest encoded frame that is read, in bytes; longer ones are bad frames.
pub const MAX_FRAME_BYTES: u64 = 32 << 20;

/// One encoded picture with its time.
#[derive(Debug)]
pub struct Frame {
    /// What the source calls it: a file name, a frame number.
    pub name: String,
    /// When it was taken, as nearly as the source knows.
    pub taken: Stamp,
    /// The encoded picture, or why it could not be read.
    pub image: io::Result<Vec<u8>>,
    /// Where the source goes on after this frame, where it can go on at all.
    pub cursor: Option<Cursor>,
}

/// How far a source that can be resumed has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// Tells sources apart: `directory:` and the real path.
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
        /// As the configuration names it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Something that gives frames, one after the other.
pub trait Source: Send + 'static {
    /// The next frame, or `None` at the end. Not to be dropped before it is done.
    ///
    /// # Errors
    /// The source can't go on. A frame that can't be read is no such error, but a [`Frame`]; a camera
    /// that dies is opened again by the source itself.
    fn next_frame(&mut self) -> impl Future<Output = Result<Option<Frame>, SourceError>> + Send;
}
