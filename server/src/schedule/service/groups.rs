use std::sync::Arc;

use cavs_types::{ErrorReason, GroupId, SiteId, StudentId, UserId};
use jiff::{Timestamp, ToSpan, civil::Date};
use tracing::info;

use super::{ATTEMPTS, changed, in_use, is_outdated, none_of};
use crate::{
    db::{Database, DatabaseError},
    error::{ServiceError, blocking},
    page::{Page, PageRequest},
    people::{ImportOutcome, StudentKey, Students},
    schedule::{
        Group, GroupChange, GroupFilter, GroupMember, ListPosition, MemberEnd, Membership, NewGroup,
        RosterFile, RosterImportOptions, RosterPlan, ScheduleKey, ScheduleStore, ScheduleVersion,
    },
};

/// Groups and their rosters.
#[derive(Clone)]
pub struct Groups {
    store: ScheduleStore,
    students: Students,
}

impl Groups {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, students: &Students) -> Self {
        Self { store: ScheduleStore::new(db), students: students.clone() }
    }

    /// Which day it is by the clocks of a site.
    ///
    /// # Errors
    /// `Database`.
    pub async fn today(&self, site: SiteId) -> Result<Date, ServiceError> {
        Ok(Timestamp::now().to_zoned(self.store.time_zone(site).await?).date())
    }

    /// Adds a group.
    ///
    /// # Errors
    /// `GROUP_EXISTS`, `TERM_NOT_FOUND`.
    pub async fn create(&self, site: SiteId, new: &NewGroup) -> Result<Group, ServiceError> {
        let id = self.store.create_group(site, new).await.map_err(|error| refused(error, new))?;
        info!(group = %id, "added a group");
        self.get(site, &ScheduleKey::Id(id)).await
    }

    /// One group; by name only one that is not archived.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`.
    pub async fn get(&self, site: SiteId, key: &ScheduleKey<GroupId>) -> Result<Group, ServiceError> {
        let found = self.store.group(site, key, self.today(site).await?).await?;
        found.ok_or_else(|| none_of(ErrorReason::GroupNotFound, "group", key))
    }

    /// Groups by name.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        filter: &GroupFilter,
        page: &PageRequest<ListPosition<String>>,
    ) -> Result<Page<Group>, ServiceError> {
        Ok(self.store.groups(site, filter, self.today(site).await?, page).await?)
    }

    /// Changes a group; with a version, only that one.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`, `SCHEDULE_CHANGED`, `GROUP_EXISTS`, `TERM_NOT_FOUND`.
    pub async fn update(
        &self,
        site: SiteId,
        id: GroupId,
        seen: Option<ScheduleVersion>,
        change: &GroupChange,
    ) -> Result<Group, ServiceError> {
        let key = ScheduleKey::Id(id);
        for _ in 0..ATTEMPTS {
            let found = self.get(site, &key).await?;
            if is_outdated(seen, found.version) {
                break;
            }
            let new = change.of(&found);
            let done = self.store.update_group(site, id, found.version, &new).await;
            if done.map_err(|error| refused(error, &new))? {
                info!(group = %id, "changed a group");
                return self.get(site, &key).await;
            }
        }
        Err(changed("group"))
    }

    /// Has a group be in no list; archiving again changes nothing.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`.
    pub async fn archive(&self, site: SiteId, id: GroupId) -> Result<Group, ServiceError> {
        let key = ScheduleKey::Id(id);
        if !self.store.archive_group(site, id).await? {
            return Err(none_of(ErrorReason::GroupNotFound, "group", &key));
        }
        info!(group = %id, "archived a group");
        self.get(site, &key).await
    }

    /// Deletes a group with its roster.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`. `IN_USE`: it has sessions.
    pub async fn delete(&self, site: SiteId, id: GroupId) -> Result<(), ServiceError> {
        let deleted = self.store.delete_group(site, id).await;
        if !deleted.map_err(|error| in_use(error, "the group has sessions; it can be archived"))? {
            return Err(none_of(ErrorReason::GroupNotFound, "group", &ScheduleKey::Id(id)));
        }
        info!(group = %id, "deleted a group");
        Ok(())
    }

    /// Adds a member from a day on, until another one or until further notice.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`, `STUDENT_NOT_FOUND`, `STUDENT_ERASED`. `MEMBER_EXISTS`: on one of these days.
    pub async fn add_member(
        &self,
        site: SiteId,
        group: GroupId,
        student: StudentId,
        (starts_on, ends_on): (Date, Option<Date>),
    ) -> Result<GroupMember, ServiceError> {
        self.get(site, &ScheduleKey::Id(group)).await?;
        let found = self.students.get(site, &StudentKey::Id(student)).await?;
        if found.erased_at.is_some() {
            return Err(DatabaseError::Erased.into());
        }
        let added = self.store.add_member(site, group, student, (starts_on, ends_on)).await;
        added.map_err(|error| {
            ServiceError::taken(error, ErrorReason::MemberExists, || {
                "the student is a member of the group on some of these days".to_owned()
            })
        })?;
        info!(%group, %student, "added a member to a group");
        Ok(GroupMember { student: found.state.into(), starts_on, ends_on })
    }

    /// Ends somebody's membership after a day (`None`: yesterday), or has it never been.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`, `STUDENT_NOT_FOUND`. `MEMBER_NOT_FOUND`: there is nothing to be ended.
    pub async fn remove_member(
        &self,
        site: SiteId,
        group: GroupId,
        student: StudentId,
        end: Option<MemberEnd>,
    ) -> Result<(), ServiceError> {
        self.get(site, &ScheduleKey::Id(group)).await?;
        self.students.get(site, &StudentKey::Id(student)).await?;
        let end = match end {
            Some(end) => end,
            None => MemberEnd::After(self.today(site).await?.saturating_sub(1.day())),
        };
        if self.store.end_member(site, group, student, end).await? == 0 {
            let message = "the student is no member of the group then";
            return Err(ServiceError::refused(ErrorReason::MemberNotFound, message));
        }
        info!(%group, %student, "ended a membership of a group");
        Ok(())
    }

    /// Members of a group by number: on a day, or of all days.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`.
    pub async fn members(
        &self,
        site: SiteId,
        group: GroupId,
        on: Option<Date>,
        page: &PageRequest<ListPosition<String>>,
    ) -> Result<Page<GroupMember>, ServiceError> {
        self.get(site, &ScheduleKey::Id(group)).await?;
        Ok(self.store.members(site, group, on, page).await?)
    }

    /// Adds and changes terms, groups and rosters as a file says; whether anything was done.
    ///
    /// # Errors
    /// `IMPORT_INVALID`: it can't be read at all. `SCHEDULE_CHANGED`: somebody has changed a term, a group, a roster or
    /// a student meanwhile.
    pub async fn import(
        &self,
        site: SiteId,
        data: Vec<u8>,
        options: RosterImportOptions,
        by: UserId,
    ) -> Result<(RosterPlan, bool), ServiceError> {
        let today = self.today(site).await?;
        let options = Arc::new(options);
        let read = Arc::clone(&options);
        let file = blocking(move || RosterFile::read(&data, &read))
            .await?
            .map_err(|problem| ServiceError::refused(ErrorReason::ImportInvalid, problem.to_string()))?;
        let plan = |known| {
            let plan = RosterPlan::new(file, &known, &options, today);
            let is_wanted = plan.is_wanted(&options);
            (plan, is_wanted)
        };
        let imported = self.store.import_rosters(site, plan).await;
        let (plan, outcome) = match imported {
            Err(DatabaseError::NotFound | DatabaseError::Taken(_)) => return Err(changed("schedule")),
            imported => imported?,
        };
        match outcome {
            ImportOutcome::NotWanted => return Ok((plan, false)),
            ImportOutcome::Overtaken => return Err(changed("schedule")),
            ImportOutcome::Done => {}
        }
        info!(%by, groups = plan.new_groups.len(), members = plan.members.len(), "imported rosters");
        Ok((plan, true))
    }

    /// The groups of a student: of all days, or those of one.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`.
    pub async fn of_student(
        &self,
        site: SiteId,
        student: StudentId,
        on: Option<Date>,
    ) -> Result<Vec<Membership>, ServiceError> {
        self.students.get(site, &StudentKey::Id(student)).await?;
        Ok(self.store.memberships(site, student, on).await?)
    }
}

fn refused(error: DatabaseError, new: &NewGroup) -> ServiceError {
    if let (DatabaseError::NotFound, Some(term)) = (&error, new.term) {
        return none_of(ErrorReason::TermNotFound, "term", &ScheduleKey::Id(term));
    }
    ServiceError::taken(error, ErrorReason::GroupExists, || match new.external_id.as_str() {
        "" => format!("a group is named {:?} already", new.name),
        external => format!("a group is named {:?} already, or has the external id {external:?}", new.name),
    })
}
