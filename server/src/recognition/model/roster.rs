//! Roster first: who is expected in a room is looked up before everybody else of the site.
//!
//! The rule: a face is judged by the roster's accept threshold where the most similar person of the whole site is
//! expected there, and by the site's otherwise. So who is expected passes with less similarity, as fewer people can be
//! mistaken for them; nobody is taken for who is expected while somebody else of the site is more similar, or less so by
//! less than the margin; and who is not expected is found as on any other day.

use std::cmp::Reverse;

use cavs_types::{Quality, StudentId};

use super::{ConfusablePairs, Match, Policy, Prediction};

/// Those who are expected somewhere at a time, as a gallery looks them up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExpectedPeople(cavs_gallery::Roster);

impl ExpectedPeople {
    /// Whether somebody is one of them.
    #[must_use]
    pub fn contains(&self, student: StudentId) -> bool {
        self.0.contains(cavs_gallery::StudentKey(student.uuid().as_u128()))
    }

    /// How many they are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    pub(in crate::recognition) const fn roster(&self) -> &cavs_gallery::Roster {
        &self.0
    }
}

impl FromIterator<StudentId> for ExpectedPeople {
    fn from_iter<I: IntoIterator<Item = StudentId>>(students: I) -> Self {
        Self(students.into_iter().map(|id| cavs_gallery::StudentKey(id.uuid().as_u128())).collect())
    }
}

/// How the face of somebody is judged where some people are expected.
pub struct RosterFirst<'a> {
    /// For everybody of the site.
    pub site: Policy,
    /// For those who are expected, where anybody is.
    pub expected: Option<(Policy, &'a ExpectedPeople)>,
}

impl RosterFirst<'_> {
    /// Decides on a face by the most similar people of the site and the most similar of those who are expected, both
    /// best first.
    #[must_use]
    pub fn decide(
        &self,
        site: Vec<Match>,
        expected: Vec<Match>,
        quality: &Quality,
        liveness: Option<f32>,
        pairs: &ConfusablePairs,
    ) -> Prediction {
        let candidates = merged(site, expected);
        let is_expected =
            |people: &ExpectedPeople| candidates.first().is_some_and(|best| people.contains(best.student));
        let policy = match &self.expected {
            Some((policy, people)) if is_expected(people) => policy,
            _ => &self.site,
        };
        policy.decide(candidates, quality, liveness, pairs)
    }
}

/// Both, each person once, best first; equal ones by id.
fn merged(site: Vec<Match>, expected: Vec<Match>) -> Vec<Match> {
    let mut merged = site;
    for one in expected {
        if merged.iter().all(|other| other.student != one.student) {
            let order = |of: &Match| (Reverse(of.similarity), of.student.uuid());
            let at = merged.partition_point(|other| order(other) < order(&one));
            merged.insert(at, one);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use cavs_embedding::Similarity;
    use cavs_types::{Decision, MatchScope, PredictionReason};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::recognition::Thresholds;

    const MARGIN: f32 = 0.05;
    const REVIEW: f32 = 0.3;

    fn site(accept: f32) -> Policy {
        let (accept, review) = (Similarity::clamped(accept), Similarity::clamped(REVIEW));
        Policy {
            thresholds: Thresholds { accept, review, margin: MARGIN, liveness: None },
            version: 1,
            min_quality: 0,
            scope: MatchScope::Site,
            scope_templates: None,
        }
    }

    fn id(number: usize) -> StudentId {
        Uuid::from_u128(number as u128 + 1).into()
    }

    fn ranked(similarities: &[f32], who: impl Fn(usize) -> bool) -> Vec<Match> {
        let of = |(number, similarity): (usize, &f32)| Match {
            student: id(number),
            similarity: Similarity::clamped(*similarity),
        };
        let mut ranked: Vec<Match> =
            similarities.iter().enumerate().filter(|(n, _)| who(*n)).map(of).collect();
        ranked.sort_by_key(|of| (Reverse(of.similarity), of.student.uuid()));
        ranked.truncate(5);
        ranked
    }

    /// What is said of a face so similar to each person of a site, where some of them are expected, with and without
    /// the roster.
    fn decide(similarities: &[f32], expected: &[bool], accept: f32, lower: f32) -> [Prediction; 2] {
        let people: ExpectedPeople = (0..similarities.len()).filter(|n| expected[*n]).map(id).collect();
        let site = site(accept);
        let of_roster = site.among_expected(Similarity::clamped(lower), 4);
        let (everybody, those) = (ranked(similarities, |_| true), ranked(similarities, |n| expected[n]));
        let decide = |expected, those: &[Match]| {
            let (quality, pairs) = (Quality::uniform(90), ConfusablePairs::default());
            let rule = RosterFirst { site, expected };
            rule.decide(everybody.clone(), those.to_vec(), &quality, None, &pairs)
        };
        [decide(Some((of_roster, &people)), &those), decide(None, &[])]
    }

    #[test]
    fn who_is_expected_passes_with_less() {
        let decide = |similarities: &[f32], expected: &[bool]| {
            let [with, _] = decide(similarities, expected, 0.6, 0.5);
            (with.decision, with.reason, with.threshold, with.scope)
        };
        let (roster, site) = (MatchScope::Roster, MatchScope::Site);
        let matched = |threshold, scope| (Decision::Accepted, PredictionReason::Matched, threshold, scope);
        assert_eq!(decide(&[0.55, 0.2], &[true, false]), matched(0.5, roster));
        let pending = |reason, threshold, scope| (Decision::Pending, reason, threshold, scope);
        let low = PredictionReason::LowSimilarity;
        assert_eq!(decide(&[0.55, 0.2], &[false, true]), pending(low, 0.6, site));
        assert_eq!(decide(&[0.7, 0.2], &[false, true]), matched(0.6, site));
        // A twin, or a stranger, of the site who is nearly as similar, or more.
        let narrow = PredictionReason::NarrowMargin;
        assert_eq!(decide(&[0.55, 0.52], &[true, false]), pending(narrow, 0.5, roster));
        assert_eq!(decide(&[0.55, 0.57], &[true, false]), pending(low, 0.6, site));
        assert_eq!(decide(&[0.55, 0.65], &[true, false]), matched(0.6, site));
    }

    /// Reviewers see the most similar of those expected, also where five others are more so.
    #[test]
    fn the_best_of_the_roster_is_a_candidate() {
        let similarities = [0.5, 0.49, 0.48, 0.47, 0.46, 0.45];
        let expected = [false, false, false, false, false, true];
        let [with, without] = decide(&similarities, &expected, 0.6, 0.5);
        assert_eq!((with.candidates.len(), without.candidates.len()), (6, 5));
        assert_eq!(with.candidates[5].student, id(5));
        assert_eq!((with.decision, with.margin), (without.decision, without.margin));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn a_roster_finds_more_and_takes_nobody_for_another(
            people in proptest::collection::vec((-0.2f32..1.0, any::<bool>()), 0..12),
            accept in REVIEW..0.95f32, lower in 0f32..1.0,
        ) {
            let (similarities, expected): (Vec<f32>, Vec<bool>) = people.into_iter().unzip();
            let lower = REVIEW + lower * (accept - REVIEW);
            let [with, without] = decide(&similarities, &expected, accept, lower);
            // Never worse than without: who was accepted is, and nobody else; who was nobody is nobody.
            let predicted = |p: &Prediction| p.predicted().map(|best| best.student);
            prop_assert_eq!(predicted(&with), predicted(&without));
            match without.decision {
                Decision::Accepted | Decision::Unknown => {
                    prop_assert_eq!((with.decision, with.reason), (without.decision, without.reason));
                }
                Decision::Pending => prop_assert!(with.decision != Decision::Unknown),
            }
            if with.decision == Decision::Accepted {
                let best = with.candidates[0].clone();
                let number = usize::try_from(best.student.uuid().as_u128()).unwrap() - 1;
                let least = if expected[number] { lower } else { accept };
                prop_assert!(best.similarity.get() >= least);
                prop_assert_eq!(with.scope == MatchScope::Roster, expected[number]);
                // Nobody of the site is more similar, or less so by less than the margin.
                for (other, similarity) in similarities.iter().enumerate().filter(|(n, _)| *n != number) {
                    prop_assert!(best.similarity.get() - similarity >= MARGIN, "{other} {similarity}");
                }
            }
        }
    }
}
