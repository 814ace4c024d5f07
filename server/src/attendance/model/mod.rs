mod appeal;
mod correction;
mod credential;
mod excuse;
mod plan;
mod policy;
mod report;
mod sheet;
mod words;

use cavs_types::ProtocolError;

use crate::text;

pub use appeal::{Appeal, AppealDecision, AppealState, LateProposal, NewAppeal};
pub use correction::{MarkCorrection, NewCheckIn, NewCorrection};
pub use credential::{CardNumber, CheckInPlace, CredentialTimes, Pin, SessionCode, UnverifiedCode};
pub use excuse::{ExcusedTime, NewExcuse};
pub use plan::{SessionHead, SessionPlan};
pub use policy::{PolicyOf, PolicyVersion, StoredPolicy};
pub use report::{
    PersonReport, ReportDays, ReportHead, ReportSpan, RoomReport, RoomUse, SheetReport, WarningFilter,
    WarningReport, WarningRow, WeekMark, WeekOf, WeekReport, WeekRow,
};
pub use sheet::{
    DecidedSighting, FalseMatches, HistoryEntry, MarkDetails, MarkFilter, MarkListed, MarkPosition,
    MarkedSession, SessionSheet, SheetMark, VisitorSeen,
};
pub use words::in_words;

/// Longest reason or answer, in characters.
const LONGEST_REASON: usize = 1000;

/// Why somebody says something, as it is stored: at most 1,000 characters, not empty.
///
/// # Errors
/// `Missing` or `Invalid`.
pub fn reason_text(field: &'static str, typed: &str) -> Result<String, ProtocolError> {
    text::required(field, text::paragraph(field, typed, LONGEST_REASON)?)
}
