//! Opens the source and makes the stages that a configuration names.

use std::sync::Arc;

use crate::{
    backup::Backup,
    config::{Config, SourceConfig, SourceKind},
    gate::MotionGate,
    health::HealthCounters,
    source::{AnySource, DirectorySource},
    spool::Writer,
    stages::Stages,
    track::{Tracker, TrackingOptions},
    vision::Vision,
};

use super::AgentError;

/// A source, and what to say of it in the log.
pub(super) struct OpenedSource {
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
    counters: &Arc<HealthCounters>,
) -> Result<OpenedSource, AgentError> {
    match &config.kind {
        SourceKind::Directory { path, repeat } => {
            let position = writer.cursor(&DirectorySource::cursor_id(path)?)?;
            let source = DirectorySource::open(path, position.as_deref(), *repeat)?;
            let frames = Some(source.remaining());
            Ok(OpenedSource { source: AnySource::Directory(source), frames, resumed: position.is_some() })
        }
        SourceKind::Proxied => Err(AgentError::Proxy),
        SourceKind::Camera(camera) => Ok(OpenedSource {
            source: AnySource::camera(camera, config.period, counters),
            frames: None,
            resumed: false,
        }),
    }
}

/// What stands before and after the networks; tracks are numbered on from those of an earlier tracker.
///
/// # Errors
/// `Settings` where the folder of the backup can't be used.
pub(super) fn stages<V: Vision>(
    config: &Config,
    vision: &V,
    writer: &Writer,
    earlier: Option<&Tracker>,
) -> Result<Stages, AgentError> {
    let tracker = config.tracking.map(|tracking| {
        let same_person = tracking.same_person.unwrap_or_else(|| vision.same_person());
        let tracker = Tracker::new(TrackingOptions { same_person, ..tracking.options });
        match earlier {
            Some(earlier) => tracker.after(earlier),
            None => tracker,
        }
    });
    let backup = config.backup.as_ref().map(|backup| {
        let failed = |error| AgentError::Settings(format!("backup.path: {}: {error}", backup.path.display()));
        Backup::open(backup, writer.seal()).map_err(failed)
    });
    let gate = config.motion.map(MotionGate::new);
    Ok(Stages { gate, tracker, backup: backup.transpose()?, ..Stages::default() })
}
