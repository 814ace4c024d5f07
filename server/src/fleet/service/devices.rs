use cavs_types::{DeviceId, ErrorReason, SiteId, UserId};
use tracing::info;

use crate::{
    db::{Database, DatabaseError},
    error::ServiceError,
    fleet::{Device, DeviceChange, DeviceKey, DevicePosition, DeviceStore, NewDevice, SettingsChange},
    page::{Page, PageRequest},
};

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

    /// Renames a device, or moves it to another room.
    ///
    /// # Errors
    /// `DEVICE_NOT_FOUND`, `DEVICE_EXISTS`.
    pub async fn update_device(
        &self,
        site: SiteId,
        id: DeviceId,
        change: &DeviceChange,
        by: UserId,
    ) -> Result<Device, ServiceError> {
        let device = self.device(site, &DeviceKey::Id(id)).await?;
        let name = change.name.as_deref().unwrap_or(&device.name);
        self.store.update_device(site, id, change).await.map_err(|error| name_taken(error, name))?;
        info!(device = %id, %by, "changed a device");
        self.device(site, &DeviceKey::Id(id)).await
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
