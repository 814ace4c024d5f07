//! How fit a face is for recognition, estimated from its landmarks and its aligned pixels.

use cavs_types::Quality;
use serde::Serialize;

use crate::{Point, detect::Detection};

/// Direction of a head relative to the camera, in degrees, estimated from five landmarks.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct HeadPose {
    /// Turned to the image's right is positive.
    pub yaw: f32,
    /// Looking down is positive.
    pub pitch: f32,
    /// Tilted clockwise in the image is positive.
    pub roll: f32,
}

/// What five landmarks tell of a face beside its quality.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct FaceGeometry {
    /// Whether the landmarks can be a face's.
    pub plausible: bool,
    /// The angles behind the three pose components of the quality.
    pub pose: HeadPose,
    /// Distance between the eyes, in pixels of the image.
    pub inter_eye_pixels: f32,
}

/// What speaks against recognising a face.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QualityFault {
    /// Too few pixels between the eyes.
    FaceTooSmall,
    /// Too little fine detail.
    TooBlurred,
    /// Turned or tilted too far.
    ExtremePose,
    /// The landmarks can't be those of a face.
    Implausible,
    /// Too much of the face is black.
    TooDark,
    /// Too much of the face is white.
    TooBright,
}

impl QualityFault {
    /// A stable reason for programs.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::FaceTooSmall => "face_too_small",
            Self::TooBlurred => "too_blurred",
            Self::ExtremePose => "extreme_pose",
            Self::Implausible => "implausible",
            Self::TooDark => "too_dark",
            Self::TooBright => "too_bright",
        }
    }
}

/// What a face must have to be worth embedding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QualityGate {
    /// Least distance between the eyes, in pixels of the image.
    pub min_inter_eye_pixels: f32,
    /// Least sharpness, 0 to 100.
    pub min_sharpness: u8,
    /// Least exposure components, 0 to 100.
    pub min_exposure: u8,
    /// Largest yaw and pitch, in degrees.
    pub max_turn: f32,
    /// Largest roll, in degrees; alignment takes it away, but beyond half a quarter turn landmarks are
    /// those of another face.
    pub max_roll: f32,
}

impl Default for QualityGate {
    /// For attendance: what the embedder still names rightly. Enrollment should ask for more.
    fn default() -> Self {
        Self {
            min_inter_eye_pixels: 16.0,
            min_sharpness: 8,
            min_exposure: 40,
            max_turn: 50.0,
            max_roll: crate::MAX_TILT,
        }
    }
}

impl QualityGate {
    /// All that speaks against a face; empty where it passes.
    #[must_use]
    pub fn faults(&self, quality: &Quality, geometry: &FaceGeometry) -> Vec<QualityFault> {
        let pose = geometry.pose;
        let checks = [
            (geometry.inter_eye_pixels < self.min_inter_eye_pixels, QualityFault::FaceTooSmall),
            (quality.sharpness < self.min_sharpness, QualityFault::TooBlurred),
            (
                pose.yaw.abs().max(pose.pitch.abs()) > self.max_turn || pose.roll.abs() > self.max_roll,
                QualityFault::ExtremePose,
            ),
            (!geometry.plausible, QualityFault::Implausible),
            (quality.under_exposure_prevention < self.min_exposure, QualityFault::TooDark),
            (quality.over_exposure_prevention < self.min_exposure, QualityFault::TooBright),
        ];
        checks.into_iter().filter_map(|(fails, fault)| fails.then_some(fault)).collect()
    }
}

/// Measures a face: its quality, and what its landmarks tell. `aligned` is the square aligned face, RGB
/// 0-255, `side` pixels a side.
pub(crate) fn measure(detection: &Detection, aligned: &[[f32; 3]], side: usize) -> (Quality, FaceGeometry) {
    let Detection { bounding_box, landmarks, confidence, .. } = detection;
    // Who was not asked has nothing against it.
    let confidence = percent(confidence.unwrap_or(1.0));
    let (pose, plausible) =
        (pose(landmarks), plausible(landmarks) && confidence >= Quality::LEAST_CONFIDENCE);
    let [left, right, ..] = landmarks;
    let inter_eye_pixels = (right.x - left.x).hypot(right.y - left.y);
    let luminance: Vec<f32> = aligned.iter().map(|[r, g, b]| 0.299 * r + 0.587 * g + 0.114 * b).collect();
    let share = |test: &dyn Fn(f32) -> bool| {
        luminance.iter().filter(|v| test(**v)).count() as f32 / luminance.len().max(1) as f32
    };
    let mut quality = Quality {
        unified_score: 0,
        inter_eye_distance: percent(inter_eye_pixels / 90.0),
        head_size: percent(bounding_box.height / 200.0),
        sharpness: percent(detail(&luminance, side) / FULL_DETAIL),
        // The standard counts luminances of 0-25 and 247-255 over the face.
        under_exposure_prevention: percent(1.0 - share(&|v| v <= 25.0)),
        over_exposure_prevention: percent(1.0 - share(&|v| v >= 247.0)),
        head_pose_yaw: cosine_squared(pose.yaw),
        head_pose_pitch: cosine_squared(pose.pitch),
        head_pose_roll: if plausible { cosine_squared(pose.roll) } else { 0 },
        landmark_confidence: confidence,
    };
    // The first is the unified score itself.
    let (_, worst) = quality.iter().skip(1).min_by_key(|(_, value)| *value).unwrap_or_default();
    quality.unified_score = worst;
    (quality, FaceGeometry { plausible, pose, inter_eye_pixels })
}

/// Standard deviation of the Laplacian of luminance that counts as full detail.
const FULL_DETAIL: f32 = 20.0;

fn percent(share: f32) -> u8 {
    (share * 100.0).round().clamp(0.0, 100.0) as u8
}

/// The standard's rating of an angle in degrees.
fn cosine_squared(angle: f32) -> u8 {
    percent(angle.to_radians().cos().max(0.0).powi(2))
}

/// Root mean square of the four-neighbour Laplacian.
fn detail(luminance: &[f32], side: usize) -> f32 {
    if side < 3 || luminance.len() < side * side {
        return 0.0;
    }
    let mut sum = 0.0;
    for row in 1..side - 1 {
        for at in row * side + 1..(row + 1) * side - 1 {
            let around = luminance[at - 1] + luminance[at + 1] + luminance[at - side] + luminance[at + side];
            sum += (4.0 * luminance[at] - around).powi(2);
        }
    }
    (sum / ((side - 2) * (side - 2)) as f32).sqrt()
}

/// Five points of a frontal head in units of the distance between its eyes: x and y of the ArcFace
/// template about its centre, z towards the camera after mean anthropometric proportions.
const HEAD: [[f32; 3]; 5] = [
    [-0.5026, -0.6299, -0.19],
    [0.4974, -0.6354, -0.19],
    [0.0006, -0.0611, 0.31],
    [-0.4102, 0.5243, 0.035],
    [0.4179, 0.5197, 0.035],
];

/// Pose by scaled orthographic projection: the 2x3 matrix that takes the head's points to the
/// landmarks in the least-squares sense is a scaled rotation without its last row.
pub(crate) fn pose(landmarks: &[Point; 5]) -> HeadPose {
    let mean = |f: &dyn Fn(&Point) -> f32| landmarks.iter().map(f).sum::<f32>() / 5.0;
    let center = Point { x: mean(&|p| p.x), y: mean(&|p| p.y) };
    let mut normal = [[0f32; 3]; 3];
    let mut right = [[0f32; 3]; 2];
    for (p, q) in HEAD.iter().zip(landmarks) {
        for i in 0..3 {
            (0..3).for_each(|j| normal[i][j] += p[i] * p[j]);
            right[0][i] += (q.x - center.x) * p[i];
            right[1][i] += (q.y - center.y) * p[i];
        }
    }
    let [Some(x), Some(y)] = right.map(|r| solve(&normal, r)) else { return HeadPose::default() };
    // Without perspective a turned head only shrinks: the longer row carries the scale.
    let norm = |r: [f32; 3]| (r[0] * r[0] + r[1] * r[1] + r[2] * r[2]).sqrt();
    let scale = norm(x).max(norm(y));
    if scale.is_nan() || scale <= f32::EPSILON {
        return HeadPose::default();
    }
    let roll = (y[0] - x[1]).atan2(x[0] + y[1]);
    let (sin, cos) = roll.sin_cos();
    let depth = |a: f32, b: f32| ((a * cos + b * sin) / scale).clamp(-1.0, 1.0).asin().to_degrees();
    HeadPose { yaw: depth(x[2], y[2]), pitch: depth(y[2], -x[2]), roll: roll.to_degrees() }
}

/// Whether landmarks can be a face's, tilted or not: the nose lies between eyes and mouth, the corners
/// of the mouth on the sides of their eyes, and the distances have a face's proportions. The limits
/// leave room for heads that are turned to 60 degrees, and for detectors whose landmarks are rough.
pub(crate) fn plausible(landmarks: &[Point; 5]) -> bool {
    let [left, right, nose, mouth_left, mouth_right] = *landmarks;
    let middle = |a: Point, b: Point| Point { x: (a.x + b.x) / 2.0, y: (a.y + b.y) / 2.0 };
    let (eyes, mouth) = (middle(left, right), middle(mouth_left, mouth_right));
    // From the eyes to the mouth, and across it to the side of the right eye.
    let (down_x, down_y) = (mouth.x - eyes.x, mouth.y - eyes.y);
    let length = down_x.hypot(down_y);
    if !length.is_finite() || length <= f32::EPSILON {
        return false;
    }
    let (down_x, down_y) = (down_x / length, down_y / length);
    let down = |from: Point, to: Point| ((to.x - from.x) * down_x + (to.y - from.y) * down_y) / length;
    let across = |from: Point, to: Point| ((to.x - from.x) * down_y - (to.y - from.y) * down_x) / length;
    let (eye_distance, mouth_width) = (across(left, right), across(mouth_left, mouth_right));
    (EYES.0..=EYES.1).contains(&eye_distance)
        && (MOUTH.0..=MOUTH.1).contains(&mouth_width)
        && (NOSE.0..=NOSE.1).contains(&down(eyes, nose))
        && across(eyes, nose).abs() <= NOSE_ASIDE
        && down(left, right).abs() <= SKEW
        && down(mouth_left, mouth_right).abs() <= SKEW
}

/// Limits of [`plausible`], all in distances from the middle of the eyes to that of the mouth: between
/// the eyes, between the corners of the mouth, the nose below the eyes and beside the middle, and how
/// much lower one eye, or one corner, may be.
const EYES: (f32, f32) = (0.2, 2.0);
const MOUTH: (f32, f32) = (0.1, 1.8);
const NOSE: (f32, f32) = (0.1, 1.0);
const NOSE_ASIDE: f32 = 0.8;
const SKEW: f32 = 0.5;

/// Cramer's rule for three unknowns.
fn solve(m: &[[f32; 3]; 3], r: [f32; 3]) -> Option<[f32; 3]> {
    let det = |m: &[[f32; 3]; 3]| {
        m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1]) - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
            + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
    };
    let whole = det(m);
    let mut out = [0.0; 3];
    for (i, o) in out.iter_mut().enumerate() {
        let mut replaced = *m;
        (0..3).for_each(|row| replaced[row][i] = r[row]);
        *o = det(&replaced) / whole;
    }
    out.iter().all(|v| v.is_finite()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BoundingBox;

    /// The head, turned by angles in degrees, seen at 50 pixels between the eyes.
    fn seen(yaw: f32, pitch: f32, roll: f32) -> [Point; 5] {
        HEAD.map(|[x, y, z]| {
            let (s, c) = yaw.to_radians().sin_cos();
            let (x, z) = (x * c + z * s, z * c - x * s);
            let (s, c) = pitch.to_radians().sin_cos();
            let y = y * c + z * s;
            let (s, c) = roll.to_radians().sin_cos();
            Point { x: 50.0 * (x * c - y * s) + 300.0, y: 50.0 * (x * s + y * c) + 200.0 }
        })
    }

    fn detected(landmarks: [Point; 5]) -> Detection {
        let bounding_box = BoundingBox { x: 0.0, y: 0.0, width: 200.0, height: 220.0 };
        Detection { bounding_box, landmarks, score: 0.9, confidence: None }
    }

    #[test]
    fn what_a_refiner_is_not_sure_of_is_not_plausible() {
        let measured = |confidence| {
            let face = Detection { confidence, ..detected(seen(0.0, 0.0, 0.0)) };
            let (quality, geometry) = measure(&face, &vec![[90.0; 3]; 112 * 112], 112);
            (quality.landmark_confidence, quality.is_upright(), geometry.plausible)
        };
        assert_eq!(measured(None), (100, true, true));
        assert_eq!(measured(Some(0.5)), (50, true, true));
        assert_eq!(measured(Some(0.49)), (49, false, false));
        assert_eq!(measured(Some(0.0)), (0, false, false));
    }

    #[test]
    fn angles_are_found_again() {
        for (yaw, pitch, roll) in [
            (0.0, 0.0, 0.0),
            (30.0, 0.0, 0.0),
            (-40.0, 0.0, 0.0),
            (0.0, 20.0, 0.0),
            (0.0, -20.0, 0.0),
            (0.0, 0.0, 35.0),
            (20.0, 10.0, -15.0),
        ] {
            let found = pose(&seen(yaw, pitch, roll));
            let near = |a: f32, b: f32| (a - b).abs() < 5.0;
            assert!(
                near(found.yaw, yaw) && near(found.pitch, pitch) && near(found.roll, roll),
                "{yaw} {pitch} {roll}: {found:?}"
            );
        }
    }

    #[test]
    fn landmarks_of_faces_are_plausible_and_others_are_not() {
        for yaw in [-60.0, -30.0, 0.0, 45.0, 60.0] {
            for pitch in [-25.0, 0.0, 25.0] {
                for roll in [-170.0, -90.0, 0.0, 30.0, 120.0] {
                    let marks = seen(yaw, pitch, roll);
                    assert!(plausible(&marks), "{yaw} {pitch} {roll}: {marks:?}");
                }
            }
        }
        let [left, right, nose, low_left, low_right] = seen(0.0, 0.0, 0.0);
        let far = Point { x: nose.x, y: nose.y + 90.0 };
        for (what, marks) in [
            ("mirrored eyes", [right, left, nose, low_left, low_right]),
            ("a mirrored mouth", [left, right, nose, low_right, low_left]),
            ("a nose below the mouth", [left, right, far, low_left, low_right]),
            ("mouth above eyes, nose where it was not", [low_left, low_right, left, left, right]),
            ("a nose at an eye", [left, right, left, low_left, low_right]),
            ("one point", [nose; 5]),
            ("a line", [left, left, nose, low_left, low_left]),
            ("nothing finite", [Point { x: f32::NAN, y: 0.0 }; 5]),
        ] {
            assert!(!plausible(&marks), "{what}");
            let (quality, geometry) = measure(&detected(marks), &vec![[90.0; 3]; 112 * 112], 112);
            assert_eq!((quality.head_pose_roll, quality.unified_score), (0, 0), "{what}");
            assert!(
                QualityGate::default().faults(&quality, &geometry).contains(&QualityFault::Implausible),
                "{what}"
            );
        }
        let (half, geometry) = measure(&detected(seen(0.0, 0.0, 46.0)), &vec![[90.0; 3]; 112 * 112], 112);
        assert!(half.head_pose_roll < 50 && geometry.plausible, "{half:?}");
    }

    #[test]
    fn darkness_and_blur_cost() {
        let face = detected(seen(0.0, 0.0, 0.0));
        let checks: Vec<[f32; 3]> =
            (0..112 * 112).map(|i| [(i % 112 / 4 + i / 112 / 4) as f32 % 2.0 * 100.0 + 60.0; 3]).collect();
        let good = measure(&face, &checks, 112);
        let flat = measure(&face, &vec![[90.0; 3]; 112 * 112], 112);
        let dark = measure(&face, &vec![[5.0; 3]; 112 * 112], 112);
        assert!(good.0.sharpness > 80 && flat.0.sharpness == 0, "{good:?}");
        assert!(good.0.under_exposure_prevention == 100 && dark.0.under_exposure_prevention == 0);
        assert_eq!((dark.0.unified_score, good.0.unified_score), (0, good.0.inter_eye_distance));
        let faults = |(quality, geometry): &(_, _)| QualityGate::default().faults(quality, geometry);
        assert_eq!(faults(&good), []);
        assert_eq!(faults(&flat), [QualityFault::TooBlurred]);
        assert_eq!(faults(&dark), [QualityFault::TooBlurred, QualityFault::TooDark]);
        let turned = measure(&detected(seen(80.0, 0.0, 0.0)), &checks, 112);
        assert!(faults(&turned).contains(&QualityFault::ExtremePose), "{turned:?}");
        assert_eq!(QualityFault::ExtremePose.reason(), "extreme_pose");
    }
}
