//! `[retention]`: how long faces and sightings are kept.

use cavs_types::MOST_RETENTION_DAYS;
use serde::Deserialize;

use crate::biometrics::RetentionPolicy;

/// Days, or for ever.
#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum RawDays {
    Days(i64),
    Word(Word),
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    Forever,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRetention {
    unknown_probes: Option<RawDays>,
    reviewed_probes: Option<RawDays>,
    evidence: Option<RawDays>,
    portraits: Option<RawDays>,
    sightings: Option<RawDays>,
}

impl RawRetention {
    /// The policy, or the key of a value that can't be, and what is wrong with it.
    pub(super) fn checked(self) -> Result<RetentionPolicy, (&'static str, &'static str)> {
        let common = RetentionPolicy::default();
        let days = |key, raw: Option<RawDays>, common| match raw {
            None => Ok(common),
            Some(RawDays::Word(Word::Forever) | RawDays::Days(0)) => Ok(None),
            Some(RawDays::Days(days)) => match u32::try_from(days) {
                Ok(days @ 1..=MOST_RETENTION_DAYS) => Ok(Some(days)),
                _ => Err((key, "must be 1 to 36500 days, or \"forever\" (or 0)")),
            },
        };
        Ok(RetentionPolicy {
            unknown_probes: days("retention.unknown_probes", self.unknown_probes, common.unknown_probes)?,
            reviewed_probes: days("retention.reviewed_probes", self.reviewed_probes, common.reviewed_probes)?,
            evidence: days("retention.evidence", self.evidence, common.evidence)?,
            portraits: days("retention.portraits", self.portraits, common.portraits)?,
            sightings: days("retention.sightings", self.sightings, common.sightings)?,
        })
    }
}
