//! What devices say of themselves on their streams, and what they are told.

use std::{net::IpAddr, sync::Arc};

use cavs_embedding::PackDigest;
use cavs_types::{DeviceId, ErrorReason, SiteId};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    db::Database,
    error::ServiceError,
    fleet::{
        Admission, Device, DeviceStore, Heartbeat, NotAdmitted, ProxiedCamera, PushedSettings, RunId,
        SettingsReport,
    },
    monitoring::Metrics,
    recognition::Galleries,
};

/// The channel that tells of changes of devices: who may speak, and who for whom.
const DEVICE_CHANGES: &[&str] = &["cavs_devices"];

/// Devices as they speak for themselves. Their certificate names one of whichever site; what it is let do is of
/// that site alone.
#[derive(Clone)]
pub struct DeviceStreams {
    db: Database,
    store: DeviceStore,
    galleries: Arc<Galleries>,
    metrics: Arc<Metrics>,
    changed: Arc<DevicesChanged>,
}

impl DeviceStreams {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, galleries: &Arc<Galleries>, metrics: &Arc<Metrics>) -> Self {
        Self {
            db: db.clone(),
            store: DeviceStore::new(db),
            galleries: Arc::clone(galleries),
            metrics: Arc::clone(metrics),
            changed: Arc::default(),
        }
    }

    /// Hears of every change of devices from now on, and of one that may have been before.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The device that a certificate names, if it may speak.
    ///
    /// # Errors
    /// `DEVICE_UNKNOWN`, `DEVICE_REVOKED`, `DEVICE_INACTIVE`, `SITE_ARCHIVED`, `Database`.
    pub async fn admit(&self, id: DeviceId) -> Result<Device, ServiceError> {
        let found = self.store.certified_device(id).await?;
        let (device, site_is_archived) = found.ok_or_else(|| refused(id, NotAdmitted::Unknown))?;
        NotAdmitted::judge(device.status, site_is_archived).map_err(|why| refused(id, why))?;
        Ok(device)
    }

    /// Takes note of what a start of a device's agent says at the beginning; gives the settings that it
    /// is to run with, where any were pushed.
    ///
    /// # Errors
    /// `MODEL_PACK_MISMATCH`: its probes could not be compared with any template.
    /// `DEVICE_CONNECTED_TWICE`: another start has the device's place now.
    pub async fn connected(
        &self,
        id: DeviceId,
        run: RunId,
        agent_version: &str,
        pack: PackDigest,
        settings: &SettingsReport,
        address: Option<IpAddr>,
    ) -> Result<Option<PushedSettings>, ServiceError> {
        if let Some(address) = address {
            self.store.device_seen_at(id, address).await?;
        }
        if let Err(mismatch) = self.check_pack(pack) {
            self.store.device_mismatched(id, agent_version, pack, settings).await?;
            return Err(mismatch);
        }
        let Admission { welcome, twice } =
            self.store.run_greeted(id, run, agent_version, pack, settings).await?;
        if twice {
            self.note_twice(id);
        }
        if !welcome {
            return Err(connected_twice());
        }
        self.pushed_settings(id).await
    }

    /// Whether a device with this pack would be welcomed; nothing is recorded.
    ///
    /// # Errors
    /// `MODEL_PACK_MISMATCH`.
    pub async fn probed(
        &self,
        id: DeviceId,
        pack: PackDigest,
    ) -> Result<Option<PushedSettings>, ServiceError> {
        self.check_pack(pack)?;
        self.pushed_settings(id).await
    }

    /// A start of a device's agent has ended its stream.
    ///
    /// # Errors
    /// `Database`.
    pub async fn left(&self, id: DeviceId, run: RunId) -> Result<(), ServiceError> {
        Ok(self.store.run_left(id, run).await?)
    }

    fn check_pack(&self, pack: PackDigest) -> Result<(), ServiceError> {
        let served = self.galleries.pack();
        if pack == served {
            return Ok(());
        }
        let message =
            format!("the agent uses model pack {pack}, the server {served}: give both the same pack folder");
        Err(ServiceError::refused(ErrorReason::ModelPackMismatch, message))
    }

    fn note_twice(&self, id: DeviceId) {
        self.metrics.connected_twice();
        warn!(device = %id, "a device is connected twice: its certificate is in use in two places");
    }

    /// Takes note of a sign of life; gives the settings that the device is to run with where they
    /// are newer than the version that this stream has pushed.
    ///
    /// # Errors
    /// `DEVICE_UNKNOWN`, `DEVICE_REVOKED`, `DEVICE_CONNECTED_TWICE`: it may not go on. `Database`.
    pub async fn alive(
        &self,
        id: DeviceId,
        run: RunId,
        heartbeat: &Heartbeat,
        settings: &SettingsReport,
        pushed: u64,
    ) -> Result<Option<PushedSettings>, ServiceError> {
        let Some((status, version)) = self.store.device_alive(id, run, heartbeat, settings).await? else {
            self.admit(id).await?;
            if self.store.superseded_run_spoke(id, run).await? {
                self.note_twice(id);
            }
            return Err(connected_twice());
        };
        NotAdmitted::judge(status, false).map_err(|why| refused(id, why))?;
        if version > pushed { self.pushed_settings(id).await } else { Ok(None) }
    }

    async fn pushed_settings(&self, id: DeviceId) -> Result<Option<PushedSettings>, ServiceError> {
        Ok(self.store.certified_device(id).await?.and_then(|(device, _)| device.wanted))
    }

    /// The cameras that a proxy speaks for.
    ///
    /// # Errors
    /// `Database`.
    pub async fn proxied_cameras(
        &self,
        site: SiteId,
        proxy: DeviceId,
    ) -> Result<Vec<ProxiedCamera>, ServiceError> {
        Ok(self.store.proxied_cameras(site, proxy).await?)
    }

    /// Follows changes of devices until `shutdown`, those of other servers too.
    pub async fn follow(&self, shutdown: CancellationToken) {
        let heard = Notify::new();
        let listening = self.db.listen_always(DEVICE_CHANGES, "devices", |_| heard.notify_one());
        let telling = async {
            loop {
                heard.notified().await;
                self.changed.tell();
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async { tokio::join!(listening, telling); } => {}
        }
    }
}

/// Tells streams that something about devices has changed: they look what it means to them.
struct DevicesChanged(watch::Sender<()>);

impl Default for DevicesChanged {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl DevicesChanged {
    fn subscribe(&self) -> watch::Receiver<()> {
        let mut receiver = self.0.subscribe();
        receiver.mark_changed();
        receiver
    }

    fn tell(&self) {
        self.0.send_replace(());
    }
}

/// What a start is told that has to leave its place to another one.
fn connected_twice() -> ServiceError {
    let message =
        "another start of this device's agent is connected: its certificate is in use in two places";
    ServiceError::refused(ErrorReason::DeviceConnectedTwice, message)
}

/// What a device is told that may not speak.
pub(crate) fn refused(id: DeviceId, why: NotAdmitted) -> ServiceError {
    match why {
        NotAdmitted::Unknown => {
            let message = format!("device {id} is not registered: run `cavs devices add`");
            ServiceError::refused(ErrorReason::DeviceUnknown, message)
        }
        NotAdmitted::Revoked => {
            ServiceError::refused(ErrorReason::DeviceRevoked, format!("device {id} is revoked"))
        }
        NotAdmitted::Inactive => {
            let message = format!(
                "device {id} is inactive: somebody has set it so, and may set it active again; nothing is lost"
            );
            ServiceError::refused(ErrorReason::DeviceInactive, message)
        }
        NotAdmitted::SiteArchived => {
            let message = format!("the site of device {id} was archived");
            ServiceError::refused(ErrorReason::SiteArchived, message)
        }
    }
}
