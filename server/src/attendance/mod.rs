//! What class sessions say of people: marks, which `cavs_attendance` makes of a session's records, and what people say
//! beside them.

mod model;
mod service;
mod store;

pub use model::{
    Appeal, AppealDecision, AppealState, CardNumber, CheckInPlace, CredentialTimes, DecidedSighting,
    ExcusedTime, FalseMatches, HistoryEntry, LateProposal, MarkCorrection, MarkDetails, MarkFilter,
    MarkListed, MarkPosition, MarkedSession, NewAppeal, NewCheckIn, NewCorrection, NewExcuse, PersonReport,
    Pin, PolicyOf, PolicyVersion, ReportDays, ReportHead, ReportSpan, RoomReport, RoomUse, SessionCode,
    SessionHead, SessionPlan, SessionSheet, SheetMark, SheetReport, StoredPolicy, UnverifiedCode,
    VisitorSeen, WarningFilter, WarningReport, WarningRow, WeekMark, WeekOf, WeekReport, WeekRow, in_words,
    reason_text,
};
pub use service::{
    Appeals, CheckIns, Corrections, Excuses, MarkFeed, MarkNews, MarkWatch, MarksKeeper, Policies, Reports,
    Sheets,
};
pub use store::AttendanceStore;
