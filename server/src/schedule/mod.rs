//! When people are expected where: terms and holidays, groups with their rosters, rooms with their devices, and class
//! sessions. What a login begins is a session of `people`, and none of these.

mod model;
mod service;
mod store;

pub use model::{
    ClassSession, Days, ExpectedAt, Group, GroupChange, GroupFilter, GroupMember, Holiday, HolidayDays,
    KnownGroup, KnownRosters, KnownSchedule, KnownSession, ListPosition, Membership, NewClassSession,
    NewGroup, NewTerm, NotAllowed, PatternDates, Room, RoomDevice, RosterFile, RosterImportOptions,
    RosterPlan, ScheduleKey, ScheduleRef, ScheduleVersion, SessionChange, SessionFile, SessionFilter,
    SessionImportOptions, SessionPlan, SessionTimes, SessionWindow, Term, TermChange, WeeklyPattern,
    check_transition, clock, date, local_time, optional_date, room_name, schedule_name, session_name,
    time_zone,
};
pub use service::{Expected, Groups, MadeFromPattern, Rooms, Sessions, Terms};
pub use store::{MemberEnd, ScheduleStore};
