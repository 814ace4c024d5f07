use std::collections::BTreeMap;

use cavs_types::{CheckInId, CorrectionId, DeviceId, ExcuseId, Mark, SightingId, StudentId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What a session's records say of everybody.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Attendance {
    /// One mark for each person of the roster.
    pub marks: BTreeMap<StudentId, PersonMark>,
    /// Who was recognised and is not on the roster, by first time.
    pub visitors: Vec<Visitor>,
    /// Why nobody is absent for not having been seen; empty where they are.
    pub unproven: Vec<Rule>,
}

/// What a session says of a person, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct PersonMark {
    /// What it says: a person's word before the machine's.
    pub mark: Mark,
    /// What the records say without anybody's word on the mark.
    pub machine_mark: Mark,
    /// The word in force, where a person has said something.
    pub correction: Option<CorrectionId>,
    /// When the person was first seen, where they were.
    pub first_seen_at: Option<Timestamp>,
    /// When they were last seen.
    pub last_seen_at: Option<Timestamp>,
    /// Whole minutes of the session that they were there.
    pub minutes_present: u32,
    /// Whole minutes from the start to their coming, where they were late.
    pub minutes_late: u32,
    /// Whole minutes from their leaving to the end, where they left early.
    pub minutes_left_early: u32,
    /// What proves it, in the order of time: the first, the last, and those that count as independent.
    pub evidence: Vec<Evidence>,
    /// What led to it, in the order in which it was looked at.
    pub rules: Vec<Rule>,
}

/// What shows that somebody was there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// A device has seen them.
    Sighting(SightingId),
    /// They have shown it themselves.
    CheckIn(CheckInId),
}

/// Somebody who was recognised in a session of a group that they don't belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Visitor {
    /// Who.
    pub student: StudentId,
    /// When they were first seen.
    pub first_seen_at: Timestamp,
    /// When they were last seen.
    pub last_seen_at: Timestamp,
    /// How often they were seen.
    pub sightings: u32,
}

/// Why a sighting may be somebody and does not count as them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenReason {
    /// It waits for a person.
    Pending,
    /// Its similarity is below what the policy wants.
    BelowPolicy,
    /// The device's clock was not right.
    TimeNotTrusted,
    /// They came in before the session's time, and nothing looks at who is inside.
    EnteredBefore,
}

/// How it is known that somebody has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LeavingProof {
    /// A device at the exit saw them go.
    Exit,
    /// The devices inside watched to the end, and did not see them any more.
    NotSeenAgain,
}

/// A rule that applied, with what it applied to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Rule {
    /// The session has not begun, and they have not been seen.
    NotBegun,
    /// The session goes on: who is not there yet may come.
    Running,
    /// They were seen, or have shown that they are there.
    Seen {
        /// First, in the time that counts.
        first: Timestamp,
        /// Last.
        last: Timestamp,
        /// How often.
        times: u32,
    },
    /// So many of these are independent of each other as it takes.
    EnoughSightings {
        /// Those that are.
        independent: u32,
        /// How many it takes.
        needed: u32,
    },
    /// There are fewer than it takes: a person has to say.
    TooFewSightings {
        /// Those that are.
        independent: u32,
        /// How many it takes.
        needed: u32,
    },
    /// One that a person has approved, or that they have shown themselves, is enough.
    Confirmed {
        /// Which.
        by: Evidence,
    },
    /// They came before lateness begins.
    InTime,
    /// They came later than that.
    LateBy {
        /// Whole minutes after the start.
        minutes: u32,
    },
    /// They were seen to leave, but not to come: nobody knows whether they were late.
    ArrivalNotSeen,
    /// They came when coming does not count any more.
    TooLate {
        /// Whole minutes after the start.
        minutes: u32,
        /// From when on it does not count.
        limit: u32,
    },
    /// They were not there for long enough.
    TooShort {
        /// Whole minutes from the first to the last time.
        minutes: u32,
        /// How long it takes.
        needed: u32,
    },
    /// They were seen to go before it began, and not to come back.
    LeftBeforeStart {
        /// When they were seen to go.
        at: Timestamp,
    },
    /// They left before the end.
    LeftEarly {
        /// When they were last seen.
        at: Timestamp,
        /// Whole minutes before the end.
        minutes: u32,
        /// How it is known.
        proof: LeavingProof,
    },
    /// They were not seen up to the end, but nothing proves that they left.
    LeavingNotProven {
        /// When they were last seen.
        at: Timestamp,
    },
    /// They were not seen.
    NotSeen,
    /// A sighting may be them.
    OpenSighting {
        /// Which.
        sighting: SightingId,
        /// Why it does not count.
        why: OpenReason,
    },
    /// A device has not delivered all that it captured up to the end.
    DeviceBehind {
        /// Which.
        device: DeviceId,
        /// Up to when it has; `None`: it has never said.
        delivered_until: Option<Timestamp>,
    },
    /// A device did not watch all of the time.
    NotWatched {
        /// Which.
        device: DeviceId,
        /// Whole seconds that it did not.
        seconds: u64,
        /// Why, the first time; `None`: nothing is known of that time.
        why: Option<String>,
    },
    /// No device looks at who comes or who is there.
    NoDevices,
    /// Every device of its rooms has watched and delivered: who was not seen was not there.
    AbsenceProven,
    /// They are excused for all of it.
    Excused {
        /// By what.
        excuses: Vec<ExcuseId>,
    },
    /// They are excused for the time before they came.
    LatenessExcused {
        /// By what.
        excuses: Vec<ExcuseId>,
    },
    /// They are excused for the time after they left.
    LeavingExcused {
        /// By what.
        excuses: Vec<ExcuseId>,
    },
    /// A person has said what the mark is.
    Corrected {
        /// Where.
        correction: CorrectionId,
        /// What it is.
        mark: Mark,
    },
}

impl Rule {
    /// The stable name of the rule, as it stands in JSON.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotBegun => "not_begun",
            Self::Running => "running",
            Self::Seen { .. } => "seen",
            Self::EnoughSightings { .. } => "enough_sightings",
            Self::TooFewSightings { .. } => "too_few_sightings",
            Self::Confirmed { .. } => "confirmed",
            Self::InTime => "in_time",
            Self::LateBy { .. } => "late_by",
            Self::ArrivalNotSeen => "arrival_not_seen",
            Self::TooLate { .. } => "too_late",
            Self::TooShort { .. } => "too_short",
            Self::LeftBeforeStart { .. } => "left_before_start",
            Self::LeftEarly { .. } => "left_early",
            Self::LeavingNotProven { .. } => "leaving_not_proven",
            Self::NotSeen => "not_seen",
            Self::OpenSighting { .. } => "open_sighting",
            Self::DeviceBehind { .. } => "device_behind",
            Self::NotWatched { .. } => "not_watched",
            Self::NoDevices => "no_devices",
            Self::AbsenceProven => "absence_proven",
            Self::Excused { .. } => "excused",
            Self::LatenessExcused { .. } => "lateness_excused",
            Self::LeavingExcused { .. } => "leaving_excused",
            Self::Corrected { .. } => "corrected",
        }
    }
}
