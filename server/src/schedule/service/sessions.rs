use std::sync::Arc;

use cavs_types::{
    ClassSessionId, ErrorReason, GroupId, ProtocolError, RoomId, SessionSource, SessionState, SiteId, UserId,
};
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use tracing::info;

use super::{ATTEMPTS, changed, in_use, is_outdated, none_of};
use crate::{
    db::{Database, DatabaseError},
    error::{ServiceError, blocking},
    page::{Page, PageRequest},
    people::ImportOutcome,
    schedule::{
        ClassSession, Days, Group, HolidayDays, ListPosition, NewClassSession, ScheduleKey, ScheduleRef,
        ScheduleStore, ScheduleVersion, SessionChange, SessionFile, SessionFilter, SessionImportOptions,
        SessionPlan, SessionTimes, Term, WeeklyPattern, check_transition,
    },
};

/// Class sessions: when a group is expected where.
#[derive(Clone)]
pub struct Sessions {
    store: ScheduleStore,
}

/// What a weekly pattern has made, or would make.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MadeFromPattern {
    /// In the order of their starts.
    pub sessions: Vec<ClassSession>,
    /// Were there before.
    pub existing: u64,
    /// Days of the pattern that are holidays.
    pub holidays: u64,
}

impl Sessions {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { store: ScheduleStore::new(db) }
    }

    /// What the clocks of a site show.
    ///
    /// # Errors
    /// `Database`.
    pub async fn time_zone(&self, site: SiteId) -> Result<TimeZone, ServiceError> {
        Ok(self.store.time_zone(site).await?)
    }

    /// When the clocks of a site show a time.
    ///
    /// # Errors
    /// `Protocol`: the calendar has no such time.
    pub async fn moment(
        &self,
        site: SiteId,
        field: &'static str,
        local: DateTime,
    ) -> Result<Timestamp, ServiceError> {
        let zoned = local.to_zoned(self.time_zone(site).await?);
        Ok(zoned.map_err(|error| ProtocolError::invalid(field, error))?.timestamp())
    }

    /// From when until when it is a day by the clocks of a site.
    ///
    /// # Errors
    /// `Protocol`: the calendar has no such day.
    pub async fn day(&self, site: SiteId, day: Date) -> Result<(Timestamp, Timestamp), ServiceError> {
        let zone = self.time_zone(site).await?;
        let invalid = |error| ProtocolError::invalid("date", error);
        let begins =
            |day: Date| Ok::<_, ProtocolError>(day.to_zoned(zone.clone()).map_err(invalid)?.timestamp());
        Ok((begins(day)?, begins(day.tomorrow().map_err(invalid)?)?))
    }

    /// Adds a session.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`, `ROOM_NOT_FOUND`.
    pub async fn create(
        &self,
        site: SiteId,
        group: GroupId,
        name: String,
        times: SessionTimes,
        rooms: Vec<RoomId>,
    ) -> Result<ClassSession, ServiceError> {
        self.group(site, group).await?;
        self.check_rooms(site, &rooms).await?;
        let new = planned(group, &name, times, &rooms, SessionSource::Manual);
        self.store.create_sessions(site, std::slice::from_ref(&new)).await?;
        info!(session = %new.id, "added a session");
        self.get(site, new.id).await
    }

    /// Adds the sessions of a weekly pattern that are not there: of days of its term, where it says none.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`, `ROOM_NOT_FOUND`, `Protocol`.
    pub async fn create_by_pattern(
        &self,
        site: SiteId,
        pattern: &WeeklyPattern,
        on_holidays: bool,
        dry_run: bool,
    ) -> Result<MadeFromPattern, ServiceError> {
        let WeeklyPattern { group, name, rooms, dates } = pattern;
        let group = self.group(site, *group).await?;
        let rooms_by_id = self.check_rooms(site, rooms).await?;
        let holidays = match on_holidays {
            true => Vec::new(),
            false => self.store.holidays_within(site, dates.days).await?,
        };
        let (times, holidays) = dates.times(&self.time_zone(site).await?, &HolidayDays::new(holidays))?;
        let new: Vec<_> = times
            .iter()
            .map(|times| planned(group.id, name, *times, rooms, SessionSource::Pattern))
            .collect();
        let wanted = new.len();
        let made = self.store.create_missing_sessions(site, group.id, new, dry_run).await?;
        if !dry_run {
            info!(group = %group.id, sessions = made.len(), "added sessions by a weekly pattern");
        }
        let existing = (wanted - made.len()) as u64;
        let now = Timestamp::now();
        let session = |new: NewClassSession| ClassSession {
            id: new.id,
            group: ScheduleRef { id: group.id, name: group.name.clone() },
            name: new.name,
            times: new.times,
            state: SessionState::Planned,
            source: new.source,
            external_id: new.external_id,
            calendar: None,
            rooms: rooms_by_id.clone(),
            version: ScheduleVersion(1),
            created_at: now,
            updated_at: now,
        };
        Ok(MadeFromPattern { sessions: made.into_iter().map(session).collect(), existing, holidays })
    }

    /// The days of a pattern: those that are given, else those of the group's term.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`. `Protocol`: a day is neither given nor known.
    pub async fn pattern_days(
        &self,
        site: SiteId,
        group: GroupId,
        first: Option<Date>,
        last: Option<Date>,
    ) -> Result<Days, ServiceError> {
        let found = self.group(site, group).await?;
        let term: Option<Term> = match found.term {
            Some(term) => self.store.term(site, &ScheduleKey::Id(term.id)).await?,
            None => None,
        };
        let days = term.map(|term| term.days);
        let first = first.or(days.map(Days::first)).ok_or(ProtocolError::Missing { field: "start_date" })?;
        let last = last.or(days.map(Days::last)).ok_or(ProtocolError::Missing { field: "end_date" })?;
        Ok(Days::new(first, last)?)
    }

    /// Adds and changes sessions as a file says; whether anything was done.
    ///
    /// # Errors
    /// `IMPORT_INVALID`: it can't be read at all. `GROUP_NOT_FOUND`: of the options. `SCHEDULE_CHANGED`: somebody has
    /// changed a session, a group or a room meanwhile.
    pub async fn import(
        &self,
        site: SiteId,
        data: Vec<u8>,
        options: SessionImportOptions,
        by: UserId,
    ) -> Result<(SessionPlan, bool), ServiceError> {
        for group in options.group.iter().chain(options.mappings.values()) {
            self.group(site, *group).await?;
        }
        let known = Arc::new(self.store.known_schedule(site).await?);
        let options = Arc::new(options);
        let (for_file, read) = (Arc::clone(&known), Arc::clone(&options));
        let file = blocking(move || SessionFile::read(&data, &read, &for_file))
            .await?
            .map_err(|problem| ServiceError::refused(ErrorReason::ImportInvalid, problem.to_string()))?;
        let about = file.clone();
        let plan = |there, calendar| {
            let plan = SessionPlan::new(about, there, calendar, &known, &options);
            let is_wanted = plan.is_wanted(&options);
            (plan, is_wanted)
        };
        let imported = self.store.import_sessions(site, options.calendar.as_deref(), &file, plan).await;
        let (plan, outcome) = match imported {
            Err(DatabaseError::NotFound | DatabaseError::Taken(_)) => return Err(changed("schedule")),
            imported => imported?,
        };
        match outcome {
            ImportOutcome::NotWanted => return Ok((plan, false)),
            ImportOutcome::Overtaken => return Err(changed("schedule")),
            ImportOutcome::Done => {}
        }
        let (created, updated, cancelled) = (plan.create.len(), plan.update.len(), plan.cancel.len());
        info!(%by, created, updated, cancelled, "imported sessions");
        Ok((plan, true))
    }

    /// One session.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`.
    pub async fn get(&self, site: SiteId, id: ClassSessionId) -> Result<ClassSession, ServiceError> {
        self.store.session(site, id).await?.ok_or_else(|| no_session(id))
    }

    /// Sessions by start.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        filter: &SessionFilter,
        page: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<ClassSession>, ServiceError> {
        Ok(self.store.sessions(site, filter, page).await?)
    }

    /// Changes a session; with a version, only that one.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`, `GROUP_NOT_FOUND`, `ROOM_NOT_FOUND`, `SCHEDULE_CHANGED`, `Protocol`.
    /// `CLASS_SESSION_STATE`: it is finalised.
    pub async fn update(
        &self,
        site: SiteId,
        id: ClassSessionId,
        seen: Option<ScheduleVersion>,
        change: &SessionChange,
    ) -> Result<ClassSession, ServiceError> {
        if let Some(group) = change.group {
            self.group(site, group).await?;
        }
        self.check_rooms(site, change.rooms.as_deref().unwrap_or_default()).await?;
        for _ in 0..ATTEMPTS {
            let found = self.get(site, id).await?;
            if is_outdated(seen, found.version) {
                break;
            }
            if found.state == SessionState::Finalised && !change.is_name_only() {
                let message = "the attendance of the session is final: its group, times and rooms stay";
                return Err(ServiceError::refused(ErrorReason::ClassSessionState, message));
            }
            let to = NewClassSession {
                id,
                group: change.group.unwrap_or(found.group.id),
                name: change.name.clone().unwrap_or(found.name),
                times: change.times(found.times)?,
                rooms: change.rooms.clone().unwrap_or_default(),
                source: found.source,
                external_id: found.external_id,
                calendar: found.calendar,
            };
            if self.store.update_session(site, found.version, &to, change.rooms.is_some()).await? {
                info!(session = %id, "changed a session");
                return self.get(site, id).await;
            }
        }
        Err(changed("session"))
    }

    /// Has a session not take place, or take place after all.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`, `SCHEDULE_CHANGED`. `CLASS_SESSION_STATE`: it is finalised, or so already.
    pub async fn set_cancelled(
        &self,
        site: SiteId,
        id: ClassSessionId,
        seen: Option<ScheduleVersion>,
        cancelled: bool,
    ) -> Result<ClassSession, ServiceError> {
        let to = if cancelled { SessionState::Cancelled } else { SessionState::Planned };
        for _ in 0..ATTEMPTS {
            let found = self.get(site, id).await?;
            if is_outdated(seen, found.version) {
                break;
            }
            let from = found.state;
            // Only what was cancelled is reinstated, whatever else may become planned.
            let allowed =
                check_transition(from, to).is_ok() && (cancelled || from == SessionState::Cancelled);
            if !allowed {
                let message = format!("the session is {from}");
                return Err(ServiceError::refused(ErrorReason::ClassSessionState, message));
            }
            if self.store.set_state(site, id, (from, to), Some(found.version)).await? {
                info!(session = %id, %to, "changed the state of a session");
                return self.get(site, id).await;
            }
        }
        Err(changed("session"))
    }

    /// Deletes a session that has not begun, or was cancelled.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`. `CLASS_SESSION_STATE`: it has begun. `IN_USE`: something depends on it.
    pub async fn delete(&self, site: SiteId, id: ClassSessionId) -> Result<(), ServiceError> {
        let found = self.get(site, id).await?;
        let deleted = self.store.delete_session(site, id).await;
        if !deleted.map_err(|error| in_use(error, "marks are of the session; it can be cancelled"))? {
            let message = format!("the session is {}: it can be cancelled", found.state);
            return Err(ServiceError::refused(ErrorReason::ClassSessionState, message));
        }
        info!(session = %id, "deleted a session");
        Ok(())
    }

    async fn group(&self, site: SiteId, id: GroupId) -> Result<Group, ServiceError> {
        let key = ScheduleKey::Id(id);
        // How many members it has today is of no interest here.
        let found = self.store.group(site, &key, Date::constant(1970, 1, 1)).await?;
        found.ok_or_else(|| none_of(ErrorReason::GroupNotFound, "group", &key))
    }

    /// The rooms of some ids, by name; each has to be there.
    async fn check_rooms(
        &self,
        site: SiteId,
        rooms: &[RoomId],
    ) -> Result<Vec<ScheduleRef<RoomId>>, ServiceError> {
        let found = self.store.rooms_by_id(site, rooms).await?;
        match rooms.iter().find(|id| found.iter().all(|room| room.id != **id)) {
            Some(missing) => Err(none_of(ErrorReason::RoomNotFound, "room", &ScheduleKey::Id(*missing))),
            None => Ok(found),
        }
    }
}

/// A session that is new.
fn planned(
    group: GroupId,
    name: &str,
    times: SessionTimes,
    rooms: &[RoomId],
    source: SessionSource,
) -> NewClassSession {
    NewClassSession {
        id: ClassSessionId::generate(),
        group,
        name: name.to_owned(),
        times,
        rooms: rooms.to_vec(),
        source,
        external_id: String::new(),
        calendar: None,
    }
}

fn no_session(id: ClassSessionId) -> ServiceError {
    none_of(ErrorReason::ClassSessionNotFound, "session", &ScheduleKey::Id(id))
}
