//! What a schedule is made of, and its rules. No I/O.

mod days;
mod expected;
mod group;
mod import;
mod pattern;
mod room;
mod session;
mod shared;
mod term;

pub use days::{Days, clock, date, local_time, optional_date, time_zone};
pub use expected::{ExpectedAt, SessionWindow};
pub use group::{Group, GroupChange, GroupFilter, GroupMember, Membership, NewGroup};
pub use import::{
    KnownGroup, KnownRosters, KnownSchedule, KnownSession, RosterFile, RosterImportOptions, RosterPlan,
    SessionFile, SessionImportOptions, SessionPlan,
};
pub use pattern::{HolidayDays, PatternDates, WeeklyPattern};
pub use room::{Room, RoomDevice, room_name};
pub use session::{
    ClassSession, NewClassSession, NotAllowed, SessionChange, SessionFilter, SessionTimes, check_transition,
};
pub use shared::{ListPosition, ScheduleKey, ScheduleRef, ScheduleVersion, schedule_name, session_name};
pub use term::{Holiday, NewTerm, Term, TermChange};
