use std::{
    io::{self, Stdout, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use tempfile::NamedTempFile;

use crate::error::CliError;

/// Where an export goes.
pub(crate) enum Output {
    /// Standard output, and whether its reader has seen enough.
    Standard(Stdout, Arc<AtomicBool>),
    /// A file beside the one to be, for its owner's eyes alone.
    File(NamedTempFile),
}

impl Output {
    /// Standard output for `-`, or a file that is there when it is whole.
    ///
    /// # Errors
    /// The file can't be made, or is there already.
    pub(crate) fn open(path: &Path) -> Result<(Self, Arc<AtomicBool>), CliError> {
        let left = Arc::new(AtomicBool::new(false));
        if path.as_os_str() == "-" {
            return Ok((Self::Standard(io::stdout(), Arc::clone(&left)), left));
        }
        if path.exists() {
            return Err(CliError::file(path, io::ErrorKind::AlreadyExists.into()));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        let file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
        Ok((Self::File(file.map_err(|error| CliError::file(path, error))?), left))
    }

    /// Puts the whole file in its place; whether there is one.
    ///
    /// # Errors
    /// A file is there by now, or it can't be written.
    pub(crate) fn keep(self, path: &Path) -> Result<bool, CliError> {
        match self {
            Self::Standard(..) => Ok(false),
            Self::File(file) => {
                file.persist_noclobber(path).map_err(|error| CliError::file(path, error.error))?;
                Ok(true)
            }
        }
    }
}

impl Write for Output {
    fn write(&mut self, some: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.write(some),
            Self::Standard(out, left) => match out.write(some) {
                // Not to read on is no error.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    left.store(true, Relaxed);
                    Ok(some.len())
                }
                written => written,
            },
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(file) => file.flush(),
            Self::Standard(out, left) => match out.flush() {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    left.store(true, Relaxed);
                    Ok(())
                }
                flushed => flushed,
            },
        }
    }
}
