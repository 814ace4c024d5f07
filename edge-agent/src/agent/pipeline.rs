use std::{future::Future, pin::Pin, sync::Arc};

use tokio::{
    sync::{mpsc, oneshot},
    task::JoinError,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{AgentError, AgentRuntime, Totals, setup, store};
use crate::{
    config::{Config, SourceKind},
    health::HealthCounters,
    logging,
    source::{self, AnySource, PumpCounts, SourceError},
    spool::{SpoolError, Writer},
    stages::{self, FrameWatch, ProcessedFrame, Stages},
    track::Tracker,
    vision::Vision,
    watch,
};

/// Frames between source and vision: one to work on, one to come. Each may have 32 MiB.
const FRAME_QUEUE: usize = 2;

/// Analysed frames between vision and spool.
const OUTCOME_QUEUE: usize = 32;

/// What a pipeline works with and hands on to the next one: it outlives a change of settings.
pub(super) struct PipelineParts<V> {
    pub(super) vision: V,
    pub(super) writer: Writer,
    /// That of an earlier pipeline, whose track numbers go on.
    pub(super) tracker: Option<Tracker>,
}

/// A pipeline that could not begin.
pub(super) struct PipelineStartError<V> {
    pub(super) parts: PipelineParts<V>,
    pub(super) error: AgentError,
}

/// How a pipeline ended: at the source's end, or because the source failed.
pub(super) struct PipelineEnd<V> {
    pub(super) parts: PipelineParts<V>,
    pub(super) totals: Totals,
    pub(super) error: Option<SourceError>,
}

/// Source, vision and spool at work with one configuration. Each ends when the one before it has
/// ended and its queue is empty, so stopping the source drains everything after it.
pub(super) struct Pipeline<V> {
    /// Dropping it stops the source.
    stop: DropGuard,
    end: Pin<Box<dyn Future<Output = Result<PipelineEnd<V>, AgentError>> + Send>>,
}

impl<V: Vision> Pipeline<V> {
    /// Sets everything up as a configuration says.
    pub(super) async fn begin(
        config: &Config,
        mut parts: PipelineParts<V>,
        runtime: &AgentRuntime,
    ) -> Result<Self, Box<PipelineStartError<V>>> {
        let (own, counters) = (config.clone(), Arc::clone(&runtime.counters));
        // Folders are listed, places looked up, and networks may have to be loaded anew: it takes a moment.
        let prepared = runtime.tasks.spawn_blocking(move || {
            let prepared = prepare(&own, &mut parts, &counters);
            (parts, prepared)
        });
        let (parts, Prepared { opened, stages }) = match prepared.await {
            Ok((parts, Ok(prepared))) => (parts, prepared),
            Ok((parts, Err(error))) => return Err(Box::new(PipelineStartError { parts, error })),
            // A panic of the vision took it along. There is nothing to go on with.
            Err(error) => {
                return Ok(Self {
                    stop: CancellationToken::new().drop_guard(),
                    end: Box::pin(ended_by_panic(error)),
                });
            }
        };
        tracing::info!(
            boot_epoch = parts.writer.boot_epoch(),
            device = config.device_id,
            classroom = config.classroom,
            frames = opened.frames,
            resumed = opened.resumed,
            "started"
        );
        let stop = CancellationToken::new();
        let end = run(config, parts, stages, opened.source, runtime, stop.clone());
        Ok(Self { stop: stop.drop_guard(), end: Box::pin(end) })
    }

    /// How it ended. Safe to drop before that; not to be called after it.
    pub(super) async fn ended(&mut self) -> Result<PipelineEnd<V>, AgentError> {
        self.end.as_mut().await
    }

    /// Takes no more frames, and finishes those that were taken in.
    pub(super) async fn stop(self) -> Result<PipelineEnd<V>, AgentError> {
        drop(self.stop);
        self.end.await
    }
}

/// A pipeline whose source has ended. Its spool is still kept within its bounds.
pub(super) struct IdlePipeline<V> {
    vision: V,
    tracker: Option<Tracker>,
    /// Nothing is sent; dropping it ends the frame recorder.
    _frames: mpsc::Sender<ProcessedFrame>,
    /// The writer comes back this way. Where nobody waits for it, it is gone before the task counts as
    /// ended, and the spool can be opened again.
    stored: oneshot::Receiver<(Writer, Result<Totals, SpoolError>)>,
}

impl<V> IdlePipeline<V> {
    pub(super) fn begin(parts: PipelineParts<V>, runtime: &AgentRuntime) -> Self {
        let PipelineParts { vision, mut writer, tracker } = parts;
        let AgentRuntime { counters, spooled, abort, .. } = runtime.clone();
        let (frames, inbox) = mpsc::channel(1);
        let (done, stored) = oneshot::channel();
        runtime.tasks.spawn_blocking(move || {
            let result = store::store(&mut writer, inbox, &spooled, &abort, &counters);
            let _ = done.send((writer, result));
        });
        Self { vision, tracker, _frames: frames, stored }
    }

    /// What another pipeline can begin with.
    pub(super) async fn end(self) -> Result<PipelineParts<V>, AgentError> {
        let Self { vision, tracker, _frames: frames, stored } = self;
        drop(frames);
        // Only a panic of the thread keeps it from answering.
        let (writer, result) = stored.await.map_err(|_| AgentError::Stuck)?;
        result?;
        Ok(PipelineParts { vision, writer, tracker })
    }
}

/// The source and the stages that a configuration names, opened.
struct Prepared {
    opened: setup::OpenedSource,
    stages: Stages,
}

/// Sets everything up that a configuration names. Blocks.
fn prepare<V: Vision>(
    config: &Config,
    parts: &mut PipelineParts<V>,
    counters: &Arc<HealthCounters>,
) -> Result<Prepared, AgentError> {
    logging::set_filter(&config.logging.filter).map_err(|error| AgentError::Settings(error.to_string()))?;
    parts.writer.set_bounds(config.spool.max_bytes, config.spool.max_age);
    let opened = setup::open_source(&config.source, &parts.writer, counters)?;
    parts.vision.configure(&config.vision, config.evidence).map_err(AgentError::Settings)?;
    let stages = setup::stages(config, &parts.vision, &parts.writer, parts.tracker.as_ref())?;
    Ok(Prepared { opened, stages })
}

async fn ended_by_panic<V>(error: JoinError) -> Result<PipelineEnd<V>, AgentError> {
    Err(error.into())
}

fn run<V: Vision>(
    config: &Config,
    parts: PipelineParts<V>,
    stages: Stages,
    source: AnySource,
    runtime: &AgentRuntime,
    stop: CancellationToken,
) -> impl Future<Output = Result<PipelineEnd<V>, AgentError>> + Send + use<V> {
    let PipelineParts { vision, mut writer, tracker: earlier } = parts;
    let AgentRuntime { tasks, counters, spooled, abort } = runtime.clone();
    let (frames, frame_inbox) = mpsc::channel(FRAME_QUEUE);
    let (processed, processed_inbox) = mpsc::channel(OUTCOME_QUEUE);
    let period = config.source.period;
    let counted = Arc::clone(&counters);
    let source = match config.source.kind {
        SourceKind::Camera(_) => tasks.spawn(source::pump_live(source, period, frames, stop, counted)),
        SourceKind::Directory { .. } | SourceKind::Proxied => {
            tasks.spawn(source::pump(source, period, frames, stop, counted))
        }
    };
    let watch = FrameWatch {
        patience: watch::patience(period),
        live: matches!(config.source.kind, SourceKind::Camera(_)),
        counters: Arc::clone(&counters),
    };
    let vision =
        tasks.spawn_blocking(move || stages::process_frames(vision, stages, frame_inbox, processed, watch));
    let store = tasks.spawn_blocking(move || {
        let result = store::store(&mut writer, processed_inbox, &spooled, &abort, &counters);
        (writer, result)
    });
    async move {
        let sourced = source.await;
        let finished = vision.await;
        // The spool's own error first: the stages before it end because of it.
        let (writer, totals) = store.await?;
        let totals = totals?;
        let (vision, stages) = finished?;
        let (dropped, error) = match sourced? {
            Ok(PumpCounts { dropped, .. }) => (dropped, None),
            Err(error) => (0, Some(error)),
        };
        let parts = PipelineParts { vision, writer, tracker: stages.tracker.or(earlier) };
        Ok(PipelineEnd { parts, totals: Totals { dropped_frames: dropped, ..totals }, error })
    }
}
