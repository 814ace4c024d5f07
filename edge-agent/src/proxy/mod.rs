//! Proxy mode: takes frames of cameras that run no networks, and speaks for them.
//!
//! ```text
//!  POST, gRPC-Web, gRPC ─▶ listener ─▶ route ─▶ plain | grpc ─┐
//!                                     (cameras)               ├─▶ intake ─▶ workers ─▶ recorder ─▶ spool
//!  cameras that are asked ────────────────────▶ pull ─────────┘     ▲                               │
//!                                                                answers ◀─────── uplink ◀──────────┘
//! ```
//!
//! Everything that waits is bounded: connections by `cavs-net`, bytes and frames by `limits`, frames
//! that wait for the networks by a queue. What is beyond is told when to come again.

mod answers;
mod cameras;
mod grpc;
mod intake;
mod limits;
mod listener;
mod plain;
mod pull;
mod refusal;
mod route;
mod times;
mod workers;

use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use cavs_proto::v1::{self, SettingsReport};
use thiserror::Error;
use tokio::{sync::mpsc, task::JoinError, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use answers::{Answers, ServerAnswer};
pub use cameras::{Camera, CameraRegistry};
pub use refusal::Refusal;

use crate::{
    agent::{AgentRuntime, DRAIN_WAIT, PipelineSettingsLink, STOP_WAIT},
    config::{Config, ProxyConfig},
    gate::MotionGate,
    recorder::{EXPIRE_EVERY, FrameRecorder},
    spool::{Spool, SpoolError},
    stages::Stages,
    systemd,
    track::{Tracker, TrackingOptions},
    uplink::{EndpointError, ProxyObserver, UplinkError},
    vision::Vision,
};
use intake::Intake;
use listener::Listener;

/// Frames between networks and spool.
const RECORDER_QUEUE: usize = 64;

/// Why the proxy does not start, or stopped by itself.
#[derive(Debug, Error)]
pub enum ProxyError {
    /// The configuration is no proxy's.
    #[error("proxy: this configuration has no [proxy]; `cavs-edge-agent run` is for one camera")]
    NoProxy,
    /// The listener's certificates can't be used.
    #[error("proxy.certificate, proxy.key, proxy.client_ca: {path}: {problem}", path = path.display())]
    Tls {
        /// The certificate, key or root.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The address can't be listened on.
    #[error("proxy.listen = {address}: {source}")]
    Listen {
        /// As `proxy.listen` says.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The spool can't be used.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The certificates for the server can't be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The uplink found the spool damaged.
    #[error(transparent)]
    Uplink(#[from] UplinkError),
    /// A task ended that should not have: a bug.
    #[error("internal error: {0}")]
    Task(String),
}

impl From<JoinError> for ProxyError {
    fn from(error: JoinError) -> Self {
        Self::Task(error.to_string())
    }
}

/// Checks what can be checked of a proxy without starting it.
///
/// # Errors
/// `NoProxy`, `Tls`, `Endpoint`.
pub fn check(config: &Config) -> Result<&ProxyConfig, ProxyError> {
    let proxy = config.proxy.as_ref().ok_or(ProxyError::NoProxy)?;
    config.server.check()?;
    if let Some(tls) = proxy.listener.as_ref().and_then(|listener| listener.tls.as_ref()) {
        listener::server_config(tls)?;
    }
    Ok(proxy)
}

/// Runs the proxy until `shutdown`, with one vision for each worker.
///
/// # Errors
/// Any [`ProxyError`]. What was taken in before stays in the spool.
pub async fn run<V: Vision>(
    config: &Config,
    visions: Vec<V>,
    shutdown: CancellationToken,
) -> Result<(), ProxyError> {
    let proxy = check(config)?;
    let runtime = AgentRuntime::default();
    let result = run_until_stopped(config, proxy, visions, shutdown, &runtime).await;
    runtime.end().await;
    result
}

async fn run_until_stopped<V: Vision>(
    config: &Config,
    proxy: &ProxyConfig,
    visions: Vec<V>,
    shutdown: CancellationToken,
    runtime: &AgentRuntime,
) -> Result<(), ProxyError> {
    let first = visions.first().ok_or_else(|| ProxyError::Task("no workers".to_owned()))?;
    let (pack, same_person) = (first.pack_digest(), first.same_person());
    let Spool { mut writer, outbox, .. } = runtime.open_spool::<ProxyError>(config, &shutdown).await?;
    let (run, boot_epoch) = (writer.run(), writer.boot_epoch());
    let (beside, seal) = (config.spool.path.clone(), writer.seal());
    let cameras =
        Arc::new(runtime.tasks.spawn_blocking(move || CameraRegistry::beside(&beside, seal)).await?);
    let answers = Arc::new(Answers::default());
    let (mut uplink, settings) = runtime.uplink(config, pack, outbox, (run, boot_epoch));
    uplink.proxied =
        Some(Arc::new(UplinkEvents { cameras: Arc::clone(&cameras), answers: Arc::clone(&answers) }));
    let (mut uplink, drain) = runtime.start(uplink);
    let refusing = refuse_settings(settings);
    let abort = runtime.abort.clone();
    runtime.tasks.spawn(async move { abort.run_until_cancelled(refusing).await });

    let (jobs, queue) = mpsc::channel(proxy.intake.queue);
    let queue = Arc::new(Mutex::new(queue));
    for vision in visions {
        let (queue, most) = (Arc::clone(&queue), proxy.intake.max_frame_bytes);
        runtime.tasks.spawn_blocking(move || workers::work(vision, &queue, most));
    }
    let (recorder, inbox) = mpsc::channel(RECORDER_QUEUE);
    let (spooled, counters) = (Arc::clone(&runtime.spooled), Arc::clone(&runtime.counters));
    let mut keeping = runtime.tasks.spawn_blocking(move || {
        let (writer, spooled, counters) = (&mut writer, &*spooled, &*counters);
        FrameRecorder { writer, spooled, counters, expire_every: EXPIRE_EVERY }
            .run(inbox, &mut intake::StoreRequests)
    });

    // Not a child of `shutdown`: what ends by itself before the wait for that is over, is a fault.
    let (serving, stop) = (TaskTracker::new(), CancellationToken::new());
    let intake = Arc::new(Intake {
        config: proxy.intake,
        cameras,
        answers,
        rates: limits::CameraRates::new(proxy.intake.camera_rate),
        jobs,
        recorder,
        counters: Arc::clone(&runtime.counters),
        tasks: serving.clone(),
        shutdown: stop.clone(),
    });
    if let Some(listener) = &proxy.listener {
        let router = route::Router::new(listener, Arc::clone(&intake));
        let listener = Listener::open(listener, router).await?;
        serving.spawn(listener.serve(stop.clone()));
    }
    for camera in &proxy.pulled {
        let stages = stages(config, same_person);
        serving.spawn(pull::pull(Arc::clone(&intake), camera.clone(), stages, pack, stop.clone()));
    }
    // The queues end with the last of those who use it.
    drop(intake);
    systemd::start_watchdog(config, runtime);
    tracing::info!(boot_epoch, workers = proxy.intake.workers, pulled = proxy.pulled.len(), "started");
    systemd::ready();

    let failed = tokio::select! {
        () = shutdown.cancelled() => None,
        ended = &mut uplink => Some(match ended? {
            Some(Err(error)) => error.into(),
            Some(Ok(())) | None => ProxyError::Task("the uplink ended".to_owned()),
        }),
        ended = &mut keeping => Some(match ended? {
            Err(error) => error.into(),
            Ok(()) => ProxyError::Task("the keeper ended".to_owned()),
        }),
    };
    systemd::stopping();
    stop.cancel();
    serving.close();
    if timeout(STOP_WAIT, serving.wait()).await.is_err() {
        tracing::warn!("some requests did not end in time");
    }
    if let Some(error) = failed {
        return Err(error);
    }
    timeout(STOP_WAIT, keeping).await.map_err(|_| ProxyError::Task("the keeper hangs".to_owned()))???;
    drain.cancel();
    match timeout(DRAIN_WAIT, uplink).await {
        Ok(ended) => ended?.transpose()?,
        Err(_) => {
            tracing::info!("not everything was sent; the rest follows after the next start");
            None
        }
    };
    Ok(())
}

/// Takes in what the server says of the cameras.
struct UplinkEvents {
    cameras: Arc<CameraRegistry>,
    answers: Arc<Answers>,
}

impl ProxyObserver for UplinkEvents {
    fn on_cameras(&self, cameras: &v1::ProxiedCameras) {
        self.cameras.replace(cameras);
    }

    fn on_results(&self, results: &[v1::SightingResult]) {
        self.answers.settle(results);
    }

    fn on_connected(&self, connected: bool) {
        self.answers.connected(connected);
    }
}

impl std::fmt::Debug for UplinkEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("UplinkEvents")
    }
}

/// What stands before and after the networks for a camera that is pulled.
fn stages(config: &Config, same_person: f32) -> Stages {
    let tracker = config.tracking.map(|tracking| {
        let same_person = tracking.same_person.unwrap_or(same_person);
        Tracker::new(TrackingOptions { same_person, ..tracking.options })
    });
    Stages { gate: config.motion.map(MotionGate::new), tracker, ..Stages::default() }
}

/// Pushed settings are about a camera and its networks, of which a proxy has many.
async fn refuse_settings(PipelineSettingsLink { mut wanted, report }: PipelineSettingsLink) {
    while wanted.changed().await.is_ok() {
        let version = wanted.borrow_and_update().as_ref().map_or(0, |wanted| wanted.version);
        let rejection = "an agent in proxy mode takes no pushed settings".to_owned();
        let refused = SettingsReport { rejected_version: version, rejection, ..SettingsReport::default() };
        let told = if version == 0 { SettingsReport::default() } else { refused };
        report.send_if_modified(|before| {
            let news = *before != told;
            *before = told;
            news
        });
    }
}
