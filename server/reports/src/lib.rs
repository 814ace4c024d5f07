//! Attendance reports: the data of each, how they are counted, and how they look as files.
//!
//! A server computes the data ([`SheetReport`], [`WeekReport`], [`PersonReport`], [`WarningReport`], [`RoomReport`]);
//! [`Document`] is what all of them become, and what the writers of files take: data in, bytes out.

mod cell;
mod csv;
mod data;
mod document;
#[cfg(feature = "files")]
mod html;
#[cfg(feature = "files")]
mod parquet;
#[cfg(feature = "files")]
mod pdf;
mod tally;
#[cfg(test)]
#[cfg(feature = "files")]
mod tests;
#[cfg(feature = "files")]
mod xlsx;

pub use cell::{Cell, Kind};
pub use csv::{csv_document, csv_line};
pub use data::{
    Head, Person, PersonReport, PersonRow, RoomReport, RoomRow, Session, SheetReport, SheetRow, Visitor,
    WarningReport, WarningRow, WeekReport, WeekRow,
};
pub use document::{Column, Document, Table, mark_words};
#[cfg(feature = "files")]
pub use html::html;
#[cfg(feature = "files")]
pub use parquet::{ParquetRows, parquet_document};
#[cfg(feature = "files")]
pub use pdf::{Fonts, missing_letters, pdf};
pub use tally::{Rate, Tally};
#[cfg(feature = "files")]
pub use xlsx::xlsx;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A library could not write it.
    #[error("{form}: {problem}")]
    Failed {
        /// `PDF`, for one.
        form: &'static str,
        /// What it said.
        problem: String,
    },
    /// A PDF takes its letters from fonts of the machine, and there are none.
    #[error("PDF: this machine has no fonts; install some, such as Debian's fonts-dejavu-core")]
    NoFonts,
}

impl FileError {
    fn failed(form: &'static str, problem: impl std::fmt::Display) -> Self {
        Self::Failed { form, problem: problem.to_string() }
    }
}
