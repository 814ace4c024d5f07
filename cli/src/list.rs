//! Lists are written page by page, as they come: a long one needs no memory for all of it.

use std::marker::PhantomData;

use serde::Serialize;

use crate::{
    error::CliError,
    printer::{Format, Printer, Style},
    text::sanitised_json,
    view::TableParts,
};

/// A list as people and programs see it.
pub trait List {
    /// An entry.
    type Entry: Serialize;
    /// The JSON field that has the entries.
    const FIELD: &'static str;
    /// What entries are called in remarks.
    const NAME: &'static str;
    /// The columns of the table.
    const HEADER: &'static [&'static str];

    /// An entry's cells.
    fn cells(entry: &Self::Entry, style: &Style) -> Vec<String>;
}

/// How long a list is, as far as anybody counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Total {
    /// Entries that were counted.
    pub entries: u64,
    /// There are no more.
    pub exact: bool,
}

/// Writes one list.
pub struct ListWriter<'a, L> {
    printer: &'a Printer,
    table: TableParts,
    shown: u64,
    list: PhantomData<L>,
}

impl<'a, L: List> ListWriter<'a, L> {
    /// Nothing is written before the first page.
    #[must_use]
    pub fn new(printer: &'a Printer) -> Self {
        Self { printer, table: TableParts::new(L::HEADER), shown: 0, list: PhantomData }
    }

    /// Writes a page. `false`: the reader has seen enough.
    ///
    /// # Errors
    /// Standard output can't be written.
    pub fn page(&mut self, entries: &[L::Entry]) -> Result<bool, CliError> {
        if entries.is_empty() {
            return Ok(true);
        }
        let text = match self.printer.format() {
            Format::Table => {
                let style = self.printer.style();
                let rows = entries.iter().map(|entry| L::cells(entry, style)).collect();
                self.table.more(style, rows) + "\n"
            }
            Format::Json => {
                let entries: Vec<_> = entries.iter().map(indented).collect::<Result<_, _>>()?;
                let before = match self.shown {
                    0 => format!("{{\n  \"{}\": [\n", L::FIELD),
                    _ => ",\n".to_owned(),
                };
                before + &entries.join(",\n")
            }
        };
        self.shown += entries.len() as u64;
        self.printer.write(&text)
    }

    /// Ends the list; a remark says what there is beside it.
    ///
    /// # Errors
    /// Standard output can't be written.
    pub fn end(self, total: Total) -> Result<(), CliError> {
        let Total { entries, exact } = total;
        if self.printer.format() == Format::Json {
            let close = match self.shown {
                // No page began the document.
                0 => format!("{{\n  \"{}\": []", L::FIELD),
                _ => "\n  ]".to_owned(),
            };
            let text =
                format!("{close},\n  \"total_size\": {entries},\n  \"total_size_exact\": {exact}\n}}\n");
            self.printer.write(&text)?;
        }
        if let Some(remark) = remark(L::NAME, self.shown, total) {
            self.printer.note(&remark);
        }
        Ok(())
    }
}

/// Says that there is nothing or more, where it is so.
fn remark(what: &str, shown: u64, total: Total) -> Option<String> {
    match total {
        Total { entries: 0, exact: true } if shown == 0 => Some(format!("no {what}")),
        Total { entries, exact: true } if entries > shown => {
            Some(format!("{shown} of {entries} {what}; --limit N or --all shows more"))
        }
        Total { entries, exact: false } => {
            let entries = entries.max(shown);
            Some(format!("{shown} of more than {entries} {what}; --limit N or --all shows more"))
        }
        Total { exact: true, .. } => None,
    }
}

/// An entry as it stands in the document.
fn indented(entry: &impl Serialize) -> Result<String, CliError> {
    let document = serde_json::to_string_pretty(entry)
        .map_err(|error| CliError::failure("OUTPUT", format!("JSON: {error}")))?;
    // Line breaks are of the layout only: those of texts are escaped.
    Ok(format!("    {}", sanitised_json(&document).replace('\n', "\n    ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_say_how_much_more_there_is() {
        let remark = |shown, entries, exact| remark("things", shown, Total { entries, exact });
        assert_eq!(remark(0, 0, true).unwrap(), "no things");
        assert_eq!(remark(2, 3, true).unwrap(), "2 of 3 things; --limit N or --all shows more");
        assert_eq!(
            remark(50, 10_000, false).unwrap(),
            "50 of more than 10000 things; --limit N or --all shows more"
        );
        assert_eq!(remark(3, 3, true), None);
    }
}
