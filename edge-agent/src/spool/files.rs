//! The spool's files beside the database.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use super::SpoolError;
use crate::files::with_suffix;

pub(super) fn create_folder(path: &Path) -> Result<(), SpoolError> {
    let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(SpoolError::file(folder))
}

/// A lock of its own file: locks of the database file are SQLite's. The kernel drops it with the
/// process, however that ends.
pub(super) fn lock(path: &Path) -> Result<File, SpoolError> {
    let lock_path = with_suffix(path, ".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
    let file = file.map_err(SpoolError::file(&lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked(path.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(SpoolError::File { path: lock_path, source }),
    }
}

/// Moves a database and its journal aside; gives the database's new name.
pub(super) fn quarantine(path: &Path, mark: &str) -> Result<PathBuf, SpoolError> {
    let aside = with_suffix(path, mark);
    fs::rename(path, &aside).map_err(SpoolError::file(path))?;
    for suffix in ["-wal", "-shm"] {
        let file = with_suffix(path, suffix);
        match fs::rename(&file, with_suffix(&aside, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(SpoolError::File { path: file, source: error });
            }
            Ok(()) | Err(_) => {}
        }
    }
    Ok(aside)
}

/// Removes what was moved aside before `newest`: its rows were taken over then, and spools that are
/// damaged again and again must not fill the disk.
pub(super) fn forget_older(path: &Path, newest: &Path) {
    let (Some(folder), Some(name)) = (newest.parent(), path.file_name()) else { return };
    let mark = [name.as_encoded_bytes(), b".damaged-"].concat();
    let newest = newest.file_name().unwrap_or_default().as_encoded_bytes();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        // Failing is no reason not to start.
        if name.starts_with(&mark) && !name.starts_with(newest) {
            let _ = fs::remove_file(entry.path());
        }
    }
}
