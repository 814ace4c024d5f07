use cavs_types::{CalendarId, ClassSessionId, GroupId, ProtocolError, RoomId, SessionSource, SessionState};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use super::{ScheduleRef, ScheduleVersion};
use crate::page::ListName;

/// Longest session: a shift over two nights. The database refuses longer ones.
const LONGEST: SignedDuration = SignedDuration::from_hours(48);

/// When a group is expected somewhere: what attendance is taken of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassSession {
    /// Made by the server.
    pub id: ClassSessionId,
    /// Who is expected.
    pub group: ScheduleRef<GroupId>,
    /// May be empty.
    pub name: String,
    /// From when until when.
    pub times: SessionTimes,
    /// How far it is.
    pub state: SessionState,
    /// From where it is known.
    pub source: SessionSource,
    /// What its source calls it; may be empty.
    pub external_id: String,
    /// What it was imported from.
    pub calendar: Option<CalendarId>,
    /// Where, by name; may be nowhere.
    pub rooms: Vec<ScheduleRef<RoomId>>,
    /// One more with each change.
    pub version: ScheduleVersion,
    /// When it was planned.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

/// From when until when a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimes {
    starts_at: Timestamp,
    ends_at: Timestamp,
}

impl SessionTimes {
    /// Between two points in time.
    ///
    /// # Errors
    /// `Invalid`: it would end before it begins, or last more than 48 hours.
    pub fn new(starts_at: Timestamp, ends_at: Timestamp) -> Result<Self, ProtocolError> {
        let lasts = ends_at.duration_since(starts_at);
        if lasts <= SignedDuration::ZERO {
            return Err(ProtocolError::invalid("end_time", "is not after the start"));
        }
        if lasts > LONGEST {
            return Err(ProtocolError::invalid("end_time", "is more than 48 hours after the start"));
        }
        Ok(Self { starts_at, ends_at })
    }

    /// Between two readings of a zone's clocks. One that the clocks leave out in spring is moved on by as much as they
    /// are put forward; of one that they show twice in autumn the first is meant (RFC 5545, 3.3.5). Where that leaves
    /// nothing of a session, it lasts as long as the clocks' readings are apart.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn local(zone: &TimeZone, starts: DateTime, ends: DateTime) -> Result<Self, ProtocolError> {
        let moment = |field, local: DateTime| {
            let zoned = local.to_zoned(zone.clone());
            zoned.map(|zoned| zoned.timestamp()).map_err(|error| ProtocolError::invalid(field, error))
        };
        let starts_at = moment("start_time", starts)?;
        let ends_at = moment("end_time", ends)?;
        if ends_at <= starts_at && ends > starts {
            let lasts = ends.duration_since(starts);
            let ends_at = starts_at.checked_add(lasts);
            return Self::new(starts_at, ends_at.map_err(|error| ProtocolError::invalid("end_time", error))?);
        }
        Self::new(starts_at, ends_at)
    }

    /// When it begins.
    #[must_use]
    pub const fn starts_at(self) -> Timestamp {
        self.starts_at
    }

    /// When it is over.
    #[must_use]
    pub const fn ends_at(self) -> Timestamp {
        self.ends_at
    }
}

/// A session to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewClassSession {
    /// Made for it.
    pub id: ClassSessionId,
    /// Who is expected.
    pub group: GroupId,
    /// May be empty.
    pub name: String,
    /// From when until when.
    pub times: SessionTimes,
    /// Where; may be nowhere.
    pub rooms: Vec<RoomId>,
    /// From where it is known.
    pub source: SessionSource,
    /// What its source calls it; may be empty.
    pub external_id: String,
    /// What it was imported from.
    pub calendar: Option<CalendarId>,
}

/// What is changed of a session; `None` stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionChange {
    /// Who is expected.
    pub group: Option<GroupId>,
    /// May be empty.
    pub name: Option<String>,
    /// When it begins.
    pub starts_at: Option<Timestamp>,
    /// When it is over.
    pub ends_at: Option<Timestamp>,
    /// Where; may be nowhere.
    pub rooms: Option<Vec<RoomId>>,
}

impl SessionChange {
    /// Whether it changes nothing but the name.
    #[must_use]
    pub const fn is_name_only(&self) -> bool {
        self.group.is_none() && self.starts_at.is_none() && self.ends_at.is_none() && self.rooms.is_none()
    }

    /// When the session is to be.
    ///
    /// # Errors
    /// As [`SessionTimes::new`].
    pub fn times(&self, before: SessionTimes) -> Result<SessionTimes, ProtocolError> {
        SessionTimes::new(self.starts_at.unwrap_or(before.starts_at), self.ends_at.unwrap_or(before.ends_at))
    }
}

/// Which sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFilter {
    /// That begin then or later.
    pub from: Option<Timestamp>,
    /// That begin before.
    pub until: Option<Timestamp>,
    /// In this room.
    pub room: Option<RoomId>,
    /// Of this group.
    pub group: Option<GroupId>,
    /// In this state.
    pub state: Option<SessionState>,
}

impl SessionFilter {
    /// The list that page tokens are of.
    #[must_use]
    pub fn list_name(&self) -> ListName {
        let Self { from, until, room, group, state } = self;
        ListName::new("class sessions")
            .with("from", from.map(|from| from.to_string()).as_deref())
            .with("until", until.map(|until| until.to_string()).as_deref())
            .with("room", room.map(|room| room.to_string()).as_deref())
            .with("group", group.map(|group| group.to_string()).as_deref())
            .with("state", state.map(SessionState::as_str))
    }
}

/// A session does not go from one state to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a session that is {from} can't become {to}")]
pub struct NotAllowed {
    /// As it is.
    pub from: SessionState,
    /// As somebody wants it.
    pub to: SessionState,
}

/// Whether a session may go from one state to another. Time takes it from planned over open and closing to finalised,
/// a step at a time; and back where its times were changed, but never from finalised. People cancel one that is not
/// finalised, and take that back: it is planned then, and time goes on with it.
///
/// # Errors
/// It may not.
pub fn check_transition(from: SessionState, to: SessionState) -> Result<(), NotAllowed> {
    use SessionState::{Cancelled, Closing, Finalised, Open, Planned};
    let allowed = match (from, to) {
        (Planned, Open | Cancelled) => true,
        (Open, Planned | Closing | Cancelled) => true,
        (Closing, Planned | Open | Finalised | Cancelled) => true,
        (Cancelled, Planned) => true,
        (Planned, Planned | Closing | Finalised)
        | (Open, Open | Finalised)
        | (Closing, Closing)
        | (Cancelled, Open | Closing | Finalised | Cancelled)
        | (Finalised, Planned | Open | Closing | Finalised | Cancelled) => false,
    };
    if allowed { Ok(()) } else { Err(NotAllowed { from, to }) }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn time_takes_a_session_a_step_at_a_time_and_nothing_leaves_the_end() {
        use SessionState::{Cancelled, Closing, Finalised, Open, Planned};
        for (from, to) in [(Planned, Open), (Open, Closing), (Closing, Finalised), (Cancelled, Planned)] {
            check_transition(from, to).unwrap();
        }
        for (from, to) in [(Planned, Closing), (Planned, Finalised), (Open, Finalised), (Cancelled, Open)] {
            assert_eq!(check_transition(from, to), Err(NotAllowed { from, to }));
        }
        for state in SessionState::ALL {
            assert!(check_transition(Finalised, *state).is_err());
            assert!(check_transition(*state, *state).is_err());
            assert_eq!(check_transition(*state, Cancelled).is_ok(), !matches!(state, Cancelled | Finalised));
        }
    }

    #[test]
    fn the_two_odd_nights_have_sessions_of_their_own_length() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let night = |day: jiff::civil::Date, from: (i8, i8), to: (i8, i8)| {
            let (starts, ends) = (day.at(from.0, from.1, 0, 0), day.at(to.0, to.1, 0, 0));
            let times = SessionTimes::local(&zone, starts, ends).unwrap();
            (times.starts_at().to_string(), times.ends_at().duration_since(times.starts_at()).as_mins())
        };
        let (spring, autumn) = (date(2026, 3, 29), date(2026, 10, 25));
        assert_eq!(night(spring, (1, 30), (3, 30)), ("2026-03-29T00:30:00Z".into(), 60));
        assert_eq!(night(autumn, (1, 30), (3, 30)), ("2026-10-24T23:30:00Z".into(), 180));
        // 02:30 is not there in spring, and there twice in autumn.
        assert_eq!(night(spring, (2, 30), (4, 0)), ("2026-03-29T01:30:00Z".into(), 30));
        assert_eq!(night(autumn, (2, 30), (4, 0)), ("2026-10-25T00:30:00Z".into(), 150));
        // What would end before it begins keeps its length.
        assert_eq!(night(spring, (2, 30), (3, 15)), ("2026-03-29T01:30:00Z".into(), 45));
    }

    #[test]
    fn sessions_end_after_they_begin_and_within_two_days() {
        let at = |hour: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hour);
        SessionTimes::new(at(0), at(48)).unwrap();
        for (starts, ends) in [(0, 0), (1, 0), (0, 49)] {
            assert!(SessionTimes::new(at(starts), at(ends)).is_err());
        }
        let moved = SessionChange { starts_at: Some(at(5)), ..SessionChange::default() };
        assert!(moved.times(SessionTimes::new(at(0), at(4)).unwrap()).is_err());
        assert!(!moved.is_name_only() && SessionChange::default().is_name_only());
    }
}
