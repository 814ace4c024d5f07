use cavs_reports::{Rate, Tally};
use cavs_types::{ClassSessionId, GroupId, Mark, ProtocolError, RoomId, TermId};
use jiff::{Timestamp, ToSpan, civil::Date, civil::Weekday, tz::TimeZone};

use super::{MarkListed, MarkedSession, SessionSheet};
use crate::{people::StudentRef, schedule::Days};

/// Most days of a report.
const LONGEST: i32 = 400;

/// Whose site a report is of, and when it was made.
#[derive(Debug, Clone, PartialEq)]
pub struct ReportHead {
    /// The site's name.
    pub site_name: String,
    /// What the site's clocks show.
    pub zone: TimeZone,
    /// The zone's IANA name.
    pub zone_name: String,
    /// When it was computed.
    pub made_at: Timestamp,
}

/// Which days a report is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportSpan {
    /// Those of a term.
    Term(TermId),
    /// From a day to a day; without the second, to today.
    Days(Date, Option<Date>),
    /// Those of the shortest term that today is in.
    CurrentTerm,
}

/// The days of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportDays {
    /// From one to another.
    pub days: Days,
    /// The name of their term; empty where there is none.
    pub term: String,
}

impl ReportDays {
    /// At most 400 days.
    ///
    /// # Errors
    /// `Invalid`: more.
    pub fn new(days: Days, term: String) -> Result<Self, ProtocolError> {
        if days.first().saturating_add(LONGEST.days()) < days.last() {
            let problem = format!("is more than {LONGEST} days after the first day");
            return Err(ProtocolError::invalid("end_date", problem));
        }
        Ok(Self { days, term })
    }

    /// The week of a day, from Monday to Sunday.
    #[must_use]
    pub fn week_of(day: Date) -> Self {
        let after_monday = i64::from(day.weekday().since(Weekday::Monday));
        let monday = day.saturating_sub(after_monday.days());
        Self { days: Days::ahead(monday, 6), term: String::new() }
    }

    /// When the first day begins by the clocks of a zone, and when the last one is over.
    #[must_use]
    pub fn moments(&self, zone: &TimeZone) -> (Timestamp, Timestamp) {
        let begin = |day: Date| day.to_zoned(zone.clone()).map_or(Timestamp::MAX, |start| start.timestamp());
        (begin(self.days.first()), begin(self.days.last().saturating_add(1.day())))
    }
}

/// Whose week it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WeekOf {
    /// A group's.
    Group(GroupId),
    /// A section's.
    Section(String),
}

/// The sheet of a session, to be printed.
#[derive(Debug, Clone, PartialEq)]
pub struct SheetReport {
    /// Of which site.
    pub head: ReportHead,
    /// All that the session says.
    pub sheet: SessionSheet,
}

/// What a session of a week says of somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeekMark {
    /// Which session.
    pub session: ClassSessionId,
    /// What it says.
    pub mark: Mark,
    /// Whether a person has said so.
    pub is_corrected: bool,
}

/// Somebody's week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeekRow {
    /// Who.
    pub student: StudentRef,
    /// In the order of the sessions.
    pub marks: Vec<WeekMark>,
    /// Of the sessions that are over.
    pub tally: Tally,
}

/// A week of a group or a section.
#[derive(Debug, Clone, PartialEq)]
pub struct WeekReport {
    /// Of which site.
    pub head: ReportHead,
    /// The group's or section's name.
    pub of: String,
    /// Monday to Sunday.
    pub days: ReportDays,
    /// By their start.
    pub sessions: Vec<MarkedSession>,
    /// By number.
    pub rows: Vec<WeekRow>,
}

/// A person's sessions.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonReport {
    /// Of which site.
    pub head: ReportHead,
    /// Who.
    pub student: StudentRef,
    /// May be empty.
    pub section: String,
    /// When.
    pub days: ReportDays,
    /// By the sessions' start.
    pub marks: Vec<MarkListed>,
    /// Of the sessions that are over.
    pub tally: Tally,
}

/// Who is looked for who was there too seldom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningFilter {
    /// Below which share.
    pub below: Rate,
    /// In a group's sessions.
    pub group: Option<GroupId>,
    /// Of a section.
    pub section: Option<String>,
    /// Only sessions whose marks are final count.
    pub final_only: bool,
}

/// Somebody who was there too seldom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WarningRow {
    /// Who.
    pub student: StudentRef,
    /// May be empty.
    pub section: String,
    /// Of the sessions that count.
    pub tally: Tally,
}

/// Those who were there too seldom.
#[derive(Debug, Clone, PartialEq)]
pub struct WarningReport {
    /// Of which site.
    pub head: ReportHead,
    /// When.
    pub days: ReportDays,
    /// The group's name; empty: of all groups.
    pub group: String,
    /// The lowest share first.
    pub rows: Vec<WarningRow>,
}

/// How a room was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomUse {
    /// Which.
    pub id: RoomId,
    /// Its name.
    pub name: String,
    /// Sessions that are over.
    pub sessions: u32,
    /// That they took; two at once count twice.
    pub minutes: u64,
    /// All marks of these sessions.
    pub tally: Tally,
}

/// How rooms were used.
#[derive(Debug, Clone, PartialEq)]
pub struct RoomReport {
    /// Of which site.
    pub head: ReportHead,
    /// When.
    pub days: ReportDays,
    /// By name.
    pub rows: Vec<RoomUse>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn weeks_begin_on_monday() {
        for of in ["2026-11-23", "2026-11-27", "2026-11-29"] {
            let week = ReportDays::week_of(day(of)).days;
            assert_eq!((week.first(), week.last()), (day("2026-11-23"), day("2026-11-29")), "{of}");
        }
    }

    #[test]
    fn days_are_those_of_the_site() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        // The clocks are put back on that Sunday.
        let week = ReportDays::week_of(day("2026-10-25"));
        let (from, until) = week.moments(&berlin);
        assert_eq!(
            (from.to_string(), until.to_string()),
            ("2026-10-18T22:00:00Z".into(), "2026-10-25T23:00:00Z".into())
        );
    }

    #[test]
    fn a_report_is_of_a_year_at_most() {
        let new =
            |last: &str| ReportDays::new(Days::new(day("2026-01-01"), day(last)).unwrap(), String::new());
        assert!(new("2027-02-05").is_ok());
        assert!(new("2027-02-06").is_err());
    }
}
