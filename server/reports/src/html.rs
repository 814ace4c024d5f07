//! HTML for browsers and printers: one file with nothing from elsewhere.

use askama::Template;

use crate::{Cell, Column, Document, FileError, Table, cell::local};

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    document: &'a Document,
    tables: Vec<&'a Table>,
    landscape: bool,
    made: String,
}

impl Page<'_> {
    fn shown(&self, cell: &Option<&Cell>) -> String {
        cell.map(|cell| cell.shown(&self.document.head.zone)).unwrap_or_default()
    }

    /// A class of the style sheet.
    fn class(&self, column: &Column, cell: &Option<&Cell>) -> &'static str {
        let absent = matches!(cell, Some(Cell::Mark(Some((cavs_types::Mark::Absent, _)))));
        if column.is_numeric() {
            "n"
        } else if absent {
            "absent"
        } else {
            "t"
        }
    }
}

/// A report as a page of HTML.
///
/// # Errors
/// The template can't be filled in.
pub fn html(document: &Document) -> Result<Vec<u8>, FileError> {
    let tables = std::iter::once(&document.table).chain(&document.more).collect();
    let landscape = document.table.printed().count() > MOST_UPRIGHT;
    let made = local(document.head.made_at, &document.head.zone);
    let page = Page { document, tables, landscape, made };
    page.render().map(String::into_bytes).map_err(|error| FileError::failed("HTML", error))
}

/// Columns that an upright page has place for.
pub(crate) const MOST_UPRIGHT: usize = 8;
