//! What the configuration says, opened.

use std::sync::Arc;

use crate::{
    config::{CameraConfig, CameraKind, Config, SourceConfig, SourceKind},
    gate::MotionGate,
    source::{
        AnySource, DirectorySource,
        camera::{ChildCamera, MjpegCamera, SnapshotCamera, Supervised},
    },
    spool::Writer,
    track::{Tracker, TrackingOptions},
    vision::{Stages, Vision},
    vitals::Vitals,
};

use super::AgentError;

/// A source, and what to say of it in the log.
pub(super) struct Opened {
    pub(super) source: AnySource,
    /// Frames that are left, where the source knows.
    pub(super) frames: Option<usize>,
    /// The source goes on where it was.
    pub(super) resumed: bool,
}

/// Opens the source, from where the spool says that it was.
pub(super) fn open_source(
    config: &SourceConfig,
    writer: &Writer,
    vitals: &Arc<Vitals>,
) -> Result<Opened, AgentError> {
    match &config.kind {
        SourceKind::Directory { path, repeat } => {
            let position = writer.cursor(&DirectorySource::cursor_id(path)?)?;
            let source = DirectorySource::open(path, position.as_deref(), *repeat)?;
            let frames = Some(source.remaining());
            Ok(Opened { source: AnySource::Directory(source), frames, resumed: position.is_some() })
        }
        SourceKind::Camera(camera) => {
            let source = open_camera(camera.clone(), config, vitals);
            Ok(Opened { source, frames: None, resumed: false })
        }
    }
}

fn open_camera(camera: CameraConfig, config: &SourceConfig, vitals: &Arc<Vitals>) -> AnySource {
    let CameraConfig { kind, stall } = camera;
    let vitals = || Arc::clone(vitals);
    let child = |camera| AnySource::Child(Box::new(Supervised::new(camera, stall, vitals())));
    match kind {
        CameraKind::Command { program, arguments } => child(ChildCamera::new(program, arguments)),
        CameraKind::Rpicam { size, rate } => child(ChildCamera::rpicam(size, rate)),
        CameraKind::Mjpeg(address) => {
            AnySource::Mjpeg(Box::new(Supervised::new(MjpegCamera { address }, stall, vitals())))
        }
        CameraKind::Snapshot(address) => {
            let period = config.period.unwrap_or_default();
            // Between two pictures a camera that is asked seldom is silent by right.
            let stall = stall + period;
            let camera = SnapshotCamera { address, period };
            AnySource::Snapshot(Box::new(Supervised::new(camera, stall, vitals())))
        }
        CameraKind::V4l2 { device, size } => child(ChildCamera::v4l2(&device, size)),
    }
}

/// What stands before and after the networks; tracks are numbered on from those of an earlier tracker.
pub(super) fn stages<V: Vision>(config: &Config, vision: &V, earlier: Option<&Tracker>) -> Stages {
    let tracker = config.tracking.map(|tracking| {
        let same_person = tracking.same_person.unwrap_or_else(|| vision.same_person());
        let tracker = Tracker::new(TrackingOptions { same_person, ..tracking.options });
        match earlier {
            Some(earlier) => tracker.after(earlier),
            None => tracker,
        }
    });
    Stages { gate: config.motion.map(MotionGate::new), tracker }
}
