//! Files that commands write.

use std::{fs::OpenOptions, io::Write, os::unix::fs::OpenOptionsExt, path::Path};

use crate::error::CliError;

/// Writes what is for the eyes of whoever asked for it only, and never in the place of another file.
///
/// # Errors
/// `File`: it can't be written, or is there already.
pub(crate) fn write_new_private(path: &Path, content: &[u8]) -> Result<(), CliError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    created.and_then(|mut file| file.write_all(content)).map_err(|error| CliError::file(path, error))
}
