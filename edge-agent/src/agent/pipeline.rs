use std::{future::Future, pin::Pin, sync::Arc};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinError,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{AgentError, Shared, Totals, opening, store};
use crate::{
    config::{Config, SourceKind},
    logging,
    source::{self, AnySource, Pumped, SourceError},
    spool::{SpoolError, Writer},
    stages::{self, Seen, Stages},
    track::Tracker,
    vision::Vision,
    vitals::Vitals,
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
        let (own, vitals) = (config.clone(), Arc::clone(&shared.vitals));
        // Folders are listed, places looked up, and networks may have to be loaded anew: it takes a moment.
        let prepared = shared.tracker.spawn_blocking(move || {
            let prepared = prepare(&own, &mut gear, &vitals);
            (gear, prepared)
        });
        let (gear, Prepared { opened, stages }) = match prepared.await {
            Ok((gear, Ok(prepared))) => (gear, prepared),
            Ok((gear, Err(error))) => return Err(Box::new(Failed { gear, error })),
            // A panic of the vision took it along. There is nothing to go on with.
            Err(error) => {
                return Ok(Self { stop: CancellationToken::new().drop_guard(), end: Box::pin(gone(error)) });
            }
        };
        tracing::info!(
            boot_epoch = gear.writer.boot_epoch(),
            device = config.device_id,
            classroom = config.classroom,
            frames = opened.frames,
            resumed = opened.resumed,
            "started"
        );
        let stop = CancellationToken::new();
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

/// What is left of a pipeline whose source has ended. Its spool is looked after.
pub(super) struct Rest<V> {
    vision: V,
    tracker: Option<Tracker>,
    /// Nothing is sent; dropping it ends the keeping.
    _seen: mpsc::Sender<Seen>,
    /// The writer comes back this way. Where nobody waits for it, it is gone before the task counts as
    /// ended, and the spool can be opened again.
    kept: oneshot::Receiver<(Writer, Result<Totals, SpoolError>)>,
}

impl<V> Rest<V> {
    pub(super) fn begin(gear: Gear<V>, shared: &Shared) -> Self {
        let Gear { vision, mut writer, tracker } = gear;
        let Shared { vitals, spooled, abort, .. } = shared.clone();
        let (seen, inbox) = mpsc::channel(1);
        let (back, kept) = oneshot::channel();
        shared.tracker.spawn_blocking(move || {
            let result = store::store(&mut writer, inbox, &spooled, &abort, &vitals);
            let _ = back.send((writer, result));
        });
        Self { vision, tracker, _seen: seen, kept }
    }

    /// What another pipeline can begin with.
    pub(super) async fn end(self) -> Result<Gear<V>, AgentError> {
        let Self { vision, tracker, _seen: seen, kept } = self;
        drop(seen);
        // Only a panic of the thread keeps it from answering.
        let (writer, result) = kept.await.map_err(|_| AgentError::Stuck)?;
        result?;
        Ok(Gear { vision, writer, tracker })
    }
}

/// What a configuration says, opened.
struct Prepared {
    opened: opening::Opened,
    stages: Stages,
}

/// Sets everything up that a configuration names. Blocks.
fn prepare<V: Vision>(
    config: &Config,
    gear: &mut Gear<V>,
    vitals: &Arc<Vitals>,
) -> Result<Prepared, AgentError> {
    logging::set_filter(&config.logging.filter).map_err(|error| AgentError::Settings(error.to_string()))?;
    gear.writer.set_bounds(config.spool.max_bytes, config.spool.max_age);
    let opened = opening::open_source(&config.source, &gear.writer, vitals)?;
    gear.vision.configure(&config.vision, config.evidence).map_err(AgentError::Settings)?;
    let stages = opening::stages(config, &gear.vision, &gear.writer, gear.tracker.as_ref())?;
    Ok(Prepared { opened, stages })
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
    let vision = tracker.spawn_blocking(move || stages::watch(vision, stages, frame_inbox, seen));
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
