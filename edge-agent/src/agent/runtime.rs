//! What all tasks of an agent or of a proxy share, and how spool and uplink are opened and left.

use std::{process, sync::Arc, time::Duration};

use cavs_embedding::PackDigest;
use cavs_proto::v1::{Capability, Hello, SettingsReport};
use jiff::Timestamp;
use tokio::{
    sync::{Notify, watch},
    task::{JoinError, JoinHandle},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    health::{HealthCounters, HealthReporter},
    settings::PushedSettings,
    sighting::RunId,
    spool::{Outbox, Spool, SpoolError},
    systemd,
    uplink::{Uplink, UplinkError, UplinkSettingsLink, machine::Timing},
};

/// How long what was taken in may take to reach the spool when the agent stops.
pub(crate) const STOP_WAIT: Duration = Duration::from_secs(10);

/// How long the uplink may go on sending after that. What is left is sent after the next start.
pub(crate) const DRAIN_WAIT: Duration = Duration::from_secs(5);

/// From one attempt to open a spool on a full disk to the next.
const FULL_RETRY: Duration = Duration::from_secs(10);

/// Attempts for one line in the log.
const LOG_EVERY: u32 = 60;

/// `None` after an abort.
pub(crate) type UplinkTask = JoinHandle<Option<Result<(), UplinkError>>>;

/// Tasks, counters and signals of one run.
#[derive(Clone, Default)]
pub(crate) struct AgentRuntime {
    pub(crate) tasks: TaskTracker,
    pub(crate) counters: Arc<HealthCounters>,
    /// Signalled after sightings were stored.
    pub(crate) spooled: Arc<Notify>,
    /// Whatever still runs ends now.
    pub(crate) abort: CancellationToken,
}

/// The pipeline's side of what is said about settings; [`UplinkSettingsLink`] is the uplink's.
pub(crate) struct PipelineSettingsLink {
    /// The settings that the server last pushed; `None` until it did.
    pub(crate) wanted: watch::Receiver<Option<PushedSettings>>,
    /// What the server is told of them.
    pub(crate) report: watch::Sender<SettingsReport>,
}

impl AgentRuntime {
    /// Opens the spool; a proxy's remembers the frames that it had. Where the disk is too full for it, the
    /// agent waits for room: starting again and again would make none.
    pub(crate) async fn open_spool<E>(
        &self,
        config: &Config,
        shutdown: &CancellationToken,
    ) -> Result<Spool, E>
    where
        E: From<SpoolError> + From<JoinError>,
    {
        let mut attempts = 0_u32;
        let mut spool = loop {
            let (options, proxy) = (config.spool.clone(), config.proxy.is_some());
            let opened = self.tasks.spawn_blocking(move || {
                let mut spool = Spool::open(&options, Timestamp::now())?;
                if proxy {
                    spool.writer.remember_captures()?;
                }
                Ok::<_, SpoolError>(spool)
            });
            match opened.await? {
                Ok(spool) => break spool,
                Err(error) if error.is_full() && !shutdown.is_cancelled() => {
                    if attempts.is_multiple_of(LOG_EVERY) {
                        tracing::error!(%error, attempts, "the disk is full; waiting for room to open the spool");
                    }
                    attempts += 1;
                    systemd::extend_start("the disk is full", FULL_RETRY);
                    let _ = timeout(FULL_RETRY, shutdown.cancelled()).await;
                }
                Err(error) => return Err(error.into()),
            }
        };
        if let Some(quarantined) = spool.quarantined.take() {
            tracing::error!(
                aside = %quarantined.path.display(),
                cause = quarantined.cause,
                recovered = quarantined.recovered,
                lost = quarantined.lost,
                "the spool was damaged; it was moved aside and a new one made"
            );
        }
        Ok(spool)
    }

    /// An agent's uplink, and the pipeline's side of its settings.
    pub(crate) fn uplink(
        &self,
        config: &Config,
        pack: PackDigest,
        outbox: Outbox,
        (run, boot_epoch): (RunId, u64),
    ) -> (Uplink, PipelineSettingsLink) {
        let (wanted, wanted_inbox) = watch::channel(None);
        let (report, report_outbox) = watch::channel(SettingsReport::default());
        let uplink = Uplink {
            endpoint: config.server.clone(),
            outbox,
            hello: Hello {
                agent_version: env!("CARGO_PKG_VERSION").to_owned(),
                pack_digest: pack.to_string(),
                boot_epoch,
                settings: None,
                proxy: config.proxy.is_some(),
                capabilities: config.proxy.iter().map(|_| Capability::Proxy.into()).collect(),
                run_id: run.to_wire(),
                probe: false,
            },
            spooled: Arc::clone(&self.spooled),
            timing: Timing::default(),
            // Different for every agent, as their starts and process ids are.
            seed: boot_epoch ^ u64::from(process::id()) << 32,
            settings: UplinkSettingsLink { wanted, report: report_outbox },
            reporter: HealthReporter::new(Arc::clone(&self.counters), &config.spool.path),
            give_up_when_refused: false,
            proxied: None,
        };
        (uplink, PipelineSettingsLink { wanted: wanted_inbox, report })
    }

    /// Starts an uplink; the token has it end when the spool is empty.
    pub(crate) fn start(&self, uplink: Uplink) -> (UplinkTask, CancellationToken) {
        let (abort, drain) = (self.abort.clone(), CancellationToken::new());
        let draining = drain.clone();
        let sending = async move { abort.run_until_cancelled(uplink.run(draining)).await };
        (self.tasks.spawn(sending), drain)
    }

    /// Aborts whatever still runs, and waits [`STOP_WAIT`] for it to end.
    pub(crate) async fn end(&self) {
        self.abort.cancel();
        self.tasks.close();
        if timeout(STOP_WAIT, self.tasks.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
    }
}
