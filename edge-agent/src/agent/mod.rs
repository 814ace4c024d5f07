//! Owns the agent's rooms and the queues between them: source -> vision -> spool -> uplink.
//!
//! The first three are a `pipeline`, which is made anew where the server's settings change what it
//! does; the uplink lives as long as the agent. `conduct` says when.

mod conduct;
mod opening;
mod pipeline;
mod store;

use std::sync::Arc;

use cavs_proto::v1::{Hello, SettingsReport};
use jiff::Timestamp;
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    task::JoinError,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use store::Totals;

use crate::{
    config::Config,
    service,
    settings::LedgerFile,
    source::SourceError,
    spool::{Spool, SpoolError},
    uplink::{EndpointError, SettingsLink, Uplink, UplinkError, machine::Timing},
    vision::Vision,
    vitals::{Reporter, Vitals},
};
use conduct::{Conductor, STOP_WAIT, SettingsEnd};
use pipeline::Gear;
pub(crate) use pipeline::Shared;

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
    let shared = Shared {
        tracker: TaskTracker::new(),
        vitals: Arc::new(Vitals::default()),
        spooled: Arc::new(Notify::new()),
        abort: CancellationToken::new(),
    };
    let result = run_rooms(config, vision, until, shutdown, &shared).await;
    shared.abort.cancel();
    shared.tracker.close();
    if timeout(STOP_WAIT, shared.tracker.wait()).await.is_err() {
        tracing::warn!("some tasks did not end in time");
    }
    result
}

async fn run_rooms<V: Vision>(
    config: &Config,
    vision: V,
    until: Until,
    shutdown: CancellationToken,
    shared: &Shared,
) -> Result<Summary, AgentError> {
    let options = config.spool.clone();
    let opened = shared.tracker.spawn_blocking(move || Spool::open(&options, Timestamp::now()));
    let Spool { writer, outbox, quarantined } = opened.await??;
    if let Some(quarantined) = quarantined {
        tracing::error!(
            aside = %quarantined.path.display(),
            cause = quarantined.cause,
            recovered = quarantined.recovered,
            lost = quarantined.lost,
            "the spool was damaged; it was moved aside and a new one made"
        );
    }
    let settings = LedgerFile::beside(&config.spool.path);
    let (wanted, wanted_inbox) = watch::channel(None);
    let (report, report_outbox) = watch::channel(SettingsReport::default());
    let uplink = Uplink {
        endpoint: config.server.clone(),
        outbox,
        hello: Hello {
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            pack_digest: vision.pack_digest().to_string(),
            boot_epoch: writer.boot_epoch(),
            settings: None,
            proxy: false,
        },
        spooled: Arc::clone(&shared.spooled),
        timing: Timing::default(),
        // Different for every agent, as their starts and process ids are.
        seed: writer.boot_epoch() ^ u64::from(std::process::id()) << 32,
        settings: SettingsLink { wanted, report: report_outbox },
        reporter: Reporter::new(Arc::clone(&shared.vitals), &config.spool.path),
        give_up_when_refused: until == Until::Drained,
        proxy: None,
    };
    let (sending, drain) = (shared.abort.clone(), CancellationToken::new());
    let draining = drain.clone();
    let uplink = shared.tracker.spawn(async move { sending.run_until_cancelled(uplink.run(draining)).await });
    service::guard(config, shared);
    let link = SettingsEnd { wanted: wanted_inbox, report };
    let conductor = Conductor::new(config, shared.clone(), settings, link);
    let gear = Gear { vision, writer, tracker: None };
    conductor.conduct(gear, uplink, until, &drain, shutdown).await
}
