use super::{Column, Document, RATE, Table, days, person_cells, person_columns, tally_cells, tally_columns};
use crate::{Cell, Kind, WarningReport};

impl From<&WarningReport> for Document {
    fn from(report: &WarningReport) -> Self {
        let WarningReport { head, of, term, first_day, last_day, below, final_only, rows } = report;
        let mut facts = vec![("Days", days(*first_day, *last_day, term))];
        if !of.is_empty() {
            facts.push(("Of", of.clone()));
        }
        facts.push(("Below", below.to_string()));
        let mut columns = person_columns();
        columns.push(Column::new("section", "Section", Kind::Text));
        columns.extend(tally_columns());
        let cells = rows.iter().map(|row| {
            let mut cells = person_cells(&row.person);
            cells.push(Cell::text(&row.person.section));
            cells.extend(tally_cells(&row.tally));
            cells
        });
        let counted = if *final_only {
            "Counted are sessions whose marks are final."
        } else {
            "Counted are sessions that are over."
        };
        Self {
            head: head.clone(),
            report: "warnings",
            title: format!("Attendance below {below}"),
            facts,
            table: Table { title: String::new(), columns, rows: cells.collect() },
            more: Vec::new(),
            notes: vec![counted.to_owned(), RATE.to_owned()],
        }
    }
}
