use cavs_types::{ErrorReason, ExcuseId, SiteId, StudentId, UserId};
use jiff::Timestamp;
use tracing::info;

use crate::{
    attendance::{AttendanceStore, ExcusedTime, NewExcuse},
    db::DatabaseError,
    error::ServiceError,
    page::{Page, PageRequest},
    schedule::ListPosition,
};

/// Times in which people need not be there.
#[derive(Clone)]
pub struct Excuses {
    store: AttendanceStore,
}

impl Excuses {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(store: &AttendanceStore) -> Self {
        Self { store: store.clone() }
    }

    /// Records an excuse: marks follow within seconds.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`: there is none, or they were erased.
    pub async fn create(
        &self,
        site: SiteId,
        new: &NewExcuse,
        by: UserId,
    ) -> Result<ExcusedTime, ServiceError> {
        let excuse = match self.store.create_excuse(site, new, by).await {
            Err(DatabaseError::NotFound) => {
                let message = format!("there is no student {}", new.student);
                return Err(ServiceError::refused(ErrorReason::StudentNotFound, message));
            }
            recorded => recorded?,
        };
        info!(excuse = %excuse.id, %by, "excused somebody");
        Ok(excuse)
    }

    /// Excuses of the site or of somebody, or those that hold at a time; the latest to begin first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        student: Option<StudentId>,
        at: Option<Timestamp>,
        page: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<ExcusedTime>, ServiceError> {
        Ok(self.store.excuses(site, student, at, page).await?)
    }

    /// Takes an excuse back: marks follow within seconds.
    ///
    /// # Errors
    /// `EXCUSE_NOT_FOUND`: there is none, or it was taken back.
    pub async fn withdraw(
        &self,
        site: SiteId,
        id: ExcuseId,
        by: UserId,
    ) -> Result<ExcusedTime, ServiceError> {
        let none = || {
            let message = format!("there is no excuse {id} that was not taken back");
            ServiceError::refused(ErrorReason::ExcuseNotFound, message)
        };
        if !self.store.withdraw_excuse(site, id, by).await? {
            return Err(none());
        }
        info!(excuse = %id, %by, "took an excuse back");
        self.store.excuse(site, id).await?.ok_or_else(none)
    }
}
