use cavs_types::{CheckInKind, ClassSessionId, CorrectionId, CorrectionSource, Mark, StudentId};
use jiff::Timestamp;

/// A person's word on a mark, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCorrection {
    /// Whose mark.
    pub student: StudentId,
    /// What it is.
    pub mark: Mark,
}

/// A person's word on a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkCorrection {
    /// Made by the server.
    pub id: CorrectionId,
    /// What the mark is.
    pub mark: Mark,
    /// On what occasion it was said.
    pub source: CorrectionSource,
    /// Why.
    pub reason: String,
    /// When.
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: String,
    /// When it was taken back, and by whom, where it was.
    pub withdrawn: Option<(Timestamp, String)>,
}

/// Somebody shows that they are there by something else than their face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewCheckIn {
    /// Where.
    pub session: ClassSessionId,
    /// Who.
    pub student: StudentId,
    /// How.
    pub kind: CheckInKind,
    /// When.
    pub at: Timestamp,
}
