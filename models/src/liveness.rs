//! What a liveness score means at one camera.
//!
//! The networks' probabilities move with the camera, the light and the compression: the same live
//! face may get 0.95 in one room and 0.4 in another. A calibration says how a score compares with
//! those that live faces got at this camera before.

use serde::{Deserialize, Serialize};

/// Steps between the lowest and the highest of the sampled scores.
const STEPS: usize = 20;

/// Scores that are kept; a new one then takes an old one's place.
const MOST_SAMPLES: usize = 2048;

/// Scores of live faces of one camera, taken while only real people were before it. Bounded: an even
/// selection of everything that was added.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LivenessSamples {
    scores: Vec<f32>,
    seen: u64,
}

impl LivenessSamples {
    /// Fewest scores from which a calibration is made.
    pub const LEAST: usize = 100;

    /// Adds the score of a live face, 0 to 1; other numbers are left out.
    pub fn add(&mut self, score: f32) {
        if !(0.0..=1.0).contains(&score) {
            return;
        }
        if self.scores.len() < MOST_SAMPLES {
            self.scores.push(score);
        } else {
            // Vitter's algorithm R with a fixed sequence: the same scores give the same calibration.
            let place = splitmix(self.seen) % (self.seen + 1);
            if let Some(old) = self.scores.get_mut(place as usize) {
                *old = score;
            }
        }
        self.seen += 1;
    }

    /// The calibration; nothing from fewer scores than [`LEAST`](Self::LEAST).
    #[must_use]
    pub fn calibration(&self) -> Option<LivenessCalibration> {
        if self.scores.len() < Self::LEAST {
            return None;
        }
        let mut sorted = self.scores.clone();
        sorted.sort_by(f32::total_cmp);
        let last = sorted.len() - 1;
        Some(LivenessCalibration(std::array::from_fn(|step| sorted[step * last / STEPS])))
    }
}

/// Where the scores of a camera's live faces lie: the lowest, then every twentieth part of them.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f32>", into = "Vec<f32>")]
pub struct LivenessCalibration([f32; STEPS + 1]);

impl LivenessCalibration {
    /// What part of the camera's live faces scored lower, 0 to 1: 0.05 means that only one live
    /// face in twenty looked as little alive. It never falls as the score rises.
    #[must_use]
    pub fn apply(&self, score: f32) -> f32 {
        let Self(levels) = self;
        let below = levels.partition_point(|level| *level < score);
        let Some(before) = below.checked_sub(1) else { return 0.0 };
        let Some(next) = levels.get(below) else { return 1.0 };
        let low = levels[before];
        // Levels below and at the score differ, or the score would not lie between them.
        ((before as f32 + (score - low) / (next - low)) / STEPS as f32).clamp(0.0, 1.0)
    }
}

impl TryFrom<Vec<f32>> for LivenessCalibration {
    type Error = &'static str;

    fn try_from(levels: Vec<f32>) -> Result<Self, Self::Error> {
        let levels: [f32; STEPS + 1] =
            levels.try_into().map_err(|_| "a liveness calibration has 21 numbers")?;
        if !levels.iter().all(|v| (0.0..=1.0).contains(v)) || !levels.is_sorted() {
            return Err("the numbers of a liveness calibration rise from 0 to 1");
        }
        Ok(Self(levels))
    }
}

impl From<LivenessCalibration> for Vec<f32> {
    fn from(LivenessCalibration(levels): LivenessCalibration) -> Self {
        levels.to_vec()
    }
}

/// SplitMix64 (Steele et al. 2014).
const fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cameras_become_comparable() {
        // Live faces score 0.2 to 0.4 at one camera and 0.8 to 1.0 at another.
        let calibrated = |low: f32| {
            let mut samples = LivenessSamples::default();
            (0..10_000).for_each(|i| samples.add(low + 0.2 * (i * 7919 % 1000) as f32 / 1000.0));
            samples.calibration().unwrap()
        };
        let (dim, bright) = (calibrated(0.2), calibrated(0.8));
        for part in [0.1, 0.5, 0.9] {
            let (a, b) = (dim.apply(0.2 + 0.2 * part), bright.apply(0.8 + 0.2 * part));
            assert!((a - part).abs() < 0.05 && (b - part).abs() < 0.05, "{part}: {a} {b}");
        }
        // What passes at one camera is suspicious at the other.
        assert_eq!((dim.apply(0.6), bright.apply(0.6)), (1.0, 0.0));
    }

    #[test]
    fn few_scores_are_no_calibration() {
        let mut samples = LivenessSamples::default();
        (1..LivenessSamples::LEAST).for_each(|_| samples.add(0.5));
        [f32::NAN, -0.1, 1.1].into_iter().for_each(|wrong| samples.add(wrong));
        assert_eq!(samples.calibration(), None);
        samples.add(0.5);
        let same = samples.calibration().unwrap();
        assert_eq!((same.apply(0.4), same.apply(0.6)), (0.0, 1.0));
    }

    #[test]
    fn a_calibration_is_written_and_read() {
        let mut samples = LivenessSamples::default();
        (0..200).for_each(|i| samples.add(i as f32 / 200.0));
        let calibration = samples.calibration().unwrap();
        let text = serde_json::to_string(&calibration).unwrap();
        assert_eq!(serde_json::from_str::<LivenessCalibration>(&text).unwrap(), calibration);
        let wrong = [vec![0.5; 20], vec![2.0; 21], (0..21).rev().map(|i| i as f32 / 21.0).collect()];
        assert!(wrong.into_iter().all(|levels| LivenessCalibration::try_from(levels).is_err()));
    }

    proptest! {
        #[test]
        fn it_rises_with_the_score(
            scores in prop::collection::vec(0f32..=1.0, 100..300),
            a in -0.5f32..1.5,
            b in -0.5f32..1.5,
        ) {
            let mut samples = LivenessSamples::default();
            scores.iter().for_each(|s| samples.add(*s));
            let calibration = samples.calibration().unwrap();
            let (low, high) = (calibration.apply(a.min(b)), calibration.apply(a.max(b)));
            prop_assert!((0.0..=1.0).contains(&low) && low <= high && high <= 1.0, "{} {}", low, high);
        }
    }
}
