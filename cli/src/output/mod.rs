//! How results are written: one pattern for all commands.
//!
//! A result is one record, or the entries of its list. As a table it looks as its view says; all other forms, and
//! tables with chosen columns, come of its JSON.

mod record;
mod tree;

use clap::ValueEnum;

pub(crate) use record::{Column, Record, column_name, csv_row, render, resolve, sequence};

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Tables for people
    #[default]
    Table,
    /// One JSON document
    Json,
    /// One line of JSON an entry
    Jsonl,
    /// One YAML document
    Yaml,
    /// Comma-separated values; cells that a spreadsheet would compute begin with an apostrophe
    Csv,
}

impl Format {
    /// Whether programs read it field by field, and errors with it.
    #[must_use]
    pub const fn is_structured(self) -> bool {
        match self {
            Self::Table | Self::Csv => false,
            Self::Json | Self::Jsonl | Self::Yaml => true,
        }
    }
}

/// Options of how results are written.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct OutputArgs {
    /// How results are written
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub output: Format,
    /// Write these columns in this order: names of the table's columns (last_seen) or of JSON fields
    /// (prediction.decision)
    #[arg(long, global = true, value_name = "NAMES", value_delimiter = ',')]
    pub columns: Vec<String>,
    /// Leave out the names of the columns in tables and CSV
    #[arg(long, global = true)]
    pub no_header: bool,
}
