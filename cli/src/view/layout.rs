//! Tables and lists of facts. All text in them is made harmless here, in one place.

use comfy_table::{ColumnConstraint, ContentArrangement, Table, TableStyle, Width};
use jiff::Timestamp;

use crate::{printer::Style, text::sanitised};

/// Below it a table is not worth squeezing.
const NARROWEST: u16 = 60;

/// A table with a header line; empty where there are no rows.
pub(super) fn table<const N: usize>(style: &Style, header: [&str; N], rows: Vec<[String; N]>) -> String {
    table_of(style, &header.map(str::to_owned), rows.into_iter().map(Vec::from).collect())
}

/// A table of as many columns as there are names; empty where there are no rows.
pub(crate) fn table_of(style: &Style, header: &[String], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    TableParts::new(header.iter().map(|name| name.to_uppercase().replace('_', " ")).collect())
        .more(style, rows)
}

/// A table whose rows come in parts: the columns of a part are at least as wide as those before it.
pub(crate) struct TableParts {
    header: Vec<String>,
    begun: bool,
    widths: Vec<u16>,
}

impl TableParts {
    /// A table with a header line.
    pub(crate) const fn new(header: Vec<String>) -> Self {
        Self { header, begun: false, widths: Vec::new() }
    }

    /// The lines of more rows, under the header where they are the first.
    pub(crate) fn more(&mut self, style: &Style, rows: Vec<Vec<String>>) -> String {
        let mut table = plain(style);
        if !self.begun && style.header {
            table.set_header(self.header.iter().map(|name| sanitised(name).into_owned()));
        }
        for row in rows {
            table.add_row(row.iter().map(|cell| sanitised(cell).into_owned()));
        }
        for (index, width) in self.widths.iter().enumerate() {
            if let Some(column) = table.column_mut(index) {
                // A cell has a blank on each side.
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width + 2)));
            }
        }
        let now = table.column_max_content_widths();
        self.widths.resize(now.len(), 0);
        self.widths.iter_mut().zip(now).for_each(|(width, now)| *width = now.max(*width));
        self.begun = true;
        finish(&table)
    }
}

/// Facts, one a line; those that are empty are left out.
pub(super) fn facts(style: &Style, facts: &[(&str, String)]) -> String {
    let mut table = plain(style);
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([(*name).to_owned(), sanitised(value).into_owned()]);
    }
    finish(&table)
}

/// A point in time: to the second in the reader's zone, or exactly for programs.
pub(super) fn moment(style: &Style, time: Option<Timestamp>) -> String {
    if style.exact {
        return time.map(|time| time.to_string()).unwrap_or_default();
    }
    time.map(|time| time.to_zoned(style.zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

/// A similarity, margin or threshold.
pub(super) fn similarity(value: f32) -> String {
    format!("{value:.3}")
}

fn plain(style: &Style) -> Table {
    let mut table = Table::new();
    // No lines: what is cut out with a mouse or a script should be the content alone.
    table.load_style(TableStyle::new());
    if let Some(width) = style.width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.max(NARROWEST));
    }
    table
}

fn finish(table: &Table) -> String {
    // A cell has a blank on each side; the one before the first column would only indent it.
    let lines: Vec<_> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    #[test]
    fn parts_of_a_table_stand_below_each_other() {
        let style = Style { width: None, zone: TimeZone::UTC, header: true, exact: false };
        let mut parts = TableParts::new(vec!["NUMBER".to_owned(), "NAME".to_owned()]);
        let row = |number: &str, name: &str| vec![number.to_owned(), name.to_owned()];
        assert_eq!(parts.more(&style, vec![row("1234567890", "Ada")]), "NUMBER      NAME\n1234567890  Ada");
        assert_eq!(
            parts.more(&style, vec![row("17", "Bob"), row("\u{1b}", "Eve")]),
            "17          Bob\n\u{fffd}           Eve"
        );
    }
}
