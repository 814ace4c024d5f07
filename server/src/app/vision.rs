use std::thread;

use bytes::Bytes;
use cavs_models::{DecodeLimits, Face, FacePipeline, Image, ImageError, VisionError};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::AppError;

/// Pictures that wait for the networks; further senders wait for room.
const QUEUE: usize = 4;

/// Why a picture gave no faces.
#[derive(Debug, Error)]
pub enum VisionFailure {
    /// The picture can't be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The networks can't work on it.
    #[error(transparent)]
    Network(#[from] VisionError),
}

type Job = (Bytes, oneshot::Sender<Result<Vec<Face>, VisionFailure>>);

/// The networks, on a thread of their own. It ends when the last handle is dropped.
#[derive(Clone)]
pub struct Vision(mpsc::Sender<Job>);

impl Vision {
    /// Moves a pipeline onto its thread.
    ///
    /// # Errors
    /// `Stopped`: the thread can't be started.
    pub fn start(mut pipeline: FacePipeline, limits: DecodeLimits) -> Result<Self, AppError> {
        let (sender, mut jobs) = mpsc::channel::<Job>(QUEUE);
        thread::Builder::new()
            .name("vision".into())
            .spawn(move || {
                while let Some((bytes, answer)) = jobs.blocking_recv() {
                    let faces = Image::decode(&bytes, &limits)
                        .map_err(VisionFailure::from)
                        .and_then(|image| Ok(pipeline.analyze(&image)?));
                    // The caller may have gone.
                    let _ = answer.send(faces);
                }
            })
            .map_err(|_| AppError::Stopped("the vision thread"))?;
        Ok(Self(sender))
    }

    /// The faces of an encoded picture, largest first.
    ///
    /// # Errors
    /// `Stopped`; what is wrong with the picture is in the result.
    pub async fn faces(&self, image: Bytes) -> Result<Result<Vec<Face>, VisionFailure>, AppError> {
        let (answer, result) = oneshot::channel();
        let gone = || AppError::Stopped("the vision thread");
        self.0.send((image, answer)).await.map_err(|_| gone())?;
        result.await.map_err(|_| gone())
    }
}
