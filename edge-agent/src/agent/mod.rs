//! Owns the agent's rooms and the queues between them: source -> vision -> spool -> uplink.
//!
//! Each room ends when the one before it has ended and its queue is empty, so stopping the source
//! drains everything after it.

mod opening;
mod store;

use std::{pin::pin, sync::Arc, time::Duration};

use cavs_proto::v1::Hello;
use jiff::Timestamp;
use thiserror::Error;
use tokio::{
    sync::{Notify, mpsc},
    task::{JoinError, JoinHandle},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use store::Totals;

use crate::{
    config::{Config, SourceKind},
    source::{self, Pumped, SourceError},
    spool::{Spool, SpoolError, SpoolOptions},
    uplink::{EndpointError, Uplink, UplinkError, machine::Timing},
    vision::{self, Vision},
};

/// Frames between source and vision: one to work on, one to come. Each may have 32 MiB.
const FRAME_QUEUE: usize = 2;

/// Analysed frames between vision and spool.
const SEEN_QUEUE: usize = 32;

/// How long frames that were taken in may take to reach the spool when the agent is stopped.
const STOP_WAIT: Duration = Duration::from_secs(10);

/// How long the uplink may go on sending after that. What is left is sent after the next start.
const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// When it is told to.
    Shutdown,
    /// When the source has ended and the spool is empty.
    Drained,
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// What went through.
    pub totals: Totals,
    /// The server has acknowledged everything.
    pub drained: bool,
}

/// Why the agent stopped by itself.
#[derive(Debug, Error)]
pub enum AgentError {
    /// The source can't go on.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The spool can't be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The certificates can't be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The uplink gave up.
    #[error(transparent)]
    Uplink(#[from] UplinkError),
    /// A camera or a source that repeats can't be drained.
    #[error("source: this source never ends, so --until-drained can't be used with it")]
    Endless,
    /// A room took too long to stop.
    #[error("frames that were taken in did not reach the spool in time; they come again at the next start")]
    Stuck,
    /// A task panicked: a bug.
    #[error("internal error: {0}")]
    Task(#[from] JoinError),
}

/// Runs the agent until `shutdown`, or until everything is done where `until` says so.
///
/// # Errors
/// Any [`AgentError`]. What was seen before stays in the spool.
pub async fn run<V: Vision>(
    config: &Config,
    vision: V,
    until: Until,
    shutdown: CancellationToken,
) -> Result<Summary, AgentError> {
    if until == Until::Drained && !config.source.ends() {
        return Err(AgentError::Endless);
    }
    config.server.check()?;
    let tracker = TaskTracker::new();
    let control = Control::default();
    let rooms = Rooms::open(config, vision, until, &tracker, &control).await?;
    tracker.close();
    let result = rooms.conduct(until, &control, shutdown).await;
    control.stop.cancel();
    control.abort.cancel();
    if timeout(STOP_WAIT, tracker.wait()).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    result
}

/// The levers by which rooms are stopped.
#[derive(Debug, Default)]
struct Control {
    /// No more frames.
    stop: CancellationToken,
    /// No more sightings: the uplink ends when the spool is empty.
    drain: CancellationToken,
    /// Whatever still runs ends now.
    abort: CancellationToken,
}

struct Rooms {
    source: JoinHandle<Result<Pumped, SourceError>>,
    vision: JoinHandle<()>,
    store: JoinHandle<Result<Totals, SpoolError>>,
    /// `None` after an abort.
    uplink: JoinHandle<Option<Result<(), UplinkError>>>,
}

impl Rooms {
    async fn open<V: Vision>(
        config: &Config,
        vision: V,
        until: Until,
        tracker: &TaskTracker,
        control: &Control,
    ) -> Result<Self, AgentError> {
        let options = config.spool.clone();
        let Spool { writer, outbox, quarantined } =
            tracker.spawn_blocking(move || open_spool(&options)).await??;
        if let Some(quarantined) = quarantined {
            tracing::error!(
                aside = %quarantined.path.display(),
                cause = quarantined.cause,
                recovered = quarantined.recovered,
                lost = quarantined.lost,
                "the spool was damaged; it was moved aside and a new one made"
            );
        }
        let opened = opening::open_source(&config.source, &writer)?;
        let live = matches!(config.source.kind, SourceKind::Camera(_));
        tracing::info!(
            boot_epoch = writer.boot_epoch(),
            device = config.device_id,
            classroom = config.classroom,
            spooled = writer.status()?.spooled,
            frames = opened.frames,
            resumed = opened.resumed,
            "started"
        );
        let spooled = Arc::new(Notify::new());
        let uplink = Uplink {
            endpoint: config.server.clone(),
            outbox,
            hello: Hello {
                agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                pack_digest: vision.pack_digest().to_string(),
                boot_epoch: writer.boot_epoch(),
            },
            spooled: Arc::clone(&spooled),
            timing: Timing::default(),
            // Different for every agent, as their starts and process ids are.
            seed: writer.boot_epoch() ^ u64::from(std::process::id()) << 32,
            give_up_when_refused: until == Until::Drained,
        };
        let (frames, frame_inbox) = mpsc::channel(FRAME_QUEUE);
        let (seen, seen_inbox) = mpsc::channel(SEEN_QUEUE);
        let (stop, abort, drain) = (control.stop.clone(), control.abort.clone(), control.drain.clone());
        let sending = control.abort.clone();
        let stages = opening::stages(config, &vision);
        let (source, period) = (opened.source, config.source.period);
        Ok(Self {
            source: if live {
                tracker.spawn(source::pump_live(source, period, frames, stop))
            } else {
                tracker.spawn(source::pump(source, period, frames, stop))
            },
            vision: tracker.spawn_blocking(move || vision::watch(vision, stages, frame_inbox, seen)),
            store: tracker.spawn_blocking(move || store::store(writer, seen_inbox, &spooled, &abort)),
            uplink: tracker.spawn(async move { sending.run_until_cancelled(uplink.run(drain)).await }),
        })
    }

    async fn conduct(
        self,
        until: Until,
        control: &Control,
        shutdown: CancellationToken,
    ) -> Result<Summary, AgentError> {
        let Self { source, vision, store, mut uplink } = self;
        let mut pipeline = pin!(pipeline(source, vision, store));
        let ended = tokio::select! {
            totals = &mut pipeline => Some(totals?),
            result = &mut uplink => return Err(ended_early(result)),
            () = shutdown.cancelled() => None,
        };
        let totals = match ended {
            Some(totals) => totals,
            None => {
                control.stop.cancel();
                timeout(STOP_WAIT, pipeline).await.map_err(|_| AgentError::Stuck)??
            }
        };
        tracing::info!(
            frames = totals.frames,
            bad_frames = totals.bad_frames,
            still_frames = totals.still_frames,
            dropped_frames = totals.dropped_frames,
            sightings = totals.sightings,
            "the source has ended"
        );
        if until == Until::Shutdown {
            tokio::select! {
                () = shutdown.cancelled() => {}
                result = &mut uplink => return Err(ended_early(result)),
            }
        }
        control.drain.cancel();
        let patience = async {
            shutdown.cancelled().await;
            sleep(DRAIN_WAIT).await;
        };
        let drained = tokio::select! {
            result = uplink => { result?.transpose()?; true }
            () = patience => false,
        };
        if !drained {
            tracing::info!("not everything was sent; the rest follows after the next start");
        }
        Ok(Summary { totals, drained })
    }
}

/// Ends when source, vision and spool have ended, in this order.
async fn pipeline(
    source: JoinHandle<Result<Pumped, SourceError>>,
    vision: JoinHandle<()>,
    store: JoinHandle<Result<Totals, SpoolError>>,
) -> Result<Totals, AgentError> {
    let sourced = source.await?;
    let watched = vision.await;
    // The spool's own error first: the rooms before it end because of it.
    let totals = store.await??;
    watched?;
    let Pumped { dropped, .. } = sourced?;
    Ok(Totals { dropped_frames: dropped, ..totals })
}

/// The uplink ends before it is asked to only where it gave up.
fn ended_early(result: Result<Option<Result<(), UplinkError>>, JoinError>) -> AgentError {
    match result {
        Ok(Some(Err(error))) => error.into(),
        Ok(Some(Ok(())) | None) => AgentError::Stuck,
        Err(error) => error.into(),
    }
}

fn open_spool(options: &SpoolOptions) -> Result<Spool, SpoolError> {
    Spool::open(options, Timestamp::now())
}
