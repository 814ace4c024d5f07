//! Reading keys and certificates: what others can read is no secret, what others can write is no proof.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::OFlag,
    unistd::{Uid, geteuid},
};
use thiserror::Error;
use zeroize::Zeroizing;

/// No key, certificate or chain comes near it; what is longer is something else.
const MOST: u64 = 1 << 20;

/// A file that is not read.
#[derive(Debug, Error)]
#[error("{}: {problem}", path.display())]
pub struct FileError {
    /// The file that can't be read, or that others can.
    pub path: PathBuf,
    /// What is wrong with it.
    #[source]
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, Error)]
pub enum Problem {
    /// It can't be read.
    #[error("{0}")]
    Io(#[source] io::Error),
    /// A folder, a device, a pipe.
    #[error("is no regular file")]
    NotAFile,
    /// Others can read a secret.
    #[error("can be read by others (mode {mode:04o}); run: chmod 600 {}", path.display())]
    Exposed {
        /// Its permission bits.
        mode: u32,
        /// The file, for the advice.
        path: PathBuf,
    },
    /// Others can change it.
    #[error("can be changed by others (mode {mode:04o}); run: chmod go-w {}", path.display())]
    Writable {
        /// Its permission bits.
        mode: u32,
        /// The file, for the advice.
        path: PathBuf,
    },
    /// It belongs to another user, who can read and change it.
    #[error("belongs to another user (id {owner}); it must belong to root or to the user that this runs as")]
    Owner {
        /// User id of its owner.
        owner: u32,
    },
    /// Far longer than any key.
    #[error("is too large to be a key or a certificate")]
    TooLarge,
}

impl Problem {
    /// The file is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<Problem> for io::Error {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Io(error) => error,
            refused @ (Problem::NotAFile
            | Problem::Exposed { .. }
            | Problem::Writable { .. }
            | Problem::Owner { .. }
            | Problem::TooLarge) => Self::new(io::ErrorKind::PermissionDenied, refused),
        }
    }
}

/// Reads a secret: a key, a token.
///
/// It must be a regular file that belongs to root or to the user of this process, and that nobody
/// else can read. One that root owns may be readable by its group: so root gives a service its key
/// (`root:cavs 0640`, as for PostgreSQL), and so systemd hands over its credentials. What root reads
/// may belong to anybody, as long as nobody else can read it.
///
/// # Errors
/// [`FileError`]. What is looked at is the file that was opened, not its name.
pub fn read_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read(path, |owner, mode, user| {
        private(path, owner, mode, user, if owner.is_root() { 0o037 } else { 0o077 })
    })
}

/// As [`read_secret`], for what no service is given: nobody but its owner may read it.
///
/// # Errors
/// [`FileError`].
pub fn read_own_secret(path: &Path) -> Result<Zeroizing<Vec<u8>>, FileError> {
    read(path, |owner, mode, user| private(path, owner, mode, user, 0o077))
}

fn private(path: &Path, owner: Uid, mode: u32, user: Uid, forbidden: u32) -> Result<(), Problem> {
    if owner != user && !owner.is_root() && !user.is_root() {
        return Err(Problem::Owner { owner: owner.as_raw() });
    }
    if mode & forbidden != 0 {
        return Err(Problem::Exposed { mode, path: path.to_owned() });
    }
    Ok(())
}

/// Reads what everybody may read and nobody may change: a certificate, an authority.
///
/// # Errors
/// [`FileError`]: also where everybody may write to it.
pub fn read_public(path: &Path) -> Result<Vec<u8>, FileError> {
    let read = read(path, |_, mode, _| {
        if mode & 0o002 != 0 {
            return Err(Problem::Writable { mode, path: path.to_owned() });
        }
        Ok(())
    });
    read.map(|mut bytes| std::mem::take(&mut *bytes))
}

fn read(
    path: &Path,
    judge: impl FnOnce(Uid, u32, Uid) -> Result<(), Problem>,
) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let reading = || {
        // Not held up by a pipe that nobody writes to.
        let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path);
        let file = file.map_err(Problem::Io)?;
        let about = file.metadata().map_err(Problem::Io)?;
        if !about.is_file() {
            return Err(Problem::NotAFile);
        }
        judge(Uid::from_raw(about.uid()), about.mode() & 0o7777, geteuid())?;
        // Allocated once: growing would leave copies behind.
        let length = usize::try_from(about.len().min(MOST)).unwrap_or_default();
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
        file.take(MOST + 1).read_to_end(&mut bytes).map_err(Problem::Io)?;
        if bytes.len() as u64 > MOST {
            return Err(Problem::TooLarge);
        }
        Ok(bytes)
    };
    reading().map_err(|problem| FileError { path: path.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use nix::unistd::{Gid, chown};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_others_can_read_is_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, "secret").unwrap();
        for mode in [0o600, 0o400] {
            set_mode(&path, mode);
            assert_eq!(read_secret(&path).unwrap().as_slice(), b"secret", "{mode:o}");
        }
        // Readable by the group where it is root's; never writable, never for everybody.
        for mode in [0o644, 0o604, 0o660, 0o620, 0o602, 0o777] {
            set_mode(&path, mode);
            let error = read_secret(&path).unwrap_err();
            assert!(
                matches!(error.problem, Problem::Exposed { mode: m, .. } if m == mode),
                "{mode:o}: {error}"
            );
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
        set_mode(&path, 0o640);
        assert!(matches!(read_own_secret(&path).unwrap_err().problem, Problem::Exposed { .. }));
        assert_eq!(read_secret(&path).is_ok(), geteuid().is_root());
        if geteuid().is_root() {
            chown(&path, Some(Uid::from_raw(61_234)), Some(Gid::from_raw(61_234))).unwrap();
            assert!(matches!(read_secret(&path).unwrap_err().problem, Problem::Exposed { .. }));
            set_mode(&path, 0o600);
            assert!(read_secret(&path).is_ok(), "root looks after others' files");
        }
    }

    #[test]
    fn what_everybody_can_change_proves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.pem");
        fs::write(&path, "certificate").unwrap();
        for mode in [0o600, 0o644, 0o664] {
            set_mode(&path, mode);
            assert_eq!(read_public(&path).unwrap(), b"certificate");
        }
        set_mode(&path, 0o666);
        assert!(matches!(read_public(&path).unwrap_err().problem, Problem::Writable { .. }));
    }

    #[test]
    fn only_regular_files_of_a_sensible_size_are_read() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(read_secret(directory.path()).unwrap_err().problem, Problem::NotAFile));
        assert!(matches!(read_public(Path::new("/dev/zero")).unwrap_err().problem, Problem::NotAFile));
        let pipe = directory.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
        assert!(matches!(read_secret(&pipe).unwrap_err().problem, Problem::NotAFile));
        assert!(read_secret(&directory.path().join("none")).unwrap_err().problem.is_not_found());
        let large = directory.path().join("large");
        fs::write(&large, vec![0; MOST as usize + 1]).unwrap();
        set_mode(&large, 0o600);
        assert!(matches!(read_secret(&large).unwrap_err().problem, Problem::TooLarge));
        // A link is as good as what it leads to: certificates are renewed that way.
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&large, &link).unwrap();
        assert!(matches!(read_secret(&link).unwrap_err().problem, Problem::TooLarge));
    }
}
