use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::ClusterError;

/// Where Debian keeps the binaries of each major version.
const DEBIAN: &str = "/usr/lib/postgresql";

/// Variables that the cluster's programs may need. All others stay here: they may hold keys and passwords, and those that
/// begin with `PG` would change what the programs do.
const PASSED_ON: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "TZDIR", "TMPDIR"];

/// The programs of one PostgreSQL installation.
#[derive(Debug)]
pub(crate) struct Binaries {
    pub(crate) initdb: PathBuf,
    pub(crate) postgres: PathBuf,
}

impl Binaries {
    /// From PATH, or else of the newest version where Debian puts them. Where there are data, of their major
    /// version, as no other can read them.
    pub(crate) fn find(data: &Path) -> Result<Self, ClusterError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let mut candidates: Vec<PathBuf> = env::split_paths(&path).collect();
        candidates.extend(debian_versions());
        let version = fs::read_to_string(data.join("PG_VERSION")).ok();
        Self::choose(&candidates, version.as_deref().map(str::trim))
    }

    fn choose(candidates: &[PathBuf], of_data: Option<&str>) -> Result<Self, ClusterError> {
        let mut complete = candidates.iter().filter(|d| has(d, "initdb") && has(d, "postgres")).peekable();
        if complete.peek().is_none() {
            let program = if candidates.iter().any(|d| has(d, "initdb")) { "postgres" } else { "initdb" };
            return Err(ClusterError::NotInstalled { program });
        }
        let Some(wanted) = of_data else {
            return complete
                .next()
                .map(|d| Self::in_directory(d))
                .ok_or(ClusterError::NotInstalled { program: "postgres" });
        };
        let mut found = Vec::new();
        for directory in complete {
            let binaries = Self::in_directory(directory);
            match major_version(&binaries.postgres) {
                Some(version) if version == wanted => return Ok(binaries),
                Some(version) if !found.contains(&version) => found.push(version),
                Some(_) | None => {}
            }
        }
        Err(ClusterError::OtherVersion { data: wanted.to_owned(), found: found.join(", ") })
    }

    /// Both find their libraries and each other beside their real place, not beside a link.
    fn in_directory(directory: &Path) -> Self {
        let resolve = |name| directory.join(name).canonicalize().unwrap_or_else(|_| directory.join(name));
        Self { initdb: resolve("initdb"), postgres: resolve("postgres") }
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

/// As `PG_VERSION` has it: `15` of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`, `9.6` of `9.6.24`.
fn major_version(postgres: &Path) -> Option<String> {
    let mut command = Command::new(postgres);
    restrict_environment(&mut command);
    let output = command.arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let version = text.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    let first = numbers.next()?;
    match (first.parse::<u32>().ok()?, numbers.next()) {
        (..10, Some(second)) => Some(format!("{first}.{second}")),
        (..10, None) | (10.., _) => Some(first.to_owned()),
    }
}

/// Leaves a command nothing of this process's environment but [`PASSED_ON`].
pub(crate) fn restrict_environment(command: &mut Command) {
    command.env_clear().env("LC_ALL", "C");
    for name in PASSED_ON {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// An installation that knows nothing but its version.
    fn install(folder: &Path, version: &str) -> PathBuf {
        let bin = folder.join(version).join("bin");
        fs::create_dir_all(&bin).unwrap();
        for program in ["initdb", "postgres"] {
            let path = bin.join(program);
            fs::write(
                &path,
                format!("#!/bin/sh\necho '{program} (PostgreSQL) {version} (Debian {version}-1)'\n"),
            )
            .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        bin
    }

    #[test]
    fn data_choose_their_version() {
        let folder = tempfile::tempdir().unwrap();
        let candidates: Vec<_> =
            ["17.2", "16beta1", "15.18", "9.6.24"].map(|version| install(folder.path(), version)).into();
        for (data, directory) in [
            (None, "17.2"),
            (Some("17"), "17.2"),
            (Some("16"), "16beta1"),
            (Some("15"), "15.18"),
            (Some("9.6"), "9.6.24"),
        ] {
            let chosen = Binaries::choose(&candidates, data).unwrap();
            assert!(chosen.postgres.starts_with(folder.path().join(directory)), "{data:?}: {chosen:?}");
        }
        let refused = Binaries::choose(&candidates, Some("14")).unwrap_err().to_string();
        assert!(refused.contains("PostgreSQL 14"), "{refused}");
        assert!(refused.contains("17, 16, 15, 9.6") && refused.contains("postgresql-14"), "{refused}");
        let none = Binaries::choose(&[folder.path().to_owned()], Some("14")).unwrap_err();
        assert!(matches!(none, ClusterError::NotInstalled { .. }), "{none}");
    }
}
