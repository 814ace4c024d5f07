//! Certificates and keys on disk.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use cavs_secrets::{FileError, Problem, read_own_secret, read_public};
use zeroize::Zeroizing;

use crate::CertError;

const KEY_MODE: u32 = 0o600;
const CERTIFICATE_MODE: u32 = 0o644;
const DIRECTORY_MODE: u32 = 0o700;

/// Where a certificate and its key were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertFiles {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// The private key, PKCS #8 PEM, readable by its owner only.
    pub key: PathBuf,
}

impl CertFiles {
    pub(crate) fn in_dir(dir: &Path, certificate: &str, key: &str) -> Self {
        Self { certificate: dir.join(certificate), key: dir.join(key) }
    }

    /// Writes both files or none, and never over others.
    pub(crate) fn write(&self, certificate_pem: &str, key_pem: &str) -> Result<(), CertError> {
        for path in [&self.certificate, &self.key] {
            if let Some(dir) = path.parent() {
                create_private_dir(dir)?;
            }
            refuse_existing(path)?;
        }
        write_new(&self.key, key_pem.as_bytes(), KEY_MODE)?;
        write_certificate(&self.certificate, certificate_pem).inspect_err(|_| {
            // A key without its certificate would only be in the way of the next attempt.
            let _ = fs::remove_file(&self.key);
        })
    }
}

pub(crate) fn create_private_dir(dir: &Path) -> Result<(), CertError> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir).map_err(io_error(dir))
}

pub(crate) fn refuse_existing(path: &Path) -> Result<(), CertError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Err(CertError::Exists(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io_error(path)(error)),
    }
}

pub(crate) fn write_certificate(path: &Path, pem: &str) -> Result<(), CertError> {
    write_new(path, pem.as_bytes(), CERTIFICATE_MODE)
}

/// Reads a certificate, unless others could have changed it.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, CertError> {
    read_public(path).map_err(refused)
}

/// Reads a private key, unless others could have read it too.
pub(crate) fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, CertError> {
    read_own_secret(path).map_err(refused)
}

fn refused(error: FileError) -> CertError {
    let FileError { path, problem } = error;
    match problem {
        Problem::Io(source) => CertError::Io { path, source },
        Problem::Exposed { mode, .. } => CertError::KeyExposed { path, mode },
        problem @ (Problem::NotAFile
        | Problem::Writable { .. }
        | Problem::Owner { .. }
        | Problem::TooLarge) => CertError::Unusable { path, problem: problem.to_string() },
    }
}

pub(crate) fn unusable(path: &Path, problem: impl ToString) -> CertError {
    CertError::Unusable { path: path.to_owned(), problem: problem.to_string() }
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> CertError + use<> {
    let path = path.to_owned();
    move |source| CertError::Io { path, source }
}

fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), CertError> {
    let created = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = match created {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(CertError::Exists(path.to_owned()));
        }
        Err(error) => return Err(io_error(path)(error)),
    };
    file.write_all(content).and_then(|()| file.sync_all()).map_err(|error| {
        let _ = fs::remove_file(path);
        io_error(path)(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_pair_leaves_no_key_behind() {
        let dir = tempfile::tempdir().unwrap();
        let files =
            CertFiles { certificate: dir.path().join("x".repeat(300)), key: dir.path().join("a.key") };
        files.write("certificate", "key").unwrap_err();
        assert!(!files.key.exists());
    }

    #[test]
    fn endless_files_are_not_read() {
        let error = read(Path::new("/dev/zero")).unwrap_err();
        assert_eq!(error.to_string(), "/dev/zero: is no regular file");
    }
}
