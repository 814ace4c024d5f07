use cavs_types::{HolidayId, ProtocolError, TermId};
use jiff::{Timestamp, civil::Date};

use super::{Days, ScheduleVersion};

/// A school year, a semester, a quarter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// Made by the server.
    pub id: TermId,
    /// Unique in the site.
    pub name: String,
    /// Its days.
    pub days: Days,
    /// What another system calls it; may be empty.
    pub external_id: String,
    /// One more with each change.
    pub version: ScheduleVersion,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

/// A term to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTerm {
    /// Unique in the site.
    pub name: String,
    /// Its days.
    pub days: Days,
    /// What another system calls it; may be empty.
    pub external_id: String,
}

/// What is changed of a term; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TermChange {
    /// Unique in the site.
    pub name: Option<String>,
    /// The first day.
    pub starts_on: Option<Date>,
    /// The last day.
    pub ends_on: Option<Date>,
    /// What another system calls it; may be empty.
    pub external_id: Option<String>,
}

impl TermChange {
    /// The term as it is to be.
    ///
    /// # Errors
    /// `Invalid`: the last day would be before the first.
    pub fn of(&self, term: &Term) -> Result<NewTerm, ProtocolError> {
        let (first, last) =
            (self.starts_on.unwrap_or(term.days.first()), self.ends_on.unwrap_or(term.days.last()));
        Ok(NewTerm {
            name: self.name.clone().unwrap_or_else(|| term.name.clone()),
            days: Days::new(first, last)?,
            external_id: self.external_id.clone().unwrap_or_else(|| term.external_id.clone()),
        })
    }
}

/// Days without sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holiday {
    /// Made by the server.
    pub id: HolidayId,
    /// As people call it.
    pub name: String,
    /// Which days.
    pub days: Days,
    /// When it was added.
    pub created_at: Timestamp,
}
