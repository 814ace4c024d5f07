//! How long faces and sightings are kept.

use cavs_types::RetentionState;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// How many days faces are kept at least that wait for a person, whatever the policy: half a year, which is longer
/// than any holidays. Nobody has looked at them for so long; the sighting itself waits on.
pub const WAITING_DAYS: u32 = 180;

/// How long what is kept, in days after its arrival (UTC); for ever where `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetentionPolicy {
    /// Probes of faces that were taken for nobody, and that nobody has judged.
    pub unknown_probes: Option<u32>,
    /// Probes of faces that were accepted or judged.
    pub reviewed_probes: Option<u32>,
    /// Pictures of faces.
    pub evidence: Option<u32>,
    /// Pictures that templates were made of; as long as their templates where `None`.
    pub portraits: Option<u32>,
    /// Sightings, without their faces.
    pub sightings: Option<u32>,
}

impl Default for RetentionPolicy {
    fn default() -> Self {
        Self {
            unknown_probes: Some(7),
            reviewed_probes: Some(30),
            evidence: Some(30),
            portraits: None,
            // A school year, and what is asked after it.
            sightings: Some(400),
        }
    }
}

/// What is kept for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// A probe of a sighting.
    Probe,
    /// A picture of a sighting.
    Evidence,
    /// A sighting.
    Sighting,
}

/// What a sighting is, as far as it matters for how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It waits for a person.
    Waiting,
    /// It was taken for nobody, and nobody has judged that.
    Unknown,
    /// It was accepted, or judged.
    Decided,
}

impl Standing {
    /// Every standing.
    pub const ALL: [Self; 3] = [Self::Waiting, Self::Unknown, Self::Decided];

    /// As the database's queries call it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Unknown => "unknown",
            Self::Decided => "decided",
        }
    }
}

impl RetentionPolicy {
    /// How many days something of a sighting is kept; for ever where `None`.
    #[must_use]
    pub fn days(&self, kept: Kept, standing: Standing) -> Option<u32> {
        let waiting = |of: Option<u32>| of.map(|days| days.max(WAITING_DAYS));
        match (kept, standing) {
            (Kept::Probe, Standing::Unknown) => self.unknown_probes,
            (Kept::Probe, Standing::Decided) => self.reviewed_probes,
            // Longer than it would be kept whatever a person said.
            (Kept::Probe, Standing::Waiting) => {
                waiting(self.unknown_probes.zip(self.reviewed_probes).map(|(a, b)| a.max(b)))
            }
            (Kept::Evidence, Standing::Unknown | Standing::Decided) => self.evidence,
            (Kept::Evidence, Standing::Waiting) => waiting(self.evidence),
            (Kept::Sighting, Standing::Unknown | Standing::Decided) => self.sightings,
            (Kept::Sighting, Standing::Waiting) => None,
        }
    }

    /// Whether something goes that came so many days ago: 1 for what came yesterday.
    #[must_use]
    pub fn goes(&self, kept: Kept, standing: Standing, age: u32) -> bool {
        self.days(kept, standing).is_some_and(|days| age > days)
    }

    /// As it is with what a site has set for itself.
    #[must_use]
    pub(crate) fn overridden(self, own: &OwnPolicy) -> Self {
        let of = |own: Option<u32>, common| match own {
            None => common,
            Some(0) => None,
            Some(days) => Some(days),
        };
        Self {
            unknown_probes: of(own.unknown_probes, self.unknown_probes),
            reviewed_probes: of(own.reviewed_probes, self.reviewed_probes),
            evidence: of(own.evidence, self.evidence),
            portraits: of(own.portraits, self.portraits),
            sightings: of(own.sightings, self.sightings),
        }
    }
}

/// What a site has set for itself, of each: days, 0 for ever, `None` for as the server's configuration says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OwnPolicy {
    /// Of [`RetentionPolicy::unknown_probes`].
    pub unknown_probes: Option<u32>,
    /// Of [`RetentionPolicy::reviewed_probes`].
    pub reviewed_probes: Option<u32>,
    /// Of [`RetentionPolicy::evidence`].
    pub evidence: Option<u32>,
    /// Of [`RetentionPolicy::portraits`].
    pub portraits: Option<u32>,
    /// Of [`RetentionPolicy::sightings`].
    pub sightings: Option<u32>,
}

/// A change of what a site has set, of each: `None` for no change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PolicyChange {
    /// Of [`OwnPolicy::unknown_probes`].
    pub unknown_probes: Option<Option<u32>>,
    /// Of [`OwnPolicy::reviewed_probes`].
    pub reviewed_probes: Option<Option<u32>>,
    /// Of [`OwnPolicy::evidence`].
    pub evidence: Option<Option<u32>>,
    /// Of [`OwnPolicy::portraits`].
    pub portraits: Option<Option<u32>>,
    /// Of [`OwnPolicy::sightings`].
    pub sightings: Option<Option<u32>>,
}

/// What a site has set, and what became of it lately.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionReport {
    /// What the site has set.
    pub own: OwnPolicy,
    /// User name of who has set it last, and when; `None` where the site has set nothing.
    pub set: Option<(String, Timestamp)>,
    /// What holds.
    pub in_force: RetentionPolicy,
    /// The last runs, newest first.
    pub runs: Vec<RetentionRun>,
}

/// How it went with deleting what a site keeps no longer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRun {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it is under way.
    pub finished_at: Option<Timestamp>,
    /// How far it is.
    pub state: RetentionState,
    /// What was applied.
    pub policy: RetentionPolicy,
    /// What was deleted.
    pub deleted: Deleted,
    /// Why it failed; else empty.
    pub problem: String,
}

/// What was deleted of a site. Faces that went with their sightings are not counted beside them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Probes.
    pub probes: u64,
    /// Pictures of faces.
    pub evidence: u64,
    /// Pictures that templates were made of.
    pub portraits: u64,
    /// Sightings.
    pub sightings: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn days() -> impl Strategy<Value = Option<u32>> {
        prop_oneof![Just(None), (1u32..=1000).prop_map(Some)]
    }

    fn policies() -> impl Strategy<Value = RetentionPolicy> {
        (days(), days(), days(), days(), days()).prop_map(
            |(unknown_probes, reviewed_probes, evidence, portraits, sightings)| RetentionPolicy {
                unknown_probes,
                reviewed_probes,
                evidence,
                portraits,
                sightings,
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_gone_stays_gone_and_who_waits_is_kept_longest(policy in policies(), age in 0u32..2000) {
            for kept in [Kept::Probe, Kept::Evidence, Kept::Sighting] {
                for standing in Standing::ALL {
                    if policy.goes(kept, standing, age) {
                        prop_assert!(policy.goes(kept, standing, age + 1));
                        prop_assert!(age > 1, "nothing goes on its own day or the day after");
                    }
                }
                // Whatever a person would have said, the face of who waits is still there.
                if policy.goes(kept, Standing::Waiting, age) {
                    prop_assert!(policy.goes(kept, Standing::Unknown, age));
                    prop_assert!(policy.goes(kept, Standing::Decided, age));
                    prop_assert!(age > WAITING_DAYS);
                }
            }
            prop_assert!(!policy.goes(Kept::Sighting, Standing::Waiting, age));
        }

        #[test]
        fn a_site_sets_what_it_sets(policy in policies(), own in proptest::array::uniform5(proptest::option::of(0u32..50))) {
            let [unknown_probes, reviewed_probes, evidence, portraits, sightings] = own;
            let set = policy.overridden(&OwnPolicy { unknown_probes, reviewed_probes, evidence, portraits, sightings });
            let pairs = [
                (own[0], set.unknown_probes, policy.unknown_probes),
                (own[1], set.reviewed_probes, policy.reviewed_probes),
                (own[2], set.evidence, policy.evidence),
                (own[3], set.portraits, policy.portraits),
                (own[4], set.sightings, policy.sightings),
            ];
            for (own, set, common) in pairs {
                prop_assert_eq!(set, own.map_or(common, |days| (days > 0).then_some(days)));
            }
        }
    }
}
