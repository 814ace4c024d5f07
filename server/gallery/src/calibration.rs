use cavs_embedding::Similarity;

/// Fewest probes from which anything can be concluded.
const LEAST: usize = 20;

/// Share of the probes whose excess over the rest tells how the tail falls.
const TAIL: f64 = 0.1;

/// What a gallery's own faces say about false matches.
///
/// A sample of templates was looked up in the gallery without their own students. Whoever came first
/// is an impostor, as a stranger before the camera would find one, and the gallery's size is part of
/// the measurement. Above the sample's 90th percentile the rate is taken to fall exponentially, as the
/// tail of a maximum of many does (peaks over threshold; Coles, An Introduction to Statistical Modeling
/// of Extreme Values, chapter 4), as its median says: a person enrolled as two students, or twins, look like
/// likely impostors, and a few of them must not carry the rest with them.
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration {
    /// Similarity of each probe's best impostor, ascending.
    impostors: Vec<Similarity>,
    /// Where the tail begins.
    tail: f64,
    /// Mean excess over `tail`, as its median says.
    scale: f64,
}

impl Calibration {
    /// Concludes from best impostors, or `None` where they are too few.
    pub(crate) fn new(mut impostors: Vec<Similarity>) -> Option<Self> {
        if impostors.len() < LEAST {
            return None;
        }
        impostors.sort_unstable();
        let (below, above) = impostors.split_at(((1.0 - TAIL) * impostors.len() as f64) as usize);
        let tail = below.last().map_or(-1.0, |s| f64::from(s.get()));
        // They are sorted; the median of an exponential distribution is its mean times ln 2.
        let middle = (above.len() - 1) / 2;
        let median = above
            .get(middle)
            .zip(above.get(above.len() / 2))
            .map_or(0.0, |(a, b)| (f64::from(a.get()) + f64::from(b.get())) / 2.0 - tail);
        // Where all are alike, the smallest step stands for no excess at all.
        let scale = (median / std::f64::consts::LN_2).max(f64::from(f32::EPSILON));
        Some(Self { impostors, tail, scale })
    }

    /// Number of probes.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.impostors.len()
    }

    /// Expected number of strangers among 1,000 whose best match reaches `threshold`.
    #[must_use]
    pub fn false_matches_per_thousand(&self, threshold: Similarity) -> f64 {
        let excess = f64::from(threshold.get()) - self.tail;
        1000.0
            * if excess > 0.0 {
                TAIL * (-excess / self.scale).exp()
            } else {
                let below = self.impostors.partition_point(|s| *s < threshold);
                1.0 - below as f64 / self.samples() as f64
            }
    }

    /// The lowest threshold at which at most `wanted` of 1,000 strangers match; never below the
    /// sample's 90th percentile.
    #[must_use]
    pub fn threshold_for(&self, wanted: f64) -> Similarity {
        let rate = if wanted > 0.0 { (wanted / 1000.0).min(TAIL) } else { f64::MIN_POSITIVE };
        Similarity::clamped((self.tail + self.scale * (TAIL / rate).ln()) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_and_threshold_are_inverse_and_follow_the_sample() {
        // Similarities whose excess over 0.2 is exponential with mean 0.02.
        let quantile = |i| 0.2 - 0.02 * (1.0 - (i as f32 + 0.5) / 1000.0).ln();
        let calibration = Calibration::new((0..1000).map(|i| Similarity::clamped(quantile(i))).collect());
        let calibration = calibration.unwrap();
        for (wanted, expected) in [(100.0, 0.246), (10.0, 0.292), (1.0, 0.338), (0.01, 0.430)] {
            let threshold = calibration.threshold_for(wanted);
            assert!((threshold.get() - expected).abs() < 0.003, "{wanted} {threshold:?}");
            let rate = calibration.false_matches_per_thousand(threshold);
            assert!((rate / wanted - 1.0).abs() < 0.02, "{wanted} {rate}");
        }
        assert_eq!(calibration.false_matches_per_thousand(Similarity::MIN), 1000.0);
        assert!((calibration.false_matches_per_thousand(Similarity::clamped(0.21)) - 607.0).abs() < 2.0);
    }

    #[test]
    fn a_pair_of_twins_does_not_carry_the_others() {
        let quantile = |i: usize| 0.2 - 0.02 * (1.0 - (i as f32 + 0.5) / 120.0).ln();
        let mut impostors: Vec<_> = (0..120).map(|i| Similarity::clamped(quantile(i))).collect();
        let without = Calibration::new(impostors.clone()).unwrap().threshold_for(0.1);
        impostors[118..].fill(Similarity::clamped(0.95));
        let with = Calibration::new(impostors).unwrap().threshold_for(0.1);
        assert!(with.get() - without.get() < 0.03, "{without:?} {with:?}");
    }

    #[test]
    fn few_or_equal_samples_are_no_trouble() {
        assert_eq!(Calibration::new(vec![Similarity::MIN; 19]), None);
        let flat = Calibration::new(vec![Similarity::clamped(0.3); 20]).unwrap();
        assert!(flat.threshold_for(0.0).get() < 0.31);
        assert!(flat.threshold_for(f64::NAN) >= flat.threshold_for(1e-9));
        assert_eq!(flat.false_matches_per_thousand(Similarity::clamped(0.3)), 1000.0);
    }
}
