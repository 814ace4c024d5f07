use cavs_proto::v1;
use cavs_types::RetentionState;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    layout::{facts, moment, table},
    time, word,
};
use crate::printer::{Report, Style};

/// How long a site keeps what, and what was deleted lately.
#[derive(Debug, Clone, Serialize)]
pub struct RetentionView {
    /// What the site has set; `null` for as the server's configuration says.
    pub own: PolicyView,
    /// What holds.
    pub in_force: PolicyView,
    /// Who has set it last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_by: Option<String>,
    /// When; RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_time: Option<Timestamp>,
    /// The last ten times that it was applied, newest first.
    pub runs: Vec<RunView>,
}

/// Days, 0 for ever.
#[derive(Debug, Clone, Serialize)]
pub struct PolicyView {
    /// Of probes of faces that were taken for nobody.
    pub unknown_probes_days: Option<u32>,
    /// Of probes of faces that were accepted or judged.
    pub reviewed_probes_days: Option<u32>,
    /// Of face crops.
    pub evidence_days: Option<u32>,
    /// Of pictures that templates were made of.
    pub portraits_days: Option<u32>,
    /// Of sightings.
    pub sightings_days: Option<u32>,
}

/// A time that it was applied.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    /// RFC 3339.
    pub start_time: Option<Timestamp>,
    /// RFC 3339; `null` while it is under way.
    pub end_time: Option<Timestamp>,
    /// `running`, `done` or `failed`.
    pub state: &'static str,
    /// What was applied.
    pub policy: PolicyView,
    /// Probes that were deleted.
    pub probes: u64,
    /// Face crops that were deleted.
    pub evidence: u64,
    /// Pictures of enrollment that were deleted.
    pub portraits: u64,
    /// Sightings that were deleted.
    pub sightings: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub problem: String,
}

impl From<v1::Retention> for RetentionView {
    fn from(retention: v1::Retention) -> Self {
        let v1::Retention { own, in_force, set_by, set_time, runs } = retention;
        Self {
            own: own.unwrap_or_default().into(),
            in_force: in_force.unwrap_or_default().into(),
            set_by: Some(set_by).filter(|name| !name.is_empty()),
            set_time: time(set_time.as_ref()),
            runs: runs.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<v1::RetentionPolicy> for PolicyView {
    fn from(policy: v1::RetentionPolicy) -> Self {
        let v1::RetentionPolicy {
            unknown_probes_days,
            reviewed_probes_days,
            evidence_days,
            portraits_days,
            sightings_days,
        } = policy;
        Self { unknown_probes_days, reviewed_probes_days, evidence_days, portraits_days, sightings_days }
    }
}

impl From<v1::RetentionRun> for RunView {
    fn from(run: v1::RetentionRun) -> Self {
        Self {
            start_time: time(run.start_time.as_ref()),
            end_time: time(run.end_time.as_ref()),
            state: word(run.state, RetentionState::as_str),
            policy: run.policy.unwrap_or_default().into(),
            probes: run.probes,
            evidence: run.evidence,
            portraits: run.portraits,
            sightings: run.sightings,
            problem: run.problem,
        }
    }
}

fn days(days: Option<u32>) -> String {
    match days {
        None => String::new(),
        Some(0) => "for ever".to_owned(),
        Some(1) => "1 day".to_owned(),
        Some(days) => format!("{days} days"),
    }
}

impl Report for RetentionView {
    fn table(&self, style: &Style) -> String {
        let (own, held) = (&self.own, &self.in_force);
        let kept = [
            ("unknown probes", held.unknown_probes_days, own.unknown_probes_days),
            ("reviewed probes", held.reviewed_probes_days, own.reviewed_probes_days),
            ("evidence", held.evidence_days, own.evidence_days),
            ("portraits", held.portraits_days, own.portraits_days),
            ("sightings", held.sightings_days, own.sightings_days),
        ];
        let by_whom = |own: Option<u32>| if own.is_some() { "the site" } else { "the server" };
        let rows = kept.map(|(what, held, own)| [what.to_owned(), days(held), by_whom(own).to_owned()]);
        let mut text = table(style, ["WHAT", "KEPT", "SET BY"], rows.to_vec());
        if let Some(set_by) = &self.set_by {
            text += "\n\n";
            text += &facts(style, &[("last set by", set_by.clone()), ("at", moment(style, self.set_time))]);
        }
        if !self.runs.is_empty() {
            let run = |run: &RunView| {
                [
                    moment(style, run.start_time),
                    run.state.to_owned(),
                    run.probes.to_string(),
                    run.evidence.to_string(),
                    run.portraits.to_string(),
                    run.sightings.to_string(),
                    run.problem.clone(),
                ]
            };
            let header = ["APPLIED", "STATE", "PROBES", "EVIDENCE", "PORTRAITS", "SIGHTINGS", "PROBLEM"];
            text += "\n\n";
            text += &table(style, header, self.runs.iter().map(run).collect());
        }
        text
    }
}
