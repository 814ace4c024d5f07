//! Terms, groups, rooms and class sessions.

use cavs_proto::v1;
use cavs_types::{DeviceKind, DeviceRole, SessionSource, SessionState};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    StudentRefView,
    layout::{facts, moment, table},
    time, word,
};
use crate::{
    list::List,
    printer::{Report, Style},
};

/// A school year, a semester, a quarter.
#[derive(Debug, Clone, Serialize)]
pub struct TermView {
    /// UUID.
    pub id: String,
    /// Unique in the site.
    pub name: String,
    /// YYYY-MM-DD.
    pub start_date: String,
    /// The last day: YYYY-MM-DD.
    pub end_date: String,
    /// What another system calls it; may be empty.
    pub external_id: String,
    /// Of this state of the term.
    pub etag: String,
}

/// Days without sessions.
#[derive(Debug, Clone, Serialize)]
pub struct HolidayView {
    /// UUID.
    pub id: String,
    /// As people call it.
    pub name: String,
    /// YYYY-MM-DD.
    pub start_date: String,
    /// The last day: YYYY-MM-DD.
    pub end_date: String,
}

/// A class, a course, a team, a shift.
#[derive(Debug, Clone, Serialize)]
pub struct GroupView {
    /// UUID.
    pub id: String,
    /// Unique among the groups that are not archived.
    pub name: String,
    /// UUID of its term; may be empty.
    pub term_id: String,
    /// Name of its term; may be empty.
    pub term_name: String,
    /// What another system calls it; may be empty.
    pub external_id: String,
    /// Who are members today.
    pub member_count: u64,
    /// Since when it is in no list; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_time: Option<Timestamp>,
    /// Of this state of the group.
    pub etag: String,
}

/// Somebody of a roster.
#[derive(Debug, Clone, Serialize)]
pub struct MemberView {
    /// Who.
    pub student: StudentRefView,
    /// YYYY-MM-DD.
    pub start_date: String,
    /// The last day: YYYY-MM-DD; empty until further notice.
    pub end_date: String,
}

/// A group or a room in another result.
#[derive(Debug, Clone, Serialize)]
pub struct NamedView {
    /// UUID.
    pub id: String,
    /// As people call it.
    pub name: String,
}

/// The groups of a student.
#[derive(Debug, Serialize)]
pub struct MembershipsView {
    /// By name and day.
    pub memberships: Vec<MembershipView>,
}

/// A group of somebody's.
#[derive(Debug, Serialize)]
pub struct MembershipView {
    /// Which.
    pub group: NamedView,
    /// YYYY-MM-DD.
    pub start_date: String,
    /// The last day: YYYY-MM-DD; empty until further notice.
    pub end_date: String,
}

/// Where devices and sessions are.
#[derive(Debug, Clone, Serialize)]
pub struct ClassroomView {
    /// UUID.
    pub id: String,
    /// Unique in the site.
    pub name: String,
    /// Those that are not revoked, by name.
    pub devices: Vec<RoomDeviceView>,
    /// Of this state of the room.
    pub etag: String,
}

/// A device in its room.
#[derive(Debug, Clone, Serialize)]
pub struct RoomDeviceView {
    /// UUID.
    pub device_id: String,
    /// As people call it.
    pub name: String,
    /// `agent` or `esp32_cam`.
    pub kind: &'static str,
    /// `entry`, `exit` or `inside`.
    pub role: &'static str,
    /// UUID of the agent that speaks for it; may be empty.
    pub proxy_id: String,
}

/// When a group is expected somewhere.
#[derive(Debug, Clone, Serialize)]
pub struct SessionView {
    /// UUID; empty where it is not made yet.
    pub id: String,
    /// Who is expected.
    pub group: NamedView,
    /// May be empty.
    pub name: String,
    /// RFC 3339.
    pub start_time: Option<Timestamp>,
    /// RFC 3339.
    pub end_time: Option<Timestamp>,
    /// `planned`, `open`, `closing`, `finalised` or `cancelled`.
    pub state: &'static str,
    /// `manual`, `csv`, `oneroster`, `icalendar` or `pattern`.
    pub source: &'static str,
    /// By name.
    pub rooms: Vec<NamedView>,
    /// What its source calls it; may be empty.
    pub external_id: String,
    /// UUID of what it was imported from; may be empty.
    pub calendar_id: String,
    /// Of this state of the session.
    pub etag: String,
}

/// What a weekly pattern has made, or would make.
#[derive(Debug, Serialize)]
pub struct PlannedSessionsView {
    /// Nothing was made.
    pub dry_run: bool,
    /// In the order of their starts.
    pub sessions: Vec<SessionView>,
    /// Were there before.
    pub existing: u64,
    /// Days of the pattern that are holidays.
    pub holidays: u64,
}

/// Terms, ordered by the first day.
#[derive(Debug)]
pub struct TermList;
/// Holidays, ordered by the first day.
#[derive(Debug)]
pub struct HolidayList;
/// Groups, ordered by name.
#[derive(Debug)]
pub struct GroupList;
/// Members of a group, ordered by number.
#[derive(Debug)]
pub struct MemberList;
/// Rooms, ordered by name.
#[derive(Debug)]
pub struct ClassroomList;
/// Sessions, ordered by start.
#[derive(Debug)]
pub struct SessionList;

impl From<v1::Term> for TermView {
    fn from(term: v1::Term) -> Self {
        let v1::Term { id, name, start_date, end_date, external_id, etag, .. } = term;
        Self { id, name, start_date, end_date, external_id, etag }
    }
}

impl From<v1::Holiday> for HolidayView {
    fn from(holiday: v1::Holiday) -> Self {
        let v1::Holiday { id, name, start_date, end_date, .. } = holiday;
        Self { id, name, start_date, end_date }
    }
}

impl From<v1::Group> for GroupView {
    fn from(group: v1::Group) -> Self {
        let v1::Group { id, name, term_id, term_name, external_id, member_count, archive_time, etag, .. } =
            group;
        let archive_time = time(archive_time.as_ref());
        Self { id, name, term_id, term_name, external_id, member_count, archive_time, etag }
    }
}

impl From<v1::GroupMember> for MemberView {
    fn from(member: v1::GroupMember) -> Self {
        let v1::GroupMember { student, start_date, end_date } = member;
        Self { student: student.unwrap_or_default().into(), start_date, end_date }
    }
}

impl From<v1::GroupRef> for NamedView {
    fn from(v1::GroupRef { id, name }: v1::GroupRef) -> Self {
        Self { id, name }
    }
}

impl From<v1::RoomRef> for NamedView {
    fn from(v1::RoomRef { id, name }: v1::RoomRef) -> Self {
        Self { id, name }
    }
}

impl From<v1::ListStudentGroupsResponse> for MembershipsView {
    fn from(found: v1::ListStudentGroupsResponse) -> Self {
        let membership = |membership: v1::Membership| {
            let v1::Membership { group, start_date, end_date } = membership;
            MembershipView { group: group.unwrap_or_default().into(), start_date, end_date }
        };
        Self { memberships: found.memberships.into_iter().map(membership).collect() }
    }
}

impl From<v1::Room> for ClassroomView {
    fn from(room: v1::Room) -> Self {
        let v1::Room { id, name, devices, etag, .. } = room;
        let device = |device: v1::RoomDevice| {
            let v1::RoomDevice { device_id, name, kind, role, proxy_id } = device;
            let (kind, role) = (word(kind, DeviceKind::as_str), word(role, DeviceRole::as_str));
            RoomDeviceView { device_id, name, kind, role, proxy_id }
        };
        Self { id, name, devices: devices.into_iter().map(device).collect(), etag }
    }
}

impl From<v1::ClassSession> for SessionView {
    fn from(session: v1::ClassSession) -> Self {
        Self {
            id: session.id,
            group: session.group.unwrap_or_default().into(),
            name: session.name,
            start_time: time(session.start_time.as_ref()),
            end_time: time(session.end_time.as_ref()),
            state: word(session.state, SessionState::as_str),
            source: word(session.source, SessionSource::as_str),
            rooms: session.rooms.into_iter().map(Into::into).collect(),
            external_id: session.external_id,
            calendar_id: session.calendar_id,
            etag: session.etag,
        }
    }
}

impl PlannedSessionsView {
    /// The server's answer on a pattern that was meant so.
    #[must_use]
    pub fn new(made: v1::CreateClassSessionsResponse, dry_run: bool) -> Self {
        let v1::CreateClassSessionsResponse { sessions, existing, holidays } = made;
        Self { dry_run, sessions: sessions.into_iter().map(Into::into).collect(), existing, holidays }
    }
}

impl Report for TermView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("name", self.name.clone()),
                ("from", self.start_date.clone()),
                ("until", self.end_date.clone()),
                ("external id", self.external_id.clone()),
                ("id", self.id.clone()),
            ],
        )
    }
}

impl Report for HolidayView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("name", self.name.clone()),
                ("from", self.start_date.clone()),
                ("until", self.end_date.clone()),
                ("id", self.id.clone()),
            ],
        )
    }
}

impl Report for GroupView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("name", self.name.clone()),
                ("term", self.term_name.clone()),
                ("members today", self.member_count.to_string()),
                ("external id", self.external_id.clone()),
                ("archived", moment(style, self.archive_time)),
                ("id", self.id.clone()),
            ],
        )
    }
}

impl Report for MembershipsView {
    const ROWS: Option<&'static str> = Some("memberships");

    fn table(&self, style: &Style) -> String {
        let row = |m: &MembershipView| [m.group.name.clone(), m.start_date.clone(), m.end_date.clone()];
        table(style, ["GROUP", "FROM", "UNTIL"], self.memberships.iter().map(row).collect())
    }
}

impl ClassroomView {
    /// Its devices with their roles, in a line.
    fn device_names(&self) -> String {
        let devices = self.devices.iter().map(|device| format!("{} ({})", device.name, device.role));
        devices.collect::<Vec<_>>().join(", ")
    }
}

impl Report for ClassroomView {
    fn table(&self, style: &Style) -> String {
        let facts_of_it =
            [("name", self.name.clone()), ("devices", self.device_names()), ("id", self.id.clone())];
        facts(style, &facts_of_it)
    }
}

impl SessionView {
    fn room_names(&self) -> String {
        self.rooms.iter().map(|room| room.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    fn row(&self, style: &Style) -> [String; 6] {
        [
            moment(style, self.start_time),
            moment(style, self.end_time),
            self.group.name.clone(),
            self.room_names(),
            self.state.to_owned(),
            self.id.clone(),
        ]
    }
}

impl Report for SessionView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("group", self.group.name.clone()),
                ("name", self.name.clone()),
                ("from", moment(style, self.start_time)),
                ("until", moment(style, self.end_time)),
                ("rooms", self.room_names()),
                ("state", self.state.to_owned()),
                ("source", self.source.to_owned()),
                ("external id", self.external_id.clone()),
                ("id", self.id.clone()),
            ],
        )
    }
}

impl Report for PlannedSessionsView {
    const ROWS: Option<&'static str> = Some("sessions");

    fn table(&self, style: &Style) -> String {
        let rows = self.sessions.iter().map(|session| session.row(style)).collect();
        let would = if self.dry_run { "nothing was changed, as it was a dry run; would be: " } else { "" };
        let mut summary = format!("{would}{} sessions", self.sessions.len());
        for (count, what) in [(self.existing, "there before"), (self.holidays, "left out for holidays")] {
            if count > 0 {
                summary.push_str(&format!("; {count} {what}"));
            }
        }
        let parts = [table(style, ["FROM", "UNTIL", "GROUP", "ROOMS", "STATE", "ID"], rows), summary];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n")
    }
}

impl List for TermList {
    type Entry = TermView;
    const FIELD: &'static str = "terms";
    const NAME: &'static str = "terms";
    const HEADER: &'static [&'static str] = &["NAME", "FROM", "UNTIL", "ID"];

    fn cells(term: &TermView, _style: &Style) -> Vec<String> {
        vec![term.name.clone(), term.start_date.clone(), term.end_date.clone(), term.id.clone()]
    }
}

impl List for HolidayList {
    type Entry = HolidayView;
    const FIELD: &'static str = "holidays";
    const NAME: &'static str = "holidays";
    const HEADER: &'static [&'static str] = &["NAME", "FROM", "UNTIL", "ID"];

    fn cells(holiday: &HolidayView, _style: &Style) -> Vec<String> {
        let HolidayView { id, name, start_date, end_date } = holiday;
        vec![name.clone(), start_date.clone(), end_date.clone(), id.clone()]
    }
}

impl List for GroupList {
    type Entry = GroupView;
    const FIELD: &'static str = "groups";
    const NAME: &'static str = "groups";
    const HEADER: &'static [&'static str] = &["NAME", "TERM", "MEMBERS TODAY", "ID"];

    fn cells(group: &GroupView, _style: &Style) -> Vec<String> {
        vec![group.name.clone(), group.term_name.clone(), group.member_count.to_string(), group.id.clone()]
    }
}

impl List for MemberList {
    type Entry = MemberView;
    const FIELD: &'static str = "members";
    const NAME: &'static str = "members";
    const HEADER: &'static [&'static str] = &["NUMBER", "NAME", "FROM", "UNTIL"];

    fn cells(member: &MemberView, _style: &Style) -> Vec<String> {
        vec![
            member.student.number.clone(),
            member.student.name.clone(),
            member.start_date.clone(),
            member.end_date.clone(),
        ]
    }
}

impl List for ClassroomList {
    type Entry = ClassroomView;
    const FIELD: &'static str = "rooms";
    const NAME: &'static str = "rooms";
    const HEADER: &'static [&'static str] = &["NAME", "DEVICES", "ID"];

    fn cells(room: &ClassroomView, _style: &Style) -> Vec<String> {
        vec![room.name.clone(), room.device_names(), room.id.clone()]
    }
}

impl List for SessionList {
    type Entry = SessionView;
    const FIELD: &'static str = "sessions";
    const NAME: &'static str = "sessions";
    const HEADER: &'static [&'static str] = &["FROM", "UNTIL", "GROUP", "ROOMS", "STATE", "ID"];

    fn cells(session: &SessionView, style: &Style) -> Vec<String> {
        session.row(style).into()
    }
}
