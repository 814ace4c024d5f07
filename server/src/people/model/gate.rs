use cavs_embedding::Similarity;
use cavs_types::{EnrollmentGate, Quality};

use crate::recognition::Thresholds;

/// By how much more than the accept threshold a face has to be similar to another student's, at most gates, to be taken
/// for theirs: a sibling must not be refused, a second enrollment of one person under two numbers must.
const ABOVE_ACCEPT: f32 = 0.2;
/// The same at the strict gate: whoever comes that near may be taken for the other one some day.
const ABOVE_ACCEPT_STRICT: f32 = 0.1;
/// No face has to be more similar than that to be taken for another student's.
const MOST_SAME_PERSON: f32 = 0.9;

/// What the strict gate asks of each component. 60 of `inter_eye_distance` are 54 pixels between the eyes, half of
/// what the standard asks of passports; 75 of a pose component are 30 degrees; 40 of `sharpness` is what photographs of
/// telephones have that are sent unshrunk.
const STRICT: Quality = Quality {
    unified_score: 0,
    inter_eye_distance: 60,
    head_size: 60,
    sharpness: 40,
    under_exposure_prevention: 70,
    over_exposure_prevention: 70,
    head_pose_yaw: 75,
    head_pose_pitch: 75,
    head_pose_roll: 75,
    landmark_confidence: 70,
};

/// What of a face is too poor for a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QualityShortfall {
    /// Stable.
    pub reason: &'static str,
    /// The component, as [`Quality`] names it.
    pub component: &'static str,
    /// What it is, 0 to 100.
    pub found: u8,
    /// What it has to be.
    pub needed: u8,
}

/// The component that is furthest below what a gate asks; `None` where the face is good enough. `least` is what the
/// server's configuration asks of every component.
#[must_use]
pub fn shortfall(gate: EnrollmentGate, quality: Quality, least: u8) -> Option<QualityShortfall> {
    let needed = match gate {
        EnrollmentGate::Off => return None,
        EnrollmentGate::Standard => Quality::uniform(least),
        EnrollmentGate::Strict => STRICT,
    };
    let components = quality.iter().zip(needed.iter()).map(|((component, found), (_, needed))| {
        let needed = needed.max(least);
        QualityShortfall { reason: reason(component), component, found, needed }
    });
    // The unified score, which is the first, is the worst component, and says nothing of what is wrong.
    let (unified, components): (Vec<_>, Vec<_>) =
        components.filter(|c| c.found < c.needed).partition(|c| c.component == "unified_score");
    components.into_iter().max_by_key(|c| c.needed - c.found).or_else(|| unified.into_iter().next())
}

fn reason(component: &str) -> &'static str {
    match component {
        "inter_eye_distance" | "head_size" => "FACE_TOO_SMALL",
        "sharpness" => "FACE_BLURRED",
        "under_exposure_prevention" => "FACE_TOO_DARK",
        "over_exposure_prevention" => "FACE_TOO_BRIGHT",
        "head_pose_yaw" | "head_pose_pitch" | "head_pose_roll" => "FACE_TURNED_AWAY",
        "landmark_confidence" => "LANDMARKS_UNSURE",
        _ => "LOW_QUALITY",
    }
}

impl QualityShortfall {
    /// In words, with what to do.
    #[must_use]
    pub fn message(&self) -> String {
        let Self { reason, component, found, needed } = self;
        let (problem, remedy) = match *reason {
            "FACE_TOO_SMALL" => ("is too small", "come closer, or send the picture unshrunk"),
            "FACE_BLURRED" => ("is blurred", "take a sharp picture"),
            "FACE_TOO_DARK" => ("is too dark", "take the picture in more light"),
            "FACE_TOO_BRIGHT" => ("is too bright", "take the picture without light on the face alone"),
            "FACE_TURNED_AWAY" => ("is turned away or tilted", "look into the camera"),
            "LANDMARKS_UNSURE" => {
                ("can't be made out for sure", "take a picture without anything before the face")
            }
            _ => ("is of poor quality", "take a sharp, frontal, well lit picture"),
        };
        format!("the face {problem} ({component} is {found} of 100, {needed} are needed): {remedy}")
    }
}

/// From which similarity on a face belongs to the student who has it already, at a gate; `set` is what the server's
/// configuration says.
#[must_use]
pub fn same_person(gate: EnrollmentGate, accept: Similarity, set: Option<Similarity>) -> Similarity {
    let above = |more: f32| Similarity::clamped((accept.get() + more).min(MOST_SAME_PERSON));
    let usual = set.unwrap_or_else(|| above(ABOVE_ACCEPT));
    match gate {
        EnrollmentGate::Off | EnrollmentGate::Standard => usual,
        EnrollmentGate::Strict => {
            let strict = above(ABOVE_ACCEPT_STRICT);
            if strict < usual { strict } else { usual }
        }
    }
}

/// Below which similarity to all of a student's own pictures a face is somebody else's, at a gate; `None` where nobody
/// asks. `set` is what the server's configuration says.
#[must_use]
pub fn unlike_at(
    gate: EnrollmentGate,
    thresholds: Thresholds,
    set: Option<Similarity>,
) -> Option<Similarity> {
    let usual = set.unwrap_or_else(|| unlike_below(thresholds.review));
    match gate {
        EnrollmentGate::Off => None,
        EnrollmentGate::Standard => Some(usual),
        EnrollmentGate::Strict if thresholds.review > usual => Some(thresholds.review),
        EnrollmentGate::Strict => Some(usual),
    }
}

/// Below which similarity to all of a student's own pictures a face is somebody else's, unless that is configured: far
/// below what anybody would be asked about. Of the built-in pack's pairs of one person 1 in 2,400 is less alike, of
/// pairs of strangers 19 in 20 are (taken as normal distributions, by the figures of its card).
#[must_use]
pub fn unlike_below(review: Similarity) -> Similarity {
    // Of a review threshold below zero, half is more.
    Similarity::clamped(review.get().min(review.get() / 2.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(similarity: f32) -> Similarity {
        Similarity::clamped(similarity)
    }

    #[test]
    fn gates_ask_for_more_and_name_what_lacks() {
        let fair = Quality { unified_score: 20, head_pose_yaw: 20, ..Quality::uniform(95) };
        assert_eq!(shortfall(EnrollmentGate::Off, Quality::uniform(0), 15), None);
        assert_eq!(shortfall(EnrollmentGate::Standard, fair, 15), None);
        let strict = shortfall(EnrollmentGate::Strict, fair, 15).unwrap();
        assert_eq!(
            (strict.reason, strict.component, strict.needed),
            ("FACE_TURNED_AWAY", "head_pose_yaw", 75)
        );
        let small = Quality { unified_score: 10, head_size: 10, inter_eye_distance: 12, ..fair };
        let standard = shortfall(EnrollmentGate::Standard, small, 15).unwrap();
        assert_eq!((standard.reason, standard.component), ("FACE_TOO_SMALL", "head_size"));
        assert!(
            standard.message().contains("head_size is 10 of 100, 15 are needed"),
            "{}",
            standard.message()
        );
        let said_only = Quality { unified_score: 3, ..Quality::uniform(100) };
        assert_eq!(shortfall(EnrollmentGate::Standard, said_only, 15).map(|s| s.reason), Some("LOW_QUALITY"));
        // What the configuration asks counts at the strict gate, too.
        let needed = shortfall(EnrollmentGate::Strict, Quality::uniform(80), 90).unwrap().needed;
        assert_eq!(needed, 90);
    }

    #[test]
    fn limits_follow_the_thresholds_unless_they_are_set() {
        use EnrollmentGate::{Off, Standard, Strict};
        let thresholds =
            |review| Thresholds { accept: at(0.4), review: at(review), margin: 0.0, liveness: None };
        let near = |found: Similarity, wanted: f32| (found.get() - wanted).abs() < 1e-6;
        assert!(near(unlike_at(Standard, thresholds(0.55), None).unwrap(), 0.275));
        assert!(near(unlike_at(Strict, thresholds(0.55), None).unwrap(), 0.55));
        assert_eq!(unlike_at(Off, thresholds(0.55), Some(at(0.9))), None);
        assert_eq!(unlike_at(Standard, thresholds(0.55), Some(at(-1.0))), Some(at(-1.0)));
        assert_eq!(unlike_below(at(-0.2)), at(-0.2));
        assert!(
            near(same_person(Standard, at(0.4), None), 0.6) && near(same_person(Off, at(0.4), None), 0.6)
        );
        assert!(near(same_person(Strict, at(0.4), None), 0.5));
        assert!(near(same_person(Standard, at(0.4), Some(at(0.7))), 0.7));
        assert!(near(same_person(Strict, at(0.4), Some(at(0.45))), 0.45));
    }

    proptest! {
        #[test]
        fn a_stricter_gate_lets_nothing_through_that_a_milder_one_refuses(
            values in prop::array::uniform9(0_u8..=100),
            least in 0_u8..=100,
        ) {
            let [a, b, c, d, e, f, g, h, i] = values;
            let quality = Quality {
                unified_score: values.into_iter().min().unwrap_or(0),
                inter_eye_distance: a,
                head_size: b,
                sharpness: c,
                under_exposure_prevention: d,
                over_exposure_prevention: e,
                head_pose_yaw: f,
                head_pose_pitch: g,
                head_pose_roll: h,
                landmark_confidence: i,
            };
            let passes = |gate| shortfall(gate, quality, least).is_none();
            prop_assert!(passes(EnrollmentGate::Off));
            prop_assert!(passes(EnrollmentGate::Standard) || !passes(EnrollmentGate::Strict));
        }
    }
}
