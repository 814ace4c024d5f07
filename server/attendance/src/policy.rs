use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use cavs_types::PendingCounts;

/// What somebody must do to be present: of a site, a group or a session. Times are in minutes, as people set them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// How long before the start somebody may come.
    pub minutes_before: u16,
    /// How long after the end somebody may still be seen.
    pub minutes_after: u16,
    /// How long after the start somebody is in time.
    pub grace_minutes: u16,
    /// From how long after the start coming doesn't count any more; `None`: it is late, however late.
    pub too_late_minutes: Option<u16>,
    /// How long somebody must be there, from the first to the last time they are seen.
    pub least_minutes: u16,
    /// How many sightings it takes that are independent of each other: by another device, or half a minute apart.
    pub sightings: u16,
    /// From which similarity on a sighting that the machine has accepted counts; `None`: all do.
    pub least_similarity: Option<f32>,
    /// What a sighting counts as that waits for a person.
    pub pending: PendingCounts,
    /// Whether leaving early is looked at.
    pub leaving: bool,
    /// How long before the end somebody may leave.
    pub leave_grace_minutes: u16,
    /// What share of a session each device inside must have watched for an absence to be given, 0 to 1.
    pub least_watched: f32,
    /// How many days after a session its marks are final, unless somebody says so before; `None`: not by themselves.
    pub finalise_after_days: Option<u16>,
    /// Within how many days an appeal is to be decided.
    pub appeal_days: u16,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            minutes_before: 15,
            minutes_after: 15,
            grace_minutes: 10,
            too_late_minutes: None,
            least_minutes: 0,
            sightings: 2,
            least_similarity: None,
            pending: PendingCounts::Undetermined,
            leaving: false,
            leave_grace_minutes: 10,
            least_watched: 0.9,
            finalise_after_days: Some(7),
            appeal_days: 14,
        }
    }
}

/// A policy that can't be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The setting, by its name.
    pub setting: &'static str,
    /// What it must be.
    pub must: &'static str,
}

/// Longest window or grace: a day.
const MOST_MINUTES: u16 = 24 * 60;

impl Policy {
    /// Whether the policy can be.
    ///
    /// # Errors
    /// The first setting that can't, and what it must be.
    pub fn check(&self) -> Result<(), PolicyError> {
        let minutes = [
            ("minutes_before", self.minutes_before),
            ("minutes_after", self.minutes_after),
            ("grace_minutes", self.grace_minutes),
            ("too_late_minutes", self.too_late_minutes.unwrap_or_default()),
            ("least_minutes", self.least_minutes),
            ("leave_grace_minutes", self.leave_grace_minutes),
        ];
        if let Some((setting, _)) = minutes.into_iter().find(|(_, minutes)| *minutes > MOST_MINUTES) {
            return Err(PolicyError { setting, must: "be 0 to 1440 minutes" });
        }
        if self.too_late_minutes.is_some_and(|limit| limit < self.grace_minutes) {
            return Err(PolicyError { setting: "too_late_minutes", must: "be at least grace_minutes" });
        }
        if !(1..=20).contains(&self.sightings) {
            return Err(PolicyError { setting: "sightings", must: "be 1 to 20" });
        }
        if self.least_similarity.is_some_and(|least| !(0.0..=1.0).contains(&least)) {
            return Err(PolicyError { setting: "least_similarity", must: "be 0 to 1" });
        }
        // What nobody has watched proves nothing.
        if !(0.5..=1.0).contains(&self.least_watched) {
            return Err(PolicyError { setting: "least_watched", must: "be 0.5 to 1" });
        }
        if self.finalise_after_days.is_some_and(|days| days > 366) {
            return Err(PolicyError { setting: "finalise_after_days", must: "be 0 to 366 days" });
        }
        if !(1..=366).contains(&self.appeal_days) {
            return Err(PolicyError { setting: "appeal_days", must: "be 1 to 366 days" });
        }
        Ok(())
    }

    pub(crate) fn before(&self) -> SignedDuration {
        SignedDuration::from_mins(self.minutes_before.into())
    }

    pub(crate) fn after(&self) -> SignedDuration {
        SignedDuration::from_mins(self.minutes_after.into())
    }

    pub(crate) fn grace(&self) -> SignedDuration {
        SignedDuration::from_mins(self.grace_minutes.into())
    }

    pub(crate) fn leave_grace(&self) -> SignedDuration {
        SignedDuration::from_mins(self.leave_grace_minutes.into())
    }
}

/// Those settings of a policy that a site, a group or a session has otherwise.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::option_option, reason = "`null` takes a limit away, what is missing leaves it")]
#[allow(missing_docs, reason = "they are those of `Policy`")]
pub struct PolicyOverride {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes_before: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minutes_after: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_minutes: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub too_late_minutes: Option<Option<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_minutes: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sightings: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub least_similarity: Option<Option<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<PendingCounts>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leave_grace_minutes: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_watched: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub finalise_after_days: Option<Option<u16>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub appeal_days: Option<u16>,
}

/// Each setting, once.
macro_rules! settings {
    ($($setting:ident)*) => {
        impl Policy {
            /// The policy where something of it is set otherwise.
            #[must_use]
            pub fn with(mut self, other: &PolicyOverride) -> Self {
                $(if let Some(value) = other.$setting {
                    self.$setting = value;
                })*
                self
            }
        }

        impl PolicyOverride {
            /// The names of what is set.
            #[must_use]
            pub fn names(&self) -> Vec<&'static str> {
                [$(self.$setting.is_some().then_some(stringify!($setting)),)*].into_iter().flatten().collect()
            }

            /// Sets a setting as a policy has it, or sets it no more where there is none; false where there is no setting
            /// of this name.
            pub fn set(&mut self, name: &str, to: Option<&Policy>) -> bool {
                match name {
                    $(stringify!($setting) => self.$setting = to.map(|policy| policy.$setting),)*
                    _ => return false,
                }
                true
            }
        }
    };
}

settings! {
    minutes_before minutes_after grace_minutes too_late_minutes least_minutes sightings least_similarity pending leaving
    leave_grace_minutes least_watched finalise_after_days appeal_days
}

/// A field that is there, whether `null` or not.
fn present<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_takes_the_place_of_what_was() {
        let site: PolicyOverride =
            serde_json::from_str(r#"{"grace_minutes": 5, "too_late_minutes": 30}"#).unwrap();
        let session: PolicyOverride =
            serde_json::from_str(r#"{"too_late_minutes": null, "leaving": true}"#).unwrap();
        let policy = Policy::default().with(&site).with(&session);
        assert_eq!((policy.grace_minutes, policy.too_late_minutes, policy.leaving), (5, None, true));
        assert_eq!(policy.minutes_before, Policy::default().minutes_before);
        assert_eq!(serde_json::to_string(&session).unwrap(), r#"{"too_late_minutes":null,"leaving":true}"#);
        assert!(serde_json::from_str::<PolicyOverride>(r#"{"grace": 5}"#).is_err());
    }

    #[test]
    fn settings_are_set_by_their_names() {
        let mut set = PolicyOverride::default();
        let policy = Policy { grace_minutes: 3, too_late_minutes: None, ..Policy::default() };
        assert!(set.set("grace_minutes", Some(&policy)) && set.set("too_late_minutes", Some(&policy)));
        assert!(!set.set("grace", Some(&policy)));
        assert_eq!((set.grace_minutes, set.too_late_minutes), (Some(3), Some(None)));
        assert_eq!(set.names(), ["grace_minutes", "too_late_minutes"]);
        assert!(set.set("grace_minutes", None));
        assert_eq!(set.names(), ["too_late_minutes"]);
    }

    #[test]
    fn what_can_not_be_is_named() {
        let refused = |change: fn(&mut Policy)| {
            let mut policy = Policy::default();
            change(&mut policy);
            policy.check().map_err(|error| error.setting)
        };
        assert_eq!(refused(|_| ()), Ok(()));
        assert_eq!(refused(|policy| policy.minutes_before = 1440), Ok(()));
        assert_eq!(refused(|policy| policy.minutes_before = 1441), Err("minutes_before"));
        assert_eq!(refused(|policy| policy.minutes_after = 1441), Err("minutes_after"));
        assert_eq!(refused(|policy| policy.grace_minutes = 1441), Err("grace_minutes"));
        assert_eq!(refused(|policy| policy.least_minutes = 1441), Err("least_minutes"));
        assert_eq!(refused(|policy| policy.leave_grace_minutes = 1441), Err("leave_grace_minutes"));
        assert_eq!(refused(|policy| policy.too_late_minutes = Some(1441)), Err("too_late_minutes"));
        assert_eq!(refused(|policy| policy.too_late_minutes = Some(9)), Err("too_late_minutes"));
        assert_eq!(refused(|policy| policy.too_late_minutes = Some(10)), Ok(()));
        assert_eq!(refused(|policy| policy.sightings = 0), Err("sightings"));
        assert_eq!(refused(|policy| policy.sightings = 20), Ok(()));
        assert_eq!(refused(|policy| policy.sightings = 21), Err("sightings"));
        assert_eq!(refused(|policy| policy.least_similarity = Some(1.1)), Err("least_similarity"));
        assert_eq!(refused(|policy| policy.least_similarity = Some(f32::NAN)), Err("least_similarity"));
        assert_eq!(refused(|policy| policy.least_similarity = Some(1.0)), Ok(()));
        assert_eq!(refused(|policy| policy.least_watched = 0.4), Err("least_watched"));
        assert_eq!(refused(|policy| policy.least_watched = 0.5), Ok(()));
        assert_eq!(refused(|policy| policy.finalise_after_days = Some(367)), Err("finalise_after_days"));
        assert_eq!(refused(|policy| policy.finalise_after_days = Some(366)), Ok(()));
        assert_eq!(refused(|policy| policy.appeal_days = 0), Err("appeal_days"));
        assert_eq!(refused(|policy| policy.appeal_days = 366), Ok(()));
    }
}
