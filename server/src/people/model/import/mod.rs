//! Files of students: how they are read, and what follows from them. No I/O.

mod columns;
mod oneroster;
mod plan;
mod table;

use cavs_types::{ImportFormat, ProtocolError, StudentField};

pub(crate) use oneroster::Bundle;
pub use plan::ImportPlan;
pub(crate) use table::Table;

/// Most rows of a file.
const MOST_ROWS: usize = 500_000;

/// How a file of students is to be read, and what may follow from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOptions {
    /// Of which form it is.
    pub format: ImportFormat,
    /// How its text is encoded; UTF-8 where it is `None`, or UTF-16 where it begins as such.
    pub encoding: Option<&'static encoding_rs::Encoding>,
    /// What stands between two fields; found in the header where it is `None`.
    pub delimiter: Option<u8>,
    /// Nothing is changed.
    pub dry_run: bool,
    /// Rows with problems are left out, and the others are taken.
    pub skip_bad_rows: bool,
    /// Students of whom a whole file says nothing any more become inactive.
    pub deactivate_missing: bool,
}

impl ImportOptions {
    /// Checks what a person asked for; empty is not asked for.
    ///
    /// # Errors
    /// `Invalid`, by field.
    pub fn new(format: ImportFormat, encoding: &str, delimiter: &str) -> Result<Self, ProtocolError> {
        let encoding = match encoding {
            "" => None,
            label => Some(encoding_rs::Encoding::for_label(label.as_bytes()).ok_or_else(|| {
                let problem = format!("{label:?} is not known; try utf-8, latin1, windows-1252 or utf-16le");
                ProtocolError::invalid("options.encoding", problem)
            })?),
        };
        let delimiter = match delimiter.as_bytes() {
            [] => None,
            [one] if one.is_ascii_punctuation() && *one != b'"' || *one == b'\t' => Some(*one),
            _ => {
                return Err(ProtocolError::invalid(
                    "options.delimiter",
                    "must be a comma, a semicolon, a tab or the like",
                ));
            }
        };
        let (dry_run, skip_bad_rows, deactivate_missing) = (false, false, false);
        Ok(Self { format, encoding, delimiter, dry_run, skip_bad_rows, deactivate_missing })
    }
}

/// Why a file can't be read at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub String);

/// Where in a file something stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Of a bundle, the file in it.
    pub file: &'static str,
    /// Counted from 1; 0 for the whole file.
    pub line: u64,
}

/// What is wrong in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportProblem {
    /// Where.
    pub place: Place,
    /// With which field of a student.
    pub field: Option<&'static str>,
    /// In words.
    pub message: String,
}

impl ImportProblem {
    pub(crate) fn new(place: &Place, field: Option<&'static str>, message: impl Into<String>) -> Self {
        Self { place: place.clone(), field, message: message.into() }
    }

    pub(crate) fn of(place: &Place, problem: &ProtocolError) -> Self {
        match problem {
            ProtocolError::Missing { field } => Self::new(place, Some(field), "is required"),
            ProtocolError::Invalid { field, problem } => Self::new(place, Some(field), problem),
        }
    }
}

/// A student as a row of a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportRow {
    /// Which row.
    pub place: Place,
    /// What it says; of fields that it does not name it says nothing.
    pub fields: Vec<(StudentField, String)>,
    /// Whether they belong to the site; `None` where it says nothing.
    pub active: Option<bool>,
    /// Says nothing of who is not there by their external id.
    pub only_known: bool,
}

/// What a file says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportFile {
    /// Its students.
    pub rows: Vec<ImportRow>,
    /// Rows that say nothing that can be used.
    pub problems: Vec<ImportProblem>,
    /// Columns that mean nothing here.
    pub ignored_columns: Vec<String>,
    /// Whether it says something of all students, or of those with an external id, or only of those that have changed.
    pub scope: ImportScope,
}

/// Of whom a file speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ImportScope {
    /// Of all students of the site.
    #[default]
    All,
    /// Of all whom another system knows: who have an external id.
    External,
    /// Only of those who have changed.
    Changes,
}

impl ImportFile {
    /// Reads a file.
    ///
    /// # Errors
    /// `Unreadable`: it is no file of this format.
    pub fn read(data: &[u8], options: &ImportOptions) -> Result<Self, Unreadable> {
        match options.format {
            ImportFormat::Csv => columns::read(data, options),
            ImportFormat::Oneroster => oneroster::read(data, options),
        }
    }
}
