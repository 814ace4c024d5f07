use cavs_embedding::{PackDigest, Similarity, UnitEmbedding};
use cavs_types::{Decision, MatchScope, PredictionReason, Quality, StudentId};

/// A face to be looked up.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// Of the face.
    pub embedding: UnitEmbedding,
    /// The model pack that made the embedding.
    pub pack: PackDigest,
    /// How good the picture of the face is.
    pub quality: Quality,
    /// How probably the face is live, 0 to 1, where it was asked.
    pub liveness: Option<f32>,
}

/// Somebody whom a face may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<S = StudentId> {
    /// Who.
    pub student: S,
    /// How similar.
    pub similarity: Similarity,
}

/// What the matcher said of a sighting.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction<S = StudentId> {
    /// What follows.
    pub decision: Decision,
    /// Why.
    pub reason: PredictionReason,
    /// Best first.
    pub candidates: Vec<Candidate<S>>,
    /// Distance of the best to the next student; `None` where there is no next.
    pub margin: Option<f32>,
    /// The similarity that would have been accepted.
    pub threshold: f32,
    /// Version of the thresholds that decided.
    pub threshold_version: u32,
    /// Among whom the best candidate was judged.
    pub scope: MatchScope,
    /// Templates of those; `None` where nobody noted it.
    pub scope_templates: Option<u32>,
}

impl Prediction {
    /// Leaves to a person what the machine would have accepted, for a reason that the face does not give.
    pub fn leave_to_person(&mut self, reason: PredictionReason) {
        if self.decision == Decision::Accepted {
            self.decision = Decision::Pending;
            self.reason = reason;
        }
    }

    /// Whom the machine means: nobody where it says unknown.
    #[must_use]
    pub fn predicted(&self) -> Option<&Candidate> {
        match self.decision {
            Decision::Accepted | Decision::Pending => self.candidates.first(),
            Decision::Unknown => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_asked_only_where_the_machine_would_accept() {
        let left = |decision, reason: PredictionReason| {
            let mut prediction = Prediction::<StudentId> {
                decision,
                reason,
                candidates: Vec::new(),
                margin: None,
                threshold: 0.5,
                threshold_version: 0,
                scope: MatchScope::Site,
                scope_templates: None,
            };
            prediction.leave_to_person(PredictionReason::TimeImplausible);
            (prediction.decision, prediction.reason)
        };
        let expected = (Decision::Pending, PredictionReason::TimeImplausible);
        assert_eq!(left(Decision::Accepted, PredictionReason::Matched), expected);
        let expected = (Decision::Pending, PredictionReason::NarrowMargin);
        assert_eq!(left(Decision::Pending, PredictionReason::NarrowMargin), expected);
        assert_eq!(left(Decision::Unknown, PredictionReason::LowSimilarity).0, Decision::Unknown);
    }
}
