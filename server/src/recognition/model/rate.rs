//! Accept thresholds that follow a wanted rate of false matches.

use std::ops::RangeInclusive;

use cavs_embedding::Similarity;
use cavs_types::{ProtocolError, RateBasis};

/// Rates of false matches, strangers of 1,000, that may be wanted.
const RATES: RangeInclusive<f64> = 0.001..=100.0;

/// Highest accept threshold that a rate leads to, and that can be set: above it, hardly anybody is accepted.
pub const HIGHEST_ACCEPT: f32 = 0.95;

/// A threshold stays where the expected rate is at most so many times the wanted one, and where a lower one
/// would be lower by less than this: reviewers need something to rely on, and a measurement scatters.
const TOLERATED: f64 = 1.5;
const WORTH_LOWERING: f32 = 0.02;

/// Why an accept threshold is what it is, where a wanted rate says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateReason {
    /// Strangers, of 1,000, that may be accepted.
    pub wanted: f64,
    /// From what the threshold was concluded.
    pub basis: RateBasis,
    /// Templates of the gallery, then.
    pub templates: u32,
}

/// How often a stranger is taken for one of some people.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ScopeRate {
    /// Templates of those people.
    pub templates: u32,
    /// The similarity that is accepted.
    pub accept: Similarity,
    /// Strangers, of 1,000, that are expected to be; `None` where nobody can say.
    pub per_thousand: Option<f64>,
}

/// What is known of false matches in a gallery.
pub struct RateEvidence<'a> {
    /// Templates in it.
    pub templates: usize,
    /// What its own faces say, where they are enough to be relied on.
    pub gallery: Option<&'a cavs_gallery::Calibration>,
    /// What the pack's makers say, if they do.
    pub pack: Option<&'a cavs_models::Calibration>,
    /// The threshold below which none may be: the pack's, or the configuration's.
    pub floor: Similarity,
}

impl RateEvidence<'_> {
    /// Fewest probes of a gallery that say more of it than the pack's table: with fewer, the tail is a
    /// guess from a handful.
    pub const LEAST_SAMPLES: usize = 100;

    /// The accept threshold for a wanted rate, and from what it follows.
    #[must_use]
    pub fn threshold_for(&self, wanted: f64) -> (Similarity, RateReason) {
        let (found, basis) =
            match (self.gallery, self.pack.and_then(|p| p.threshold_for(wanted, self.templates))) {
                (Some(gallery), _) => (gallery.threshold_for(wanted), RateBasis::Gallery),
                (None, Some(found)) => (found, RateBasis::Pack),
                (None, None) => (self.floor, RateBasis::Floor),
            };
        let (accept, basis) = if found > self.floor {
            (found.get().min(HIGHEST_ACCEPT), basis)
        } else {
            (self.floor.get(), RateBasis::Floor)
        };
        let templates = u32::try_from(self.templates).unwrap_or(u32::MAX);
        (Similarity::clamped(accept), RateReason { wanted, basis, templates })
    }

    /// Strangers, of 1,000, that are expected to be accepted at a threshold.
    #[must_use]
    pub fn expected(&self, accept: Similarity) -> Option<f64> {
        match (self.gallery, self.pack) {
            (Some(gallery), _) => Some(gallery.false_matches_per_thousand(accept)),
            (None, Some(pack)) => pack.false_matches_per_thousand(accept, self.templates),
            (None, None) => None,
        }
    }

    /// The accept threshold for those who are expected somewhere, with so many of the site's templates, where the
    /// site's is `standing` and follows a rate: as many of 1,000 strangers are taken for one of them as for somebody of
    /// the site. Fewer people are less often like a stranger: it is lower, but not below `least`, nor the floor.
    #[must_use]
    pub fn threshold_among(
        &self,
        templates: usize,
        wanted: f64,
        standing: Similarity,
        least: Similarity,
    ) -> Similarity {
        let found = match (self.gallery, self.pack) {
            (Some(gallery), _) => Some(gallery.threshold_for(wanted / self.share(templates))),
            (None, Some(pack)) => pack.threshold_for(wanted, templates),
            (None, None) => None,
        };
        found.map_or(standing, |found| found.max(self.floor).max(least).min(standing))
    }

    /// Strangers, of 1,000, that are expected to be taken for one of those who have so many of the site's templates.
    #[must_use]
    pub fn expected_among(&self, templates: usize, accept: Similarity) -> Option<f64> {
        match (self.gallery, self.pack) {
            (Some(gallery), _) => {
                let of_site = (gallery.false_matches_per_thousand(accept) / 1000.0).min(1.0);
                Some(-1000.0 * (self.share(templates) * (-of_site).ln_1p()).exp_m1())
            }
            (None, Some(pack)) => pack.false_matches_per_thousand(accept, templates),
            (None, None) => None,
        }
    }

    /// Of the site's templates, the share that so many are.
    fn share(&self, templates: usize) -> f64 {
        let least = 1.0 / self.templates.max(1) as f64;
        (templates as f64 / self.templates.max(1) as f64).clamp(least, 1.0)
    }

    /// The threshold that should take the place of the standing one, if one should.
    #[must_use]
    pub fn replacement(&self, standing: Similarity, wanted: f64) -> Option<(Similarity, RateReason)> {
        let (accept, reason) = self.threshold_for(wanted);
        let too_often = self.expected(standing).is_some_and(|rate| rate > wanted * TOLERATED);
        let replaces = if accept > standing {
            too_often || standing < self.floor
        } else {
            standing.get() - accept.get() >= WORTH_LOWERING
        };
        replaces.then_some((accept, reason))
    }
}

/// A rate that somebody wants.
///
/// # Errors
/// `Invalid` where it is none that can be had.
pub fn wanted_rate(per_thousand: f64) -> Result<f64, ProtocolError> {
    if RATES.contains(&per_thousand) {
        return Ok(per_thousand);
    }
    let problem = format!("{per_thousand} is not {} to {}", RATES.start(), RATES.end());
    Err(ProtocolError::invalid("false_matches_per_thousand", problem))
}

#[cfg(test)]
mod tests {
    use cavs_models::{Distribution, FalseMatchRate};
    use proptest::prelude::*;

    use super::*;

    fn pack() -> cavs_models::Calibration {
        let distribution = Distribution { mean: 0.0, deviation: 0.1 };
        let rate = |similarity, per_million| FalseMatchRate { similarity, per_million };
        cavs_models::Calibration {
            data: String::new(),
            genuine: distribution,
            impostor: distribution,
            false_matches: vec![],
            false_match_rates: vec![rate(0.3, 10_000.0), rate(0.5, 100.0), rate(0.7, 1.0), rate(0.9, 0.01)],
        }
    }

    fn at(similarity: f32) -> Similarity {
        Similarity::clamped(similarity)
    }

    fn evidence(pack: Option<&cavs_models::Calibration>, templates: usize) -> RateEvidence<'_> {
        RateEvidence { templates, gallery: None, pack, floor: at(0.4) }
    }

    #[test]
    fn small_galleries_take_the_packs_table_for_their_size() {
        let pack = pack();
        let of = |templates, wanted| {
            let (accept, reason) = evidence(Some(&pack), templates).threshold_for(wanted);
            assert_eq!((reason.wanted, reason.templates as usize), (wanted, templates));
            ((accept.get() * 100.0).round() / 100.0, reason.basis)
        };
        assert_eq!(of(1, 0.1), (0.5, RateBasis::Pack));
        assert_eq!(of(100, 0.1), (0.7, RateBasis::Pack));
        assert_eq!(of(10_000, 0.1), (0.9, RateBasis::Pack));
        // Neither below the floor, nor so high that nobody passes.
        assert_eq!(of(1, 100.0), (0.4, RateBasis::Floor));
        assert_eq!(of(1_000_000, 0.001), (0.95, RateBasis::Pack));
        let (accept, reason) = evidence(None, 500).threshold_for(0.1);
        assert_eq!((accept, reason.basis), (at(0.4), RateBasis::Floor));
    }

    #[test]
    fn a_threshold_moves_only_where_it_pays() {
        let pack = pack();
        let moved = |templates, standing: f32| {
            let replacement = evidence(Some(&pack), templates).replacement(at(standing), 0.1);
            replacement.map(|(accept, _)| (accept.get() * 100.0).round() / 100.0)
        };
        assert_eq!(moved(100, 0.7), None);
        // A hundredth lower lets 1.26 times as many in: tolerated. Two are 1.58 times.
        assert_eq!(moved(100, 0.69), None);
        assert_eq!(moved(100, 0.68), Some(0.7));
        assert_eq!(moved(100, 0.715), None);
        assert_eq!(moved(100, 0.73), Some(0.7));
        // Where nobody knows the rate, the floor counts.
        let unknown = evidence(None, 100);
        assert_eq!(unknown.replacement(at(0.3), 0.1).map(|(accept, _)| accept), Some(at(0.4)));
        assert_eq!(unknown.replacement(at(0.41), 0.1), None);
        assert_eq!(unknown.replacement(at(0.6), 0.1).map(|(accept, _)| accept), Some(at(0.4)));
    }

    #[test]
    fn fewer_people_take_less_similarity() {
        let pack = pack();
        let evidence = evidence(Some(&pack), 10_000);
        let (standing, least) = (evidence.threshold_for(0.1).0, at(0.35));
        let among = |templates| {
            let accept = evidence.threshold_among(templates, 0.1, standing, least);
            ((accept.get() * 100.0).round() / 100.0, evidence.expected_among(templates, accept).unwrap())
        };
        assert_eq!([1, 100, 10_000].map(|n| among(n).0), [0.5, 0.7, 0.9]);
        for templates in [1, 100, 10_000] {
            assert!((among(templates).1 / 0.1 - 1.0).abs() < 0.01, "{:?}", among(templates));
        }
        // Neither more than the site's, nor less than what may be; nor anything of one's own where nothing is known.
        assert_eq!(evidence.threshold_among(100, 0.1, at(0.6), least), at(0.6));
        assert_eq!(evidence.threshold_among(1, 100.0, standing, least), at(0.4));
        assert_eq!(evidence.threshold_among(1, 100.0, standing, at(0.45)), at(0.45));
        let unknown = RateEvidence { pack: None, ..evidence };
        assert_eq!(unknown.threshold_among(1, 0.1, at(0.8), least), at(0.8));
        assert_eq!(unknown.expected_among(1, at(0.8)), None);
    }

    #[test]
    fn rates_are_bounded() {
        assert_eq!(wanted_rate(0.1), Ok(0.1));
        for wrong in [0.0, -1.0, 100.1, f64::NAN, f64::INFINITY] {
            let problem = wanted_rate(wrong).unwrap_err().to_string();
            assert!(problem.contains("is not 0.001 to 100"), "{problem}");
        }
    }

    proptest! {
        #[test]
        fn a_replacement_is_never_replaced(
            standing in 0.05f32..0.95, wanted in 0.001f64..100.0, templates in 0usize..200_000, table: bool,
        ) {
            let pack = pack();
            let evidence = evidence(table.then_some(&pack), templates);
            let (accept, _) = evidence.threshold_for(wanted);
            prop_assert!(accept >= evidence.floor && accept.get() <= HIGHEST_ACCEPT);
            prop_assert_eq!(evidence.replacement(accept, wanted), None);
            if let Some((next, _)) = evidence.replacement(at(standing), wanted) {
                prop_assert_eq!(next, accept);
            }
        }
    }
}
