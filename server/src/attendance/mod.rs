//! What class sessions say of people: marks, which `cavs_attendance` makes of a session's records, and what people say
//! beside them.

mod model;
mod service;
mod store;

pub use model::{
    Appeal, AppealDecision, AppealState, ExcusedTime, HistoryEntry, LateProposal, MarkCorrection,
    MarkDetails, MarkFilter, MarkListed, MarkPosition, MarkedSession, NewAppeal, NewCheckIn, NewCorrection,
    NewExcuse, PersonReport, PolicyOf, PolicyVersion, ProposalState, ReportDays, ReportHead, ReportSpan,
    RoomReport, RoomUse, SessionHead, SessionPlan, SessionSheet, SheetMark, SheetReport, StoredPolicy,
    VisitorSeen, WarningFilter, WarningReport, WarningRow, WeekMark, WeekOf, WeekReport, WeekRow, in_words,
    reason_text,
};
pub use service::{
    Appeals, Corrections, Excuses, MarkFeed, MarkWatch, MarksKeeper, Policies, Reports, Sheets,
};
pub use store::AttendanceStore;
