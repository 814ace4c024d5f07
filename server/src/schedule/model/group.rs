use cavs_types::{GroupId, TermId};
use jiff::{Timestamp, civil::Date};

use super::{ScheduleRef, ScheduleVersion};
use crate::{page::ListName, people::StudentRef};

/// Those who are expected together: a class, a course, a team, a shift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Made by the server.
    pub id: GroupId,
    /// Unique among the groups of the site that are not archived.
    pub name: String,
    /// Of which term it is.
    pub term: Option<ScheduleRef<TermId>>,
    /// What another system calls it; may be empty.
    pub external_id: String,
    /// Who are members on the day that was asked for.
    pub member_count: u64,
    /// Since when it is in no list.
    pub archived_at: Option<Timestamp>,
    /// One more with each change.
    pub version: ScheduleVersion,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

/// A group to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// Unique among the groups of the site that are not archived.
    pub name: String,
    /// Of which term it is.
    pub term: Option<TermId>,
    /// What another system calls it; may be empty.
    pub external_id: String,
}

/// What is changed of a group; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupChange {
    /// Unique among the groups of the site that are not archived.
    pub name: Option<String>,
    /// Of which term it is, if of any.
    pub term: Option<Option<TermId>>,
    /// What another system calls it; may be empty.
    pub external_id: Option<String>,
}

impl GroupChange {
    /// The group as it is to be.
    #[must_use]
    pub fn of(&self, group: &Group) -> NewGroup {
        NewGroup {
            name: self.name.clone().unwrap_or_else(|| group.name.clone()),
            term: self.term.unwrap_or_else(|| group.term.as_ref().map(|term| term.id)),
            external_id: self.external_id.clone().unwrap_or_else(|| group.external_id.clone()),
        }
    }
}

/// Which groups.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupFilter {
    /// Of this term.
    pub term: Option<TermId>,
    /// Archived ones, and not the others.
    pub archived: bool,
}

impl GroupFilter {
    /// The list that page tokens are of.
    #[must_use]
    pub fn list_name(&self) -> ListName {
        ListName::new("groups")
            .with("term", self.term.map(|term| term.to_string()).as_deref())
            .with("archived", self.archived.then_some("yes"))
    }
}

/// Somebody of a roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMember {
    /// Who.
    pub student: StudentRef,
    /// The first day.
    pub starts_on: Date,
    /// The last day; `None` until further notice.
    pub ends_on: Option<Date>,
}

/// A group of somebody's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Which.
    pub group: ScheduleRef<GroupId>,
    /// The first day.
    pub starts_on: Date,
    /// The last day; `None` until further notice.
    pub ends_on: Option<Date>,
}
