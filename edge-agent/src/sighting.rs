//! One event "this face was seen by this device at this time", as the agent's rooms pass it on.

use cavs_embedding::PackDigest;
use cavs_proto::{to_timestamp, v1};
use jiff::Timestamp;

use crate::vision::{BoundingBox, Face, Quality};

/// What makes a sighting unique for ever, together with the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SightingKey {
    /// Increases with every start of the agent.
    pub boot_epoch: u64,
    /// Increases with every sighting of one start.
    pub sequence: u64,
}

impl std::fmt::Display for SightingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.boot_epoch, self.sequence)
    }
}

/// A face of a frame, on its way to the spool, which gives it its key.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// When the frame was taken.
    pub captured_at: Timestamp,
    /// What the source calls the frame.
    pub frame: String,
    /// Which pack made the embedding.
    pub pack_digest: PackDigest,
    /// The face.
    pub face: Face,
}

impl Sighting {
    /// The wire message, without key and evidence, which the spool keeps beside it.
    #[must_use]
    pub fn to_wire(&self) -> v1::CapturedSighting {
        v1::CapturedSighting {
            boot_epoch: 0,
            sequence: 0,
            captured_at: Some(to_timestamp(self.captured_at)),
            embedding: self.face.embedding.to_le_bytes().into(),
            pack_digest: self.pack_digest.to_string(),
            bounding_box: Some(self.face.bounding_box.into()),
            detection_score: self.face.score,
            quality: Some(self.face.quality.into()),
            liveness: self.face.liveness,
            evidence: bytes::Bytes::new(),
            frame: self.frame.clone(),
        }
    }
}

impl From<BoundingBox> for v1::BoundingBox {
    fn from(b: BoundingBox) -> Self {
        Self { x: b.x, y: b.y, width: b.width, height: b.height }
    }
}

impl From<Quality> for v1::FaceQuality {
    fn from(q: Quality) -> Self {
        Self {
            unified_score: q.unified_quality_score.into(),
            inter_eye_distance: q.inter_eye_distance.into(),
            head_size: q.head_size.into(),
            sharpness: q.sharpness.into(),
            under_exposure_prevention: q.under_exposure_prevention.into(),
            over_exposure_prevention: q.over_exposure_prevention.into(),
            head_pose_yaw: q.head_pose_yaw.into(),
            head_pose_pitch: q.head_pose_pitch.into(),
            head_pose_roll: q.head_pose_roll.into(),
        }
    }
}
