use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use rusqlite::Connection;

use super::{
    Outbox, SpoolError, Writer,
    format::{self, signed, unsigned},
};

/// What a damaged epoch file may claim at most: servers store epochs as signed 64-bit numbers.
const MAX_EPOCH: u64 = 1 << 62;

/// Where a spool is and how large it may become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The database file.
    pub path: PathBuf,
    /// Most bytes of waiting sightings, evidence and overhead included.
    pub max_bytes: u64,
}

/// Both sides of an open spool.
#[derive(Debug)]
pub struct Spool {
    /// The side that stores.
    pub writer: Writer,
    /// The side that offers and settles.
    pub outbox: Outbox,
    /// The damaged spool that was moved aside, where there was one.
    pub quarantined: Option<PathBuf>,
}

impl Spool {
    /// Opens or makes a spool, and begins a new boot epoch.
    ///
    /// The epoch is above every earlier one and, where the clock is right, is the Unix time of the
    /// start. That keeps keys unique even after the state directory was lost: a server that has
    /// seen a key before would take a new sighting under it for a repetition.
    ///
    /// A damaged spool is moved aside (`NAME.damaged-TIME`) and a new one made. The epoch is kept in
    /// a second file too, so that it still increases.
    ///
    /// # Errors
    /// `File`, `Locked`, `Newer`, or `Database` for what is no damage.
    pub fn open(options: &SpoolOptions, now: Timestamp) -> Result<Self, SpoolError> {
        let path = &options.path;
        create_folder(path)?;
        let lock = Arc::new(lock(path)?);
        let (connection, quarantined) = match open_database(path) {
            Ok(connection) => (connection, None),
            Err(error) if error.is_damage() => {
                let aside = quarantine(path, now)?;
                (open_database(path)?, Some(aside))
            }
            Err(error) => return Err(error),
        };
        let boot_epoch = next_epoch(&connection, path, now)?;
        let outbox = Outbox::new(format::connect(path)?, Arc::clone(&lock));
        let writer = Writer::new(connection, lock, boot_epoch, options.max_bytes);
        Ok(Self { writer, outbox, quarantined })
    }
}

fn open_database(path: &Path) -> Result<Connection, SpoolError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    let file = file.map_err(SpoolError::file(path))?;
    // Also for a file that somebody made with other rights. SQLite gives the journal the same ones.
    file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(SpoolError::file(path))?;
    drop(file);
    let mut connection = format::connect(path)?;
    format::prepare(&mut connection, path)?;
    let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if verdict != "ok" {
        let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
        return Err(rusqlite::Error::SqliteFailure(code, Some(verdict)).into());
    }
    Ok(connection)
}

fn create_folder(path: &Path) -> Result<(), SpoolError> {
    let Some(folder) = path.parent().filter(|p| !p.as_os_str().is_empty()) else { return Ok(()) };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(SpoolError::file(folder))
}

/// A lock of its own file: locks of the database file are SQLite's. The kernel drops it with the
/// process, however that ends.
fn lock(path: &Path) -> Result<File, SpoolError> {
    let lock_path = with_suffix(path, ".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
    let file = file.map_err(SpoolError::file(&lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(SpoolError::Locked(path.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(SpoolError::File { path: lock_path, source }),
    }
}

fn quarantine(path: &Path, now: Timestamp) -> Result<PathBuf, SpoolError> {
    let mark = format!(".damaged-{}", now.as_millisecond());
    let aside = with_suffix(path, &mark);
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

fn next_epoch(connection: &Connection, path: &Path, now: Timestamp) -> Result<u64, SpoolError> {
    let stored: i64 = connection.query_row("SELECT boot_epoch FROM state", [], |row| row.get(0))?;
    let epoch_path = with_suffix(path, ".epoch");
    let copied = match fs::read_to_string(&epoch_path) {
        Ok(text) => text.trim().parse().ok().filter(|epoch| *epoch <= MAX_EPOCH).unwrap_or(0),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(SpoolError::File { path: epoch_path, source: error }),
    };
    let last = unsigned(stored).max(copied);
    let epoch = unsigned(now.as_second()).max(last + 1);
    write_durably(&epoch_path, &format!("{epoch}\n"))?;
    connection.execute("UPDATE state SET boot_epoch = ?", [signed(epoch)])?;
    Ok(epoch)
}

/// Replaces a small file so that it is either the old or the new one after any crash.
fn write_durably(path: &Path, text: &str) -> Result<(), SpoolError> {
    let fresh = with_suffix(path, ".new");
    let write = || {
        let mut file = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        match path.parent().filter(|p| !p.as_os_str().is_empty()) {
            Some(folder) => File::open(folder)?.sync_all(),
            None => File::open(".")?.sync_all(),
        }
    };
    write().map_err(SpoolError::file(path))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
