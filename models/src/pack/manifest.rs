//! `pack.toml`, as it is written and read. Unknown keys are refused.

use std::ops::RangeInclusive;

use cavs_embedding::Similarity;
use serde::{Deserialize, Serialize};

use crate::{Calibration, Thresholds};

/// Version of the format of `pack.toml` and of the graph files.
pub(crate) const FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) format: u32,
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) license: String,
    pub(crate) source: String,
    pub(crate) thresholds: ThresholdValues,
    pub(crate) detector: DetectorEntry,
    pub(crate) embedder: EmbedderEntry,
    #[serde(default)]
    pub(crate) liveness: Vec<LivenessEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calibration: Option<Calibration>,
}

/// What `cavs models import --calibration FILE` reads.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CalibrationFile {
    pub(crate) thresholds: ThresholdValues,
    pub(crate) calibration: Option<Calibration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ThresholdValues {
    pub(crate) accept: f32,
    pub(crate) review: f32,
    pub(crate) margin: f32,
}

/// A file of the pack, beside `pack.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileRef {
    pub(crate) file: String,
    pub(crate) sha256: String,
}

/// The two files of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkFiles {
    pub(crate) graph: FileRef,
    pub(crate) weights: FileRef,
}

/// Order of an input's channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ColorOrder {
    Rgb,
    Bgr,
}

/// How eight-bit pixels become the input: `(pixel - mean) / deviation`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Normalization {
    pub(crate) color: ColorOrder,
    pub(crate) mean: f32,
    pub(crate) deviation: f32,
}

/// Names of a detector's outputs for one stride.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetectorLevel {
    pub(crate) stride: usize,
    /// Class scores, or the product of all scores.
    pub(crate) score: String,
    /// YuNet's second score; its root of the product with `score` is the confidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) objectness: Option<String>,
    pub(crate) boxes: String,
    pub(crate) landmarks: String,
}

/// How a detector's outputs are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DetectorKind {
    /// One anchor point a cell; boxes as centre offset and logarithmic size.
    Yunet,
    /// Two anchors a cell; boxes as distances to the four sides.
    Scrfd,
}

/// What `largest_face` of a detector may be.
pub(crate) const LARGEST_FACES: RangeInclusive<f32> = 32.0..=4096.0;

/// What the longer side of a detector's input may be.
pub(crate) const LONG_SIDES: RangeInclusive<u32> = 32..=4096;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DetectorEntry {
    pub(crate) architecture: DetectorKind,
    /// Longest side of the faces that it was made for, in pixels of its input; any where `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) largest_face: Option<f32>,
    /// The longer side, in pixels, to which pictures are scaled for it where nobody says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) long_side: Option<u32>,
    pub(crate) input: Normalization,
    pub(crate) files: NetworkFiles,
    pub(crate) levels: Vec<DetectorLevel>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbedderEntry {
    /// Side of the square aligned face, in pixels.
    pub(crate) side: usize,
    /// Components of the embedding.
    pub(crate) dimension: usize,
    pub(crate) input: Normalization,
    pub(crate) files: NetworkFiles,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LivenessEntry {
    /// Factor by which the face's box is grown before the crop.
    pub(crate) scale: f32,
    /// Side of the square crop, in pixels.
    pub(crate) side: usize,
    /// Which of the output's classes is "live".
    pub(crate) live_class: usize,
    pub(crate) input: Normalization,
    pub(crate) files: NetworkFiles,
}

impl From<Thresholds> for ThresholdValues {
    fn from(t: Thresholds) -> Self {
        Self { accept: t.accept.get(), review: t.review.get(), margin: t.margin }
    }
}

impl TryFrom<ThresholdValues> for Thresholds {
    type Error = &'static str;

    fn try_from(v: ThresholdValues) -> Result<Self, Self::Error> {
        let unit = -1.0..=1.0;
        if !unit.contains(&v.accept) || !unit.contains(&v.review) || !(0.0..=2.0).contains(&v.margin) {
            return Err("thresholds: accept and review must be between -1 and 1, margin between 0 and 2");
        }
        if v.review > v.accept {
            return Err("thresholds: review must not be above accept");
        }
        Ok(Self {
            accept: Similarity::clamped(v.accept),
            review: Similarity::clamped(v.review),
            margin: v.margin,
        })
    }
}
