//! Why a sighting waits, in words.

use cavs_types::{PredictionReason, Quality};

/// A component of quality below it is worth a word: half of what it can be.
const POOR: u8 = 50;

/// What the decision on a sighting depended on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Why {
    /// Unset where this version knows no such reason.
    pub(super) reason: Option<PredictionReason>,
    /// Similarity of the best candidate.
    pub(super) best: Option<f32>,
    /// The similarity that would have been accepted.
    pub(super) threshold: f32,
    /// Distance of the best to the next student.
    pub(super) margin: Option<f32>,
    pub(super) liveness: Option<f32>,
    pub(super) quality: Option<Quality>,
}

impl Why {
    /// Such as "0.37, below 0.40; second is 0.02 behind; dark".
    pub(super) fn words(&self) -> String {
        let mut parts = Vec::new();
        if let Some(best) = self.best {
            parts.push(compared(best, self.threshold));
        }
        if let Some(margin) = self.margin {
            parts.push(format!("second is {margin:.2} behind"));
        }
        parts.extend(self.reason.and_then(|reason| self.about(reason)));
        parts.extend(self.quality.iter().flat_map(quality_words).map(str::to_owned));
        parts.join("; ")
    }

    /// What the numbers do not say.
    fn about(&self, reason: PredictionReason) -> Option<String> {
        let words = match reason {
            PredictionReason::Matched | PredictionReason::NarrowMargin => return None,
            PredictionReason::LowSimilarity if self.best.is_some() => return None,
            PredictionReason::LowSimilarity => "nobody comes near",
            PredictionReason::ConfusablePair => "the first two are known to be confused",
            PredictionReason::FaceNotUpright => "not upright",
            PredictionReason::LowLiveness => {
                return Some(match self.liveness {
                    Some(liveness) => format!("may be a print or a screen ({liveness:.2})"),
                    None => "nothing says that it is no print or screen".to_owned(),
                });
            }
            PredictionReason::LowQuality => "too poor a picture",
            PredictionReason::DeviceInMaintenance => "seen by a device in maintenance",
            PredictionReason::TimeImplausible => "seen at a time that can't be",
            PredictionReason::EmptyGallery => "nobody was enrolled",
            PredictionReason::PackNotServed => "made by a model pack that the server does not serve",
        };
        Some(words.to_owned())
    }
}

/// With as many digits as tell the two apart, at most three.
fn compared(best: f32, threshold: f32) -> String {
    let side = if best < threshold { "below" } else { "above" };
    let [two, of_two] = [best, threshold].map(|value| format!("{value:.2}"));
    if two == of_two {
        format!("{best:.3}, {side} {threshold:.3}")
    } else {
        format!("{two}, {side} {of_two}")
    }
}

/// What is wrong with the picture of a face.
fn quality_words(quality: &Quality) -> impl Iterator<Item = &'static str> + use<> {
    let components = [
        (quality.under_exposure_prevention, "dark"),
        (quality.over_exposure_prevention, "too bright"),
        (quality.sharpness, "blurred"),
        (quality.head_size.min(quality.inter_eye_distance), "small"),
        (quality.head_pose_yaw, "turned aside"),
        (quality.head_pose_pitch, "looking up or down"),
        (quality.head_pose_roll, "tilted"),
    ];
    components.into_iter().filter(|(value, _)| *value < POOR).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: Why = Why {
        reason: Some(PredictionReason::LowSimilarity),
        best: Some(0.37),
        threshold: 0.40,
        margin: Some(0.02),
        liveness: None,
        quality: None,
    };

    #[test]
    fn reasons_are_told_in_words() {
        let dark = Quality { under_exposure_prevention: 10, ..Quality::uniform(90) };
        let dark = Why { quality: Some(dark), ..WHY };
        assert_eq!(dark.words(), "0.37, below 0.40; second is 0.02 behind; dark");
        let near = Why { best: Some(0.399), margin: None, ..WHY };
        assert_eq!(near.words(), "0.399, below 0.400");
        let nobody = Why { best: None, margin: None, ..WHY };
        assert_eq!(nobody.words(), "nobody comes near");
        let print =
            Why { best: Some(0.8), reason: Some(PredictionReason::LowLiveness), liveness: Some(0.1), ..WHY };
        assert_eq!(
            print.words(),
            "0.80, above 0.40; second is 0.02 behind; may be a print or a screen (0.10)"
        );
        let unknown = Why { reason: None, quality: Some(Quality::uniform(10)), ..nobody };
        assert_eq!(
            unknown.words(),
            "dark; too bright; blurred; small; turned aside; looking up or down; tilted"
        );
    }
}
