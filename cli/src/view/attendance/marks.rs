//! Marks, and sheets of them.

use cavs_proto::v1;
use cavs_types::{Mark, SessionState};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    explanation::{RuleView, rules},
    false_matches::FalseMatchesView,
};
use crate::{
    list::List,
    printer::{Report, Style},
    text::sanitised,
    view::{
        StudentRefView,
        layout::{moment, table},
        time, word,
    },
};

/// A session, as its marks name it.
#[derive(Debug, Clone, Serialize)]
pub struct MarkedSessionView {
    /// UUID.
    pub id: String,
    /// May be empty.
    pub name: String,
    /// UUID.
    pub group_id: String,
    /// Of whom it is.
    pub group_name: String,
    /// RFC 3339.
    pub start_time: Option<Timestamp>,
    /// RFC 3339.
    pub end_time: Option<Timestamp>,
    /// `planned`, `open`, `closing`, `finalised` or `cancelled`.
    pub state: &'static str,
}

/// What a session says of a person.
#[derive(Debug, Clone, Serialize)]
pub struct MarkChangeView {
    /// Who.
    pub student: StudentRefView,
    /// `present`, `late`, `left_early`, `absent`, `excused` or `undetermined`.
    pub mark: &'static str,
    /// What the records say without anybody's word.
    pub machine_mark: &'static str,
    /// UUID of the word in force; empty for none.
    pub correction_id: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_seen_time: Option<Timestamp>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_seen_time: Option<Timestamp>,
    /// Whole minutes of the session that they were there.
    pub minutes_present: u32,
    /// Whole minutes after the start.
    pub minutes_late: u32,
    /// Whole minutes before the end.
    pub minutes_left_early: u32,
    /// Counts the changes of the mark.
    pub number: u32,
    /// RFC 3339.
    pub change_time: Option<Timestamp>,
}

/// A mark with its session.
#[derive(Debug, Clone, Serialize)]
pub struct MarkView {
    /// Which session.
    pub session: MarkedSessionView,
    /// What it says of whom.
    #[serde(flatten)]
    pub mark: MarkChangeView,
}

/// Somebody who came without being expected.
#[derive(Debug, Serialize)]
pub struct VisitorView {
    /// Who.
    pub student: StudentRefView,
    /// RFC 3339.
    pub first_seen_time: Option<Timestamp>,
    /// RFC 3339.
    pub last_seen_time: Option<Timestamp>,
    /// How often.
    pub sightings: u32,
}

/// All that a session says.
#[derive(Debug, Serialize)]
pub struct SheetView {
    /// Which session.
    pub session: MarkedSessionView,
    /// By name.
    pub rooms: Vec<String>,
    /// By number.
    pub marks: Vec<MarkChangeView>,
    /// By first time.
    pub visitors: Vec<VisitorView>,
    /// Why nobody is absent for not having been seen.
    pub unproven: Vec<RuleView>,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluate_time: Option<Timestamp>,
    /// How many faces are expected to be taken for somebody's whose they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub false_matches: Option<FalseMatchesView>,
}

/// Marks of many sessions.
#[derive(Debug)]
pub struct MarkList;

/// Marks of a session, as they change.
#[derive(Debug)]
pub struct MarkChangeList;

impl From<v1::MarkedSession> for MarkedSessionView {
    fn from(session: v1::MarkedSession) -> Self {
        Self {
            id: session.id,
            name: session.name,
            group_id: session.group_id,
            group_name: session.group_name,
            start_time: time(session.start_time.as_ref()),
            end_time: time(session.end_time.as_ref()),
            state: word(session.state, SessionState::as_str),
        }
    }
}

impl From<v1::PersonMark> for MarkChangeView {
    fn from(mark: v1::PersonMark) -> Self {
        Self {
            student: mark.student.unwrap_or_default().into(),
            mark: word(mark.mark, Mark::as_str),
            machine_mark: word(mark.machine_mark, Mark::as_str),
            correction_id: mark.correction_id,
            first_seen_time: time(mark.first_seen_time.as_ref()),
            last_seen_time: time(mark.last_seen_time.as_ref()),
            minutes_present: mark.minutes_present,
            minutes_late: mark.minutes_late,
            minutes_left_early: mark.minutes_left_early,
            number: mark.number,
            change_time: time(mark.change_time.as_ref()),
        }
    }
}

impl From<v1::ListedMark> for MarkView {
    fn from(v1::ListedMark { session, mark }: v1::ListedMark) -> Self {
        Self { session: session.unwrap_or_default().into(), mark: mark.unwrap_or_default().into() }
    }
}

impl From<v1::Visitor> for VisitorView {
    fn from(visitor: v1::Visitor) -> Self {
        Self {
            student: visitor.student.unwrap_or_default().into(),
            first_seen_time: time(visitor.first_seen_time.as_ref()),
            last_seen_time: time(visitor.last_seen_time.as_ref()),
            sightings: visitor.sightings,
        }
    }
}

impl From<v1::Sheet> for SheetView {
    fn from(sheet: v1::Sheet) -> Self {
        Self {
            session: sheet.session.unwrap_or_default().into(),
            rooms: sheet.rooms,
            marks: sheet.marks.into_iter().map(Into::into).collect(),
            visitors: sheet.visitors.into_iter().map(Into::into).collect(),
            unproven: rules(sheet.unproven),
            evaluate_time: time(sheet.evaluate_time.as_ref()),
            false_matches: sheet.false_matches.map(Into::into),
        }
    }
}

impl MarkedSessionView {
    /// Group, name and start in a line.
    pub(super) fn label(&self, style: &Style) -> String {
        let name = if self.name.is_empty() { String::new() } else { format!(" {}", self.name) };
        format!("{}{name}, {}", self.group_name, moment(style, self.start_time))
    }
}

impl MarkChangeView {
    /// As people read it: a word that a person has said is marked.
    fn mark_text(&self) -> String {
        let mark = self.mark.replace('_', " ");
        if self.correction_id.is_empty() { mark } else { format!("{mark} *") }
    }

    /// What of it was missed, in words.
    fn missed(&self) -> String {
        let late = (self.minutes_late > 0).then(|| format!("{} min late", self.minutes_late));
        let left =
            (self.minutes_left_early > 0).then(|| format!("left {} min early", self.minutes_left_early));
        [late, left].into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    fn row(&self, style: &Style) -> [String; 7] {
        [
            self.student.number.clone(),
            self.student.name.clone(),
            self.mark_text(),
            clock(style, self.first_seen_time),
            clock(style, self.last_seen_time),
            self.minutes_present.to_string(),
            self.missed(),
        ]
    }
}

/// The time of the day, or exactly for programs.
pub(super) fn clock(style: &Style, time: Option<Timestamp>) -> String {
    if style.exact {
        return moment(style, time);
    }
    time.map(|time| time.to_zoned(style.zone.clone()).strftime("%H:%M").to_string()).unwrap_or_default()
}

impl Report for SheetView {
    const ROWS: Option<&'static str> = Some("marks");

    fn table(&self, style: &Style) -> String {
        let session = &self.session;
        let head = format!(
            "{} to {}{} ({})",
            sanitised(&session.label(style)),
            clock(style, session.end_time),
            if self.rooms.is_empty() {
                String::new()
            } else {
                format!(", {}", sanitised(&self.rooms.join(", ")))
            },
            session.state
        );
        let header = ["NUMBER", "NAME", "MARK", "FIRST SEEN", "LAST SEEN", "MINUTES", "REMARK"];
        let rows = self.marks.iter().map(|mark| mark.row(style)).collect();
        let counts = Mark::ALL.iter().filter_map(|mark| {
            let count = self.marks.iter().filter(|of| of.mark == mark.as_str()).count();
            (count > 0).then(|| format!("{count} {}", mark.as_str().replace('_', " ")))
        });
        let mut parts = vec![head, table(style, header, rows), counts.collect::<Vec<_>>().join(", ")];
        if self.marks.iter().any(|mark| !mark.correction_id.is_empty()) {
            parts.push("* a person has said so".to_owned());
        }
        if !self.visitors.is_empty() {
            let visitors =
                self.visitors.iter().map(|visitor| sanitised(&visitor.student.label()).into_owned());
            parts.push(format!("not expected: {}", visitors.collect::<Vec<_>>().join(", ")));
        }
        if self.marks.iter().any(|mark| mark.mark == Mark::Undetermined.as_str()) && !self.unproven.is_empty()
        {
            let why = self.unproven.iter().map(|rule| format!("- {}", sanitised(&rule.text)));
            parts.push(format!("nobody is known to be absent, for:\n{}", why.collect::<Vec<_>>().join("\n")));
        }
        parts.extend(self.false_matches.as_ref().and_then(FalseMatchesView::text));
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}

impl List for MarkList {
    type Entry = MarkView;
    const FIELD: &'static str = "marks";
    const NAME: &'static str = "marks";
    const HEADER: &'static [&'static str] = &["SESSION", "NUMBER", "NAME", "MARK", "MINUTES", "REMARK"];

    fn cells(entry: &MarkView, style: &Style) -> Vec<String> {
        let mark = &entry.mark;
        vec![
            entry.session.label(style),
            mark.student.number.clone(),
            mark.student.name.clone(),
            mark.mark_text(),
            mark.minutes_present.to_string(),
            mark.missed(),
        ]
    }
}

impl List for MarkChangeList {
    type Entry = MarkChangeView;
    const FIELD: &'static str = "marks";
    const NAME: &'static str = "marks";
    const HEADER: &'static [&'static str] = &["CHANGED", "NUMBER", "NAME", "MARK", "REMARK"];

    fn cells(mark: &MarkChangeView, style: &Style) -> Vec<String> {
        vec![
            moment(style, mark.change_time),
            mark.student.number.clone(),
            mark.student.name.clone(),
            mark.mark_text(),
            mark.missed(),
        ]
    }
}
