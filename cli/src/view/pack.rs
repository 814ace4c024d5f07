use cavs_models::{Calibration, Pack};
use serde::Serialize;

use super::layout::{facts, similarity};
use crate::printer::{Report, Style};

/// A model pack.
#[derive(Debug, Serialize)]
pub struct PackView {
    /// Its folder, or `built-in`.
    pub location: String,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Terms of the weights.
    pub license: String,
    /// Where the weights came from.
    pub source: String,
    /// What embeddings are marked with: those of the same digest are comparable.
    pub digest: String,
    /// Components of its embeddings.
    pub dimension: usize,
    /// From which similarity a match is believed.
    pub thresholds: ThresholdsView,
    /// What its makers measured, if they say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibration>,
}

/// From which similarity a match is believed.
#[derive(Debug, Serialize)]
pub struct ThresholdsView {
    accept: f32,
    review: f32,
    margin: f32,
    track: f32,
    upright: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness: Option<f32>,
    version: String,
}

impl From<&Pack> for PackView {
    fn from(pack: &Pack) -> Self {
        let thresholds = pack.thresholds();
        Self {
            location: pack.location(),
            name: pack.name().to_owned(),
            version: pack.version().to_owned(),
            license: pack.license().to_owned(),
            source: pack.source().to_owned(),
            digest: pack.digest().to_string(),
            dimension: pack.dimension(),
            thresholds: ThresholdsView {
                accept: thresholds.accept.get(),
                review: thresholds.review.get(),
                margin: thresholds.margin,
                track: thresholds.track.get(),
                upright: thresholds.upright,
                liveness: thresholds.liveness,
                version: pack.thresholds_version().to_owned(),
            },
            calibration: pack.calibration().cloned(),
        }
    }
}

impl Report for PackView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("name", self.name.clone()),
                ("version", self.version.clone()),
                ("license", self.license.clone()),
                ("source", self.source.clone()),
                ("dimension", self.dimension.to_string()),
                ("accept from", similarity(self.thresholds.accept)),
                ("review from", similarity(self.thresholds.review)),
                ("margin", similarity(self.thresholds.margin)),
                ("one track from", similarity(self.thresholds.track)),
                ("upright from", similarity(self.thresholds.upright)),
                ("live from", self.thresholds.liveness.map(similarity).unwrap_or_default()),
                ("thresholds", self.thresholds.version.clone()),
                ("digest", self.digest.clone()),
                ("location", self.location.clone()),
            ],
        )
    }
}
