//! Model packs: `pack.toml`, graphs and weights, every byte of them verified.

mod calibration;
mod files;
pub(crate) mod manifest;

use std::{borrow::Cow, io, path::Path};

use cavs_embedding::{PackDigest, Similarity};
use serde::Serialize;

pub use self::{
    calibration::{Calibration, Distribution, FalseMatchRate, FalseMatches},
    manifest::ColorOrder,
};
use self::{
    files::Files,
    manifest::{BOX_SCALES, BOX_SHIFTS, FORMAT, FileRef, LARGEST_FACES, LONG_SIDES, Manifest, NetworkFiles},
};
use crate::{
    PackError,
    graph::{Graph, Params},
    weights,
};

/// Longest `pack.toml`, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Longest graph or weights file, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 30;

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
    /// Lowest similarity at which two faces that one camera sees within a minute are one person: it knows
    /// less of them than two enrolled pictures, and there are few others whom it could be.
    pub track: Similarity,
    /// Score of the refiner from which five points are an upright face's, 0 to 1.
    pub upright: f32,
    /// Least liveness of a face that is accepted without a person; `None` where nobody asks.
    pub liveness: Option<f32>,
}

impl Default for Thresholds {
    /// Cautious values for a pack that was not calibrated. At 0.40, MobileFaceNet takes two adults for one
    /// person in 1 to 7 of 1,000 pairs, by group, and two children of three to nine years in 20 of 1,000;
    /// genuine pairs are near 0.75.
    fn default() -> Self {
        Self {
            accept: Similarity::clamped(0.55),
            review: Similarity::clamped(0.40),
            margin: 0.06,
            track: Similarity::clamped(0.40),
            upright: 0.9,
            liveness: None,
        }
    }
}

/// A verified model pack: `pack.toml`, graphs and weights. Clones name the same files.
#[derive(Debug, Clone)]
pub struct Pack {
    files: Files,
    digest: PackDigest,
    thresholds_version: String,
    thresholds: Thresholds,
    manifest: Manifest,
}

impl Pack {
    /// Opens a pack and verifies the checksum of every file in it.
    ///
    /// # Errors
    /// Any [`PackError`].
    pub fn open(dir: &Path) -> Result<Self, PackError> {
        match Self::load_manifest(Files::Folder(dir.to_path_buf())) {
            Err(PackError::Read { source, .. })
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                Err(PackError::NotFound(dir.to_path_buf()))
            }
            other => other?.verify(),
        }
    }

    /// The pack that comes with the program.
    ///
    /// # Errors
    /// Any [`PackError`]: only where the program's file was damaged.
    pub fn built_in() -> Result<Self, PackError> {
        Self::load_manifest(Files::BuiltIn)?.verify()
    }

    /// The pack of a folder, or the built-in one.
    ///
    /// # Errors
    /// Any [`PackError`].
    pub fn open_or_built_in(dir: Option<&Path>) -> Result<Self, PackError> {
        dir.map_or_else(Self::built_in, Self::open)
    }

    fn load_manifest(files: Files) -> Result<Self, PackError> {
        let path = files.path("pack.toml");
        let bytes = files.read("pack.toml", MAX_MANIFEST_BYTES)?;
        let text = str::from_utf8(&bytes).map_err(|e| PackError::invalid(&path, e))?;
        let manifest: Manifest = toml::from_str(text).map_err(|e| PackError::invalid(&path, e.message()))?;
        if manifest.format != FORMAT {
            let problem =
                format!("format {} where {FORMAT} is supported; import the pack again", manifest.format);
            return Err(PackError::invalid(&path, problem));
        }
        let detector = &manifest.detector;
        if detector.largest_face.is_some_and(|side| !LARGEST_FACES.contains(&side)) {
            let problem = "detector.largest_face must be between 32 and 4096 pixels";
            return Err(PackError::invalid(&path, problem));
        }
        if detector.long_side.is_some_and(|side| !LONG_SIDES.contains(&side)) {
            let problem = "detector.long_side must be between 32 and 4096 pixels";
            return Err(PackError::invalid(&path, problem));
        }
        if manifest
            .refiner
            .as_ref()
            .is_some_and(|r| !BOX_SCALES.contains(&r.box_scale) || !BOX_SHIFTS.contains(&r.box_shift))
        {
            let problem = "refiner: box_scale must be between 0.5 and 4, box_shift between -1 and 1";
            return Err(PackError::invalid(&path, problem));
        }
        if manifest.calibration.as_ref().is_some_and(|calibration| !calibration.is_sound()) {
            let problem = "calibration.false_match_rates: from one to the next the similarity must rise and the rate fall";
            return Err(PackError::invalid(&path, problem));
        }
        let thresholds =
            Thresholds::try_from(manifest.thresholds).map_err(|e| PackError::invalid(&path, e))?;
        let digest = PackDigest::from_bytes(sum(&path, &manifest.networks())?);
        let of_thresholds = sum(&path, &(&manifest.thresholds, &manifest.calibration))?;
        let thresholds_version = of_thresholds.iter().take(6).map(|b| format!("{b:02x}")).collect();
        Ok(Self { files, digest, thresholds_version, thresholds, manifest })
    }

    fn verify(self) -> Result<Self, PackError> {
        for files in self.networks() {
            self.verified(&files.graph)?;
            self.verified(&files.weights)?;
        }
        Ok(self)
    }

    /// The pack's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// The pack's version.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.manifest.version
    }

    /// Under which terms the weights may be used.
    #[must_use]
    pub fn license(&self) -> &str {
        &self.manifest.license
    }

    /// SHA-256 of what makes an embedding of a picture: detector, refiner and embedder, with how each is
    /// used. Embeddings are comparable where it is the same, whatever the thresholds.
    #[must_use]
    pub fn digest(&self) -> PackDigest {
        self.digest
    }

    /// Twelve digits that change with the thresholds and the calibration.
    #[must_use]
    pub fn thresholds_version(&self) -> &str {
        &self.thresholds_version
    }

    /// Number of components of the pack's embeddings.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.manifest.embedder.dimension
    }

    /// The pack's calibrated (or cautious default) thresholds.
    #[must_use]
    pub fn thresholds(&self) -> Thresholds {
        self.thresholds
    }

    /// Where the weights came from.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.manifest.source
    }

    /// What its makers measured, if they say.
    #[must_use]
    pub fn calibration(&self) -> Option<&Calibration> {
        self.manifest.calibration.as_ref()
    }

    /// The folder, or `built-in`.
    #[must_use]
    pub fn location(&self) -> String {
        match &self.files {
            Files::Folder(dir) => dir.display().to_string(),
            Files::BuiltIn => "built-in".to_owned(),
        }
    }

    pub(crate) fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads a network, verifying again that its files are the imported ones.
    ///
    /// # Errors
    /// Any [`PackError`].
    pub(crate) fn load(&self, files: &NetworkFiles) -> Result<(Graph, Params), PackError> {
        let graph: Graph = serde_json::from_slice(&self.verified(&files.graph)?)
            .map_err(|e| PackError::invalid(self.files.path(&files.graph.file), e))?;
        graph.check().map_err(|e| PackError::invalid(self.files.path(&files.graph.file), e))?;
        let params = weights::decode(&self.verified(&files.weights)?)
            .map_err(|e| PackError::invalid(self.files.path(&files.weights.file), e))?;
        Ok((graph, params))
    }

    fn networks(&self) -> impl Iterator<Item = &NetworkFiles> {
        let m = &self.manifest;
        let refiner = m.refiner.iter().map(|r| &r.files);
        let liveness = m.liveness.iter().map(|l| &l.files);
        [&m.detector.files, &m.embedder.files].into_iter().chain(refiner).chain(liveness)
    }

    /// The bytes of a file whose checksum is right.
    fn verified(&self, file: &FileRef) -> Result<Cow<'static, [u8]>, PackError> {
        // A manifest must not make anyone read files elsewhere.
        if Path::new(&file.file).file_name() != Some(file.file.as_ref()) {
            return Err(PackError::invalid(
                self.files.path("pack.toml"),
                format!("file {:?}: a name without folders is expected", file.file),
            ));
        }
        let bytes = self.files.read(&file.file, MAX_FILE_BYTES)?;
        if weights::sha256_hex(&bytes) != file.sha256.to_ascii_lowercase() {
            return Err(PackError::ChecksumMismatch { path: self.files.path(&file.file) });
        }
        Ok(bytes)
    }
}

/// SHA-256 of a part of the manifest. JSON, because it has one text for a value, however the manifest is
/// laid out.
fn sum(path: &Path, part: &impl Serialize) -> Result<[u8; 32], PackError> {
    Ok(weights::sha256(&serde_json::to_vec(part).map_err(|e| PackError::invalid(path, e))?))
}
