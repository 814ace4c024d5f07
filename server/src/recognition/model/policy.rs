use cavs_embedding::Similarity;
use cavs_types::{Decision, MatchScope, PredictionReason, Quality, StudentId};

use super::{Candidate, ConfusablePairs, Prediction, Thresholds};

/// A student whom a search found.
pub type Match = Candidate<StudentId>;

/// When a match is believed, left to a person, or none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// From which similarity on.
    pub thresholds: Thresholds,
    /// Version of the thresholds.
    pub version: u32,
    /// Least unified quality score of a face that is accepted without a person, 0 to 100.
    pub min_quality: u8,
    /// Who is judged by it.
    pub scope: MatchScope,
    /// Templates of those; `None`: nobody has counted them.
    pub scope_templates: Option<u32>,
}

/// What a decision depends on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Similarity of the best candidate, where there is one.
    pub similarity: Option<Similarity>,
    /// Its distance to the next student, where there is one.
    pub margin: Option<f32>,
    /// Unified quality score of the face, 0 to 100.
    pub quality: u8,
    /// Whether the face is upright ([`Quality::is_upright`]).
    pub upright: bool,
    /// How probably it is live, 0 to 1, where it was asked.
    pub liveness: Option<f32>,
    /// Similarity of a student with whom the best candidate is confused, where one is among the candidates.
    pub confused_with: Option<Similarity>,
}

impl Policy {
    /// As this one, for those who are expected somewhere: they pass from `accept` on, with so many templates.
    #[must_use]
    pub fn among_expected(self, accept: Similarity, templates: u32) -> Self {
        let thresholds = Thresholds { accept, ..self.thresholds };
        Self { thresholds, scope: MatchScope::Roster, scope_templates: Some(templates), ..self }
    }

    /// Decides on a face by its candidates, best first.
    #[must_use]
    pub fn decide(
        &self,
        candidates: Vec<Match>,
        quality: &Quality,
        liveness: Option<f32>,
        pairs: &ConfusablePairs,
    ) -> Prediction {
        let margin = match candidates.as_slice() {
            [best, next, ..] => Some(best.similarity.get() - next.similarity.get()),
            _ => None,
        };
        let similarity = candidates.first().map(|best| best.similarity);
        let (upright, quality) = (quality.is_upright(), quality.unified_score);
        let confused_with = candidates.split_first().and_then(|(best, others)| {
            let confused = |other: &&Match| pairs.kind(best.student, other.student).is_some();
            others.iter().find(confused).map(|other| other.similarity)
        });
        let face = Judged { similarity, margin, quality, upright, liveness, confused_with };
        let (decision, reason) = self.judge(face);
        self.prediction(decision, reason, candidates, margin)
    }

    /// What follows from a face's best candidate.
    #[must_use]
    pub fn judge(&self, face: Judged) -> (Decision, PredictionReason) {
        let Thresholds { accept, review, margin, liveness } = self.thresholds;
        match face.similarity {
            None => (Decision::Unknown, PredictionReason::EmptyGallery),
            Some(best) if best < review => (Decision::Unknown, PredictionReason::LowSimilarity),
            Some(best) if best < accept => (Decision::Pending, PredictionReason::LowSimilarity),
            Some(_) if face.margin.is_some_and(|lead| lead < margin) => {
                (Decision::Pending, PredictionReason::NarrowMargin)
            }
            Some(_) if face.confused_with.is_some_and(|other| other >= review) => {
                (Decision::Pending, PredictionReason::ConfusablePair)
            }
            Some(_) if !face.upright => (Decision::Pending, PredictionReason::FaceNotUpright),
            // A face of which nobody knows it may be a picture of one, too.
            Some(_) if liveness.is_some_and(|least| !face.liveness.is_some_and(|live| live >= least)) => {
                (Decision::Pending, PredictionReason::LowLiveness)
            }
            Some(_) if face.quality < self.min_quality => (Decision::Pending, PredictionReason::LowQuality),
            Some(_) => (Decision::Accepted, PredictionReason::Matched),
        }
    }

    /// What is said of a probe that can't be compared with any template.
    #[must_use]
    pub fn not_comparable(&self) -> Prediction {
        self.prediction(Decision::Unknown, PredictionReason::PackNotServed, Vec::new(), None)
    }

    fn prediction(
        &self,
        decision: Decision,
        reason: PredictionReason,
        candidates: Vec<Match>,
        margin: Option<f32>,
    ) -> Prediction {
        Prediction {
            decision,
            reason,
            candidates,
            margin,
            threshold: self.thresholds.accept.get(),
            threshold_version: self.version,
            scope: self.scope,
            scope_templates: self.scope_templates,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy() -> Policy {
        let (accept, review) = (Similarity::clamped(0.5), Similarity::clamped(0.3));
        Policy {
            thresholds: Thresholds { accept, review, margin: 0.05, liveness: None },
            version: 3,
            min_quality: 20,
            scope: MatchScope::Site,
            scope_templates: None,
        }
    }

    fn quality(unified_score: u8) -> Quality {
        Quality { unified_score, ..Quality::uniform(100) }
    }

    fn decide(similarities: &[f32], unified_score: u8) -> (Decision, PredictionReason) {
        let candidates = similarities
            .iter()
            .map(|s| Match { student: StudentId::generate(), similarity: Similarity::clamped(*s) })
            .collect();
        let prediction =
            policy().decide(candidates, &quality(unified_score), None, &ConfusablePairs::default());
        assert_eq!((prediction.threshold, prediction.threshold_version), (0.5, 3));
        (prediction.decision, prediction.reason)
    }

    #[test]
    fn a_face_that_lies_on_its_side_goes_to_a_person() {
        let one = |similarity| {
            vec![Match { student: StudentId::generate(), similarity: Similarity::clamped(similarity) }]
        };
        let decide = |similarity, head_pose_roll| {
            let tilted = Quality { head_pose_roll, ..quality(90) };
            let prediction = policy().decide(one(similarity), &tilted, None, &ConfusablePairs::default());
            (prediction.decision, prediction.reason)
        };
        assert_eq!(decide(0.9, 49), (Decision::Pending, PredictionReason::FaceNotUpright));
        assert_eq!(decide(0.9, 0), (Decision::Pending, PredictionReason::FaceNotUpright));
        assert_eq!(decide(0.9, 50), (Decision::Accepted, PredictionReason::Matched));
        assert_eq!(decide(0.1, 0), (Decision::Unknown, PredictionReason::LowSimilarity));
    }

    #[test]
    fn a_face_that_may_be_a_picture_of_one_goes_to_a_person() {
        let decide = |least: Option<f32>, similarity, liveness| {
            let mut policy = policy();
            policy.thresholds.liveness = least;
            let one = Match { student: StudentId::generate(), similarity: Similarity::clamped(similarity) };
            let prediction = policy.decide(vec![one], &quality(90), liveness, &ConfusablePairs::default());
            (prediction.decision, prediction.reason)
        };
        let (pending, accepted) = (
            (Decision::Pending, PredictionReason::LowLiveness),
            (Decision::Accepted, PredictionReason::Matched),
        );
        assert_eq!(decide(Some(0.5), 0.9, Some(0.49)), pending);
        assert_eq!(decide(Some(0.5), 0.9, Some(f32::NAN)), pending);
        assert_eq!(decide(Some(0.5), 0.9, None), pending);
        assert_eq!(decide(Some(0.5), 0.9, Some(0.5)), accepted);
        assert_eq!(decide(None, 0.9, Some(0.0)), accepted);
        // It is never a reason to take somebody for a stranger, or for somebody.
        let unknown = (Decision::Unknown, PredictionReason::LowSimilarity);
        assert_eq!(decide(Some(0.5), 0.1, Some(0.0)), unknown);
        assert_eq!(decide(Some(0.5), 0.1, Some(1.0)), unknown);
    }

    #[test]
    fn each_reason_has_its_case() {
        use Decision::{Accepted, Pending, Unknown};
        for (similarities, quality, decision, reason) in [
            (&[][..], 90, Unknown, PredictionReason::EmptyGallery),
            (&[0.29], 90, Unknown, PredictionReason::LowSimilarity),
            (&[0.3], 90, Pending, PredictionReason::LowSimilarity),
            (&[0.6, 0.56], 90, Pending, PredictionReason::NarrowMargin),
            (&[0.6, 0.1], 19, Pending, PredictionReason::LowQuality),
            (&[0.5], 20, Accepted, PredictionReason::Matched),
            (&[f32::NAN], 90, Unknown, PredictionReason::LowSimilarity),
        ] {
            assert_eq!(decide(similarities, quality), (decision, reason), "{similarities:?}");
        }
    }

    /// A face that may be either's is a person's to judge, and nobody else's pair is any matter.
    #[test]
    fn a_face_that_may_be_a_twins_goes_to_a_person() {
        use cavs_types::ConfusableKind::{Confused, Twins};
        let [ada, bob, cid] = [(); 3].map(|()| StudentId::generate());
        let decide = |candidates: &[(StudentId, f32)], pairs: &[(StudentId, StudentId, _)]| {
            let of = |&(student, s): &(StudentId, f32)| Match { student, similarity: Similarity::clamped(s) };
            let pairs = pairs.iter().copied().collect();
            let prediction = policy().decide(candidates.iter().map(of).collect(), &quality(90), None, &pairs);
            (prediction.decision, prediction.reason)
        };
        let pending = (Decision::Pending, PredictionReason::ConfusablePair);
        let accepted = (Decision::Accepted, PredictionReason::Matched);
        let seen = [(ada, 0.9), (cid, 0.4), (bob, 0.3)];
        assert_eq!(decide(&seen, &[(bob, ada, Twins)]), pending);
        assert_eq!(decide(&seen, &[(ada, bob, Confused)]), pending);
        assert_eq!(decide(&seen, &[(bob, cid, Twins)]), accepted, "neither is the best");
        assert_eq!(decide(&seen[..2], &[(ada, bob, Twins)]), accepted, "the other is not like it");
        assert_eq!(decide(&[(ada, 0.9), (bob, 0.29)], &[(ada, bob, Twins)]), accepted);
        assert_eq!(decide(&[(ada, 0.2)], &[(ada, bob, Twins)]).0, Decision::Unknown);
        let narrow = (Decision::Pending, PredictionReason::NarrowMargin);
        assert_eq!(decide(&[(ada, 0.9), (bob, 0.89)], &[(ada, bob, Twins)]), narrow);
    }

    proptest! {
        #[test]
        fn more_similarity_never_makes_a_match_worse(low in 0f32..1.0, more in 0f32..1.0, next in 0f32..0.4) {
            let rank = |decision| match decision { Decision::Unknown => 0, Decision::Pending => 1, Decision::Accepted => 2 };
            let (low, high) = (low.max(next), (low + more).max(next));
            let decision = |s| rank(decide(&[s, next], 90).0);
            prop_assert!(decision(high) >= decision(low));
        }
    }
}
