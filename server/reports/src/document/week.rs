use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use super::{
    Column, Document, RATE, SAID, Table, days, person_cells, person_columns, tally_cells, tally_columns,
};
use crate::{Cell, Kind, Session, WeekReport};

impl From<&WeekReport> for Document {
    fn from(report: &WeekReport) -> Self {
        let WeekReport { head, of, first_day, last_day, sessions, rows } = report;
        let mut columns = person_columns();
        columns.extend(session_columns(sessions, of, &head.zone));
        columns.extend(tally_columns());
        let cells = rows.iter().map(|row| {
            let mut cells = person_cells(&row.person);
            cells.extend(row.marks.iter().map(|mark| Cell::Mark(*mark)));
            cells.extend(tally_cells(&row.tally));
            cells
        });
        let mut notes = Vec::new();
        if rows.iter().flat_map(|row| &row.marks).any(|mark| mark.is_some_and(|(_, said)| said)) {
            notes.push(SAID.to_owned());
        }
        notes.push("Counted are sessions that are over.".to_owned());
        notes.push(RATE.to_owned());
        Self {
            head: head.clone(),
            report: "week",
            title: format!("Week of {of}"),
            facts: vec![("Days", days(*first_day, *last_day, ""))],
            table: Table { title: String::new(), columns, rows: cells.collect() },
            more: Vec::new(),
            notes,
        }
    }
}

/// A column for each session, named by its start and what it is; two that would be named alike are numbered.
fn session_columns(sessions: &[Session], of: &str, zone: &TimeZone) -> Vec<Column> {
    let mut taken = BTreeSet::new();
    let column = |session: &Session| {
        let start = session.starts_at.to_zoned(zone.clone());
        let what = match (session.group == of, session.name.is_empty()) {
            (true, true) => String::new(),
            (true, false) => session.name.clone(),
            (false, true) => session.group.clone(),
            (false, false) => format!("{} {}", session.group, session.name),
        };
        let name = format!("{} {what}", start.strftime("%Y-%m-%d %H:%M")).trim().replace('.', " ");
        let mut unique = name.clone();
        let mut number = 1;
        while !taken.insert(unique.clone()) {
            number += 1;
            unique = format!("{name} ({number})");
        }
        let title = format!("{}\n{what}", start.strftime("%a %d %H:%M"));
        Column::new(&unique, title.trim(), Kind::Mark)
    };
    sessions.iter().map(column).collect()
}
