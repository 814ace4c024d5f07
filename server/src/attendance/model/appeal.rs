use std::collections::BTreeMap;

use cavs_types::{AppealId, ClassSessionId, DeviceId, Mark, StudentId};
use jiff::{Timestamp, tz::TimeZone};

use super::MarkedSession;
use crate::people::StudentRef;

pub use cavs_types::AppealState;

/// What somebody says against their mark, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAppeal {
    /// Of which session.
    pub session: ClassSessionId,
    /// Whose mark.
    pub student: StudentId,
    /// What it should be.
    pub mark: Mark,
    /// Why.
    pub reason: String,
}

/// What somebody says against their mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Appeal {
    /// Made by the server.
    pub id: AppealId,
    /// Of which session.
    pub session: MarkedSession,
    /// Whose mark.
    pub student: StudentRef,
    /// What it is now.
    pub mark_now: Mark,
    /// What it should be.
    pub mark: Mark,
    /// Why.
    pub reason: String,
    /// When it was recorded.
    pub made_at: Timestamp,
    /// Who recorded it.
    pub made_by: String,
    /// By when it is to be decided.
    pub due_at: Timestamp,
    /// How far it is.
    pub state: AppealState,
    /// What was answered.
    pub answer: String,
    /// When it was decided, and by whom, where it was.
    pub decided: Option<(Timestamp, String)>,
}

/// What a person decides on an appeal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppealDecision {
    /// Which.
    pub appeal: AppealId,
    /// Whether the mark becomes what it should be.
    pub accept: bool,
    /// What is answered.
    pub answer: String,
}

/// What came to be known after a session's marks were final.
#[derive(Debug, Clone, PartialEq)]
pub struct LateProposal {
    /// Of which session.
    pub session: MarkedSession,
    /// Whose mark.
    pub student: StudentRef,
    /// What it is now.
    pub mark_now: Mark,
    /// What the records say.
    pub machine_mark: Mark,
    /// Why.
    pub rules: Vec<cavs_attendance::Rule>,
    /// When it came to be known.
    pub proposed_at: Timestamp,
    /// The names of the session's devices.
    pub devices: BTreeMap<DeviceId, String>,
    /// The zone that the site's clocks show.
    pub zone: TimeZone,
}
