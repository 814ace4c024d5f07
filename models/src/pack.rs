use std::path::Path;

use cavs_embedding::{PackDigest, Similarity};

use crate::PackError;

/// From which similarity a match is believed.
///
/// At or above `accept`, and at least `margin` before the next student: accepted. Between
/// `review` and that: pending, for a person to decide. Below `review`: unknown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Lowest similarity that is accepted without a person.
    pub accept: Similarity,
    /// Lowest similarity that is worth a reviewer's time.
    pub review: Similarity,
    /// Least distance in similarity to the best template of any other student.
    pub margin: f32,
}

impl Default for Thresholds {
    /// Cautious values for a pack that was not calibrated: for MobileFaceNet on LFW pairs impostors
    /// are at 0 +- 0.06, genuine pairs near 0.75, equal errors near 0.24.
    fn default() -> Self {
        Self { accept: Similarity::clamped(0.40), review: Similarity::clamped(0.28), margin: 0.06 }
    }
}

/// A verified model pack: a folder with `pack.toml`, graphs and weights.
#[derive(Debug)]
pub struct Pack {
    name: String,
    version: String,
    license: String,
    digest: PackDigest,
    dimension: usize,
    thresholds: Thresholds,
}

impl Pack {
    /// Opens a pack and verifies the checksum of every file in it.
    ///
    /// # Errors
    /// Any [`PackError`].
    pub fn open(dir: &Path) -> Result<Self, PackError> {
        Err(PackError::NotFound(dir.to_path_buf()))
    }

    /// The pack's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The pack's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Under which terms the weights may be used.
    #[must_use]
    pub fn license(&self) -> &str {
        &self.license
    }

    /// SHA-256 of the raw bytes of `pack.toml`, which holds the SHA-256 of every other file.
    #[must_use]
    pub fn digest(&self) -> PackDigest {
        self.digest
    }

    /// Number of components of the pack's embeddings.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// The pack's calibrated (or cautious default) thresholds.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }
}
