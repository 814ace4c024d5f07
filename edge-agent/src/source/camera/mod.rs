//! Cameras: sources that never end by themselves and may die at any time.
//!
//! A [`Camera`] opens a [`PictureStream`]; [`Supervised`] keeps one open, whatever happens to it.

mod child;
mod http;
mod reader;
mod restart;
mod splitter;

use std::{fmt, future::Future, io, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};

use super::{Frame, Source, SourceError};
use crate::{clock::Stamp, health::HealthCounters};

pub use child::ChildCamera;
pub use http::{AddressError, CameraAddress, MjpegCamera, SnapshotCamera};
pub use restart::RestartBackoff;
pub use splitter::JpegSplitter;

/// Longest picture of a camera, in bytes: ten times what a camera of eight megapixels sends.
pub const MAX_PICTURE_BYTES: usize = 16 << 20;

/// How long a camera may take to open.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Something that can be opened again and again.
pub trait Camera: fmt::Display + Send + 'static {
    /// The pictures of one opening.
    type PictureStream: PictureStream;

    /// Connects to the camera, or starts its program; takes at most ten seconds, or is dropped.
    ///
    /// # Errors
    /// It can't be opened now; it is tried again later.
    fn open(&mut self) -> impl Future<Output = io::Result<Self::PictureStream>> + Send;
}

/// The pictures of a camera, until it fails. Dropping it closes the camera.
pub trait PictureStream: Send + 'static {
    /// The next picture, encoded as the camera sent it.
    ///
    /// # Errors
    /// The stream is over, `UnexpectedEof` included; the camera has to be opened again.
    fn next_picture(&mut self) -> impl Future<Output = io::Result<Vec<u8>>> + Send;

    /// What else may explain why it gives no picture, for the end of an error; may be empty.
    fn failure_hint(&self) -> String {
        String::new()
    }
}

/// How many pictures of a stream were cut off or too long, for the end of an error; empty for none.
fn dropped_text(pictures: u64) -> String {
    match pictures {
        0 => String::new(),
        1 => "; 1 picture was cut off or too long".to_owned(),
        several => format!("; {several} pictures were cut off or too long"),
    }
}

/// Keeps a camera open: opens it again after any failure, at growing distances.
#[derive(Debug)]
pub struct Supervised<C: Camera> {
    camera: C,
    stream: Option<C::PictureStream>,
    stall: Duration,
    restarts: RestartBackoff,
    frames: u64,
    counters: Arc<HealthCounters>,
    last_failure: Option<String>,
}

impl<C: Camera> Supervised<C> {
    /// Takes a camera; it counts as dead after `stall` without a picture.
    pub fn new(camera: C, stall: Duration, counters: Arc<HealthCounters>) -> Self {
        Self {
            camera,
            stream: None,
            stall,
            restarts: RestartBackoff::default(),
            frames: 0,
            counters,
            last_failure: None,
        }
    }

    /// Why the camera failed the last time, if it has.
    pub fn last_failure(&self) -> Option<&str> {
        self.last_failure.as_deref()
    }

    async fn open(&mut self) -> io::Result<C::PictureStream> {
        let opened = timeout(OPEN_TIMEOUT, self.camera.open()).await;
        let stream = opened.unwrap_or_else(|_| Err(timed_out("it did not open in time")))?;
        self.restarts.on_open(Stamp::now().since_boot);
        Ok(stream)
    }

    async fn next_picture(&mut self) -> io::Result<Vec<u8>> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.open().await?,
        };
        let picture = timeout(self.stall, stream.next_picture()).await;
        let picture = picture.unwrap_or_else(|_| {
            Err(timed_out(&format!(
                "it gave no picture for {} s{}",
                self.stall.as_secs_f32(),
                stream.failure_hint()
            )))
        })?;
        self.stream = Some(stream);
        Ok(picture)
    }
}

impl<C: Camera> Source for Supervised<C> {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        loop {
            match self.next_picture().await {
                Ok(picture) => {
                    self.frames += 1;
                    if self.restarts.on_picture() {
                        tracing::info!(camera = %self.camera, "the camera gives pictures");
                    }
                    let name = format!("{:08}", self.frames);
                    return Ok(Some(Frame { name, taken: Stamp::now(), image: Ok(picture), cursor: None }));
                }
                Err(error) => {
                    self.counters.source_failures.add(1);
                    self.last_failure = Some(error.to_string());
                    let delay = self.restarts.on_failure(Stamp::now().since_boot);
                    tracing::warn!(camera = %self.camera, %error, retry_in = ?delay, "the camera failed");
                    sleep(delay).await;
                }
            }
        }
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what.to_owned())
}
