//! The trait over the networks of a model pack: the only file that names `cavs_models`.

use cavs_embedding::PackDigest;
pub(crate) use cavs_models::with_huffman_tables;
pub use cavs_models::{ComputeDevice, LivenessCalibration, LivenessSamples};
use cavs_models::{
    DecodeLimits, FacePipeline, ImageError, Pack, PackError, Picture, PipelineOptions, VisionError,
};
use thiserror::Error;

use super::{Analysis, BoundingBox, Evidence, Face, ImageFailure, Point, Vision};
use crate::config::{EvidenceConfig, VisionConfig};

/// How much of the face box's size is added on every side of a face crop: reviewers recognise hair
/// and chin too.
const EVIDENCE_MARGIN: f32 = 0.25;

/// Servers reject sightings with larger evidence, so a larger crop is made smaller.
const MAX_EVIDENCE_BYTES: usize = 128 << 10;

/// Most pixels of a photograph of a telephone.
pub const PHOTOGRAPH_PIXELS: u64 = 52_000_000;

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
        let same_person = pack.thresholds().track.get();
        let limits = DecodeLimits { max_pixels: config.max_pixels, ..DecodeLimits::default() };
        let digest = pack.digest();
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
    Face {
        bounding_box: BoundingBox { x: b.x, y: b.y, width: b.width, height: b.height },
        landmarks: face.landmarks.map(|point| Point { x: point.x, y: point.y }),
        score: face.score,
        quality: face.quality,
        embedding: face.embedding,
        liveness: face.liveness,
        evidence,
    }
}

impl From<ImageError> for ImageFailure {
    fn from(error: ImageError) -> Self {
        let advice = match &error {
            ImageError::TooLarge { .. } => " (vision.max_pixels; let the camera send smaller pictures)",
            ImageError::Empty
            | ImageError::FormatUnsupported(_)
            | ImageError::FileTooLarge { .. }
            | ImageError::Corrupt(_)
            | ImageError::ConverterFailed(_)
            | ImageError::CropOutside
            | ImageError::Encode(_) => "",
        };
        Self { reason: error.reason(), message: format!("{error}{advice}") }
    }
}

impl From<VisionError> for ImageFailure {
    fn from(error: VisionError) -> Self {
        Self { reason: error.reason(), message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use cavs_models::Image;

    use super::*;

    #[test]
    fn pictures_with_too_many_pixels_are_refused_before_they_take_memory() {
        let config = VisionConfig {
            pack: None,
            detect_long_side: Some(320),
            min_score: 0.6,
            threads: 1,
            device: ComputeDevice::Cpu,
            max_pixels: 100_000,
            liveness_calibration: None,
        };
        let mut vision = PackVision::load(&config, None).unwrap();
        let picture = |width: u32, height: u32| {
            let grey = Image::from_rgb8(width, height, vec![128; (width * height * 3) as usize]).unwrap();
            let (width, height) = (width as f32, height as f32);
            let all = cavs_models::BoundingBox { x: 0.0, y: 0.0, width, height };
            grey.crop_jpeg(all, 0.0, u32::MAX, 80).unwrap()
        };
        assert_eq!(vision.analyze(&picture(400, 250)).unwrap().faces.len(), 0);
        let large = picture(400, 251);
        let mut progressive = large.clone();
        let frame = progressive.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        progressive[frame + 1] = 0xc2;
        for file in [large, progressive] {
            let failure = vision.analyze(&file).unwrap_err();
            assert_eq!(failure.reason, "IMAGE_TOO_LARGE");
            assert!(failure.message.contains("vision.max_pixels"), "{failure}");
        }
    }
}
