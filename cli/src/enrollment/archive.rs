//! Photographs in a ZIP archive.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use tempfile::TempDir;
use zip::{ZipArchive, result::ZipError};

use super::images::is_photograph;
use crate::error::CliError;

/// Most files of an archive.
const MOST_FILES: usize = 200_000;
/// Most bytes of all photographs, unpacked, as a multiple of the archive's, and beside that: photographs are compressed
/// already.
const MOST_TIMES: u64 = 4;
const MOST_MORE: u64 = 256 << 20;

/// An archive's files in a folder of their own, which nobody else may read and which is gone when this is dropped.
pub(crate) struct Unpacked {
    folder: TempDir,
    root: PathBuf,
}

impl Unpacked {
    /// Where the photographs are: the folder, or the only one that the archive has at its top.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What a file of it is called in the archive.
    pub(crate) fn name<'a>(&self, path: &'a str) -> &'a str {
        let unpacked = self.folder.path().to_str().and_then(|folder| path.strip_prefix(folder));
        unpacked.map_or(path, |name| name.trim_start_matches('/'))
    }
}

/// Whether a path names an archive.
pub(crate) fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("zip")) && !path.is_dir()
}

/// Unpacks an archive.
///
/// # Errors
/// `File`: it can't be read. `ARCHIVE_INVALID`: it is none, or larger than any that is meant.
pub(crate) fn unpack(path: &Path) -> Result<Unpacked, CliError> {
    let invalid = |problem: &dyn std::fmt::Display| {
        CliError::failure("ARCHIVE_INVALID", format!("{}: {problem}", path.display()))
    };
    let broken = |error: ZipError| invalid(&error);
    let file = File::open(path).map_err(|error| CliError::file(path, error))?;
    let size = file.metadata().map_err(|error| CliError::file(path, error))?.len();
    let mut archive = ZipArchive::new(io::BufReader::new(file)).map_err(broken)?;
    if archive.len() > MOST_FILES {
        return Err(invalid(&format_args!("holds more than {MOST_FILES} files")));
    }
    // Readable by nobody else: these are people's faces.
    let owner_only = fs::Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("cavs-photographs-").permissions(owner_only).tempdir();
    let folder = folder.map_err(|error| CliError::file(&std::env::temp_dir(), error))?;
    let most = MOST_TIMES.saturating_mul(size).saturating_add(MOST_MORE);
    let mut left = most;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(broken)?;
        // Names that lead out of the folder are no names.
        let Some(name) = entry.enclosed_name().filter(|name| entry.is_file() && is_photograph(name)) else {
            continue;
        };
        let target = folder.path().join(name);
        let failed = |error| CliError::file(&target, error);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        let mut out = File::create(&target).map_err(failed)?;
        let written = io::copy(&mut entry.by_ref().take(left + 1), &mut out);
        let written = written.map_err(|error| invalid(&error))?;
        left = left.checked_sub(written).ok_or_else(|| {
            invalid(&format_args!("its photographs have more than {} MiB together", most >> 20))
        })?;
    }
    let root = only_folder(folder.path()).map_err(|error| CliError::file(folder.path(), error))?;
    Ok(Unpacked { folder, root })
}

/// The folder that is alone in a folder, unless what is in it are pictures: archives often have one at their top.
fn only_folder(folder: &Path) -> io::Result<PathBuf> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    // What macOS puts into archives.
    let mut entries = entries.into_iter().filter(|entry| entry.file_name() != "__MACOSX");
    match (entries.next(), entries.next()) {
        (Some(only), None) if only.file_type()?.is_dir() => {
            let has_folders = fs::read_dir(only.path())?.flatten().any(|entry| entry.path().is_dir());
            Ok(if has_folders { only.path() } else { folder.to_owned() })
        }
        _ => Ok(folder.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn archive(files: &[&str]) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("school.ZIP");
        let mut writer = ZipWriter::new(File::create(&path).unwrap());
        for name in files {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(b"good").unwrap();
        }
        writer.finish().unwrap();
        (folder, path)
    }

    #[test]
    fn archives_are_unpacked_where_nobody_else_looks_and_nowhere_else() {
        let (folder, path) =
            archive(&["school/17/a.jpg", "school/18/b.jpg", "__MACOSX/x", "../../evil.jpg", "/root.jpg"]);
        assert!(is_archive(&path) && !is_archive(folder.path()));
        let unpacked = unpack(&path).unwrap();
        assert!(
            unpacked.root().join("17/a.jpg").is_file() || unpacked.root().join("school/17/a.jpg").is_file()
        );
        let mode = fs::metadata(unpacked.folder.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
        assert!(!folder.path().join("evil.jpg").exists());
        let shown = unpacked.folder.path().join("school/17/a.jpg").display().to_string();
        assert_eq!(unpacked.name(&shown), "school/17/a.jpg");
        let gone = unpacked.folder.path().to_owned();
        drop(unpacked);
        assert!(!gone.exists());

        let (_folder, path) = archive(&["school/17/a.jpg", "school/roster.csv", "__MACOSX/x"]);
        assert!(unpack(&path).unwrap().root().ends_with("school"));
        let (_folder, path) = archive(&["17/a.jpg"]);
        assert!(unpack(&path).unwrap().root().join("17/a.jpg").is_file(), "the only student");
    }

    #[test]
    fn what_is_no_archive_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        assert_eq!(unpack(&path).err().unwrap().exit(), crate::exit::Exit::NotFound);
        fs::write(&path, "no archive").unwrap();
        assert_eq!(unpack(&path).err().unwrap().reason(), "ARCHIVE_INVALID");
    }
}
