use cavs_embedding::Similarity;
use cavs_types::ProtocolError;
use jiff::Timestamp;

use super::{HIGHEST_ACCEPT, RateEvidence, RateReason, wanted_rate};

/// From which similarity on a face is taken for somebody's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Lowest similarity that is accepted without a person.
    pub accept: Similarity,
    /// Lowest similarity that is worth a reviewer's time; at most `accept`.
    pub review: Similarity,
    /// Least distance to any other student, as a difference of cosines.
    pub margin: f32,
    /// Least liveness of a face that is accepted without a person, 0 to 1: then every face has to have one.
    /// `None`: nobody asks.
    pub liveness: Option<f32>,
}

/// Thresholds, and since when they are in force.
#[derive(Debug, Clone, PartialEq)]
pub struct ThresholdVersion {
    /// 0 is what the server's configuration and the model pack say; what is set counts from 1.
    pub version: u32,
    /// The thresholds.
    pub thresholds: Thresholds,
    /// The rate that the accept threshold follows; `None` where a person, or the configuration, has said it.
    pub rate: Option<RateReason>,
    /// When they were set; `None` for version 0.
    pub set_at: Option<Timestamp>,
    /// Who set them, by user name; `None` where a server did, for a wanted rate, and for version 0.
    pub set_by: Option<String>,
}

impl ThresholdVersion {
    /// Thresholds that nobody has set.
    #[must_use]
    pub const fn unset(thresholds: Thresholds, rate: Option<RateReason>) -> Self {
        Self { version: 0, thresholds, rate, set_at: None, set_by: None }
    }
}

/// A change of thresholds: what is `None` stays.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct ThresholdChange {
    /// See [`Thresholds::accept`]; it follows no rate any more.
    pub accept: Option<f32>,
    /// Instead of it, the strangers of 1,000 that may be accepted: the accept threshold follows.
    pub wanted_rate: Option<f64>,
    /// See [`Thresholds::review`].
    pub review: Option<f32>,
    /// See [`Thresholds::margin`].
    pub margin: Option<f32>,
    /// See [`Thresholds::liveness`]; 0 for nobody asks.
    pub liveness: Option<f32>,
}

impl ThresholdChange {
    /// The thresholds after the change, and the rate that they follow. The bounds are for a slip of the hand:
    /// outside of them, everybody or nobody would be accepted.
    ///
    /// # Errors
    /// `Missing` where nothing is to change, `Invalid` by field.
    pub fn apply(
        self,
        now: &ThresholdVersion,
        evidence: &RateEvidence<'_>,
    ) -> Result<(Thresholds, Option<RateReason>), ProtocolError> {
        if self == Self::default() {
            return Err(ProtocolError::Missing { field: "accept" });
        }
        let ThresholdVersion { thresholds: now, rate, .. } = now;
        let (accept, rate) = match (self.accept, self.wanted_rate) {
            (None, None) => (None, *rate),
            (Some(accept), None) => (Some(accept), None),
            (None, Some(wanted)) => {
                let (accept, reason) = evidence.threshold_for(wanted_rate(wanted)?);
                (Some(accept.get()), Some(reason))
            }
            (Some(_), Some(_)) => {
                let problem = "the accept threshold follows from a rate: say one of them";
                return Err(ProtocolError::invalid("false_matches_per_thousand", problem));
            }
        };
        let within = |field, value: Option<f32>, standing: f32, (low, high): (f32, f32)| match value {
            None => Ok(standing),
            Some(value) if (low..=high).contains(&value) => Ok(value),
            Some(value) => Err(ProtocolError::invalid(field, format_args!("{value} is not {low} to {high}"))),
        };
        let accept = within("accept", accept, now.accept.get(), (0.05, HIGHEST_ACCEPT))?;
        let review = within("review", self.review, now.review.get(), (0.0, 1.0))?;
        let margin = within("margin", self.margin, now.margin, (0.0, 0.5))?;
        if review > accept {
            let problem = format!("{review} exceeds the accept threshold {accept}: set it, too");
            return Err(ProtocolError::invalid("review", problem));
        }
        let liveness = within("liveness", self.liveness, now.liveness.unwrap_or_default(), (0.0, 1.0))?;
        let liveness = (liveness > 0.0).then_some(liveness);
        let (accept, review) = (Similarity::clamped(accept), Similarity::clamped(review));
        Ok((Thresholds { accept, review, margin, liveness }, rate))
    }
}

#[cfg(test)]
mod tests {
    use cavs_types::RateBasis;

    use super::*;

    #[test]
    fn changes_are_bounded_and_leave_the_rest() {
        let now = Thresholds {
            accept: Similarity::clamped(0.4),
            review: Similarity::clamped(0.3),
            margin: 0.05,
            liveness: Some(0.2),
        };
        let followed = RateReason { wanted: 0.2, basis: RateBasis::Pack, templates: 9 };
        let standing = ThresholdVersion::unset(now, Some(followed));
        let evidence =
            RateEvidence { templates: 30, gallery: None, pack: None, floor: Similarity::clamped(0.45) };
        let change = |accept, review, margin| {
            let change = ThresholdChange { accept, review, margin, ..ThresholdChange::default() };
            change.apply(&standing, &evidence)
        };
        let (changed, rate) = change(Some(0.5), None, None).unwrap();
        assert_eq!(changed, Thresholds { accept: Similarity::clamped(0.5), ..now });
        assert_eq!(rate, None, "who says the threshold says that it follows nothing");
        let (changed, rate) = change(None, None, Some(0.1)).unwrap();
        assert_eq!((changed, rate), (Thresholds { margin: 0.1, ..now }, Some(followed)));
        let follow = |change: ThresholdChange| change.apply(&standing, &evidence);
        let wanted = ThresholdChange { wanted_rate: Some(0.1), ..ThresholdChange::default() };
        let reason = RateReason { wanted: 0.1, basis: RateBasis::Floor, templates: 30 };
        let at_floor = Thresholds { accept: Similarity::clamped(0.45), ..now };
        assert_eq!(follow(wanted), Ok((at_floor, Some(reason))));
        let live =
            |liveness| follow(ThresholdChange { liveness: Some(liveness), ..ThresholdChange::default() });
        assert_eq!(live(0.7).unwrap().0.liveness, Some(0.7));
        assert_eq!(live(0.0).unwrap().0.liveness, None);
        assert_eq!(live(1.1).unwrap_err().to_string(), "liveness: 1.1 is not 0 to 1");
        for wrong in [
            ThresholdChange { accept: Some(0.5), ..wanted },
            ThresholdChange { wanted_rate: Some(f64::NAN), ..wanted },
            ThresholdChange { wanted_rate: Some(101.0), ..wanted },
        ] {
            let problem = follow(wrong).unwrap_err().to_string();
            assert!(problem.starts_with("false_matches_per_thousand: "), "{problem}");
        }
        for (wrong, problem) in [
            (change(None, None, None), "accept: is required"),
            (change(Some(0.0), None, None), "accept: 0 is not 0.05 to 0.95"),
            (change(Some(f32::NAN), None, None), "accept: NaN is not 0.05 to 0.95"),
            (change(Some(0.2), None, None), "review: 0.3 exceeds the accept threshold 0.2: set it, too"),
            (change(None, Some(-0.1), None), "review: -0.1 is not 0 to 1"),
            (change(None, None, Some(0.6)), "margin: 0.6 is not 0 to 0.5"),
        ] {
            assert_eq!(wrong.unwrap_err().to_string(), problem);
        }
    }
}
