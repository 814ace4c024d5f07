//! Reports as they come over the wire, made into documents.

use cavs_proto::{enum_from_wire, v1};
use cavs_reports::{
    Document, Head, Person, PersonReport, PersonRow, Rate, RoomReport, RoomRow, Session, SheetReport,
    SheetRow, Tally, Visitor, WarningReport, WarningRow, WeekReport, WeekRow,
};
use cavs_types::{Mark, ProtocolError, SessionState};
use jiff::{Timestamp, civil::Date, tz::TimeZone};
use serde::{Serialize, Serializer};

use super::{
    layout::{facts, table_of},
    time,
};
use crate::{
    error::CliError,
    printer::{Report, Style},
    text::sanitised,
};

/// A report.
#[derive(Debug)]
pub struct ReportView(Document);

impl ReportView {
    /// What is written into files.
    #[must_use]
    pub const fn document(&self) -> &Document {
        &self.0
    }

    /// The sheet of a session.
    ///
    /// # Errors
    /// The answer is none.
    pub fn sheet(report: v1::GetSheetReportResponse) -> Result<Self, CliError> {
        let sheet = report.sheet.unwrap_or_default();
        let rows = sheet.marks.into_iter().map(|mark| {
            Ok(SheetRow {
                person: person(mark.student, String::new()),
                mark: mark_of(mark.mark)?,
                said: !mark.correction_id.is_empty(),
                first_seen_at: time(mark.first_seen_time.as_ref()),
                last_seen_at: time(mark.last_seen_time.as_ref()),
                minutes_present: mark.minutes_present,
                minutes_late: mark.minutes_late,
                minutes_left_early: mark.minutes_left_early,
            })
        });
        let visitors = sheet.visitors.into_iter().map(|visitor| Visitor {
            person: person(visitor.student, String::new()),
            first_seen_at: time(visitor.first_seen_time.as_ref()),
            last_seen_at: time(visitor.last_seen_time.as_ref()),
        });
        let report = SheetReport {
            head: head(report.head)?,
            session: session(sheet.session.unwrap_or_default())?,
            rooms: sheet.rooms,
            rows: rows.collect::<Result<_, CliError>>()?,
            visitors: visitors.collect(),
            unproven: sheet.unproven.into_iter().map(|rule| rule.text).collect(),
        };
        Ok(Self(Document::from(&report)))
    }

    /// The week of a group or a section.
    ///
    /// # Errors
    /// The answer is none.
    pub fn week(report: v1::GetWeekReportResponse) -> Result<Self, CliError> {
        let sessions = report.sessions.into_iter().map(session).collect::<Result<Vec<_>, _>>()?;
        let rows = report.rows.into_iter().map(|row| {
            let mut marks = vec![None; sessions.len()];
            for mark in row.marks {
                let place = usize::try_from(mark.session_index).ok().and_then(|place| marks.get_mut(place));
                let place = place.ok_or_else(|| CliError::protocol("a mark is of no session of the week"))?;
                *place = Some((mark_of(mark.mark)?, mark.is_corrected));
            }
            let tally = tally(row.tally);
            Ok(WeekRow { person: person(row.student, String::new()), marks, tally })
        });
        let rows = rows.collect::<Result<_, CliError>>()?;
        let (first_day, last_day, _) = days(report.days)?;
        let head = head(report.head)?;
        let report = WeekReport { head, of: report.of_name, first_day, last_day, sessions, rows };
        Ok(Self(Document::from(&report)))
    }

    /// A person's sessions.
    ///
    /// # Errors
    /// The answer is none.
    pub fn person(report: v1::GetPersonReportResponse) -> Result<Self, CliError> {
        let rows = report.marks.into_iter().map(|listed| {
            let mark = listed.mark.unwrap_or_default();
            Ok(PersonRow {
                session: session(listed.session.unwrap_or_default())?,
                mark: mark_of(mark.mark)?,
                said: !mark.correction_id.is_empty(),
                minutes_present: mark.minutes_present,
                minutes_late: mark.minutes_late,
                minutes_left_early: mark.minutes_left_early,
            })
        });
        let (first_day, last_day, term) = days(report.days)?;
        let report = PersonReport {
            head: head(report.head)?,
            person: person(report.student, report.section),
            term,
            first_day,
            last_day,
            rows: rows.collect::<Result<_, CliError>>()?,
            tally: tally(report.tally),
        };
        Ok(Self(Document::from(&report)))
    }

    /// Those who were there too seldom.
    ///
    /// # Errors
    /// The answer is none.
    pub fn warnings(
        report: v1::GetWarningReportResponse,
        below: Rate,
        section: String,
        final_only: bool,
    ) -> Result<Self, CliError> {
        let (first_day, last_day, term) = days(report.days)?;
        let rows = report
            .rows
            .into_iter()
            .map(|row| WarningRow { person: person(row.student, row.section), tally: tally(row.tally) });
        let of = [report.group_name, section].into_iter().filter(|name| !name.is_empty());
        let report = WarningReport {
            head: head(report.head)?,
            of: of.collect::<Vec<_>>().join(", "),
            term,
            first_day,
            last_day,
            below,
            final_only,
            rows: rows.collect(),
        };
        Ok(Self(Document::from(&report)))
    }

    /// How rooms were used.
    ///
    /// # Errors
    /// The answer is none.
    pub fn rooms(report: v1::GetRoomReportResponse) -> Result<Self, CliError> {
        let (first_day, last_day, term) = days(report.days)?;
        let rows = report.rows.into_iter().map(|row| RoomRow {
            id: row.room_id,
            name: row.room_name,
            sessions: row.sessions,
            minutes: row.minutes,
            tally: tally(row.tally),
        });
        let report = RoomReport { head: head(report.head)?, term, first_day, last_day, rows: rows.collect() };
        Ok(Self(Document::from(&report)))
    }
}

impl Serialize for ReportView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Report for ReportView {
    const ROWS: Option<&'static str> = Some("rows");

    fn table(&self, style: &Style) -> String {
        let document = &self.0;
        let zone = &document.head.zone;
        let mut known = vec![("school", document.head.school.clone())];
        let names: Vec<String> = document.facts.iter().map(|(name, _)| name.to_lowercase()).collect();
        known.extend(
            names.iter().map(String::as_str).zip(document.facts.iter().map(|(_, value)| value.clone())),
        );
        let mut parts = vec![sanitised(&document.title).into_owned(), facts(style, &known)];
        for table in std::iter::once(&document.table).chain(&document.more) {
            let header: Vec<_> = table.printed().map(|(_, column)| column.title.replace('\n', " ")).collect();
            let row = |row: &Vec<cavs_reports::Cell>| {
                let shown = |place: usize| row.get(place).map(|cell| cell.shown(zone)).unwrap_or_default();
                table.printed().map(|(place, _)| shown(place)).collect()
            };
            let rows = table.rows.iter().map(row).collect();
            parts.push(table.title.to_lowercase());
            parts.push(table_of(style, &header, rows));
        }
        let notes: Vec<_> = document.notes.iter().map(|note| sanitised(note).into_owned()).collect();
        parts.push(notes.join("\n"));
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}

fn wrong(error: &ProtocolError) -> CliError {
    CliError::protocol(format!("the server's answer: {error}"))
}

fn head(head: Option<v1::ReportHead>) -> Result<Head, CliError> {
    let v1::ReportHead { site_name, time_zone, make_time } = head.unwrap_or_default();
    let zone = TimeZone::get(&time_zone).map_err(|_| {
        let message = format!("this machine knows no time zone {time_zone:?}: install tzdata");
        CliError::failure("TIME_ZONE", message)
    })?;
    let made_at = time(make_time.as_ref()).unwrap_or_else(Timestamp::now);
    Ok(Head { school: site_name, zone, zone_name: time_zone, made_at })
}

fn days(days: Option<v1::FoundDays>) -> Result<(Date, Date, String), CliError> {
    let v1::FoundDays { start_date, end_date, term_name } = days.unwrap_or_default();
    let date = |text: &str| {
        text.parse::<Date>()
            .map_err(|_| CliError::protocol(format!("the server's answer: {text:?} is no date")))
    };
    Ok((date(&start_date)?, date(&end_date)?, term_name))
}

fn person(student: Option<v1::StudentRef>, section: String) -> Person {
    let v1::StudentRef { id, number, name } = student.unwrap_or_default();
    Person { id, number, name, section }
}

fn mark_of(number: i32) -> Result<Mark, CliError> {
    enum_from_wire("mark", number).map_err(|error| wrong(&error))
}

fn session(session: v1::MarkedSession) -> Result<Session, CliError> {
    let moment = |field: Option<&prost_types::Timestamp>| {
        time(field).ok_or_else(|| CliError::protocol("the server's answer: a session has no time"))
    };
    Ok(Session {
        starts_at: moment(session.start_time.as_ref())?,
        ends_at: moment(session.end_time.as_ref())?,
        state: enum_from_wire::<SessionState>("state", session.state).map_err(|error| wrong(&error))?,
        id: session.id,
        group: session.group_name,
        name: session.name,
    })
}

fn tally(tally: Option<v1::MarkTally>) -> Tally {
    let tally = tally.unwrap_or_default();
    Tally {
        present: tally.present,
        late: tally.late,
        left_early: tally.left_early,
        absent: tally.absent,
        excused: tally.excused,
        undetermined: tally.undetermined,
    }
}
