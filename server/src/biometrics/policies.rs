use std::sync::Arc;

use cavs_types::{SiteId, UserId};
use tracing::info;

use crate::{
    biometrics::{BiometricStore, Maintenance, PolicyChange, RetentionReport},
    db::Database,
    error::ServiceError,
};

/// How long sites keep what.
#[derive(Clone)]
pub struct RetentionPolicies {
    store: BiometricStore,
    maintenance: Arc<Maintenance>,
}

impl RetentionPolicies {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, maintenance: &Arc<Maintenance>) -> Self {
        Self { store: BiometricStore::new(db), maintenance: Arc::clone(maintenance) }
    }

    /// What a site has set, what is in force, and what became of it lately.
    ///
    /// # Errors
    /// `Database`.
    pub async fn get(&self, site: SiteId) -> Result<RetentionReport, ServiceError> {
        Ok(self.store.retention(site, self.maintenance.common_policy()).await?)
    }

    /// Changes what a site has set; it is applied soon.
    ///
    /// # Errors
    /// `Database`.
    pub async fn update(
        &self,
        site: SiteId,
        change: &PolicyChange,
        by: UserId,
    ) -> Result<RetentionReport, ServiceError> {
        self.store.set_retention(site, change, by).await?;
        info!(%site, %by, ?change, "changed how long a site keeps faces and sightings");
        self.maintenance.policy_changed();
        self.get(site).await
    }
}
