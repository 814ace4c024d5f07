//! The cluster's folder: made and given away without ever following a link that somebody put there.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf, absolute},
};

use nix::{
    fcntl::{Flock, FlockArg, OFlag},
    unistd::{AccessFlags, access, fchown},
};
use tracing::warn;

use crate::{ClusterError, account::Account};

/// A log that is longer is put aside, in bytes. With the one before, twice as much is kept.
pub(crate) const LOG_LIMIT: u64 = 8 << 20;
/// The end of a log that an error shows, in bytes.
const TAIL: u64 = 8 << 10;

/// Makes the folder where it is missing, closes it to others, and gives a new one to the account.
pub(crate) fn prepare(directory: &Path, account: Option<&Account>) -> Result<PathBuf, ClusterError> {
    let unusable = |cause| ClusterError::Directory { directory: directory.to_owned(), cause };
    let path = absolute(directory).map_err(unusable)?;
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(unusable(io::Error::new(io::ErrorKind::InvalidInput, "names no folder of its own")));
    };
    fs::create_dir_all(parent).map_err(unusable)?;
    let path = parent.canonicalize().map_err(unusable)?.join(name);
    match fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(error)),
        _ => {}
    }
    if path.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
        return Err(ClusterError::Link { path });
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = File::options().read(true).custom_flags(flags.bits()).open(&path).map_err(unusable)?;
    if let Some(account) = account {
        let owner = opened.metadata().map_err(unusable)?.uid();
        if owner != account.uid.as_raw() {
            // What is not empty is something else of root's, or a cluster of another user's.
            if owner != 0 || !is_empty(&path).map_err(unusable)? {
                return Err(ClusterError::Foreign { directory: path, owner, account: account.name.clone() });
            }
            fchown(&opened, Some(account.uid), Some(account.gid)).map_err(|e| unusable(e.into()))?;
        }
        if let Some(closed) = path.ancestors().skip(1).find(|above| !account.may_enter(above)) {
            let closed = closed.to_owned();
            return Err(ClusterError::Unreachable { account: account.name.clone(), closed, directory: path });
        }
    }
    opened.set_permissions(fs::Permissions::from_mode(0o700)).map_err(unusable)?;
    Ok(path)
}

/// Whether [`prepare`] could do its work.
pub(crate) fn inspect(path: &Path, account: Option<&Account>) -> Result<(), ClusterError> {
    let unusable = |cause| ClusterError::Directory { directory: path.to_owned(), cause };
    match path.symlink_metadata() {
        Ok(found) if found.is_symlink() => return Err(ClusterError::Link { path: path.to_owned() }),
        Ok(found) if !found.is_dir() => return Err(unusable(io::ErrorKind::NotADirectory.into())),
        Ok(found) => {
            let owner = found.uid();
            if let Some(account) = account
                && owner != account.uid.as_raw()
                && (owner != 0 || !is_empty(path).map_err(unusable)?)
            {
                let (directory, account) = (path.to_owned(), account.name.clone());
                return Err(ClusterError::Foreign { directory, owner, account });
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unusable(error)),
    }
    let above = path.ancestors().skip(1).find(|above| above.exists()).unwrap_or(Path::new("/"));
    if account.is_none() && !path.exists() {
        access(above, AccessFlags::W_OK | AccessFlags::X_OK).map_err(|errno| unusable(errno.into()))?;
    }
    let Some(account) = account else { return Ok(()) };
    match above.ancestors().find(|above| !account.may_enter(above)) {
        Some(closed) => Err(ClusterError::Unreachable {
            account: account.name.clone(),
            closed: closed.to_owned(),
            directory: path.to_owned(),
        }),
        None => Ok(()),
    }
}

/// Whether there is nothing but what a new file system has.
fn is_empty(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != "lost+found" {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Opens a file of the folder's, which is no link.
pub(crate) fn open(path: &Path, options: &mut fs::OpenOptions) -> Result<File, ClusterError> {
    let opened = options.mode(0o600).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path);
    opened.map_err(|cause| match cause.raw_os_error() {
        Some(nix::libc::ELOOP) => ClusterError::Link { path: path.to_owned() },
        _ => ClusterError::Directory { directory: path.to_owned(), cause },
    })
}

/// Takes the lock of those who start the cluster, if nobody has it.
pub(crate) fn try_lock(directory: &Path) -> Result<Option<Flock<File>>, ClusterError> {
    let path = directory.join("start.lock");
    let file = open(&path, File::options().create(true).truncate(false).write(true))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(ClusterError::Directory { directory: path, cause: errno.into() }),
    }
}

/// Opens the log to write at its end.
pub(crate) fn open_log(log: &Path) -> Result<File, ClusterError> {
    let mut append = File::options();
    append.create(true).append(true);
    match open(log, &mut append) {
        // Earlier versions wrote it with the rights of root.
        Err(ClusterError::Directory { cause, .. }) if cause.kind() == io::ErrorKind::PermissionDenied => {
            let moved = fs::rename(log, before(log));
            moved.map_err(|cause| ClusterError::Directory { directory: log.to_owned(), cause })?;
            open(log, &mut append)
        }
        opened => opened,
    }
}

/// Puts the log aside where it is longer than the limit. It is copied and emptied, as PostgreSQL has it open.
pub(crate) fn rotate(log: &Path, limit: u64) {
    if !log.symlink_metadata().is_ok_and(|found| found.len() > limit) {
        return;
    }
    let rotated = || -> Result<(), ClusterError> {
        let failed = |cause| ClusterError::Directory { directory: log.to_owned(), cause };
        let mut current = open(log, File::options().read(true).write(true))?;
        let fresh = log.with_extension("log.new");
        let _ = fs::remove_file(&fresh);
        let mut copy = open(&fresh, File::options().create_new(true).write(true))?;
        // No more of it than fits what is promised, however long it has become.
        let length = current.metadata().map_err(failed)?.len();
        current.seek(SeekFrom::Start(length.saturating_sub(2 * limit))).map_err(failed)?;
        let copied = io::copy(&mut current, &mut copy).and_then(|_| copy.flush());
        // Without room for a copy, the log itself has to go.
        match copied.and_then(|()| fs::rename(&fresh, before(log))) {
            Ok(()) => {}
            Err(error) => {
                let _ = fs::remove_file(&fresh);
                warn!(%error, log = %log.display(), "the log is emptied without a copy");
            }
        }
        current.set_len(0).map_err(failed)
    };
    if let Err(error) = rotated() {
        warn!(%error, "PostgreSQL's log can't be put aside");
    }
}

/// Where the log before this one is.
fn before(log: &Path) -> PathBuf {
    log.with_extension("log.1")
}

/// The last lines of the log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    let read = || -> Option<String> {
        let mut file = open(log, File::options().read(true)).ok()?;
        let length = file.metadata().ok()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).ok()?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_are_not_followed() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let elsewhere = parent.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o755)).unwrap();
        let link = parent.path().join("db");
        symlink(&elsewhere, &link).unwrap();
        let account = Account::for_cluster().unwrap();
        let refused = prepare(&link, account.as_ref()).unwrap_err();
        assert!(matches!(refused, ClusterError::Link { .. }), "{refused}");
        let untouched = fs::metadata(&elsewhere).unwrap();
        assert_eq!(untouched.mode() & 0o777, 0o755);

        let target = elsewhere.join("file");
        fs::write(&target, "precious").unwrap();
        let log = elsewhere.join("postgres.log");
        symlink(&target, &log).unwrap();
        assert!(matches!(open_log(&log), Err(ClusterError::Link { .. })));
        rotate(&log, 0);
        assert_eq!(tail(&log), "");
        assert_eq!(fs::read(&target).unwrap(), b"precious");
    }

    #[test]
    fn a_folder_that_holds_something_else_is_not_taken() {
        let Some(account) = Account::for_cluster().unwrap() else { return };
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let folder = parent.path().join("documents");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("letter"), "").unwrap();
        let refused = prepare(&folder, Some(&account)).unwrap_err();
        assert!(matches!(refused, ClusterError::Foreign { owner: 0, .. }), "{refused}");
        assert_eq!(fs::metadata(&folder).unwrap().uid(), 0);
        fs::rename(folder.join("letter"), folder.join("lost+found")).unwrap();
        prepare(&folder, Some(&account)).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().uid(), account.uid.as_raw());
    }
}
