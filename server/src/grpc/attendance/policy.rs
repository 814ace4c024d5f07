use cavs_attendance::{Policy, PolicyOverride};
use cavs_proto::{enum_from_wire, enum_to_wire, v1};
use cavs_types::ProtocolError;

/// Settings that are to be set, and settings that are to be set no more.
pub(super) struct PolicyChange {
    to: Policy,
    set: Vec<String>,
    reset: Vec<String>,
}

impl PolicyChange {
    pub(super) fn applied_to(&self, mut settings: PolicyOverride) -> PolicyOverride {
        for name in &self.reset {
            settings.set(name, None);
        }
        for name in &self.set {
            settings.set(name, Some(&self.to));
        }
        settings
    }
}

impl TryFrom<v1::UpdateAttendancePolicyRequest> for PolicyChange {
    type Error = ProtocolError;

    fn try_from(request: v1::UpdateAttendancePolicyRequest) -> Result<Self, ProtocolError> {
        let set = request.update_mask.map(|mask| mask.paths).unwrap_or_default();
        let reset = request.reset_mask.map(|mask| mask.paths).unwrap_or_default();
        if set.is_empty() && reset.is_empty() {
            return Err(ProtocolError::Missing { field: "update_mask" });
        }
        for (field, names) in [("update_mask", &set), ("reset_mask", &reset)] {
            if let Some(unknown) = names.iter().find(|name| !PolicyOverride::default().set(name, None)) {
                let shown: String = unknown.chars().take(64).collect();
                return Err(ProtocolError::invalid(field, format_args!("{shown:?} is no setting")));
            }
        }
        let wire = request.policy.unwrap_or_default();
        let begins = Policy::default();
        let is_set = |name: &str| set.iter().any(|path| path == name);
        let minutes = |name: &'static str, value: u32| {
            u16::try_from(value).map_err(|_| ProtocolError::invalid(name, "is too large"))
        };
        let to = Policy {
            minutes_before: minutes("minutes_before", wire.minutes_before)?,
            minutes_after: minutes("minutes_after", wire.minutes_after)?,
            grace_minutes: minutes("grace_minutes", wire.grace_minutes)?,
            too_late_minutes: wire
                .too_late_minutes
                .map(|value| minutes("too_late_minutes", value))
                .transpose()?,
            least_minutes: minutes("least_minutes", wire.least_minutes)?,
            sightings: minutes("sightings", wire.sightings)?,
            least_similarity: wire.least_similarity,
            pending: if is_set("pending") {
                enum_from_wire("pending", wire.pending)?
            } else {
                begins.pending
            },
            leaving: wire.leaving,
            leave_grace_minutes: minutes("leave_grace_minutes", wire.leave_grace_minutes)?,
            least_watched: wire.least_watched,
            finalise_after_days: wire
                .finalise_after_days
                .map(|value| minutes("finalise_after_days", value))
                .transpose()?,
            appeal_days: minutes("appeal_days", wire.appeal_days)?,
        };
        Ok(Self { to, set, reset })
    }
}

pub(super) fn policy_to_wire(policy: Policy) -> v1::AttendancePolicy {
    v1::AttendancePolicy {
        minutes_before: policy.minutes_before.into(),
        minutes_after: policy.minutes_after.into(),
        grace_minutes: policy.grace_minutes.into(),
        too_late_minutes: policy.too_late_minutes.map(Into::into),
        least_minutes: policy.least_minutes.into(),
        sightings: policy.sightings.into(),
        least_similarity: policy.least_similarity,
        pending: enum_to_wire(policy.pending),
        leaving: policy.leaving,
        leave_grace_minutes: policy.leave_grace_minutes.into(),
        least_watched: policy.least_watched,
        finalise_after_days: policy.finalise_after_days.map(Into::into),
        appeal_days: policy.appeal_days.into(),
    }
}
