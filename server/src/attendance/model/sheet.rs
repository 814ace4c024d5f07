use std::{collections::BTreeMap, fmt, str::FromStr};

use cavs_attendance::{Evidence, Policy, Rule};
use cavs_types::{
    ClassSessionId, CorrectionId, Decision, DeviceId, GroupId, Mark, MatchScope, ProtocolError, SessionState,
    SightingId, StudentId,
};
use jiff::{Timestamp, tz::TimeZone};
use uuid::Uuid;

use super::MarkCorrection;
use crate::{page::ListName, people::StudentRef, recognition::ScopeRate};

/// A session, as its marks name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkedSession {
    /// Which.
    pub id: ClassSessionId,
    /// May be empty.
    pub name: String,
    /// Of which group.
    pub group: GroupId,
    /// The group's name.
    pub group_name: String,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it is over.
    pub ends_at: Timestamp,
    /// How far it is.
    pub state: SessionState,
}

/// What a session says of a person.
#[derive(Debug, Clone, PartialEq)]
pub struct SheetMark {
    /// Who.
    pub student: StudentRef,
    /// What it says: a person's word before the machine's.
    pub mark: Mark,
    /// What the records say without anybody's word.
    pub machine_mark: Mark,
    /// The word in force, where a person has said something.
    pub correction: Option<CorrectionId>,
    /// When they were first seen.
    pub first_seen_at: Option<Timestamp>,
    /// When they were last seen.
    pub last_seen_at: Option<Timestamp>,
    /// Whole minutes of the session that they were there.
    pub minutes_present: u32,
    /// Whole minutes from the start to their coming, where they were late.
    pub minutes_late: u32,
    /// Whole minutes from their leaving to the end, where they left early.
    pub minutes_left_early: u32,
    /// Counts the changes of the mark from 1.
    pub number: u32,
    /// When it was last changed.
    pub changed_at: Timestamp,
}

/// Somebody who was recognised and is not on the roster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisitorSeen {
    /// Who.
    pub student: StudentRef,
    /// When they were first seen.
    pub first_seen_at: Timestamp,
    /// When they were last seen.
    pub last_seen_at: Timestamp,
    /// How often.
    pub sightings: u32,
}

/// All that a session says.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSheet {
    /// Which session.
    pub session: MarkedSession,
    /// Where, by name.
    pub rooms: Vec<String>,
    /// One for each person of the roster, by number.
    pub marks: Vec<SheetMark>,
    /// Those who came without being expected.
    pub visitors: Vec<VisitorSeen>,
    /// Why nobody is absent for not having been seen; empty where they are.
    pub unproven: Vec<Rule>,
    /// The names of the session's devices.
    pub devices: BTreeMap<DeviceId, String>,
    /// What somebody must do to be present.
    pub policy: Policy,
    /// When it was last looked at; `None`: it has not begun.
    pub evaluated_at: Option<Timestamp>,
    /// Where they were asked for.
    pub false_matches: Option<FalseMatches>,
    /// The zone that the site's clocks show.
    pub zone: TimeZone,
}

impl SessionSheet {
    /// How many have which mark.
    #[must_use]
    pub fn count(&self, mark: Mark) -> u32 {
        u32::try_from(self.marks.iter().filter(|of| of.mark == mark).count()).unwrap_or(u32::MAX)
    }
}

/// How many faces of a session are expected to be taken for somebody's whose they are not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FalseMatches {
    /// Faces that the session's devices saw in its time.
    pub faces: u64,
    /// How often a stranger is taken for somebody who is expected; `None` where nobody is.
    pub roster: Option<ScopeRate>,
    /// How often for somebody of the site.
    pub site: ScopeRate,
}

impl FalseMatches {
    /// How many of the faces are expected to have been accepted if all of them were strangers'. A stranger may be like
    /// somebody on the roster, or like somebody else.
    #[must_use]
    pub fn at_most(&self) -> Option<f64> {
        let of_roster = self.roster.map_or(Some(0.0), |roster| roster.per_thousand)?;
        let rate = (of_roster + self.site.per_thousand?) / 1000.0;
        Some(self.faces as f64 * rate.min(1.0))
    }
}

/// How the machine decided on a sighting.
#[derive(Debug, Clone, PartialEq)]
pub struct DecidedSighting {
    /// Which.
    pub id: SightingId,
    /// When it was captured.
    pub captured_at: Timestamp,
    /// What followed.
    pub decision: Decision,
    /// Of the best candidate, where there was one.
    pub similarity: Option<f32>,
    /// The similarity that would have been accepted.
    pub threshold: f32,
    /// Version of the thresholds.
    pub threshold_version: u32,
    /// Among whom the best candidate was judged.
    pub scope: MatchScope,
    /// Templates of those; `None` where nobody noted it.
    pub scope_templates: Option<u32>,
}

/// A mark with its session.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkListed {
    /// Of which session.
    pub session: MarkedSession,
    /// What it says of whom.
    pub mark: SheetMark,
}

/// What a mark was from a time on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// Counts from 1.
    pub number: u32,
    /// What it became.
    pub mark: Mark,
    /// What the records said.
    pub machine_mark: Mark,
    /// The word in force.
    pub correction: Option<CorrectionId>,
    /// Whether the person was on the roster.
    pub is_listed: bool,
    /// When.
    pub changed_at: Timestamp,
}

/// Why somebody has a mark.
#[derive(Debug, Clone, PartialEq)]
pub struct MarkDetails {
    /// The mark with its session.
    pub listed: MarkListed,
    /// What led to it.
    pub rules: Vec<Rule>,
    /// What proves it.
    pub evidence: Vec<Evidence>,
    /// The sightings of the evidence that are still kept, by time.
    pub sightings: Vec<DecidedSighting>,
    /// All that people said of it, the first one first.
    pub corrections: Vec<MarkCorrection>,
    /// All that it has been, the first one first.
    pub history: Vec<HistoryEntry>,
    /// What somebody must do to be present.
    pub policy: Policy,
    /// The names of the session's devices.
    pub devices: BTreeMap<DeviceId, String>,
    /// The zone that the site's clocks show.
    pub zone: TimeZone,
}

/// Which marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MarkFilter {
    /// Of sessions that begin then or later.
    pub from: Option<Timestamp>,
    /// Of sessions that begin before.
    pub until: Option<Timestamp>,
    /// Of a group's sessions.
    pub group: Option<GroupId>,
    /// Of somebody.
    pub student: Option<StudentId>,
    /// This mark.
    pub mark: Option<Mark>,
    /// Of students of this section.
    pub section: Option<String>,
}

impl MarkFilter {
    /// The list that page tokens are of.
    #[must_use]
    pub fn list_name(&self) -> ListName {
        let Self { from, until, group, student, mark, section } = self;
        ListName::new("marks")
            .with("from", from.map(|from| from.to_string()).as_deref())
            .with("until", until.map(|until| until.to_string()).as_deref())
            .with("group", group.map(|group| group.to_string()).as_deref())
            .with("student", student.map(|student| student.to_string()).as_deref())
            .with("mark", mark.map(Mark::as_str))
            .with("section", section.as_deref())
    }
}

/// After which mark a page goes on: by the session's start, the session, the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkPosition {
    /// When the session begins.
    pub starts_at: Timestamp,
    /// Which session.
    pub session: Uuid,
    /// Who.
    pub student: Uuid,
}

impl fmt::Display for MarkPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.starts_at, self.session, self.student)
    }
}

impl FromStr for MarkPosition {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let mut parts = text.split(' ');
        let mut parsed = || {
            let position = Self {
                starts_at: parts.next()?.parse().ok()?,
                session: parts.next()?.parse().ok()?,
                student: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(position)
        };
        parsed().ok_or_else(|| ProtocolError::invalid("page_token", "is no position in a list of marks"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stranger_may_be_like_somebody_on_the_roster_or_like_another() {
        let rate = |per_thousand| ScopeRate {
            templates: 10,
            accept: cavs_embedding::Similarity::clamped(0.5),
            per_thousand,
        };
        let of = |roster, site| FalseMatches { faces: 300, roster, site: rate(site) };
        assert_eq!(of(None, Some(0.5)).at_most(), Some(0.15));
        assert_eq!(of(Some(rate(Some(0.5))), Some(0.5)).at_most(), Some(0.3));
        assert_eq!(of(Some(rate(Some(1000.0))), Some(500.0)).at_most(), Some(300.0));
        assert_eq!(of(Some(rate(None)), Some(0.5)).at_most(), None);
        assert_eq!(of(None, None).at_most(), None);
    }

    #[test]
    fn positions_round_trip() {
        let position = MarkPosition {
            starts_at: "2026-11-27T08:00:00Z".parse().unwrap(),
            session: Uuid::now_v7(),
            student: Uuid::now_v7(),
        };
        assert_eq!(position.to_string().parse::<MarkPosition>().unwrap(), position);
        for wrong in ["", "2026-11-27T08:00:00Z", &format!("{position} more")] {
            assert!(wrong.parse::<MarkPosition>().is_err());
        }
    }
}
