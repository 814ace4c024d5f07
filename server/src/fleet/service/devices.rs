use cavs_types::{DeviceId, DeviceStatus, ErrorReason, SiteId, UserId};
use tracing::info;

use crate::{
    db::{Database, DatabaseError},
    error::ServiceError,
    fleet::{
        Device, DeviceChange, DeviceKey, DevicePosition, DeviceStore, DeviceVersion, NewDevice,
        SettingsChange, SettingsVersion,
    },
    page::{Page, PageRequest},
};

/// Attempts to change a device that others change, too.
const ATTEMPTS: u32 = 5;

/// Devices as people administer them, each of one site.
#[derive(Clone)]
pub struct Devices {
    pub(super) store: DeviceStore,
}

impl Devices {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { store: DeviceStore::new(db) }
    }

    /// Registers a device of the site.
    ///
    /// # Errors
    /// `DEVICE_EXISTS`.
    pub async fn create_device(&self, site: SiteId, new: &NewDevice) -> Result<Device, ServiceError> {
        let device =
            self.store.create_device(site, new).await.map_err(|error| name_taken(error, &new.name))?;
        info!(device = %device.id, "registered a device");
        Ok(device)
    }

    /// One device.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`.
    pub async fn device(&self, site: SiteId, key: &DeviceKey) -> Result<Device, ServiceError> {
        self.store.device(site, key).await?.ok_or_else(|| {
            let message = match key {
                DeviceKey::Id(id) => format!("no device has the id {id}"),
                DeviceKey::Name(name) => format!("no device is named {name:?}"),
            };
            ServiceError::refused(ErrorReason::DeviceNotFound, message)
        })
    }

    /// Changes what people say of a device, of the state of it that the caller has seen, where that is given.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`, `DEVICE_EXISTS`, `DEVICE_CHANGED`; `DEVICE_REVOKED`: of its status.
    pub async fn update_device(
        &self,
        site: SiteId,
        id: DeviceId,
        seen: Option<DeviceVersion>,
        change: &DeviceChange,
        by: UserId,
    ) -> Result<Device, ServiceError> {
        for _ in 0..ATTEMPTS {
            let device = self.device(site, &DeviceKey::Id(id)).await?;
            if seen.is_some_and(|seen| seen != device.version) {
                break;
            }
            if !change.changes(&device) {
                return Ok(device);
            }
            if device.status == DeviceStatus::Revoked && change.status.is_some() {
                let message = format!("device {id} is revoked, for ever");
                return Err(ServiceError::refused(ErrorReason::DeviceRevoked, message));
            }
            let name = change.name.as_deref().unwrap_or(&device.name);
            let changed = self.store.update_device(site, id, device.version, change).await;
            if changed.map_err(|error| name_taken(error, name))? {
                let status = change.status.map(DeviceStatus::as_str);
                info!(device = %id, status, %by, "changed a device");
                return self.device(site, &DeviceKey::Id(id)).await;
            }
        }
        let message = "somebody else has changed the device meanwhile";
        Err(ServiceError::refused(ErrorReason::DeviceChanged, message))
    }

    /// What was ever pushed to a device, the newest first.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`.
    pub async fn settings_versions(
        &self,
        site: SiteId,
        id: DeviceId,
        page: &PageRequest<u64>,
    ) -> Result<Page<SettingsVersion>, ServiceError> {
        self.device(site, &DeviceKey::Id(id)).await?;
        Ok(self.store.settings_versions(site, id, page).await?)
    }

    /// Revokes a device and registers another one in its place.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`; `DEVICE_EXISTS`: it was revoked before, and its name given again.
    pub async fn replace_device(
        &self,
        site: SiteId,
        old: DeviceId,
        by: UserId,
    ) -> Result<Device, ServiceError> {
        let device = self.device(site, &DeviceKey::Id(old)).await?;
        let new = self.store.replace_device(site, old, by).await.map_err(|e| name_taken(e, &device.name))?;
        info!(device = %old, %new, %by, "replaced a device");
        self.device(site, &DeviceKey::Id(new)).await
    }

    /// Changes the settings that are pushed to a device; its stream takes them within a heartbeat.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`.
    pub async fn configure_device(
        &self,
        site: SiteId,
        id: DeviceId,
        change: &SettingsChange,
        by: UserId,
    ) -> Result<Device, ServiceError> {
        let version = self.store.configure_device(site, id, change, by).await?;
        let device = self.device(site, &DeviceKey::Id(id)).await?;
        info!(device = %id, version, %by, "configured a device");
        Ok(device)
    }

    /// Devices by name.
    ///
    /// # Errors
    /// `Database`.
    pub async fn devices(
        &self,
        site: SiteId,
        page: &PageRequest<DevicePosition>,
    ) -> Result<Page<Device>, ServiceError> {
        Ok(self.store.devices(site, page).await?)
    }
}

fn name_taken(error: DatabaseError, name: &str) -> ServiceError {
    ServiceError::taken(error, ErrorReason::DeviceExists, || format!("a device is named {name:?} already"))
}
