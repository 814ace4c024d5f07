//! Sightings as flat rows: CSV for spreadsheets, JSON lines for programs, Parquet for analysis.

mod columns;
mod output;

use std::{io::Write, path::Path};

use ::csv::Terminator;
use cavs_proto::v1;
use cavs_reports::{ParquetRows, csv_line};
use clap::ValueEnum;

use crate::{error::CliError, text::sanitised_json};

pub(crate) use columns::COLUMNS;
pub(crate) use output::Output;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// Comma-separated values; cells that a spreadsheet would compute begin with an apostrophe
    Csv,
    /// One line of JSON a sighting
    Jsonl,
    /// Apache Parquet, compressed with Snappy; times in microseconds, UTC
    Parquet,
}

impl FileFormat {
    /// What a file's name says.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        Self::from_str(path.extension()?.to_str()?, true).ok()
    }
}

/// Writes rows of sightings, as they come.
pub(crate) enum RowWriter<W: Write + Send> {
    Csv(W),
    Jsonl(W),
    Parquet(Box<ParquetRows<W>>),
}

impl<W: Write + Send> RowWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn new(format: FileFormat, mut out: W) -> Result<Self, CliError> {
        Ok(match format {
            FileFormat::Csv => {
                let header = COLUMNS.iter().map(|column| column.name.to_owned());
                write_text(&mut out, &csv_line(header, Terminator::CRLF)?)?;
                Self::Csv(out)
            }
            FileFormat::Jsonl => Self::Jsonl(out),
            FileFormat::Parquet => {
                let columns = COLUMNS.iter().map(|column| (column.name, column.kind));
                Self::Parquet(Box::new(ParquetRows::new(out, "sighting", columns)?))
            }
        })
    }

    /// Writes some sightings.
    ///
    /// # Errors
    /// They can't be written.
    pub(crate) fn write(&mut self, sightings: &[v1::Sighting]) -> Result<(), CliError> {
        match self {
            Self::Csv(out) => sightings.iter().try_for_each(|sighting| {
                let cells = COLUMNS.iter().map(|column| (column.value)(sighting).exact(None));
                write_text(out, &csv_line(cells, Terminator::CRLF)?)
            }),
            Self::Jsonl(out) => sightings.iter().try_for_each(|sighting| {
                let fields =
                    COLUMNS.iter().map(|column| (column.name.to_owned(), (column.value)(sighting).json()));
                let row = serde_json::Value::Object(fields.collect());
                write_text(out, &format!("{}\n", sanitised_json(&row.to_string())))
            }),
            Self::Parquet(rows) => Ok(sightings.iter().try_for_each(|sighting| {
                rows.write(COLUMNS.iter().map(|column| (column.value)(sighting)))
            })?),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn finish(self) -> Result<W, CliError> {
        match self {
            Self::Csv(mut out) | Self::Jsonl(mut out) => {
                out.flush().map_err(|error| failed(&error))?;
                Ok(out)
            }
            Self::Parquet(rows) => Ok(rows.finish()?),
        }
    }
}

fn write_text(out: &mut impl Write, text: &str) -> Result<(), CliError> {
    out.write_all(text.as_bytes()).map_err(|error| failed(&error))
}

fn failed(error: &impl std::fmt::Display) -> CliError {
    CliError::failure("OUTPUT", format!("the export: {error}"))
}
