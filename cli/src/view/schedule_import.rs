//! What files of rosters and sessions change.

use cavs_proto::v1;
use serde::Serialize;

use super::{
    ImportProblemView,
    student::{problem_parts, would},
};
use crate::printer::{Report, Style};

/// What a file of sessions changes, or would change.
#[derive(Debug, Serialize)]
pub struct SessionImportView {
    /// Whether anything was changed.
    pub applied: bool,
    /// Whether that was only tried.
    pub dry_run: bool,
    /// Sessions that were added.
    pub created: u64,
    /// Sessions that were changed.
    pub updated: u64,
    /// Sessions that the calendar's file has no more, and that have not begun.
    pub cancelled: u64,
    /// Sessions that were so before.
    pub unchanged: u64,
    /// Sessions that differ from the file, but have begun, or were cancelled by a person.
    pub kept: u64,
    /// Events of a calendar that are no sessions.
    pub skipped: u64,
    /// The first problems.
    pub problems: Vec<ImportProblemView>,
    /// How many there are.
    pub problem_count: u64,
    /// Columns that mean nothing.
    pub ignored_columns: Vec<String>,
}

/// What a file of rosters changes, or would change.
#[derive(Debug, Serialize)]
pub struct RosterImportView {
    /// Whether anything was changed.
    pub applied: bool,
    /// Whether that was only tried.
    pub dry_run: bool,
    /// Terms that were added.
    pub terms_created: u64,
    /// Terms that were changed.
    pub terms_updated: u64,
    /// Groups that were added.
    pub groups_created: u64,
    /// Groups that were changed.
    pub groups_updated: u64,
    /// Memberships that were added.
    pub members_added: u64,
    /// Memberships that have other days.
    pub members_changed: u64,
    /// Memberships that were ended.
    pub members_ended: u64,
    /// Memberships that were so before.
    pub unchanged: u64,
    /// The first problems.
    pub problems: Vec<ImportProblemView>,
    /// How many there are.
    pub problem_count: u64,
    /// Columns that mean nothing.
    pub ignored_columns: Vec<String>,
}

impl SessionImportView {
    /// The server's answer on an import that was meant so.
    #[must_use]
    pub fn new(done: v1::ImportClassSessionsResponse, dry_run: bool) -> Self {
        Self {
            applied: done.applied,
            dry_run,
            created: done.created,
            updated: done.updated,
            cancelled: done.cancelled,
            unchanged: done.unchanged,
            kept: done.kept,
            skipped: done.skipped,
            problems: done.problems.into_iter().map(Into::into).collect(),
            problem_count: done.problem_count,
            ignored_columns: done.ignored_columns,
        }
    }
}

impl RosterImportView {
    /// The server's answer on an import that was meant so.
    #[must_use]
    pub fn new(done: v1::ImportRostersResponse, dry_run: bool) -> Self {
        Self {
            applied: done.applied,
            dry_run,
            terms_created: done.terms_created,
            terms_updated: done.terms_updated,
            groups_created: done.groups_created,
            groups_updated: done.groups_updated,
            members_added: done.members_added,
            members_changed: done.members_changed,
            members_ended: done.members_ended,
            unchanged: done.unchanged,
            problems: done.problems.into_iter().map(Into::into).collect(),
            problem_count: done.problem_count,
            ignored_columns: done.ignored_columns,
        }
    }
}

/// What is not nothing, in one line.
fn counted(counts: &[(u64, &str)]) -> String {
    let said = counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}"));
    let said = said.collect::<Vec<_>>().join(", ");
    if said.is_empty() { "no changes".to_owned() } else { said }
}

impl Report for SessionImportView {
    fn table(&self, style: &Style) -> String {
        let mut parts = problem_parts(style, &self.problems, self.problem_count, &self.ignored_columns);
        let counts = counted(&[
            (self.created, "sessions added"),
            (self.updated, "changed"),
            (self.cancelled, "cancelled"),
            (self.unchanged, "as before"),
            (self.kept, "kept, as they have begun or a person has cancelled them"),
            (self.skipped, "events left out"),
        ]);
        parts.push(format!("{}{counts}", would(self.applied, self.dry_run)));
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }
}

impl Report for RosterImportView {
    fn table(&self, style: &Style) -> String {
        let mut parts = problem_parts(style, &self.problems, self.problem_count, &self.ignored_columns);
        let counts = counted(&[
            (self.terms_created, "terms added"),
            (self.terms_updated, "terms changed"),
            (self.groups_created, "groups added"),
            (self.groups_updated, "groups changed"),
            (self.members_added, "members added"),
            (self.members_changed, "members changed"),
            (self.members_ended, "memberships ended"),
            (self.unchanged, "as before"),
        ]);
        parts.push(format!("{}{counts}", would(self.applied, self.dry_run)));
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }
}
