use cavs_types::{ErrorReason, HolidayId, ProtocolError, SiteId, TermId};
use jiff::civil::Date;
use tracing::info;

use super::{ATTEMPTS, changed, in_use, is_outdated, none_of};
use crate::{
    db::Database,
    error::ServiceError,
    page::{Page, PageRequest},
    schedule::{
        Days, Holiday, ListPosition, NewTerm, ScheduleKey, ScheduleStore, ScheduleVersion, Term, TermChange,
    },
};

/// Longest holiday, in days.
const LONGEST_HOLIDAY: usize = 400;

/// Terms and holidays.
#[derive(Clone)]
pub struct Terms {
    store: ScheduleStore,
}

impl Terms {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { store: ScheduleStore::new(db) }
    }

    /// Adds a term.
    ///
    /// # Errors
    /// `TERM_EXISTS`.
    pub async fn create(&self, site: SiteId, new: &NewTerm) -> Result<Term, ServiceError> {
        let id = self.store.create_term(site, new).await.map_err(|error| taken(error, new))?;
        info!(term = %id, "added a term");
        self.get(site, &ScheduleKey::Id(id)).await
    }

    /// One term.
    ///
    /// # Errors
    /// `TERM_NOT_FOUND`.
    pub async fn get(&self, site: SiteId, key: &ScheduleKey<TermId>) -> Result<Term, ServiceError> {
        let found = self.store.term(site, key).await?;
        found.ok_or_else(|| none_of(ErrorReason::TermNotFound, "term", key))
    }

    /// Terms by their first day; those that a day is in.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        on: Option<Date>,
        page: &PageRequest<ListPosition<Date>>,
    ) -> Result<Page<Term>, ServiceError> {
        Ok(self.store.terms(site, on, page).await?)
    }

    /// Changes a term; with a version, only that one.
    ///
    /// # Errors
    /// `TERM_NOT_FOUND`, `SCHEDULE_CHANGED`, `TERM_EXISTS`, `Protocol`.
    pub async fn update(
        &self,
        site: SiteId,
        id: TermId,
        seen: Option<ScheduleVersion>,
        change: &TermChange,
    ) -> Result<Term, ServiceError> {
        let key = ScheduleKey::Id(id);
        for _ in 0..ATTEMPTS {
            let found = self.get(site, &key).await?;
            if is_outdated(seen, found.version) {
                break;
            }
            let new = change.of(&found)?;
            let done = self.store.update_term(site, id, found.version, &new).await;
            if done.map_err(|error| taken(error, &new))? {
                info!(term = %id, "changed a term");
                return self.get(site, &key).await;
            }
        }
        Err(changed("term"))
    }

    /// Deletes a term.
    ///
    /// # Errors
    /// `TERM_NOT_FOUND`. `IN_USE`: a group is of it.
    pub async fn delete(&self, site: SiteId, id: TermId) -> Result<(), ServiceError> {
        let deleted = self.store.delete_term(site, id).await;
        if !deleted.map_err(|error| in_use(error, "groups are of the term"))? {
            return Err(none_of(ErrorReason::TermNotFound, "term", &ScheduleKey::Id(id)));
        }
        info!(term = %id, "deleted a term");
        Ok(())
    }

    /// Adds a holiday.
    ///
    /// # Errors
    /// `HOLIDAY_EXISTS`. `Protocol`: it is longer than 400 days.
    pub async fn create_holiday(
        &self,
        site: SiteId,
        name: &str,
        days: Days,
    ) -> Result<Holiday, ServiceError> {
        if days.iter().take(LONGEST_HOLIDAY + 1).count() > LONGEST_HOLIDAY {
            let problem = format!("is more than {LONGEST_HOLIDAY} days after the first day");
            return Err(ProtocolError::invalid("end_date", problem).into());
        }
        let created = self.store.create_holiday(site, name, days).await;
        let holiday = created.map_err(|error| {
            ServiceError::taken(error, ErrorReason::HolidayExists, || {
                format!("a holiday {name:?} begins on {} already", days.first())
            })
        })?;
        info!(holiday = %holiday.id, "added a holiday");
        Ok(holiday)
    }

    /// Holidays by their first day.
    ///
    /// # Errors
    /// `Database`.
    pub async fn holidays(
        &self,
        site: SiteId,
        page: &PageRequest<ListPosition<Date>>,
    ) -> Result<Page<Holiday>, ServiceError> {
        Ok(self.store.holidays(site, page).await?)
    }

    /// Deletes a holiday; sessions stay as they are.
    ///
    /// # Errors
    /// `HOLIDAY_NOT_FOUND`.
    pub async fn delete_holiday(&self, site: SiteId, id: HolidayId) -> Result<(), ServiceError> {
        if !self.store.delete_holiday(site, id).await? {
            return Err(none_of(ErrorReason::HolidayNotFound, "holiday", &ScheduleKey::Id(id)));
        }
        info!(holiday = %id, "deleted a holiday");
        Ok(())
    }
}

fn taken(error: crate::db::DatabaseError, new: &NewTerm) -> ServiceError {
    ServiceError::taken(error, ErrorReason::TermExists, || match new.external_id.as_str() {
        "" => format!("a term is named {:?} already", new.name),
        external => format!("a term is named {:?} already, or has the external id {external:?}", new.name),
    })
}
