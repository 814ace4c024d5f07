//! CSV for spreadsheets and programs.

use csv::{Terminator, WriterBuilder};

use crate::{Document, FileError};

/// A line of CSV with the line break that `terminator` says. None of its cells is one that a spreadsheet computes.
///
/// # Errors
/// The line can't be written.
pub fn csv_line(
    cells: impl IntoIterator<Item = String>,
    terminator: Terminator,
) -> Result<String, FileError> {
    let mut writer = WriterBuilder::new().terminator(terminator).from_writer(Vec::new());
    let failed = |error: &dyn std::fmt::Display| FileError::failed("CSV", error);
    writer.write_record(cells.into_iter().map(uncomputed)).map_err(|error| failed(&error))?;
    let line = writer.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(line).map_err(|error| failed(&error))
}

/// A report's first table as a file of CSV with a line of names, times as RFC 3339 with the offset of the site's zone.
///
/// # Errors
/// It can't be written.
pub fn csv_document(document: &Document) -> Result<Vec<u8>, FileError> {
    let table = &document.table;
    let mut text = csv_line(table.columns.iter().map(|column| column.name.clone()), Terminator::CRLF)?;
    for row in &table.rows {
        let cells = row.iter().map(|cell| cell.exact(Some(&document.head.zone)));
        text.push_str(&csv_line(cells, Terminator::CRLF)?);
    }
    Ok(text.into_bytes())
}

/// A cell with an apostrophe before it where a spreadsheet would take it for a formula. A number is none, whatever its
/// sign.
fn uncomputed(cell: String) -> String {
    let is_number = cell.parse::<f64>().is_ok_and(f64::is_finite);
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number { format!("'{cell}") } else { cell }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_computed() {
        let line = |cells: &[&str]| csv_line(cells.iter().map(|c| (*c).to_owned()), Terminator::Any(b'\n'));
        assert_eq!(line(&["=1+1", "-", "a-b", "@x", ""]).unwrap(), "'=1+1,'-,a-b,'@x,\n");
        assert_eq!(line(&["-0.125", "-1e3", "+5", "-1+1", "-inf"]).unwrap(), "-0.125,-1e3,+5,'-1+1,'-inf\n");
        assert_eq!(line(&["a,\"b\"\nc"]).unwrap(), "\"a,\"\"b\"\"\nc\"\n");
    }
}
