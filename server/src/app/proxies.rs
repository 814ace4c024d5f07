//! Cameras that speak through proxies, and devices that lose their right to speak.

use std::{collections::HashMap, time::Duration};

use cavs_proto::{DeviceId, ErrorReason, ProtocolError, UserId};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    App, AppError,
    accounts::{hash_token, new_token},
};
use crate::{
    domain::{
        Device, DeviceKey, DeviceKind, DeviceStatus, ProxiedCamera, RunId, SightingAnswer, SightingKey,
    },
    store::DEVICE_CHANGES,
};

/// How long to wait before listening again after the connection broke.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

impl App {
    /// Says who speaks for a camera; `None` takes it from its proxy.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`, `INVALID_ARGUMENT`: not a camera, or not an agent that is active.
    pub async fn assign_camera(
        &self,
        camera: DeviceId,
        proxy: Option<DeviceId>,
        by: UserId,
    ) -> Result<Device, AppError> {
        self.camera(camera).await?;
        if let Some(proxy) = proxy {
            let proxy = self.device(&DeviceKey::Id(proxy)).await?;
            if (proxy.kind, proxy.status) != (DeviceKind::Agent, DeviceStatus::Active) {
                return Err(ProtocolError::invalid("proxy_id", "is not an agent that is active").into());
            }
        }
        self.store.assign_camera(camera, proxy).await?;
        let proxy = proxy.map(|proxy| proxy.to_string());
        info!(%camera, proxy, %by, "assigned a camera");
        self.device(&DeviceKey::Id(camera)).await
    }

    /// Makes a token for a camera. The store has its hash only.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`, `DEVICE_REVOKED`, `INVALID_ARGUMENT`: not a camera.
    pub async fn issue_device_token(&self, camera: DeviceId, by: UserId) -> Result<SecretString, AppError> {
        if self.camera(camera).await?.status == DeviceStatus::Revoked {
            let message = format!("device {camera} is revoked");
            return Err(AppError::refused(ErrorReason::DeviceRevoked, message));
        }
        let token = new_token()?;
        self.store.issue_device_token(camera, &hash_token(token.expose_secret()), by).await?;
        info!(%camera, %by, "issued a device token");
        Ok(token)
    }

    /// Ends all tokens of a camera; how many were good.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`, `INVALID_ARGUMENT`: not a camera.
    pub async fn revoke_device_tokens(&self, camera: DeviceId, by: UserId) -> Result<u64, AppError> {
        self.camera(camera).await?;
        let revoked = self.store.revoke_device_tokens(camera).await?;
        info!(%camera, revoked, %by, "revoked device tokens");
        Ok(revoked)
    }

    /// Takes a device's right to speak, for ever.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`.
    pub async fn revoke_device(&self, id: DeviceId, by: UserId) -> Result<Device, AppError> {
        self.store.revoke_device(id).await?;
        let device = self.device(&DeviceKey::Id(id)).await?;
        info!(device = %id, %by, "revoked a device");
        Ok(device)
    }

    /// The cameras that a proxy speaks for.
    ///
    /// # Errors
    /// `Store`.
    pub async fn proxied_cameras(&self, proxy: DeviceId) -> Result<Vec<ProxiedCamera>, AppError> {
        Ok(self.device_store.proxied_cameras(proxy).await?)
    }

    /// What was made of sightings that went through a proxy. They are committed: without an answer of
    /// the database, nothing is said of them.
    pub async fn sighting_answers(
        &self,
        proxy: DeviceId,
        wanted: &[(DeviceId, RunId, SightingKey)],
    ) -> HashMap<(DeviceId, SightingKey), SightingAnswer> {
        if wanted.is_empty() {
            return HashMap::new();
        }
        self.device_store.sighting_answers(proxy, wanted).await.unwrap_or_else(|cause| {
            warn!(%cause, %proxy, "cameras are not told what was made of their sightings");
            HashMap::new()
        })
    }

    async fn camera(&self, id: DeviceId) -> Result<Device, AppError> {
        let device = self.device(&DeviceKey::Id(id)).await?;
        match device.kind {
            DeviceKind::Esp32Cam => Ok(device),
            DeviceKind::Agent => Err(ProtocolError::invalid("device_id", "is not a camera").into()),
        }
    }

    /// Follows changes of devices until `shutdown`, those of other servers too.
    pub async fn follow_devices(&self, shutdown: CancellationToken) {
        let heard = Notify::new();
        let listening = async {
            loop {
                if let Err(cause) = self.device_store.listen(DEVICE_CHANGES, &heard).await {
                    warn!(%cause, "does not hear of changes of devices");
                }
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
        };
        let telling = async {
            loop {
                heard.notified().await;
                self.devices_changed.tell();
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async { tokio::join!(listening, telling); } => {}
        }
    }
}

/// Tells streams that something about devices has changed: they look what it means to them.
#[derive(Debug)]
pub struct DevicesChanged(watch::Sender<()>);

impl Default for DevicesChanged {
    fn default() -> Self {
        Self(watch::Sender::new(()))
    }
}

impl DevicesChanged {
    /// Hears of every change from now on, and of one that may have been before.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        let mut receiver = self.0.subscribe();
        receiver.mark_changed();
        receiver
    }

    fn tell(&self) {
        self.0.send_replace(());
    }
}
