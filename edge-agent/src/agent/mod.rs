//! Owns the agent's rooms and the queues between them: source -> vision -> spool -> uplink.
//!
//! The first three are a `pipeline`, which is made anew where the server's settings change what it
//! does; the uplink lives as long as the agent. `conduct` says when.

mod conduct;
mod opening;
mod pipeline;
mod shared;
mod store;

use thiserror::Error;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

pub use store::Totals;

use crate::{
    config::Config,
    service,
    settings::LedgerFile,
    source::SourceError,
    spool::{Spool, SpoolError},
    uplink::{EndpointError, UplinkError},
    vision::Vision,
};
use conduct::Conductor;
use pipeline::Gear;
pub(crate) use shared::{DRAIN_WAIT, STOP_WAIT, SettingsEnd, Shared};

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
    /// The configuration is a proxy's.
    #[error("proxy: this configuration is for `cavs-edge-agent proxy`")]
    Proxy,
    /// Something can't be set as the configuration says.
    #[error("{0}")]
    Settings(String),
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
    if config.proxy.is_some() {
        return Err(AgentError::Proxy);
    }
    if until == Until::Drained && !config.source.ends() {
        return Err(AgentError::Endless);
    }
    config.server.check()?;
    let shared = Shared::default();
    let result = run_rooms(config, vision, until, shutdown, &shared).await;
    shared.end().await;
    result
}

async fn run_rooms<V: Vision>(
    config: &Config,
    vision: V,
    until: Until,
    shutdown: CancellationToken,
    shared: &Shared,
) -> Result<Summary, AgentError> {
    let Spool { writer, outbox, .. } = shared.open_spool::<AgentError>(config, &shutdown).await?;
    let beside = config.spool.path.clone();
    let settings = shared.tracker.spawn_blocking(move || LedgerFile::beside(&beside)).await?;
    let (mut uplink, link) =
        shared.uplink(config, vision.pack_digest(), outbox, (writer.run(), writer.boot_epoch()));
    uplink.give_up_when_refused = until == Until::Drained;
    let (uplink, drain) = shared.start(uplink);
    service::guard(config, shared);
    let conductor = Conductor::new(config, shared.clone(), settings, link);
    let gear = Gear { vision, writer, tracker: None };
    conductor.conduct(gear, uplink, until, &drain, shutdown).await
}
