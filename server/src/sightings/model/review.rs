use cavs_types::{ProtocolError, SightingId, StudentId, Verdict};
use jiff::Timestamp;

use crate::{people::StudentRef, text};

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
    /// Whether an earlier approval or rejection may be replaced.
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
        Ok(Self { sighting, verdict, notes: text::paragraph("notes", notes, 2000)?, corrected, replace })
    }
}

/// A recorded verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// What the person said.
    pub verdict: Verdict,
    /// User name of the person.
    pub reviewer: String,
    /// When.
    pub reviewed_at: Timestamp,
    /// In their words.
    pub notes: String,
    /// Who it really was.
    pub corrected: Option<StudentRef>,
}
