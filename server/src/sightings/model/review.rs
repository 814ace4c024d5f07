use cavs_types::{ProtocolError, SightingId, StudentId, Verdict};
use jiff::Timestamp;

use crate::{people::StudentRef, text};

/// Most characters of what a reviewer writes.
const MOST_NOTES: usize = 2000;

/// A verdict to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReview {
    /// On what.
    pub sighting: SightingId,
    /// What the person says.
    pub verdict: Verdict,
    /// At most 2000 characters.
    pub notes: String,
    /// Who it really was.
    pub corrected: Option<StudentId>,
    /// Whether it may take the place of an earlier approval or rejection.
    pub replace: bool,
}

impl NewReview {
    /// Checks what a person typed.
    ///
    /// # Errors
    /// `Invalid` notes.
    pub fn new(
        sighting: SightingId,
        verdict: Verdict,
        notes: &str,
        corrected: Option<StudentId>,
        replace: bool,
    ) -> Result<Self, ProtocolError> {
        let notes = text::paragraph("notes", notes, MOST_NOTES)?;
        Ok(Self { sighting, verdict, notes, corrected, replace })
    }
}

/// The taking back of the verdict in force: the one before it is in force again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWithdrawal {
    /// The sighting whose verdict is taken back.
    pub sighting: SightingId,
    /// At most 2000 characters.
    pub notes: String,
    /// Whether the verdict may be somebody else's.
    pub of_anybody: bool,
}

impl NewWithdrawal {
    /// Checks what a person typed.
    ///
    /// # Errors
    /// `Invalid` notes.
    pub fn new(sighting: SightingId, notes: &str, of_anybody: bool) -> Result<Self, ProtocolError> {
        Ok(Self { sighting, notes: text::paragraph("notes", notes, MOST_NOTES)?, of_anybody })
    }
}

/// A recorded verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// What the person said.
    pub verdict: Verdict,
    /// User name of the person.
    pub reviewer: String,
    /// By the database's clock.
    pub reviewed_at: Timestamp,
    /// In their words.
    pub notes: String,
    /// Who it really was.
    pub corrected: Option<StudentRef>,
    /// That it was taken back.
    pub withdrawal: Option<Withdrawal>,
}

/// That a verdict was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// User name of the person who took it back.
    pub reviewer: String,
    /// By the database's clock.
    pub withdrawn_at: Timestamp,
    /// In their words.
    pub notes: String,
}
