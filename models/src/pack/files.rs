//! Where the files of a pack are: in a folder, or in the program.

use std::{
    borrow::Cow,
    fs, io,
    path::{Path, PathBuf},
};

use crate::PackError;

/// The files of the built-in pack.
const BUILT_IN: &[(&str, &[u8])] = &[
    ("pack.toml", include_bytes!("../../packs/cavs-nano/pack.toml")),
    ("detector.graph.json", include_bytes!("../../packs/cavs-nano/detector.graph.json")),
    ("detector.safetensors", include_bytes!("../../packs/cavs-nano/detector.safetensors")),
    ("refiner.graph.json", include_bytes!("../../packs/cavs-nano/refiner.graph.json")),
    ("refiner.safetensors", include_bytes!("../../packs/cavs-nano/refiner.safetensors")),
    ("embedder.graph.json", include_bytes!("../../packs/cavs-nano/embedder.graph.json")),
    ("embedder.safetensors", include_bytes!("../../packs/cavs-nano/embedder.safetensors")),
];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Files {
    Folder(PathBuf),
    BuiltIn,
}

impl Files {
    /// What to call a file in a message.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(name),
            Self::BuiltIn => Path::new("built-in pack").join(name),
        }
    }

    /// A file of limited length, in bytes.
    ///
    /// # Errors
    /// [`PackError::Read`], or [`PackError::Invalid`] where it is too long.
    pub(crate) fn read(&self, name: &str, limit: u64) -> Result<Cow<'static, [u8]>, PackError> {
        let failed = |source| PackError::Read { path: self.path(name), source };
        let bytes = match self {
            Self::BuiltIn => {
                let found = BUILT_IN.iter().find(|(file, _)| *file == name);
                Cow::Borrowed(found.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?.1)
            }
            Self::Folder(folder) => {
                let file = fs::File::open(folder.join(name)).map_err(failed)?;
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut io::Read::take(file, limit + 1), &mut bytes).map_err(failed)?;
                Cow::Owned(bytes)
            }
        };
        if bytes.len() as u64 > limit {
            return Err(PackError::invalid(self.path(name), format!("longer than {limit} bytes")));
        }
        Ok(bytes)
    }
}
