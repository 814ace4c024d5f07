use super::{Column, Document, RATE, SAID, Table, days, missed, tally_words};
use crate::{Cell, Kind, PersonReport, PersonRow};

impl From<&PersonReport> for Document {
    fn from(report: &PersonReport) -> Self {
        let PersonReport { head, person, term, first_day, last_day, rows, tally } = report;
        let who = if person.name.is_empty() { &person.number } else { &person.name };
        let mut facts = vec![("Number", person.number.clone())];
        if !person.section.is_empty() {
            facts.push(("Section", person.section.clone()));
        }
        facts.push(("Days", days(*first_day, *last_day, term)));
        facts.push(("Marks", tally_words(tally)));
        facts.push((
            "Attendance",
            tally.rate().map_or("nothing that counts".to_owned(), |rate| rate.to_string()),
        ));
        let columns = vec![
            Column::id("session_id"),
            Column::new("start_time", "Start", Kind::Time),
            Column::new("end_time", "End", Kind::Time),
            Column::new("group", "Group", Kind::Text),
            Column::new("session", "Session", Kind::Text),
            Column::new("mark", "Mark", Kind::Mark),
            Column::new("minutes_present", "Minutes", Kind::Integer),
            Column::new("remark", "Remark", Kind::Text),
        ];
        let mut notes = Vec::new();
        if rows.iter().any(|row| row.said) {
            notes.push(SAID.to_owned());
        }
        notes.push("Counted are sessions that are over.".to_owned());
        notes.push(RATE.to_owned());
        Self {
            head: head.clone(),
            report: "person",
            title: format!("Attendance of {who}"),
            facts,
            table: Table { title: String::new(), columns, rows: rows.iter().map(cells).collect() },
            more: Vec::new(),
            notes,
        }
    }
}

fn cells(row: &PersonRow) -> Vec<Cell> {
    let session = &row.session;
    vec![
        Cell::text(&session.id),
        Cell::Time(Some(session.starts_at)),
        Cell::Time(Some(session.ends_at)),
        Cell::text(&session.group),
        Cell::text(&session.name),
        Cell::Mark(Some((row.mark, row.said))),
        Cell::count(row.minutes_present),
        Cell::text(&missed(row.minutes_late, row.minutes_left_early)),
    ]
}
