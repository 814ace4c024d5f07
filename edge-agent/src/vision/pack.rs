//! The trait over the networks of a model pack: the only file that names `cavs_models`.

use cavs_embedding::PackDigest;
pub use cavs_models::{ComputeDevice, LivenessCalibration, LivenessSamples};
use cavs_models::{
    DecodeLimits, FacePipeline, ImageError, Pack, PackError, Picture, PipelineOptions, VisionError,
};
use thiserror::Error;

use super::{Analysis, BoundingBox, Evidence, Face, ImageFailure, Point, Quality, Vision};
use crate::config::{EvidenceConfig, VisionConfig};

/// How much of the face box's size is added on every side of a face crop: reviewers recognise hair
/// and chin too.
const EVIDENCE_MARGIN: f32 = 0.25;

/// Servers reject sightings with larger evidence, so a larger crop is made smaller.
const MAX_EVIDENCE_BYTES: usize = 128 << 10;

/// Smallest side of a face crop, in pixels.
const LEAST_SIDE: u32 = 32;

/// Why a pack can't be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The folder is no pack, or not the one that it says it is.
    #[error("vision.pack: {0}")]
    Pack(#[from] PackError),
    /// Its networks can't be run as asked.
    #[error("vision: {0}")]
    Vision(#[from] VisionError),
}

/// Vision by the networks of a model pack.
pub struct PackVision {
    config: VisionConfig,
    pipeline: FacePipeline,
    digest: PackDigest,
    same_person: f32,
    limits: DecodeLimits,
    evidence: Option<EvidenceConfig>,
}

impl PackVision {
    /// Verifies a pack and loads its networks. Face crops are made where `evidence` says how.
    ///
    /// # Errors
    /// Any [`LoadError`].
    pub fn load(config: &VisionConfig, evidence: Option<EvidenceConfig>) -> Result<Self, LoadError> {
        let pack = Pack::open_or_built_in(config.pack.as_deref())?;
        let options = PipelineOptions {
            detect_long_side: config.detect_long_side,
            min_score: config.min_score,
            threads: config.threads,
            device: config.device,
            liveness: config.liveness_calibration,
            ..PipelineOptions::default()
        };
        let pipeline = FacePipeline::new(&pack, options)?;
        let same_person = pack.thresholds().accept.get();
        let (digest, limits) = (pack.digest(), DecodeLimits::default());
        Ok(Self { config: config.clone(), pipeline, digest, same_person, limits, evidence })
    }

    fn evidence(&self, picture: &mut Picture<'_>, face: &cavs_models::Face) -> Option<Evidence> {
        let EvidenceConfig { mut max_side, quality } = self.evidence?;
        loop {
            match picture.crop_jpeg(face.bounding_box, EVIDENCE_MARGIN, max_side, quality) {
                Ok(jpeg) if jpeg.len() <= MAX_EVIDENCE_BYTES => return Some(Evidence(jpeg)),
                Ok(_) if max_side >= 2 * LEAST_SIDE => max_side /= 2,
                Ok(_) => return None,
                Err(error) => {
                    tracing::debug!(%error, "a face has no evidence");
                    return None;
                }
            }
        }
    }
}

impl Vision for PackVision {
    fn pack_digest(&self) -> PackDigest {
        self.digest
    }

    fn same_person(&self) -> f32 {
        self.same_person
    }

    fn configure(&mut self, config: &VisionConfig, evidence: Option<EvidenceConfig>) -> Result<(), String> {
        if self.config != *config {
            let fresh = Self::load(config, evidence).map_err(|error| error.to_string())?;
            if fresh.digest != self.digest {
                return Err("vision.pack: it was changed on the disk; restart the agent to use it".to_owned());
            }
            *self = fresh;
        }
        self.evidence = evidence;
        Ok(())
    }

    fn analyze(&mut self, image: &[u8]) -> Result<Analysis, ImageFailure> {
        let mut picture = self.pipeline.open(image, &self.limits)?;
        let faces = self.pipeline.analyze_picture(&mut picture)?;
        let faces = faces.into_iter().map(|face| {
            let evidence = self.evidence(&mut picture, &face);
            convert(face, evidence)
        });
        let faces = faces.collect();
        Ok(Analysis { width: picture.width(), height: picture.height(), faces })
    }
}

fn convert(face: cavs_models::Face, evidence: Option<Evidence>) -> Face {
    let b = face.bounding_box;
    let q = face.quality;
    Face {
        bounding_box: BoundingBox { x: b.x, y: b.y, width: b.width, height: b.height },
        landmarks: face.landmarks.map(|point| Point { x: point.x, y: point.y }),
        score: face.score,
        quality: Quality {
            unified_quality_score: q.unified_quality_score,
            inter_eye_distance: q.inter_eye_distance,
            head_size: q.head_size,
            sharpness: q.sharpness,
            under_exposure_prevention: q.under_exposure_prevention,
            over_exposure_prevention: q.over_exposure_prevention,
            head_pose_yaw: q.head_pose_yaw,
            head_pose_pitch: q.head_pose_pitch,
            head_pose_roll: q.head_pose_roll,
        },
        embedding: face.embedding,
        liveness: face.liveness,
        evidence,
    }
}

impl From<ImageError> for ImageFailure {
    fn from(error: ImageError) -> Self {
        Self { reason: error.reason(), message: error.to_string() }
    }
}

impl From<VisionError> for ImageFailure {
    fn from(error: VisionError) -> Self {
        Self { reason: error.reason(), message: error.to_string() }
    }
}
