//! Files of rosters and sessions: how they are read, and what follows from them. No I/O.

mod calendar;
mod occurrences;
mod roster_bundle;
mod roster_plan;
mod rosters;
mod session_plan;
mod session_table;

#[cfg(test)]
mod calendar_tests;
#[cfg(test)]
mod roster_tests;

use std::collections::HashMap;

use cavs_types::{GroupId, ProtocolError, RoomId, RosterFormat, SessionFormat};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

pub use roster_plan::{KnownRosters, RosterPlan};
pub use rosters::RosterFile;
pub use session_plan::{KnownSession, SessionPlan};

use super::{Days, SessionTimes};
use crate::people::{ImportOptions, ImportProblem, Place, Unreadable};

/// How a file of sessions is to be read, and what may follow from it.
#[derive(Debug, Clone)]
pub struct SessionImportOptions {
    /// Of which form it is.
    pub format: SessionFormat,
    /// How the text of a table is read.
    pub text: ImportOptions,
    /// Nothing is changed.
    pub dry_run: bool,
    /// Rooms that the file names and that are not there are made.
    pub create_rooms: bool,
    /// By which the file is known when it is imported again.
    pub calendar: Option<String>,
    /// Of which group events are where nothing else says it.
    pub group: Option<GroupId>,
    /// Of which group events are whose summary, or a category, is a text; in small letters.
    pub mappings: HashMap<String, GroupId>,
    /// Events that are of no group are left out, and no problem.
    pub skip_unknown: bool,
}

/// A group as imports know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownGroup {
    /// Made by the server.
    pub id: GroupId,
    /// Unique among those that are not archived.
    pub name: String,
    /// The days of its term, if it is of one.
    pub term: Option<Days>,
}

/// What there is when a file of sessions is looked at.
#[derive(Debug, Clone)]
pub struct KnownSchedule {
    /// What the clocks of the site show.
    pub zone: TimeZone,
    /// When it is looked at.
    pub now: Timestamp,
    /// Those that are not archived.
    pub groups: Vec<KnownGroup>,
    /// By name.
    pub rooms: HashMap<String, RoomId>,
}

impl KnownSchedule {
    /// The group of a name.
    fn group(&self, name: &str) -> Option<&KnownGroup> {
        self.groups.iter().find(|group| group.name == name)
    }
}

/// A session as a file wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSession {
    /// Where the file says so.
    pub place: Place,
    /// By which it is found again in the next file: of events, the UID and which of its recurrences; of rows, the group
    /// and the start.
    pub key: String,
    /// Who is expected.
    pub group: GroupId,
    /// May be empty.
    pub name: String,
    /// From when until when.
    pub times: SessionTimes,
    /// Names of rooms; `None` where the file says nothing of rooms.
    pub rooms: Option<Vec<String>>,
}

/// What a file of sessions says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFile {
    /// In the order of the file.
    pub wanted: Vec<WantedSession>,
    /// What can't be used.
    pub problems: Vec<ImportProblem>,
    /// Columns that mean nothing here.
    pub ignored_columns: Vec<String>,
    /// Events that are of no group, all day, or out of the days that are looked at.
    pub skipped: u64,
}

impl SessionFile {
    /// Reads a file.
    ///
    /// # Errors
    /// `Unreadable`: it is no file of this format.
    pub fn read(
        data: &[u8],
        options: &SessionImportOptions,
        known: &KnownSchedule,
    ) -> Result<Self, Unreadable> {
        match options.format {
            SessionFormat::Csv => session_table::read(data, options, known),
            SessionFormat::Icalendar => {
                let calendar = calendar::read(data, &known.zone)?;
                Ok(occurrences::wanted(calendar, options, known))
            }
        }
    }
}

/// How a file of rosters is to be read, and what may follow from it.
#[derive(Debug, Clone)]
pub struct RosterImportOptions {
    /// Of which form it is.
    pub format: RosterFormat,
    /// How its text is read.
    pub text: ImportOptions,
    /// Nothing is changed.
    pub dry_run: bool,
    /// Groups that a table names and that are not there are made.
    pub create_groups: bool,
    /// Since when members are so of whom the file does not say; `None`: the first day of the group's term, or today.
    pub start_date: Option<Date>,
    /// Members of the file's groups of whom it says nothing are so no more.
    pub end_missing: bool,
}

impl RosterFile {
    /// Reads a file.
    ///
    /// # Errors
    /// `Unreadable`: it is no file of this format.
    pub fn read(data: &[u8], options: &RosterImportOptions) -> Result<Self, Unreadable> {
        match options.format {
            RosterFormat::Csv => rosters::read_table(data, options),
            RosterFormat::Oneroster => roster_bundle::read(data, options),
        }
    }
}

/// What is wrong with a row, of a field.
fn problem(place: &Place, error: &ProtocolError) -> ImportProblem {
    ImportProblem::of(place, error)
}
