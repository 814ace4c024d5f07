//! Owns the agent's stages and the queues between them: source -> vision -> spool -> uplink.
//!
//! The first three are a `pipeline`. The `supervisor` begins a new one where the server's settings change what it
//! does; the uplink lives as long as the agent.

mod pipeline;
mod runtime;
mod setup;
mod store;
mod supervisor;

use thiserror::Error;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

pub use store::Totals;

use crate::{
    config::Config,
    settings::SettingsFile,
    source::SourceError,
    spool::{Spool, SpoolError},
    systemd,
    uplink::{EndpointError, UplinkError},
    vision::Vision,
};
use pipeline::PipelineParts;
pub(crate) use runtime::{AgentRuntime, DRAIN_WAIT, PipelineSettingsLink, STOP_WAIT};
use supervisor::PipelineSupervisor;

/// When a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopCondition {
    /// Never: only its token ends it.
    Shutdown,
    /// When the source has ended and the spool is empty.
    Drained,
}

/// What a run did until it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Frames and sightings since the start of the run.
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
    /// The uplink found the spool damaged, or was refused and told not to wait.
    #[error(transparent)]
    Uplink(#[from] UplinkError),
    /// A camera or a source that repeats can't be drained.
    #[error("source: this source never ends, so --until-drained can't be used with it")]
    Endless,
    /// The configuration is a proxy's.
    #[error("proxy: this configuration is for `cavs-edge-agent proxy`")]
    Proxy,
    /// Something can't be set as the configuration says.
    #[error("{0}")]
    Settings(String),
    /// A stage took too long to stop.
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
    until: StopCondition,
    shutdown: CancellationToken,
) -> Result<Summary, AgentError> {
    if config.proxy.is_some() {
        return Err(AgentError::Proxy);
    }
    if until == StopCondition::Drained && !config.source.ends() {
        return Err(AgentError::Endless);
    }
    config.server.check()?;
    let runtime = AgentRuntime::default();
    let result = run_until_stopped(config, vision, until, shutdown, &runtime).await;
    runtime.end().await;
    result
}

async fn run_until_stopped<V: Vision>(
    config: &Config,
    vision: V,
    until: StopCondition,
    shutdown: CancellationToken,
    runtime: &AgentRuntime,
) -> Result<Summary, AgentError> {
    let Spool { writer, outbox, .. } = runtime.open_spool::<AgentError>(config, &shutdown).await?;
    let beside = config.spool.path.clone();
    let settings = runtime.tasks.spawn_blocking(move || SettingsFile::beside(&beside)).await?;
    let (mut uplink, link) =
        runtime.uplink(config, vision.pack_digest(), outbox, (writer.run(), writer.boot_epoch()));
    uplink.give_up_when_refused = until == StopCondition::Drained;
    let (uplink, drain) = runtime.start(uplink);
    systemd::start_watchdog(config, runtime);
    let supervisor = PipelineSupervisor::new(config, runtime.clone(), settings, link);
    let parts = PipelineParts { vision, writer, tracker: None };
    supervisor.run(parts, uplink, until, &drain, shutdown).await
}
