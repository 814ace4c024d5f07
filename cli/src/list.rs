//! Lists are written page by page, as they come: a long one needs no memory for all of it.

use std::marker::PhantomData;

use serde::Serialize;

use crate::{
    error::CliError,
    output::{Column, Format, OutputArgs, Record, column_name, csv_row, resolve, sequence},
    printer::{Printer, Style},
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
    /// Where the values of `--columns` come from; known with the first page.
    chosen: Vec<Column>,
    shown: u64,
    list: PhantomData<L>,
}

impl<'a, L: List> ListWriter<'a, L> {
    /// Nothing is written before the first page.
    #[must_use]
    pub fn new(printer: &'a Printer) -> Self {
        let names = &printer.output().columns;
        let header = match names.as_slice() {
            [] => L::HEADER.iter().map(|title| (*title).to_owned()).collect(),
            names => names.iter().map(|name| name.to_uppercase().replace('_', " ")).collect(),
        };
        Self { printer, table: TableParts::new(header), chosen: Vec::new(), shown: 0, list: PhantomData }
    }

    /// Writes a page. `false`: the reader has seen enough.
    ///
    /// # Errors
    /// Standard output can't be written, or `--columns` names none.
    pub fn page(&mut self, entries: &[L::Entry]) -> Result<bool, CliError> {
        if entries.is_empty() {
            return Ok(true);
        }
        let text = match self.printer.format() {
            Format::Table => {
                let rows = self.rows(entries)?;
                self.table.more(self.printer.style(), rows) + "\n"
            }
            Format::Csv => {
                let header = if self.shown == 0 { self.csv_header()? } else { String::new() };
                let lines = self.rows(entries)?.into_iter().map(csv_row);
                header + &lines.collect::<Result<String, _>>()?
            }
            Format::Json => {
                let entries: Vec<_> =
                    self.records(entries)?.iter().map(indented).collect::<Result<_, _>>()?;
                let before = match self.shown {
                    0 => format!("{{\n  \"{}\": [\n", L::FIELD),
                    _ => ",\n".to_owned(),
                };
                before + &entries.join(",\n")
            }
            Format::Jsonl => self.records(entries)?.iter().map(|entry| entry.line() + "\n").collect(),
            Format::Yaml => {
                let before = if self.shown == 0 { format!("{}:\n", L::FIELD) } else { String::new() };
                before + &sequence(&self.records(entries)?)?
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
        let is_empty = self.shown == 0;
        let text = match self.printer.format() {
            Format::Json => {
                let close = match is_empty {
                    // No page began the document.
                    true => format!("{{\n  \"{}\": []", L::FIELD),
                    false => "\n  ]".to_owned(),
                };
                format!("{close},\n  \"total_size\": {entries},\n  \"total_size_exact\": {exact}\n}}\n")
            }
            Format::Yaml => {
                let begin = if is_empty { format!("{}: []\n", L::FIELD) } else { String::new() };
                format!("{begin}total_size: {entries}\ntotal_size_exact: {exact}\n")
            }
            Format::Csv if is_empty => self.csv_header()?,
            Format::Table | Format::Csv | Format::Jsonl => String::new(),
        };
        if self.printer.write(&text)?
            && let Some(remark) = remark(L::NAME, self.shown, total)
        {
            self.printer.note(&remark);
        }
        Ok(())
    }

    fn csv_header(&self) -> Result<String, CliError> {
        let OutputArgs { columns, no_header, .. } = self.printer.output();
        match columns.as_slice() {
            _ if *no_header => Ok(String::new()),
            [] => csv_row(L::HEADER.iter().map(|title| column_name(title))),
            names => csv_row(names.iter().cloned()),
        }
    }

    /// The rows of a table: the chosen columns, or all of the table's own.
    fn rows(&mut self, entries: &[L::Entry]) -> Result<Vec<Vec<String>>, CliError> {
        let style = self.printer.style();
        let rows: Vec<_> = entries.iter().map(|entry| L::cells(entry, style)).collect();
        if self.printer.output().columns.is_empty() {
            return Ok(rows);
        }
        let records: Vec<_> = entries.iter().map(Record::of).collect::<Result<_, _>>()?;
        self.choose(&records)?;
        let cell = |cells: &[String], record: &Record, column: &Column| match column {
            Column::Cell(index) => cells.get(*index).cloned().unwrap_or_default(),
            Column::Field(path) => record.cell(path),
        };
        let row = |(cells, record): (Vec<String>, Record)| {
            self.chosen.iter().map(|column| cell(&cells, &record, column)).collect()
        };
        Ok(rows.into_iter().zip(records).map(row).collect())
    }

    /// Entries for programs: their chosen fields, or all.
    fn records(&mut self, entries: &[L::Entry]) -> Result<Vec<Record>, CliError> {
        let records: Vec<_> = entries.iter().map(Record::of).collect::<Result<_, _>>()?;
        let names = &self.printer.output().columns;
        if names.is_empty() {
            return Ok(records);
        }
        self.choose(&records)?;
        let style = self.printer.style();
        let picked = records
            .iter()
            .zip(entries)
            .map(|(record, entry)| record.pick(names, &self.chosen, &L::cells(entry, style)));
        Ok(picked.collect())
    }

    fn choose(&mut self, records: &[Record]) -> Result<(), CliError> {
        if self.chosen.is_empty() {
            let OutputArgs { columns, output, .. } = self.printer.output();
            self.chosen = resolve(columns, L::HEADER, *output, records)?;
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
fn indented(entry: &Record) -> Result<String, CliError> {
    // Line breaks are of the layout only: those of texts are escaped.
    Ok(format!("    {}", entry.document()?.replace('\n', "\n    ")))
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
