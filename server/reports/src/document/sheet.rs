use super::{Column, Document, SAID, Table, missed, person_cells, person_columns, tally_words};
use crate::{Cell, Kind, SheetReport, SheetRow, Tally, cell::local};

impl From<&SheetReport> for Document {
    fn from(report: &SheetReport) -> Self {
        let SheetReport { head, session, rooms, rows, visitors, unproven } = report;
        let what = if session.name.is_empty() { String::new() } else { format!(", {}", session.name) };
        let (start, end) = (local(session.starts_at, &head.zone), local(session.ends_at, &head.zone));
        // The day once, where it is one.
        let until = match (start.split_once(' '), end.split_once(' ')) {
            (Some((day, _)), Some((same, clock))) if day == same => clock.to_owned(),
            _ => end,
        };
        let tally: Tally = rows.iter().map(|row| row.mark).collect();
        let mut facts = vec![("Time", format!("{start} to {until}")), ("State", session.state.to_string())];
        if !rooms.is_empty() {
            facts.push(("Rooms", rooms.join(", ")));
        }
        facts.push(("Marks", tally_words(&tally)));
        let mut columns = person_columns();
        columns.extend([
            Column::new("mark", "Mark", Kind::Mark),
            Column::new("first_seen_time", "First seen", Kind::Time),
            Column::new("last_seen_time", "Last seen", Kind::Time),
            Column::new("minutes_present", "Minutes", Kind::Integer),
            Column::new("remark", "Remark", Kind::Text),
        ]);
        let mut notes = Vec::new();
        if rows.iter().any(|row| row.said) {
            notes.push(SAID.to_owned());
        }
        if tally.undetermined > 0 {
            notes.extend(unproven.iter().map(|why| format!("Nobody is known to be absent: {why}")));
        }
        let mut more = Vec::new();
        if !visitors.is_empty() {
            let mut columns = person_columns();
            columns.extend([
                Column::new("first_seen_time", "First seen", Kind::Time),
                Column::new("last_seen_time", "Last seen", Kind::Time),
            ]);
            let rows = visitors.iter().map(|visitor| {
                let mut cells = person_cells(&visitor.person);
                cells.extend([Cell::Time(visitor.first_seen_at), Cell::Time(visitor.last_seen_at)]);
                cells
            });
            more.push(Table { title: "Not expected".to_owned(), columns, rows: rows.collect() });
        }
        Self {
            head: head.clone(),
            report: "sheet",
            title: format!("Attendance of {}{what}", session.group),
            facts,
            table: Table { title: String::new(), columns, rows: rows.iter().map(cells).collect() },
            more,
            notes,
        }
    }
}

fn cells(row: &SheetRow) -> Vec<Cell> {
    let mut cells = person_cells(&row.person);
    cells.extend([
        Cell::Mark(Some((row.mark, row.said))),
        Cell::Time(row.first_seen_at),
        Cell::Time(row.last_seen_at),
        Cell::count(row.minutes_present),
        Cell::text(&missed(row.minutes_late, row.minutes_left_early)),
    ]);
    cells
}
