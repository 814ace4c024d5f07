use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::ClusterError;

/// Where Debian keeps the binaries of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// The programs of one PostgreSQL installation.
pub(crate) struct Binaries {
    pub(crate) initdb: PathBuf,
    pub(crate) postgres: PathBuf,
}

impl Binaries {
    /// From PATH, or else of the newest version where Debian puts them.
    pub(crate) fn find() -> Result<Self, ClusterError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut candidates: Vec<PathBuf> = env::split_paths(&path).collect();
        candidates.extend(debian_versions());
        let both = |directory: &PathBuf| has(directory, "initdb") && has(directory, "postgres");
        let Some(directory) = candidates.iter().find(|d| both(d)) else {
            let program = if candidates.iter().any(|d| has(d, "initdb")) { "postgres" } else { "initdb" };
            return Err(ClusterError::NotInstalled { program });
        };
        // Both find their libraries and each other beside their real place, not beside a link.
        let resolve = |name| directory.join(name).canonicalize().unwrap_or_else(|_| directory.join(name));
        Ok(Self { initdb: resolve("initdb"), postgres: resolve("postgres") })
    }
}

fn has(directory: &Path, program: &str) -> bool {
    directory.join(program).is_file()
}

fn debian_versions() -> Vec<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = fs::read_dir(DEBIAN)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    versions.sort_by_key(|(version, _)| std::cmp::Reverse(*version));
    versions.into_iter().map(|(_, path)| path).collect()
}
