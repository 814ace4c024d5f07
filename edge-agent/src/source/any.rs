use std::{sync::Arc, time::Duration};

use super::{
    DirectorySource, Frame, Source, SourceError,
    camera::{ChildCamera, MjpegCamera, SnapshotCamera, Supervised},
};
use crate::{
    config::{CameraConfig, CameraKind},
    health::HealthCounters,
};

/// Any of the sources that can be configured.
#[derive(Debug)]
pub enum AnySource {
    /// The image files of a directory, once or again and again.
    Directory(DirectorySource),
    /// A program that writes MJPEG.
    Child(Box<Supervised<ChildCamera>>),
    /// An MJPEG stream over HTTP.
    Mjpeg(Box<Supervised<MjpegCamera>>),
    /// A JPEG per HTTP request.
    Snapshot(Box<Supervised<SnapshotCamera>>),
}

impl AnySource {
    /// A camera, which is opened when its first frame is asked for, at most one per `period`.
    #[must_use]
    pub fn camera(config: &CameraConfig, period: Option<Duration>, counters: &Arc<HealthCounters>) -> Self {
        let stall = config.stall;
        let counters = || Arc::clone(counters);
        let child = |camera| Self::Child(Box::new(Supervised::new(camera, stall, counters())));
        match config.kind.clone() {
            CameraKind::Command { program, arguments } => child(ChildCamera::new(program, arguments)),
            CameraKind::Rpicam { size, rate } => child(ChildCamera::rpicam(size, rate)),
            CameraKind::V4l2 { device, size } => child(ChildCamera::v4l2(&device, size)),
            CameraKind::Mjpeg(address) => {
                Self::Mjpeg(Box::new(Supervised::new(MjpegCamera { address }, stall, counters())))
            }
            CameraKind::Snapshot(address) => {
                let period = period.unwrap_or_default();
                // Between two pictures a camera that is asked seldom is silent by right.
                let camera = SnapshotCamera { address, period };
                Self::Snapshot(Box::new(Supervised::new(camera, stall + period, counters())))
            }
        }
    }
}

impl AnySource {
    /// Why a camera failed the last time, if it has.
    #[must_use]
    pub fn last_failure(&self) -> Option<&str> {
        match self {
            Self::Directory(_) => None,
            Self::Child(source) => source.last_failure(),
            Self::Mjpeg(source) => source.last_failure(),
            Self::Snapshot(source) => source.last_failure(),
        }
    }
}

impl Source for AnySource {
    async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
        match self {
            Self::Directory(source) => source.next_frame().await,
            Self::Child(source) => source.next_frame().await,
            Self::Mjpeg(source) => source.next_frame().await,
            Self::Snapshot(source) => source.next_frame().await,
        }
    }
}
