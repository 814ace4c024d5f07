//! A vision without networks, for tests: images are text.

use cavs_embedding::{PackDigest, UnitEmbedding};
use cavs_types::Quality;

use super::{Analysis, BoundingBox, Evidence, Face, ImageFailure, Point, Vision};

/// Takes `faces N` for an image with N faces, `live N` for one with N faces whose liveness scores are
/// spread evenly from 0 to 1, `panic` for a decoder that panics, and refuses
/// everything else.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeVision;

impl Vision for FakeVision {
    fn pack_digest(&self) -> PackDigest {
        PackDigest::from_bytes([7; 32])
    }

    fn analyze(&mut self, image: &[u8]) -> Result<Analysis, ImageFailure> {
        let text = std::str::from_utf8(image).unwrap_or_default();
        assert_ne!(text, "panic", "a damaged decoder");
        let (what, count) = text.split_once(' ').unwrap_or_default();
        let count = count.trim().parse().ok();
        let seen = |faces: Vec<Face>| Ok(Analysis { width: 640, height: 480, faces });
        let live = |index: u8, count: u8| Face {
            liveness: Some(f32::from(index) / f32::from((count - 1).max(1))),
            ..face(index)
        };
        match (what, count) {
            ("faces", Some(count)) => seen((0..count).map(face).collect()),
            ("live", Some(count)) => seen((0..count).map(|index| live(index, count)).collect()),
            _ if image.is_empty() => {
                Err(ImageFailure { reason: "IMAGE_EMPTY", message: "the image is empty".to_owned() })
            }
            _ => Err(ImageFailure { reason: "IMAGE_CORRUPT", message: "not a fake image".to_owned() }),
        }
    }
}

/// A plausible face; `index` tells faces apart.
#[must_use]
pub fn face(index: u8) -> Face {
    let offset = f32::from(index);
    let at = |x: f32, y: f32| Point { x: x + offset, y };
    let mut components = vec![0.0; 4];
    components[usize::from(index) % 4] = 1.0;
    Face {
        bounding_box: BoundingBox { x: 10.5 + offset, y: 20.0, width: 60.0, height: 80.0 },
        landmarks: [at(25.0, 50.0), at(55.0, 50.0), at(40.0, 65.0), at(28.0, 80.0), at(52.0, 80.0)],
        score: 0.875,
        quality: Quality {
            unified_score: 40,
            inter_eye_distance: 40,
            head_size: 45,
            sharpness: 90,
            under_exposure_prevention: 100,
            over_exposure_prevention: 95,
            head_pose_yaw: 85,
            head_pose_pitch: 88,
            head_pose_roll: 99,
            landmark_confidence: 98,
        },
        #[allow(clippy::unwrap_used, reason = "a base vector is of unit norm")]
        embedding: UnitEmbedding::new(components).unwrap(),
        liveness: None,
        evidence: Some(Evidence(vec![0xFF; 600])),
    }
}
