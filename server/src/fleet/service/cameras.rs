//! Cameras that speak through proxies, and devices that lose their right to speak.

use cavs_types::{DeviceId, DeviceKind, DeviceStatus, ErrorReason, ProtocolError, SiteId, UserId};
use secrecy::{ExposeSecret, SecretString};
use tracing::info;

use super::Devices;
use crate::{
    error::ServiceError,
    fleet::{Device, DeviceKey},
    token::{hash_token, new_token},
};

impl Devices {
    /// Says who speaks for a camera; `None` takes it from its proxy.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`, `INVALID_ARGUMENT`: not a camera, or not an agent that is active.
    pub async fn assign_camera(
        &self,
        site: SiteId,
        camera: DeviceId,
        proxy: Option<DeviceId>,
        by: UserId,
    ) -> Result<Device, ServiceError> {
        self.camera(site, camera).await?;
        if let Some(proxy) = proxy {
            let proxy = self.device(site, &DeviceKey::Id(proxy)).await?;
            if proxy.kind != DeviceKind::Agent || proxy.status == DeviceStatus::Revoked {
                return Err(ProtocolError::invalid("proxy_id", "is not an agent, or was revoked").into());
            }
        }
        self.store.assign_camera(site, camera, proxy).await?;
        let proxy = proxy.map(|proxy| proxy.to_string());
        info!(%camera, proxy, %by, "assigned a camera");
        self.device(site, &DeviceKey::Id(camera)).await
    }

    /// Makes a token for a camera. The store has its hash only.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`, `DEVICE_REVOKED`, `INVALID_ARGUMENT`: not a camera.
    pub async fn issue_device_token(
        &self,
        site: SiteId,
        camera: DeviceId,
        by: UserId,
    ) -> Result<SecretString, ServiceError> {
        if self.camera(site, camera).await?.status == DeviceStatus::Revoked {
            let message = format!("device {camera} is revoked");
            return Err(ServiceError::refused(ErrorReason::DeviceRevoked, message));
        }
        let token = new_token()?;
        self.store.issue_device_token(site, camera, &hash_token(token.expose_secret()), by).await?;
        info!(%camera, %by, "issued a device token");
        Ok(token)
    }

    /// Ends all tokens of a camera; how many were good.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`, `INVALID_ARGUMENT`: not a camera.
    pub async fn revoke_device_tokens(
        &self,
        site: SiteId,
        camera: DeviceId,
        by: UserId,
    ) -> Result<u64, ServiceError> {
        self.camera(site, camera).await?;
        let revoked = self.store.revoke_device_tokens(site, camera).await?;
        info!(%camera, revoked, %by, "revoked device tokens");
        Ok(revoked)
    }

    /// Takes a device's right to speak, for ever.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`.
    pub async fn revoke_device(
        &self,
        site: SiteId,
        id: DeviceId,
        by: UserId,
    ) -> Result<Device, ServiceError> {
        self.store.revoke_device(site, id).await?;
        let device = self.device(site, &DeviceKey::Id(id)).await?;
        info!(device = %id, %by, "revoked a device");
        Ok(device)
    }

    async fn camera(&self, site: SiteId, id: DeviceId) -> Result<Device, ServiceError> {
        let device = self.device(site, &DeviceKey::Id(id)).await?;
        match device.kind {
            DeviceKind::Esp32Cam => Ok(device),
            DeviceKind::Agent => Err(ProtocolError::invalid("device_id", "is not a camera").into()),
        }
    }
}
