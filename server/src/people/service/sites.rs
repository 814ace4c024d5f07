use std::sync::Arc;

use cavs_types::{ErrorReason, SiteId, UserId};
use tracing::info;

use crate::{
    db::{Database, DatabaseError},
    error::ServiceError,
    page::{Page, PageRequest},
    people::{SiteKey, SiteRole, SiteStore, User},
    recognition::Galleries,
};

/// Sites that are named with a user; who has more of them lists them.
const NAMED: i64 = 100;

/// Sites: who sees which, and how operators manage them.
#[derive(Clone)]
pub struct Sites {
    store: SiteStore,
    galleries: Arc<Galleries>,
}

impl Sites {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, galleries: &Arc<Galleries>) -> Self {
        Self { store: SiteStore::new(db), galleries: Arc::clone(galleries) }
    }

    /// Adds a site, with an empty gallery.
    ///
    /// # Errors
    /// `SITE_EXISTS`.
    pub async fn create(&self, name: &str, by: UserId) -> Result<SiteRole, ServiceError> {
        let site = self.store.create(name).await.map_err(|error| name_taken(error, name))?;
        info!(site = %site.id, %by, "added a site");
        self.galleries.of(site.id).await?;
        self.get(by, &SiteKey::Id(site.id)).await
    }

    /// A site in which the user has a role.
    ///
    /// # Errors
    /// `SITE_NOT_FOUND`, also where there is one that is not theirs to know.
    pub async fn get(&self, user: UserId, key: &SiteKey) -> Result<SiteRole, ServiceError> {
        self.store.get(user, key).await?.ok_or_else(|| no_site(key))
    }

    /// The sites in which the user has a role, by name.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        user: UserId,
        page: &PageRequest<String>,
    ) -> Result<Page<SiteRole>, ServiceError> {
        Ok(self.store.list(user, page).await?)
    }

    /// The sites in which the user has a role, a hundred at most.
    ///
    /// # Errors
    /// `Database`.
    pub async fn named_with(&self, user: &User) -> Result<Vec<SiteRole>, ServiceError> {
        Ok(self.store.roles(user, NAMED).await?)
    }

    /// Gives a site another name or another time zone.
    ///
    /// # Errors
    /// `SITE_NOT_FOUND`, `SITE_EXISTS`.
    pub async fn update(
        &self,
        id: SiteId,
        name: Option<&str>,
        time_zone: Option<&str>,
        by: UserId,
    ) -> Result<SiteRole, ServiceError> {
        let updated = self.store.update(id, name, time_zone).await;
        let taken = |error| name_taken(error, name.unwrap_or_default());
        updated.map_err(|error| not_found(error, id, taken))?;
        info!(site = %id, %by, "changed a site");
        self.get(by, &SiteKey::Id(id)).await
    }

    /// Has a site be looked at only, for ever: its gallery is closed and its devices are sent away.
    ///
    /// # Errors
    /// `SITE_NOT_FOUND`.
    pub async fn archive(&self, id: SiteId, by: UserId) -> Result<SiteRole, ServiceError> {
        self.store.archive(id).await.map_err(|error| not_found(error, id, ServiceError::from))?;
        self.galleries.close(id).await;
        info!(site = %id, %by, "archived a site");
        self.get(by, &SiteKey::Id(id)).await
    }
}

/// What is said where there is no such site, and where there is one that the caller has no role in.
pub(super) fn no_site(key: &SiteKey) -> ServiceError {
    let message = match key {
        SiteKey::Id(id) => format!("you have no site of the id {id}"),
        SiteKey::Name(name) => format!("you have no site named {name:?}"),
    };
    ServiceError::refused(ErrorReason::SiteNotFound, message)
}

fn not_found(
    error: DatabaseError,
    id: SiteId,
    otherwise: impl FnOnce(DatabaseError) -> ServiceError,
) -> ServiceError {
    if matches!(error, DatabaseError::NotFound) { no_site(&SiteKey::Id(id)) } else { otherwise(error) }
}

fn name_taken(error: DatabaseError, name: &str) -> ServiceError {
    ServiceError::taken(error, ErrorReason::SiteExists, || format!("a site is named {name:?} already"))
}
