use std::collections::{BTreeMap, BTreeSet};

use cavs_types::{
    CheckInId, CheckInKind, CorrectionId, DeviceId, DeviceRole, ExcuseId, Mark, SightingId, StudentId,
};
use jiff::Timestamp;

use crate::Watched;

/// When a class session is, and what looks at its rooms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its first moment.
    pub starts_at: Timestamp,
    /// The moment after its last; later than `starts_at`.
    pub ends_at: Timestamp,
    /// The devices of its rooms.
    pub devices: BTreeMap<DeviceId, DeviceRole>,
    /// The sessions before and after it in its rooms.
    pub neighbours: Vec<Neighbour>,
}

/// A session that shares a room with another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its first moment.
    pub starts_at: Timestamp,
    /// The moment after its last.
    pub ends_at: Timestamp,
    /// Those of the other's devices that look at its rooms.
    pub devices: BTreeSet<DeviceId>,
    /// Who is expected there.
    pub roster: BTreeSet<StudentId>,
}

/// All that is known of a session. The order of what is in it doesn't matter, nor whether something is in it twice.
#[derive(Debug, Clone, Default)]
pub struct Records {
    /// Who belongs to the session's group on its day.
    pub roster: BTreeSet<StudentId>,
    /// What the devices of its rooms saw.
    pub sightings: Vec<Sighting>,
    /// What people did themselves.
    pub check_ins: Vec<CheckIn>,
    /// What people said of marks.
    pub corrections: Vec<Correction>,
    /// Why somebody was not there.
    pub excuses: Vec<Excuse>,
    /// What the devices have proven to have watched and delivered.
    pub watched: BTreeMap<DeviceId, Watched>,
}

/// Whether a sighting shows whom it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// A person has said so.
    Approved,
    /// The machine is sure enough.
    Accepted,
    /// It waits for a person: the best candidate is named.
    Pending,
    /// It waits for a person, who has to choose between them and the best candidate.
    Possible,
}

/// One sighting of somebody. What a reviewer has rejected, and what shows nobody, is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Its id.
    pub id: SightingId,
    /// Whom it shows, or may show where it is pending.
    pub student: StudentId,
    /// What saw.
    pub device: DeviceId,
    /// When the person came into view.
    pub entered_at: Timestamp,
    /// When the sighting was captured: not before `entered_at`.
    pub captured_at: Timestamp,
    /// When the person was last in view: not before `captured_at`.
    pub last_seen_at: Timestamp,
    /// Whether it shows them.
    pub standing: Standing,
    /// Similarity of the face to theirs; `None` where a person has said who it is.
    pub similarity: Option<f32>,
    /// Whether its times can be believed.
    pub time_trusted: bool,
}

/// Somebody has shown that they are there by something else than their face.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckIn {
    /// Its id.
    pub id: CheckInId,
    /// Who.
    pub student: StudentId,
    /// How.
    pub kind: CheckInKind,
    /// When.
    pub at: Timestamp,
}

/// A person's word on a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Correction {
    /// Its id.
    pub id: CorrectionId,
    /// Whose mark.
    pub student: StudentId,
    /// What it is.
    pub mark: Mark,
    /// When it was said: the last word is in force.
    pub made_at: Timestamp,
}

/// A time in which somebody need not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Excuse {
    /// Its id.
    pub id: ExcuseId,
    /// Who.
    pub student: StudentId,
    /// Its first moment.
    pub starts_at: Timestamp,
    /// The moment after its last.
    pub ends_at: Timestamp,
}
