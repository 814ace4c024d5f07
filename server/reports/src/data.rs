//! What reports say, as whoever computes them has it.

use cavs_types::{Mark, SessionState};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::{Rate, Tally};

/// What every report begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// The site's name.
    pub school: String,
    /// What the site's clocks show.
    pub zone: TimeZone,
    /// The zone's IANA name.
    pub zone_name: String,
    /// When it was computed.
    pub made_at: Timestamp,
}

/// Somebody on a roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// UUID.
    pub id: String,
    /// The site's number; a pseudonym of who was erased.
    pub number: String,
    /// Empty of who was erased.
    pub name: String,
    /// May be empty.
    pub section: String,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// UUID.
    pub id: String,
    /// Of which group.
    pub group: String,
    /// May be empty.
    pub name: String,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it is over.
    pub ends_at: Timestamp,
    /// How far it is.
    pub state: SessionState,
}

/// What a session says of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetRow {
    /// Who.
    pub person: Person,
    /// What it says.
    pub mark: Mark,
    /// Whether a person has said so.
    pub said: bool,
    /// When they were first seen.
    pub first_seen_at: Option<Timestamp>,
    /// When they were last seen.
    pub last_seen_at: Option<Timestamp>,
    /// Whole minutes of the session.
    pub minutes_present: u32,
    /// Whole minutes after the start.
    pub minutes_late: u32,
    /// Whole minutes before the end.
    pub minutes_left_early: u32,
}

/// Somebody who was recognised and is not on the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visitor {
    /// Who.
    pub person: Person,
    /// When they were first seen.
    pub first_seen_at: Option<Timestamp>,
    /// When they were last seen.
    pub last_seen_at: Option<Timestamp>,
}

/// The sheet of a session.
#[derive(Debug, Clone, PartialEq)]
pub struct SheetReport {
    /// Of which school, when.
    pub head: Head,
    /// Which session.
    pub session: Session,
    /// Where, by name.
    pub rooms: Vec<String>,
    /// By number.
    pub rows: Vec<SheetRow>,
    /// By first time.
    pub visitors: Vec<Visitor>,
    /// Why nobody is absent for not having been seen, in words; empty where they are.
    pub unproven: Vec<String>,
}

/// A person's week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeekRow {
    /// Who.
    pub person: Person,
    /// For each session of the week, in their order: what it says, and whether a person has said so. `None`: they were
    /// not on its roster, or it has not begun.
    pub marks: Vec<Option<(Mark, bool)>>,
    /// Of the sessions that are over.
    pub tally: Tally,
}

/// The week of a group or a section.
#[derive(Debug, Clone, PartialEq)]
pub struct WeekReport {
    /// Of which school, when.
    pub head: Head,
    /// The group's or section's name.
    pub of: String,
    /// Monday.
    pub first_day: Date,
    /// Sunday.
    pub last_day: Date,
    /// By their start.
    pub sessions: Vec<Session>,
    /// By number.
    pub rows: Vec<WeekRow>,
}

/// A session of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PersonRow {
    /// Which session.
    pub session: Session,
    /// What it says.
    pub mark: Mark,
    /// Whether a person has said so.
    pub said: bool,
    /// Whole minutes of the session.
    pub minutes_present: u32,
    /// Whole minutes after the start.
    pub minutes_late: u32,
    /// Whole minutes before the end.
    pub minutes_left_early: u32,
}

/// A person's sessions from a day to a day.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonReport {
    /// Of which school, when.
    pub head: Head,
    /// Who.
    pub person: Person,
    /// Name of the term; empty where it was not asked for by one.
    pub term: String,
    /// The first day.
    pub first_day: Date,
    /// The last day.
    pub last_day: Date,
    /// By their start.
    pub rows: Vec<PersonRow>,
    /// Of the sessions that are over.
    pub tally: Tally,
}

/// Somebody who was there too seldom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningRow {
    /// Who.
    pub person: Person,
    /// Of the sessions that count.
    pub tally: Tally,
}

/// Who was there too seldom from a day to a day.
#[derive(Debug, Clone, PartialEq)]
pub struct WarningReport {
    /// Of which school, when.
    pub head: Head,
    /// The group's or section's name; empty: of the whole site.
    pub of: String,
    /// Name of the term; empty where it was not asked for by one.
    pub term: String,
    /// The first day.
    pub first_day: Date,
    /// The last day.
    pub last_day: Date,
    /// The share below which somebody is on the list.
    pub below: Rate,
    /// Only sessions whose marks are final count.
    pub final_only: bool,
    /// The lowest share first.
    pub rows: Vec<WarningRow>,
}

/// How a room was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomRow {
    /// UUID.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Sessions that are over.
    pub sessions: u32,
    /// Minutes that they took; two at once count twice.
    pub minutes: u64,
    /// All marks of these sessions.
    pub tally: Tally,
}

/// How rooms were used from a day to a day.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomReport {
    /// Of which school, when.
    pub head: Head,
    /// Name of the term; empty where it was not asked for by one.
    pub term: String,
    /// The first day.
    pub first_day: Date,
    /// The last day.
    pub last_day: Date,
    /// By name.
    pub rows: Vec<RoomRow>,
}
