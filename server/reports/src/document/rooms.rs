use super::{Column, Document, RATE, Table, days, tally_cells, tally_columns};
use crate::{Cell, Kind, RoomReport};

impl From<&RoomReport> for Document {
    fn from(report: &RoomReport) -> Self {
        let RoomReport { head, term, first_day, last_day, rows } = report;
        let mut columns = vec![
            Column::id("room_id"),
            Column::new("room", "Room", Kind::Text),
            Column::new("sessions", "Sessions", Kind::Integer),
            Column::new("minutes", "Minutes", Kind::Integer),
        ];
        columns.extend(tally_columns());
        let cells = rows.iter().map(|row| {
            let mut cells = vec![
                Cell::text(&row.id),
                Cell::text(&row.name),
                Cell::count(row.sessions),
                Cell::Integer(i64::try_from(row.minutes).ok()),
            ];
            cells.extend(tally_cells(&row.tally));
            cells
        });
        Self {
            head: head.clone(),
            report: "rooms",
            title: "Use of rooms".to_owned(),
            facts: vec![("Days", days(*first_day, *last_day, term))],
            table: Table { title: String::new(), columns, rows: cells.collect() },
            more: Vec::new(),
            notes: vec![
                "Counted are sessions that are over; in several rooms, one counts in each.".to_owned(),
                RATE.to_owned(),
            ],
        }
    }
}
