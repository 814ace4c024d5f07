use serde::{Deserialize, Serialize};

/// A face's place in its frame, in pixels from the top left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// Quality components of a face, each 0 (worst) to 100 (best), named after ISO/IEC 29794-5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names are the standard's")]
pub struct Quality {
    pub unified_score: u8,
    pub inter_eye_distance: u8,
    pub head_size: u8,
    pub sharpness: u8,
    pub under_exposure_prevention: u8,
    pub over_exposure_prevention: u8,
    pub head_pose_yaw: u8,
    pub head_pose_pitch: u8,
    pub head_pose_roll: u8,
}

impl Quality {
    /// Least roll component of a face that is tilted by half a quarter turn at most: beyond it, the next
    /// turn of the picture is nearer, and what a detector makes of its landmarks is another face.
    const LEAST_ROLL: u8 = 50;

    /// Whether the face stands upright enough to be compared; faces whose landmarks can't be a face's
    /// have no roll component.
    #[must_use]
    pub const fn is_upright(&self) -> bool {
        self.head_pose_roll >= Self::LEAST_ROLL
    }
}
