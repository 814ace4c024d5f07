use jiff::civil::Date;

/// Fewer accepted sightings of a month say nothing of it: a single pair of pictures of one person varies by 0.13 (the
/// built-in pack's card), the mean of five by less than half of it.
const LEAST_SIGHTINGS: u64 = 5;
/// Months that have to be lower, one after the other, so that no month of bad light is taken for a change.
const LOWER_MONTHS: usize = 2;
/// By how much less similar they have to be than the best month before them, as a difference of cosines: more than
/// months of one person differ by chance.
const DROP: f64 = 0.08;

/// How similar a student's accepted sightings of a month were to their templates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MonthSimilarity {
    /// First day of the month.
    pub month: Date,
    /// Accepted sightings.
    pub sightings: u64,
    /// Mean of their similarities, -1 to 1.
    pub mean: f64,
}

/// Whether a student has changed so much that they should be enrolled anew: in each of the last two months that say
/// something, sightings were less similar by `DROP` than in the best month before. `months` are those since the
/// newest template, in their order.
#[must_use]
pub fn needs_re_enrollment(months: &[MonthSimilarity]) -> bool {
    let told: Vec<f64> =
        months.iter().filter(|month| month.sightings >= LEAST_SIGHTINGS).map(|month| month.mean).collect();
    let Some((before, latest)) = told.split_last_chunk::<LOWER_MONTHS>() else { return false };
    let best = before.iter().copied().max_by(f64::total_cmp);
    best.is_some_and(|best| latest.iter().all(|mean| best - mean >= DROP))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn months(means: &[(u64, f64)]) -> Vec<MonthSimilarity> {
        let month = |(n, &(sightings, mean)): (usize, &(u64, f64))| {
            let month = Date::constant(2026, i8::try_from(n).unwrap() + 1, 1);
            MonthSimilarity { month, sightings, mean }
        };
        means.iter().enumerate().map(month).collect()
    }

    #[test]
    fn who_sinks_over_months_is_told() {
        let needs = |means: &[(u64, f64)]| needs_re_enrollment(&months(means));
        assert!(needs(&[(20, 0.80), (20, 0.71), (20, 0.70)]));
        assert!(needs(&[(20, 0.70), (20, 0.80), (20, 0.77), (20, 0.72), (9, 0.66)]));
        // One bad month, or a small change.
        assert!(!needs(&[(20, 0.80), (20, 0.79), (20, 0.66)]));
        assert!(!needs(&[(20, 0.80), (20, 0.66), (20, 0.79)]));
        assert!(!needs(&[(20, 0.80), (20, 0.75), (20, 0.74)]));
        // Too little is known.
        assert!(!needs(&[]) && !needs(&[(20, 0.8), (20, 0.6)]));
        assert!(!needs(&[(20, 0.80), (20, 0.71), (4, 0.60)]));
        assert!(!needs(&[(4, 0.80), (20, 0.71), (20, 0.60)]));
        // A month of which too little is known lies between.
        assert!(needs(&[(20, 0.80), (20, 0.71), (1, 0.90), (20, 0.60)]));
    }

    proptest! {
        #[test]
        fn nobody_is_told_who_does_not_sink(mut means in prop::collection::vec((0_u64..50, -1.0..1.0_f64), 0..12)) {
            means.sort_by(|(_, a), (_, b)| a.total_cmp(b));
            prop_assert!(!needs_re_enrollment(&months(&means)));
        }
    }
}
