//! Tables and lists of facts. All text in them is made harmless here, in one place.

use comfy_table::{ContentArrangement, Table, TableStyle};
use jiff::Timestamp;

use crate::{printer::Style, text::harmless};

/// Below it a table is not worth squeezing.
const NARROWEST: u16 = 60;

/// A table with a header line; empty where there are no rows.
pub(super) fn table<const N: usize>(style: &Style, header: [&str; N], rows: Vec<[String; N]>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut table = plain(style);
    table.set_header(header);
    for row in rows {
        table.add_row(row.iter().map(|cell| harmless(cell).into_owned()));
    }
    finish(&table)
}

/// Facts, one a line; those that are empty are left out.
pub(super) fn facts(style: &Style, facts: &[(&str, String)]) -> String {
    let mut table = plain(style);
    for (name, value) in facts.iter().filter(|(_, value)| !value.is_empty()) {
        table.add_row([(*name).to_owned(), harmless(value).into_owned()]);
    }
    finish(&table)
}

/// A point in time to the second, in the reader's zone.
pub(super) fn moment(style: &Style, time: Option<Timestamp>) -> String {
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
        table.lines().map(|line| line.trim_end().trim_start_matches(' ').to_owned()).collect();
    lines.join("\n")
}
