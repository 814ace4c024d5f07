//! Model packs: folders with `pack.toml`, graphs and weights, every byte of them verified.

pub(crate) mod manifest;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use cavs_embedding::{PackDigest, Similarity};

use self::manifest::{FORMAT, FileRef, Manifest, NetworkFiles};
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
    dir: PathBuf,
    digest: PackDigest,
    thresholds: Thresholds,
    manifest: Manifest,
}

impl Pack {
    /// Opens a pack and verifies the checksum of every file in it.
    ///
    /// # Errors
    /// Any [`PackError`].
    pub fn open(dir: &Path) -> Result<Self, PackError> {
        let path = dir.join("pack.toml");
        let bytes = match read(&path, MAX_MANIFEST_BYTES) {
            Err(PackError::Read { source, .. })
                if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
            {
                return Err(PackError::NotFound(dir.to_path_buf()));
            }
            other => other?,
        };
        let text = str::from_utf8(&bytes).map_err(|e| PackError::invalid(&path, e))?;
        let manifest: Manifest = toml::from_str(text).map_err(|e| PackError::invalid(&path, e.message()))?;
        if manifest.format != FORMAT {
            let problem =
                format!("format {} where {FORMAT} is supported; import the pack again", manifest.format);
            return Err(PackError::invalid(&path, problem));
        }
        let thresholds =
            Thresholds::try_from(manifest.thresholds).map_err(|e| PackError::invalid(&path, e))?;
        let digest = PackDigest::from_bytes(weights::sha256(&bytes));
        let pack = Self { dir: dir.to_path_buf(), digest, thresholds, manifest };
        for files in pack.networks() {
            pack.verified(&files.graph)?;
            pack.verified(&files.weights)?;
        }
        Ok(pack)
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

    /// SHA-256 of the raw bytes of `pack.toml`, which holds the SHA-256 of every other file.
    #[must_use]
    pub fn digest(&self) -> PackDigest {
        self.digest
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

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
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
            .map_err(|e| PackError::invalid(self.dir.join(&files.graph.file), e))?;
        graph.check().map_err(|e| PackError::invalid(self.dir.join(&files.graph.file), e))?;
        let params = weights::decode(&self.verified(&files.weights)?)
            .map_err(|e| PackError::invalid(self.dir.join(&files.weights.file), e))?;
        Ok((graph, params))
    }

    fn networks(&self) -> impl Iterator<Item = &NetworkFiles> {
        let m = &self.manifest;
        [&m.detector.files, &m.embedder.files].into_iter().chain(m.liveness.iter().map(|l| &l.files))
    }

    /// The bytes of a file whose checksum is right.
    fn verified(&self, file: &FileRef) -> Result<Vec<u8>, PackError> {
        // A manifest must not make anyone read files elsewhere.
        if Path::new(&file.file).file_name() != Some(file.file.as_ref()) {
            return Err(PackError::invalid(
                self.dir.join("pack.toml"),
                format!("file {:?}: a name without folders is expected", file.file),
            ));
        }
        let path = self.dir.join(&file.file);
        let bytes = read(&path, MAX_FILE_BYTES)?;
        if weights::sha256_hex(&bytes) != file.sha256.to_ascii_lowercase() {
            return Err(PackError::ChecksumMismatch { path });
        }
        Ok(bytes)
    }
}

/// Reads a file of limited length.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, PackError> {
    let failed = |source| PackError::Read { path: path.to_path_buf(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, limit + 1), &mut bytes).map_err(failed)?;
    if bytes.len() as u64 > limit {
        return Err(PackError::invalid(path, format!("longer than {limit} bytes")));
    }
    Ok(bytes)
}
