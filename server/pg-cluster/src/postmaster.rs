//! Who runs the cluster of a folder, by what PostgreSQL leaves there and by what the kernel says.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

use tracing::info;

use crate::{ClusterError, folder};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Postmaster {
    Absent,
    /// Starting, or stopping.
    Busy,
    Ready,
}

/// What `postmaster.pid` says, if the process that it names is the postmaster of this very folder: after a
/// power cut the file is still there, and its number may be anybody's.
pub(crate) fn state(data: &Path) -> Postmaster {
    let text = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let mut lines = text.lines();
    let pid: Option<u32> = lines.next().and_then(|pid| pid.trim().parse().ok());
    if !pid.is_some_and(|pid| is_postgres_of(data, &Path::new("/proc").join(pid.to_string()))) {
        // A postmaster that was killed may have left sessions that still write.
        let mut processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let left = processes.any(|process| is_postgres_of(data, &process.path()));
        return if left { Postmaster::Busy } else { Postmaster::Absent };
    }
    // The eighth line is the state, as `pg_ctl` reads it.
    match lines.nth(6).map(str::trim) {
        Some("ready") => Postmaster::Ready,
        _ => Postmaster::Busy,
    }
}

/// The working directory of a postmaster, and of all that it starts, is its data's.
fn is_postgres_of(data: &Path, process: &Path) -> bool {
    // A program that was replaced by an update goes by the name of `postgres (deleted)`.
    let program = fs::read_link(process.join("exe"));
    let is_postgres = program.is_ok_and(|path| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("postgres"))
    });
    let place = |path: &Path| fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    is_postgres && place(data).is_some_and(|there| place(&process.join("cwd")) == Some(there))
}

/// Disarms what a postmaster left that did not stop: PostgreSQL takes any living process of the number for it.
///
/// Only for who holds the folder's lock, and saw that there is no postmaster.
pub(crate) fn clear_stale_files(data: &Path, socket_directory: &Path) -> Result<(), ClusterError> {
    let socket_lock = socket_directory.join(".s.PGSQL.5432.lock");
    match fs::remove_file(&socket_lock) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            return Err(ClusterError::Directory { directory: socket_lock, cause });
        }
        _ => {}
    }
    let file = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&file) else { return Ok(()) };
    info!(file = %file.display(), "the database was not stopped in order; it recovers");
    // It is not removed, as it names the shared memory, by which PostgreSQL finds sessions that are left. The
    // number of its own parent is the one that PostgreSQL never takes for another postmaster's.
    let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
    let fresh = data.join("postmaster.pid.new");
    let _ = fs::remove_file(&fresh);
    let mut written = folder::open(&fresh, fs::File::options().create_new(true).write(true))?;
    let renamed = write!(written, "{}\n{rest}", std::process::id()).and_then(|()| fs::rename(&fresh, &file));
    renamed.map_err(|cause| ClusterError::Directory { directory: file, cause })
}
