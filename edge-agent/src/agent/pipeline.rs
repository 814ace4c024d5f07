use std::{future::Future, pin::Pin, sync::Arc};

use tokio::{sync::mpsc, task::JoinError};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{AgentError, Shared, Totals, opening, store};
use crate::{
    config::{Config, SourceKind},
    logging,
    source::{self, AnySource, Pumped, SourceError},
    spool::Writer,
    track::Tracker,
    vision::{self, Stages, Vision},
};

/// Frames between source and vision: one to work on, one to come. Each may have 32 MiB.
const FRAME_QUEUE: usize = 2;

/// Analysed frames between vision and spool.
const SEEN_QUEUE: usize = 32;

/// What a pipeline works with and leaves to the next one.
pub(super) struct Gear<V> {
    pub(super) vision: V,
    pub(super) writer: Writer,
    /// Of an earlier pipeline.
    pub(super) tracker: Option<Tracker>,
}

/// A pipeline that could not begin.
pub(super) struct Failed<V> {
    pub(super) gear: Gear<V>,
    pub(super) error: AgentError,
}

/// How a pipeline ended: at the source's end, or because the source failed.
pub(super) struct Ended<V> {
    pub(super) gear: Gear<V>,
    pub(super) totals: Totals,
    pub(super) error: Option<SourceError>,
}

/// Source, vision and spool at work with one configuration. Each ends when the one before it has
/// ended and its queue is empty, so stopping the source drains everything after it.
pub(super) struct Pipeline<V> {
    /// Dropping it stops the source.
    stop: DropGuard,
    end: Pin<Box<dyn Future<Output = Result<Ended<V>, AgentError>> + Send>>,
}

impl<V: Vision> Pipeline<V> {
    /// Sets everything up as a configuration says.
    pub(super) async fn begin(
        config: &Config,
        mut gear: Gear<V>,
        shared: &Shared,
    ) -> Result<Self, Box<Failed<V>>> {
        if let Err(error) = logging::set_filter(&config.logging.filter) {
            return Err(Box::new(Failed { gear, error: AgentError::Settings(error.to_string()) }));
        }
        gear.writer.set_bounds(config.spool.max_bytes, config.spool.max_age);
        let opened = match opening::open_source(&config.source, &gear.writer, &shared.vitals) {
            Ok(opened) => opened,
            Err(error) => return Err(Box::new(Failed { gear, error })),
        };
        // Networks may have to be loaded anew, which takes a moment.
        let (mut vision, (options, evidence)) = (gear.vision, (config.vision.clone(), config.evidence));
        let configured = shared.tracker.spawn_blocking(move || {
            let result = vision.configure(&options, evidence);
            (vision, result)
        });
        let (writer, tracker) = (gear.writer, gear.tracker);
        let vision = match configured.await {
            Ok((vision, Ok(()))) => vision,
            Ok((vision, Err(problem))) => {
                let error = AgentError::Settings(problem);
                return Err(Box::new(Failed { gear: Gear { vision, writer, tracker }, error }));
            }
            // A panic of the vision took it along. There is nothing to go on with.
            Err(error) => {
                return Ok(Self { stop: CancellationToken::new().drop_guard(), end: Box::pin(gone(error)) });
            }
        };
        let stages = match opening::stages(config, &vision, &writer, tracker.as_ref()) {
            Ok(stages) => stages,
            Err(error) => return Err(Box::new(Failed { gear: Gear { vision, writer, tracker }, error })),
        };
        tracing::info!(
            boot_epoch = writer.boot_epoch(),
            device = config.device_id,
            classroom = config.classroom,
            frames = opened.frames,
            resumed = opened.resumed,
            "started"
        );
        let stop = CancellationToken::new();
        let gear = Gear { vision, writer, tracker };
        let end = run(config, gear, stages, opened.source, shared, stop.clone());
        Ok(Self { stop: stop.drop_guard(), end: Box::pin(end) })
    }

    /// How it ended. Safe to drop before that; not to be called after it.
    pub(super) async fn ended(&mut self) -> Result<Ended<V>, AgentError> {
        self.end.as_mut().await
    }

    /// Takes no more frames, and finishes those that were taken in.
    pub(super) async fn stop(self) -> Result<Ended<V>, AgentError> {
        drop(self.stop);
        self.end.await
    }
}

async fn gone<V>(error: JoinError) -> Result<Ended<V>, AgentError> {
    Err(error.into())
}

fn run<V: Vision>(
    config: &Config,
    gear: Gear<V>,
    stages: Stages,
    source: AnySource,
    shared: &Shared,
    stop: CancellationToken,
) -> impl Future<Output = Result<Ended<V>, AgentError>> + Send + use<V> {
    let Gear { vision, mut writer, tracker: earlier } = gear;
    let Shared { tracker, vitals, spooled, abort } = shared.clone();
    let (frames, frame_inbox) = mpsc::channel(FRAME_QUEUE);
    let (seen, seen_inbox) = mpsc::channel(SEEN_QUEUE);
    let period = config.source.period;
    let counted = Arc::clone(&vitals);
    let source = match config.source.kind {
        SourceKind::Camera(_) => tracker.spawn(source::pump_live(source, period, frames, stop, counted)),
        SourceKind::Directory { .. } | SourceKind::Proxied => {
            tracker.spawn(source::pump(source, period, frames, stop, counted))
        }
    };
    let vision = tracker.spawn_blocking(move || vision::watch(vision, stages, frame_inbox, seen));
    let store = tracker.spawn_blocking(move || {
        let result = store::store(&mut writer, seen_inbox, &spooled, &abort, &vitals);
        (writer, result)
    });
    async move {
        let sourced = source.await;
        let watched = vision.await;
        // The spool's own error first: the rooms before it end because of it.
        let (writer, totals) = store.await?;
        let totals = totals?;
        let (vision, stages) = watched?;
        let (dropped, error) = match sourced? {
            Ok(Pumped { dropped, .. }) => (dropped, None),
            Err(error) => (0, Some(error)),
        };
        let gear = Gear { vision, writer, tracker: stages.tracker.or(earlier) };
        Ok(Ended { gear, totals: Totals { dropped_frames: dropped, ..totals }, error })
    }
}
