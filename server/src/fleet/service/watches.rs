use std::collections::HashMap;

use cavs_types::{DeviceId, SiteId};
use jiff::Timestamp;

use super::streams::refused;
use crate::{
    db::Database,
    error::ServiceError,
    fleet::{DeviceStore, DeviceWatch, WatchReport},
};

/// From when to when devices were watching, and up to when they have delivered what they saw.
#[derive(Clone)]
pub struct DeviceWatches {
    store: DeviceStore,
}

impl DeviceWatches {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { store: DeviceStore::new(db) }
    }

    /// Commits what a device says of its watch.
    ///
    /// # Errors
    /// `DEVICE_UNKNOWN`, `DEVICE_REVOKED`, `SITE_ARCHIVED`, `Database`: nothing is acknowledged then.
    pub async fn record(
        &self,
        site: SiteId,
        device: DeviceId,
        report: &WatchReport,
    ) -> Result<(), ServiceError> {
        let recorded = self.store.record_watch(site, device, report).await?;
        recorded.map_err(|why| refused(device, why))
    }

    /// What is known of the watches of devices of the site in a window of time; those that are not there are left out.
    ///
    /// # Errors
    /// `Database`.
    pub async fn of_devices(
        &self,
        site: SiteId,
        devices: &[DeviceId],
        window: (Timestamp, Timestamp),
    ) -> Result<HashMap<DeviceId, DeviceWatch>, ServiceError> {
        Ok(self.store.watches(site, devices, window).await?)
    }
}
