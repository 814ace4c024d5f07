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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refiner: Option<RefinerEntry>,
    pub(crate) embedder: EmbedderEntry,
    #[serde(default)]
    pub(crate) liveness: Vec<LivenessEntry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) calibration: Option<Calibration>,
}

/// What makes an embedding of a picture.
#[derive(Serialize)]
pub(crate) struct Networks<'a> {
    detector: &'a DetectorEntry,
    #[serde(skip_serializing_if = "Option::is_none")]
    refiner: Option<&'a RefinerEntry>,
    embedder: &'a EmbedderEntry,
}

impl Manifest {
    pub(crate) fn networks(&self) -> Networks<'_> {
        Networks { detector: &self.detector, refiner: self.refiner.as_ref(), embedder: &self.embedder }
    }
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
    /// As `accept` where a pack does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) track: Option<f32>,
    /// A half where a pack does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) upright: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) liveness: Option<f32>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ColorOrder {
    /// Red, green, blue.
    #[default]
    Rgb,
    /// Blue, green, red.
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

/// What `box_scale` and `box_shift` of a refiner may be.
pub(crate) const BOX_SCALES: RangeInclusive<f32> = 0.5..=4.0;
pub(crate) const BOX_SHIFTS: RangeInclusive<f32> = -1.0..=1.0;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RefinerEntry {
    /// Side of the square crop, in pixels.
    pub(crate) side: usize,
    /// Side of the crop, and how much lower than that of the box its middle is, as multiples of the root
    /// of the box's area.
    pub(crate) box_scale: f32,
    pub(crate) box_shift: f32,
    pub(crate) input: Normalization,
    pub(crate) files: NetworkFiles,
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
        Self {
            accept: t.accept.get(),
            review: t.review.get(),
            margin: t.margin,
            track: Some(t.track.get()),
            upright: Some(t.upright),
            liveness: t.liveness,
        }
    }
}

impl TryFrom<ThresholdValues> for Thresholds {
    type Error = &'static str;

    fn try_from(v: ThresholdValues) -> Result<Self, Self::Error> {
        let unit = -1.0..=1.0;
        if !unit.contains(&v.accept) || !unit.contains(&v.review) || !(0.0..=2.0).contains(&v.margin) {
            return Err("thresholds: accept and review must be between -1 and 1, margin between 0 and 2");
        }
        let (track, upright) = (v.track.unwrap_or(v.accept), v.upright.unwrap_or(0.5));
        if !unit.contains(&track) {
            return Err("thresholds: track must be between -1 and 1");
        }
        if v.liveness.is_some_and(|least| !(0.0..=1.0).contains(&least)) {
            return Err("thresholds: liveness must be between 0 and 1");
        }
        // Below a half, points would pass that are not taken for better than the detector's.
        if !(0.5..=0.99).contains(&upright) {
            return Err("thresholds: upright must be between 0.5 and 0.99");
        }
        if v.review > v.accept {
            return Err("thresholds: review must not be above accept");
        }
        Ok(Self {
            accept: Similarity::clamped(v.accept),
            review: Similarity::clamped(v.review),
            margin: v.margin,
            track: Similarity::clamped(track),
            upright,
            liveness: v.liveness,
        })
    }
}

#[cfg(test)]
impl RefinerEntry {
    pub(crate) fn for_tests() -> Self {
        let file = || FileRef { file: String::new(), sha256: String::new() };
        Self {
            side: 64,
            box_scale: 1.5,
            box_shift: 0.1,
            input: Normalization { color: ColorOrder::Rgb, mean: 0.0, deviation: 1.0 },
            files: NetworkFiles { graph: file(), weights: file() },
        }
    }
}
