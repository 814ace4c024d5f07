//! From an encoded image to its faces, behind a trait: everything else runs without networks.

pub mod fake;
mod pack;

use std::panic::{AssertUnwindSafe, catch_unwind};

use cavs_embedding::{PackDigest, UnitEmbedding};
use cavs_types::Quality;
use serde::Serialize;
use thiserror::Error;

use crate::config::{EvidenceConfig, VisionConfig};

pub(crate) use pack::with_huffman_tables;
pub use pack::{
    ComputeDevice, LivenessCalibration, LivenessSamples, LoadError, PHOTOGRAPH_PIXELS, PackVision,
};

/// Cosine similarity from which two faces are the same person, for packs that were not calibrated: the
/// models crate's cautious threshold.
pub const UNCALIBRATED_SAME_PERSON: f32 = 0.4;

/// Finds and embeds the faces of images, one image at a time.
pub trait Vision: Send + 'static {
    /// The pack whose networks are in use.
    fn pack_digest(&self) -> PackDigest;

    /// Cosine similarity from which two faces are taken for the same person. The default is for packs
    /// that were not calibrated.
    fn same_person(&self) -> f32 {
        UNCALIBRATED_SAME_PERSON
    }

    /// Works otherwise from now on. The default is for a vision that knows one way only.
    ///
    /// # Errors
    /// In words; it goes on working as before.
    fn configure(&mut self, _config: &VisionConfig, _evidence: Option<EvidenceConfig>) -> Result<(), String> {
        Ok(())
    }

    /// The faces of an encoded image (JPEG, PNG or WebP); none is no error.
    ///
    /// # Errors
    /// What is wrong with this image. The next one may be fine.
    fn analyze(&mut self, image: &[u8]) -> Result<Analysis, ImageFailure>;
}

/// Analyses an image; a panic of a decoder is a bad image, not the end of the agent.
pub(crate) fn analyze_guarded<V: Vision>(vision: &mut V, image: &[u8]) -> Result<Analysis, ImageFailure> {
    catch_unwind(AssertUnwindSafe(|| vision.analyze(image))).unwrap_or_else(|_| {
        Err(ImageFailure { reason: "IMAGE_CORRUPT", message: "the image made the decoder panic".to_owned() })
    })
}

/// What was found in an image.
#[derive(Debug, Clone)]
pub struct Analysis {
    /// Width of the upright image, in pixels.
    pub width: u32,
    /// Height of the upright image, in pixels.
    pub height: u32,
    /// One for each face that the detector found.
    pub faces: Vec<Face>,
}

/// An image that gave nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}: {message}")]
pub struct ImageFailure {
    /// Stable reason, such as `IMAGE_CORRUPT`.
    pub reason: &'static str,
    /// The reason in words, without content of the image.
    pub message: String,
}

/// A point of an image, in pixels from the top left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Distance from the left edge.
    pub x: f32,
    /// Distance from the top edge.
    pub y: f32,
}

/// A face's place in an image, in pixels from the top left corner; may reach over the edge.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
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

/// One face of an image.
#[derive(Debug, Clone)]
pub struct Face {
    /// Its place in the upright image.
    pub bounding_box: BoundingBox,
    /// The eye on the image's left, the one on its right, the nose tip, the mouth corner on the
    /// image's left, the one on its right.
    pub landmarks: [Point; 5],
    /// The detector's confidence, 0 to 1.
    pub score: f32,
    /// What speaks for and against recognising it.
    pub quality: Quality,
    /// Its embedding by the pack's embedder.
    pub embedding: UnitEmbedding,
    /// Probability that the face is live, where the pack has a liveness network; with a calibration,
    /// what part of the camera's live faces looked less alive.
    pub liveness: Option<f32>,
    /// JPEG of the face for reviewers, where the site keeps one.
    pub evidence: Option<Evidence>,
}

/// An encoded face crop. Its `Debug` shows the length only: pictures of people stay out of logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence(pub Vec<u8>);

impl std::fmt::Debug for Evidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Evidence({} bytes)", self.0.len())
    }
}
