//! A private PostgreSQL cluster made from the machine's own binaries.
//!
//! For sites that want no database administrator, for the demo and for tests: `initdb` once,
//! `postgres` as a child process that dies with its owner, reachable only through a Unix socket in
//! a private directory. As root, which PostgreSQL refuses, the cluster runs as `postgres` or `nobody`.

mod account;
mod binaries;
mod error;
mod keeper;
pub mod parent_death;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use account::Account;
use binaries::Binaries;
pub use error::ClusterError;
use keeper::Keeper;

/// The superuser of the cluster.
pub const USER: &str = "cavs";
/// The database that exists from the start.
pub const DATABASE: &str = "cavs";

/// Longest socket directory: the kernel's 108 bytes less `/.s.PGSQL.5432.lock` and a terminator.
const MAX_SOCKET_DIRECTORY: usize = 108 - 20;
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// How a cluster treats its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every commit is on disk.
    Durable,
    /// Nothing is synced: for tests, whose data nobody needs after a crash.
    Disposable,
}

/// A running cluster: stopped when dropped, unless another process had started it.
#[derive(Debug)]
pub struct Cluster {
    socket_directory: PathBuf,
    keeper: Option<Keeper>,
}

impl Cluster {
    /// Starts the cluster in `directory`, creating it where it is missing. Where another process
    /// runs it already, that one is used and left running. Blocks until connections are accepted.
    ///
    /// # Errors
    /// [`ClusterError`]: missing binaries, an unusable directory, or what PostgreSQL wrote last.
    pub fn start(directory: &Path, durability: Durability) -> Result<Self, ClusterError> {
        let binaries = Binaries::find()?;
        let account = Account::for_cluster()?;
        let directory = prepare(directory, account.as_ref())?;
        let data = directory.join("data");
        let socket_directory = socket_directory(&directory)?;
        let log = directory.join("postgres.log");

        let begun = Instant::now();
        if !data.join("PG_VERSION").exists() {
            initialize(&binaries, account.as_ref(), &directory, &data, &log)?;
        }
        loop {
            match postmaster(&data) {
                Postmaster::Ready => return Ok(Self { socket_directory, keeper: None }),
                // Somebody else's start or stop is under way.
                Postmaster::Busy if begun.elapsed() < START_LIMIT => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Postmaster::Busy => return Err(ClusterError::StartTimeout { log }),
                Postmaster::Absent => break,
            }
        }
        let mut command = command(&binaries.postgres, account.as_ref(), &directory, &log)?;
        command.arg("-D").arg(&data).arg("-k").arg(&socket_directory);
        for setting in settings(durability) {
            command.arg("-c").arg(setting);
        }
        let keeper = Keeper::spawn(command, &binaries.postgres)?;
        while postmaster(&data) != Postmaster::Ready {
            if keeper.has_exited() || begun.elapsed() > START_LIMIT {
                return Err(ClusterError::Start { log: log.clone(), tail: tail(&log) });
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(Self { socket_directory, keeper: Some(keeper) })
    }

    /// The directory of the Unix socket: the `host` of a connection.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        &self.socket_directory
    }

    /// Whether this process started the cluster and will stop it.
    #[must_use]
    pub const fn is_owned(&self) -> bool {
        self.keeper.is_some()
    }

    /// Whether a cluster that this process started has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.keeper.as_ref().is_some_and(Keeper::has_exited)
    }

    /// Stops the cluster, if it is owned: open sessions are ended, data is flushed.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        if let Some(keeper) = self.keeper.take() {
            keeper.stop(STOP_LIMIT);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shut_down();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Postmaster {
    Absent,
    Busy,
    Ready,
}

/// What `postmaster.pid` says: its eighth line is the state, as `pg_ctl` reads it.
fn postmaster(data: &Path) -> Postmaster {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return Postmaster::Absent };
    let mut lines = text.lines();
    let alive = lines
        .next()
        .and_then(|pid| pid.trim().parse::<i32>().ok())
        .is_some_and(|pid| fs::exists(format!("/proc/{pid}")).unwrap_or(false));
    if !alive {
        return Postmaster::Absent;
    }
    match lines.nth(6).map(str::trim) {
        Some("ready") => Postmaster::Ready,
        _ => Postmaster::Busy,
    }
}

/// Creates the private directory and gives it to the cluster's account.
fn prepare(directory: &Path, account: Option<&Account>) -> Result<PathBuf, ClusterError> {
    let unusable = |cause| ClusterError::Directory { directory: directory.to_owned(), cause };
    fs::create_dir_all(directory).map_err(unusable)?;
    let directory = directory.canonicalize().map_err(unusable)?;
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).map_err(unusable)?;
    if let Some(account) = account {
        chown(&directory, Some(account.uid.as_raw()), Some(account.gid.as_raw())).map_err(unusable)?;
        if let Some(closed) = directory.ancestors().skip(1).find(|above| !account.may_enter(above)) {
            return Err(ClusterError::Unreachable {
                account: account.name.clone(),
                closed: closed.to_owned(),
                directory,
            });
        }
    }
    Ok(directory)
}

fn socket_directory(directory: &Path) -> Result<PathBuf, ClusterError> {
    if directory.as_os_str().len() > MAX_SOCKET_DIRECTORY {
        return Err(ClusterError::PathTooLong {
            directory: directory.to_owned(),
            limit: MAX_SOCKET_DIRECTORY,
        });
    }
    Ok(directory.to_owned())
}

fn initialize(
    binaries: &Binaries,
    account: Option<&Account>,
    directory: &Path,
    data: &Path,
    log: &Path,
) -> Result<(), ClusterError> {
    let failed = |tool: &'static str| ClusterError::Initialize { tool, log: log.to_owned(), tail: tail(log) };
    // Made under another name and renamed: an interrupted initdb leaves no half cluster behind.
    let fresh = directory.join("data.new");
    if fresh.exists() {
        fs::remove_dir_all(&fresh)
            .map_err(|cause| ClusterError::Directory { directory: fresh.clone(), cause })?;
    }
    // Trusting everybody is safe where only the owner can reach the socket.
    let initialized = run(
        command(&binaries.initdb, account, directory, log)?
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--username", USER, "-D"])
            .arg(&fresh),
        &binaries.initdb,
    )?;
    if !initialized {
        return Err(failed("initdb"));
    }
    // Single-user mode needs no client to create the database; it reads SQL from a file.
    let sql = directory.join("create.sql");
    fs::write(&sql, format!("CREATE DATABASE {DATABASE}\n"))
        .map_err(|cause| ClusterError::Directory { directory: sql.clone(), cause })?;
    let input =
        fs::File::open(&sql).map_err(|cause| ClusterError::Directory { directory: sql.clone(), cause })?;
    let created = run(
        command(&binaries.postgres, account, directory, log)?
            .args(["--single", "-j", "-D"])
            .arg(&fresh)
            .arg("postgres")
            .stdin(input),
        &binaries.postgres,
    )?;
    if !created {
        return Err(failed("postgres --single"));
    }
    let moved = fs::remove_file(&sql).and_then(|()| fs::rename(&fresh, data));
    moved.map_err(|cause| ClusterError::Directory { directory: data.to_owned(), cause })
}

fn run(command: &mut Command, program: &Path) -> Result<bool, ClusterError> {
    let status =
        command.status().map_err(|cause| ClusterError::Spawn { program: program.to_owned(), cause })?;
    Ok(status.success())
}

/// A command as the cluster's account, inside its directory, writing to its log.
fn command(
    program: &Path,
    account: Option<&Account>,
    directory: &Path,
    log: &Path,
) -> Result<Command, ClusterError> {
    let open = || fs::File::options().create(true).append(true).open(log);
    let unusable = |cause| ClusterError::Directory { directory: log.to_owned(), cause };
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
        .env("LC_ALL", "C")
        .current_dir(directory)
        .stdin(std::process::Stdio::null())
        .stdout(open().map_err(unusable)?)
        .stderr(open().map_err(unusable)?);
    if let Some(account) = account {
        account.apply(&mut command);
    }
    Ok(command)
}

/// The details of an error are values of rows: names and numbers of people.
const TERSE: &str = "log_error_verbosity=terse";

const fn settings(durability: Durability) -> &'static [&'static str] {
    match durability {
        Durability::Durable => &[
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "max_connections=64",
            "timezone=UTC",
            TERSE,
        ],
        Durability::Disposable => &[
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "max_connections=200",
            "timezone=UTC",
            TERSE,
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
        ],
    }
}

/// The last lines of the log, for an error message.
fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join("\n")
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn connect(directory: &Path) -> bool {
        UnixStream::connect(directory.join(".s.PGSQL.5432")).is_ok()
    }

    #[test]
    fn starts_attaches_stops_and_starts_again() {
        let directory = tempfile::tempdir().unwrap();
        let first = Cluster::start(directory.path(), Durability::Disposable).unwrap();
        assert!(first.is_owned() && connect(first.socket_directory()));

        let second = Cluster::start(directory.path(), Durability::Disposable).unwrap();
        assert!(!second.is_owned());
        second.stop();
        assert!(connect(first.socket_directory()), "a guest must not stop its host");

        let socket = first.socket_directory().to_owned();
        first.stop();
        assert!(!connect(&socket));
        let again = Cluster::start(directory.path(), Durability::Durable).unwrap();
        assert!(again.is_owned() && connect(&socket));
    }

    #[test]
    fn a_long_path_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("x".repeat(100));
        let error = Cluster::start(&long, Durability::Disposable).unwrap_err();
        assert!(matches!(error, ClusterError::PathTooLong { .. }), "{error}");
    }
}
