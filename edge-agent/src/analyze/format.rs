//! The lines of `analyze`. `docs/ANALYZE.md` promises this format: fields may be added, never
//! changed or removed.

use std::path::Path;

use cavs_types::Quality;
use serde::{Serialize, Serializer};

use crate::vision::{Analysis, BoundingBox, Face, ImageFailure};

#[derive(Debug, Serialize)]
pub(super) struct ImageLine<'a> {
    image: String,
    width: Option<u32>,
    height: Option<u32>,
    faces: Vec<FaceLine<'a>>,
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct FaceLine<'a> {
    #[serde(rename = "box")]
    bounding_box: BoundingBox,
    landmarks: [[f32; 2]; 5],
    score: f32,
    #[serde(serialize_with = "of_the_format")]
    quality: Quality,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<&'a [f32]>,
}

impl<'a> ImageLine<'a> {
    pub(super) fn new(image: &Path, result: &'a Result<Analysis, ImageFailure>, embeddings: bool) -> Self {
        let image = image.to_string_lossy().into_owned();
        match result {
            Ok(analysis) => Self {
                image,
                width: Some(analysis.width),
                height: Some(analysis.height),
                faces: analysis.faces.iter().map(|face| FaceLine::new(face, embeddings)).collect(),
                error: None,
            },
            Err(failure) => {
                Self { image, width: None, height: None, faces: Vec::new(), error: Some(failure.to_string()) }
            }
        }
    }
}

impl<'a> FaceLine<'a> {
    fn new(face: &'a Face, embeddings: bool) -> Self {
        Self {
            bounding_box: face.bounding_box,
            landmarks: face.landmarks.map(|point| [point.x, point.y]),
            score: face.score,
            quality: face.quality,
            liveness: face.liveness,
            embedding: embeddings.then(|| face.embedding.as_slice()),
        }
    }
}

/// The components under the names that the format promised, the standard's own for the unified score.
fn of_the_format<S: Serializer>(quality: &Quality, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(quality.iter().map(|(name, value)| match name {
        "unified_score" => ("unified_quality_score", value),
        name => (name, value),
    }))
}
