//! What somebody must do to be present.

use cavs_proto::v1;
use cavs_types::PendingCounts;
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    printer::{Report, Style},
    view::{
        layout::{facts, moment},
        time, word,
    },
};

/// What somebody must do to be present.
#[derive(Debug, Serialize)]
pub struct AttendancePolicyView {
    /// In minutes.
    pub minutes_before: u32,
    /// In minutes.
    pub minutes_after: u32,
    /// In minutes.
    pub grace_minutes: u32,
    /// In minutes; `null`: no limit.
    pub too_late_minutes: Option<u32>,
    /// In minutes.
    pub least_minutes: u32,
    /// How many.
    pub sightings: u32,
    /// 0 to 1; `null`: all count.
    pub least_similarity: Option<f32>,
    /// `undetermined`, `present` or `nothing`.
    pub pending: &'static str,
    /// Whether it is looked at.
    pub leaving: bool,
    /// In minutes.
    pub leave_grace_minutes: u32,
    /// 0.5 to 1.
    pub least_watched: f32,
    /// In days; `null`: not by themselves.
    pub finalise_after_days: Option<u32>,
    /// In days.
    pub appeal_days: u32,
    /// Names of the settings that are set there.
    pub set_fields: Vec<String>,
    /// User name; empty unless something is set there.
    pub updated_by: String,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_time: Option<Timestamp>,
}

impl AttendancePolicyView {
    fn new(
        policy: v1::AttendancePolicy,
        set_fields: Vec<String>,
        (at, updated_by): (Option<Timestamp>, String),
    ) -> Self {
        Self {
            minutes_before: policy.minutes_before,
            minutes_after: policy.minutes_after,
            grace_minutes: policy.grace_minutes,
            too_late_minutes: policy.too_late_minutes,
            least_minutes: policy.least_minutes,
            sightings: policy.sightings,
            least_similarity: policy.least_similarity,
            pending: word(policy.pending, PendingCounts::as_str),
            leaving: policy.leaving,
            leave_grace_minutes: policy.leave_grace_minutes,
            least_watched: policy.least_watched,
            finalise_after_days: policy.finalise_after_days,
            appeal_days: policy.appeal_days,
            set_fields,
            updated_by,
            update_time: at,
        }
    }
}

impl From<v1::GetAttendancePolicyResponse> for AttendancePolicyView {
    fn from(found: v1::GetAttendancePolicyResponse) -> Self {
        let changed = (time(found.update_time.as_ref()), found.updated_by);
        Self::new(found.policy.unwrap_or_default(), found.set_fields, changed)
    }
}

impl From<v1::UpdateAttendancePolicyResponse> for AttendancePolicyView {
    fn from(found: v1::UpdateAttendancePolicyResponse) -> Self {
        let changed = (time(found.update_time.as_ref()), found.updated_by);
        Self::new(found.policy.unwrap_or_default(), found.set_fields, changed)
    }
}

impl Report for AttendancePolicyView {
    fn table(&self, style: &Style) -> String {
        let minutes = |minutes: u32| format!("{minutes} minutes");
        let set = |name: &str, value: String| {
            if self.set_fields.iter().any(|field| field == name) {
                format!("{value} (set here)")
            } else {
                value
            }
        };
        let settings = [
            ("minutes_before", minutes(self.minutes_before)),
            ("minutes_after", minutes(self.minutes_after)),
            ("grace_minutes", minutes(self.grace_minutes)),
            ("too_late_minutes", self.too_late_minutes.map_or("none".to_owned(), minutes)),
            ("least_minutes", minutes(self.least_minutes)),
            ("sightings", self.sightings.to_string()),
            (
                "least_similarity",
                self.least_similarity.map_or("none".to_owned(), |least| format!("{least:.2}")),
            ),
            ("pending", self.pending.to_owned()),
            ("leaving", self.leaving.to_string()),
            ("leave_grace_minutes", minutes(self.leave_grace_minutes)),
            ("least_watched", format!("{:.2}", self.least_watched)),
            (
                "finalise_after_days",
                self.finalise_after_days.map_or("none".to_owned(), |days| format!("{days} days")),
            ),
            ("appeal_days", format!("{} days", self.appeal_days)),
        ];
        let mut rows: Vec<(&str, String)> =
            settings.into_iter().map(|(name, value)| (name, set(name, value))).collect();
        rows.push(("changed by", self.updated_by.clone()));
        rows.push(("changed", moment(style, self.update_time)));
        facts(style, &rows)
    }
}
