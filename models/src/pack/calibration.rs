//! What a pack's makers found out about the errors of its embeddings.

use cavs_embedding::Similarity;
use serde::{Deserialize, Serialize};

/// What a pack's makers found out about the errors of its embeddings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The faces on which it was measured.
    pub data: String,
    /// Similarity of two pictures of one person.
    pub genuine: Distribution,
    /// Similarity of two persons.
    pub impostor: Distribution,
    /// How often strangers are taken for somebody at the pack's `accept`.
    pub false_matches: Vec<FalseMatches>,
    /// How seldom two persons are how alike; empty where nobody has measured it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub false_match_rates: Vec<FalseMatchRate>,
}

/// Mean and standard deviation of similarities.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// Mean of the similarities.
    pub mean: f32,
    /// Their standard deviation.
    pub deviation: f32,
}

/// Expected errors in a gallery of one size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FalseMatches {
    /// Templates in the gallery.
    pub gallery: u32,
    /// Probes of strangers, out of 1,000, that would be accepted as somebody.
    pub per_1000: f32,
}

/// How often one comparison of two persons is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FalseMatchRate {
    /// From this similarity on.
    pub similarity: f32,
    /// Pairs, out of a million, that are so alike.
    pub per_million: f64,
}

impl Calibration {
    /// Whether the rates fall as similarity rises, as they have to.
    pub(super) fn is_sound(&self) -> bool {
        let sound = |rate: &FalseMatchRate| {
            (-1.0..=1.0).contains(&rate.similarity) && rate.per_million > 0.0 && rate.per_million <= 1e6
        };
        self.false_match_rates.iter().all(sound)
            && self
                .false_match_rates
                .is_sorted_by(|a, b| a.similarity < b.similarity && a.per_million > b.per_million)
            && self.false_match_rates.len() != 1
    }

    /// Strangers, of 1,000, that are expected to be accepted at a threshold, in a gallery of so many
    /// templates; `None` where the pack has no rates.
    ///
    /// Every template counts as a person: a student's templates are alike, so it is an upper bound.
    #[must_use]
    pub fn false_matches_per_thousand(&self, threshold: Similarity, templates: usize) -> Option<f64> {
        let rate = 10f64.powf(self.log_rate(f64::from(threshold.get()))?).min(1.0);
        Some(-1000.0 * (templates as f64 * (-rate).ln_1p()).exp_m1())
    }

    /// The threshold at which so many of 1,000 strangers are expected to be accepted, in a gallery of so many
    /// templates; `None` where the pack has no rates.
    #[must_use]
    pub fn threshold_for(&self, per_thousand: f64, templates: usize) -> Option<Similarity> {
        let stranger = (per_thousand / 1000.0).clamp(f64::MIN_POSITIVE, 0.999);
        // One comparison's share: 1 - (1 - stranger)^(1 / templates).
        let wanted = (-((-stranger).ln_1p() / templates.max(1) as f64).exp_m1()).log10();
        let rates = &self.false_match_rates;
        // The first step of the table whose end is rare enough, or its last one, which is continued.
        let step =
            rates.windows(2).find(|step| log(&step[1]) <= wanted).or_else(|| rates.windows(2).last())?;
        let part = (wanted - log(&step[0])) / (log(&step[1]) - log(&step[0]));
        let (from, to) = (f64::from(step[0].similarity), f64::from(step[1].similarity));
        Some(Similarity::clamped((from + part.max(0.0) * (to - from)) as f32))
    }

    /// Logarithm of a comparison's rate: straight between the table's entries, and on as its end falls.
    fn log_rate(&self, similarity: f64) -> Option<f64> {
        let rates = &self.false_match_rates;
        let step = rates
            .windows(2)
            .find(|step| similarity <= f64::from(step[1].similarity))
            .or_else(|| rates.windows(2).last())?;
        let (from, to) = (f64::from(step[0].similarity), f64::from(step[1].similarity));
        let part = ((similarity - from) / (to - from)).max(0.0);
        Some(log(&step[0]) + part * (log(&step[1]) - log(&step[0])))
    }
}

fn log(rate: &FalseMatchRate) -> f64 {
    (rate.per_million / 1e6).log10()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn calibration(rates: &[(f32, f64)]) -> Calibration {
        let nothing = Distribution { mean: 0.0, deviation: 0.1 };
        let rate = |(similarity, per_million): &(f32, f64)| FalseMatchRate {
            similarity: *similarity,
            per_million: *per_million,
        };
        Calibration {
            data: String::new(),
            genuine: nothing,
            impostor: nothing,
            false_matches: vec![],
            false_match_rates: rates.iter().map(rate).collect(),
        }
    }

    #[test]
    fn rates_are_interpolated_and_continued() {
        let table = calibration(&[(0.3, 10_000.0), (0.4, 1000.0), (0.5, 10.0)]);
        let rate = |at: f32, templates| {
            table.false_matches_per_thousand(Similarity::clamped(at), templates).unwrap()
        };
        let near = |a: f64, b: f64| (a / b - 1.0).abs() < 0.01;
        // One template: a comparison's own rate, in 1,000.
        assert!(near(rate(0.3, 1), 10.0) && near(rate(0.4, 1), 1.0) && near(rate(0.5, 1), 0.01));
        assert!(near(rate(0.45, 1), 0.1) && near(rate(0.55, 1), 0.001), "{}", rate(0.55, 1));
        // Nobody knows what happens below the table: not less than at its beginning.
        assert!(near(rate(0.1, 1), 10.0));
        assert!(near(rate(0.5, 100), 1.0) && near(rate(0.3, 100), 1000.0 * (1.0 - 0.99f64.powi(100))));
        for (wanted, templates, expected) in
            [(1.0, 1, 0.4), (0.01, 1, 0.5), (1.0, 100, 0.5), (0.1, 100, 0.55), (100.0, 1, 0.3)]
        {
            let found = table.threshold_for(wanted, templates).unwrap().get();
            assert!((found - expected).abs() < 0.002, "{wanted} {templates}: {found}");
        }
        assert_eq!(calibration(&[]).threshold_for(1.0, 10), None);
        assert_eq!(calibration(&[]).false_matches_per_thousand(Similarity::MIN, 10), None);
    }

    #[test]
    fn tables_that_say_nothing_sensible_are_refused() {
        assert!(calibration(&[]).is_sound() && calibration(&[(0.3, 10.0), (0.4, 1.0)]).is_sound());
        for wrong in [
            &[(0.3, 10.0)][..],
            &[(0.3, 10.0), (0.3, 1.0)],
            &[(0.3, 10.0), (0.4, 10.0)],
            &[(0.3, 2e6), (0.4, 10.0)],
            &[(0.3, 1.0), (0.4, 0.0)],
            &[(0.3, f64::NAN), (0.4, 1.0)],
            &[(f32::NAN, 2.0), (0.4, 1.0)],
        ] {
            assert!(!calibration(wrong).is_sound(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_threshold_gives_the_rate_that_was_wanted(wanted in 1e-3f64..5.0, templates in 1usize..100_000) {
            let table = calibration(&[(0.2, 50_000.0), (0.35, 2000.0), (0.5, 3.0), (0.6, 0.2)]);
            let threshold = table.threshold_for(wanted, templates).unwrap();
            let rate = table.false_matches_per_thousand(threshold, templates).unwrap();
            // The table begins at a rate; what would be more often than that is met with less.
            prop_assert!(rate <= wanted * 1.001 || threshold.get() == 1.0, "{threshold:?} {rate}");
            prop_assert!(threshold.get() <= 0.2 || threshold.get() == 1.0 || rate >= wanted * 0.999, "{threshold:?} {rate}");
        }
    }
}
