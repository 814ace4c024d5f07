//! A private PostgreSQL cluster made from the machine's own binaries.
//!
//! For sites that want no database administrator, for the demo and for tests: `initdb` once,
//! `postgres` as a child process that dies with its owner, reachable only through a Unix socket in
//! a private directory. As root, which PostgreSQL refuses, the cluster runs as `postgres`: what is done in its
//! directory is done with that account's rights.

mod account;
mod binaries;
mod error;
mod folder;
pub mod parent_death;
mod postmaster;
mod process;

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use account::{Account, with_rights_of};
use binaries::Binaries;
pub use error::ClusterError;
use folder::{LOG_LIMIT, tail};
use nix::{
    sys::{
        signal::{Signal, killpg},
        statvfs::statvfs,
    },
    unistd::Pid,
};
use postmaster::Postmaster;
use process::PostgresProcess;
use tracing::warn;

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

/// How a cluster is started.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// How it treats its data.
    pub durability: Durability,
    /// Connections that it takes.
    pub connections: usize,
    /// Asked again and again while it starts: once true, the start ends with [`ClusterError::Stopped`].
    pub stopped: &'a (dyn Fn() -> bool + Sync),
}

/// A running cluster: stopped when dropped, unless another process had started it.
#[derive(Debug)]
pub struct Cluster {
    socket_directory: PathBuf,
    log: PathBuf,
    account: Option<Account>,
    process: Option<PostgresProcess>,
}

/// What a start would find.
#[derive(Debug)]
pub struct Inspection {
    /// Whether there is a cluster already.
    pub exists: bool,
    /// The program that would run it.
    pub postgres: PathBuf,
    /// Whom it would run as, where that is not the caller.
    pub account: Option<String>,
    /// Room on its disk, in bytes.
    pub free: u64,
}

/// Where the parts of a cluster are, and as whom it runs.
struct Layout {
    directory: PathBuf,
    data: PathBuf,
    socket_directory: PathBuf,
    log: PathBuf,
    account: Option<Account>,
}

impl Cluster {
    /// Starts the cluster in `directory`, creating it where it is missing. Where another process
    /// runs it already, that one is used and left running. Blocks until connections are accepted.
    ///
    /// # Errors
    /// [`ClusterError`]: missing binaries, an unusable directory, or what PostgreSQL wrote last.
    pub fn start(directory: &Path, durability: Durability) -> Result<Self, ClusterError> {
        Self::start_with(directory, &Options { durability, connections: 200, stopped: &|| false })
    }

    /// As [`Self::start`], with more to say about how.
    ///
    /// # Errors
    /// As [`Self::start`], and `Stopped`.
    pub fn start_with(directory: &Path, options: &Options<'_>) -> Result<Self, ClusterError> {
        let account = Account::for_cluster()?;
        let directory = folder::prepare(directory, account.as_ref())?;
        let layout = Layout {
            data: directory.join("data"),
            socket_directory: socket_directory(&directory)?,
            log: directory.join("postgres.log"),
            directory,
            account,
        };
        let process = with_rights_of(layout.account.as_ref(), || layout.start(options))?;
        let Layout { socket_directory, log, account, .. } = layout;
        Ok(Self { socket_directory, log, account, process })
    }

    /// Looks whether a cluster could be started in `directory`, and changes nothing.
    ///
    /// # Errors
    /// As [`Self::start`], as far as can be seen from outside.
    pub fn inspect(directory: &Path) -> Result<Inspection, ClusterError> {
        let account = Account::for_cluster()?;
        let path = std::path::absolute(directory)
            .map_err(|cause| ClusterError::Directory { directory: directory.to_owned(), cause })?;
        socket_directory(&path)?;
        folder::inspect(&path, account.as_ref())?;
        let data = path.join("data");
        let (exists, binaries) = with_rights_of(account.as_ref(), || {
            Ok((data.join("PG_VERSION").exists(), Binaries::find(&data)?))
        })?;
        let there = path.ancestors().find(|above| above.exists()).unwrap_or(Path::new("/"));
        let free = statvfs(there)
            .map_err(|errno| ClusterError::Directory { directory: there.to_owned(), cause: errno.into() })?;
        Ok(Inspection {
            exists,
            postgres: binaries.postgres,
            account: account.map(|account| account.name),
            free: free.blocks_available().saturating_mul(free.fragment_size()),
        })
    }

    /// The directory of the Unix socket: the `host` of a connection.
    #[must_use]
    pub fn socket_directory(&self) -> &Path {
        &self.socket_directory
    }

    /// Whether this process started the cluster and will stop it.
    #[must_use]
    pub const fn is_owned(&self) -> bool {
        self.process.is_some()
    }

    /// Whether a cluster that this process started has ended by itself.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.process.as_ref().is_some_and(PostgresProcess::has_exited)
    }

    /// Keeps the log of a cluster that this process started from growing for ever. To be called now and then.
    pub fn rotate_log(&self) {
        self.rotate_log_over(LOG_LIMIT);
    }

    fn rotate_log_over(&self, limit: u64) {
        let long = fs::symlink_metadata(&self.log).is_ok_and(|found| found.len() > limit);
        if long && self.is_owned() {
            // Fails only where the rights can't be put down, which they could at the start.
            let _ = with_rights_of(self.account.as_ref(), || {
                folder::rotate(&self.log, limit);
                Ok(())
            });
        }
    }

    /// Stops the cluster, if it is owned: open sessions are ended, data is flushed.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop(STOP_LIMIT);
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shut_down();
    }
}

impl Layout {
    /// Starts the postmaster; `None` where there is one. With the rights of the account only.
    fn start(&self, options: &Options<'_>) -> Result<Option<PostgresProcess>, ClusterError> {
        let begun = Instant::now();
        let pause = |length| match (options.stopped)() {
            true => Err(ClusterError::Stopped),
            false => {
                std::thread::sleep(length);
                Ok(())
            }
        };
        if self.data.is_symlink() {
            return Err(ClusterError::Link { path: self.data.clone() });
        }
        // Until the postmaster is ready, nobody else starts one here.
        let _lock = loop {
            match folder::try_lock(&self.directory)? {
                Some(lock) => break lock,
                None if begun.elapsed() < START_LIMIT => pause(Duration::from_millis(50))?,
                None => return Err(ClusterError::StartTimeout { log: self.log.clone() }),
            }
        };
        loop {
            match postmaster::state(&self.data) {
                Postmaster::Ready => return Ok(None),
                // Its stop is under way, or the start of one whose server is gone.
                Postmaster::Busy if begun.elapsed() < START_LIMIT => pause(Duration::from_millis(50))?,
                Postmaster::Busy => return Err(ClusterError::StartTimeout { log: self.log.clone() }),
                Postmaster::Absent => break,
            }
        }
        let binaries = Binaries::find(&self.data)?;
        folder::rotate(&self.log, LOG_LIMIT);
        if !self.data.join("PG_VERSION").exists() {
            self.initialize(&binaries, options)?;
        }
        postmaster::clear_stale_files(&self.data, &self.socket_directory)?;
        let mut command = self.command(&binaries.postgres)?;
        command.arg("-D").arg(&self.data).arg("-k").arg(&self.socket_directory);
        for setting in settings(options.durability) {
            command.arg("-c").arg(setting);
        }
        command.arg("-c").arg(format!("max_connections={}", options.connections));
        let process = PostgresProcess::spawn(command, &binaries.postgres)?;
        let mut said = Instant::now();
        while postmaster::state(&self.data) != Postmaster::Ready {
            if process.has_exited() {
                return Err(ClusterError::Start { log: self.log.clone(), tail: tail(&self.log) });
            }
            // Recovery after a power cut takes as long as it takes.
            if said.elapsed() > START_LIMIT {
                warn!(log = %self.log.display(), "the database is still starting");
                said = Instant::now();
            }
            if let Err(stopped) = pause(Duration::from_millis(20)) {
                process.stop(STOP_LIMIT);
                return Err(stopped);
            }
        }
        Ok(Some(process))
    }

    fn initialize(&self, binaries: &Binaries, options: &Options<'_>) -> Result<(), ClusterError> {
        let Self { directory, data, log, .. } = self;
        let failed =
            |tool: &'static str| ClusterError::Initialize { tool, log: log.clone(), tail: tail(log) };
        // Made under another name and renamed: an interrupted initdb leaves no half cluster behind.
        let fresh = directory.join("data.new");
        if fresh.symlink_metadata().is_ok() {
            fs::remove_dir_all(&fresh)
                .map_err(|cause| ClusterError::Directory { directory: fresh.clone(), cause })?;
        }
        // Trusting everybody is safe where only the owner can reach the socket.
        let mut initdb = self.command(&binaries.initdb)?;
        initdb.args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--username", USER, "-D"]).arg(&fresh);
        if !run(initdb, &binaries.initdb, options.stopped)? {
            return Err(failed("initdb"));
        }
        // Single-user mode needs no client to create the database; it reads SQL from a file.
        let sql = directory.join("create.sql");
        let unusable = |cause| ClusterError::Directory { directory: sql.clone(), cause };
        if sql.symlink_metadata().is_ok() {
            fs::remove_file(&sql).map_err(unusable)?;
        }
        let mut file = folder::open(&sql, fs::File::options().create_new(true).write(true))?;
        std::io::Write::write_all(&mut file, format!("CREATE DATABASE {DATABASE}\n").as_bytes())
            .map_err(unusable)?;
        let mut single = self.command(&binaries.postgres)?;
        single.args(["--single", "-j", "-D"]).arg(&fresh).arg("postgres");
        single.stdin(folder::open(&sql, fs::File::options().read(true))?);
        if !run(single, &binaries.postgres, options.stopped)? {
            return Err(failed("postgres --single"));
        }
        let moved = fs::remove_file(&sql).and_then(|()| fs::rename(&fresh, data));
        moved.map_err(|cause| ClusterError::Directory { directory: data.to_owned(), cause })
    }

    /// A command as the cluster's account, inside its directory, writing to its log.
    fn command(&self, program: &Path) -> Result<Command, ClusterError> {
        let mut command = Command::new(program);
        binaries::restrict_environment(&mut command);
        command
            .current_dir(&self.directory)
            .stdin(std::process::Stdio::null())
            .stdout(folder::open_log(&self.log)?)
            .stderr(folder::open_log(&self.log)?);
        if let Some(account) = &self.account {
            account.apply(&mut command);
        }
        Ok(command)
    }
}

/// Runs a program to its end; whether it succeeded. It and its children are killed if nobody waits any more.
fn run(mut command: Command, program: &Path, stopped: &dyn Fn() -> bool) -> Result<bool, ClusterError> {
    let failed = |cause| ClusterError::Spawn { program: program.to_owned(), cause };
    command.process_group(0);
    let mut child = parent_death::spawn(command).map_err(failed)?;
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status.success());
        }
        if stopped() {
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            child.wait().map_err(failed)?;
            return Err(ClusterError::Stopped);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
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

/// The details of an error are values of rows: names and numbers of people.
const TERSE: &str = "log_error_verbosity=terse";

const fn settings(durability: Durability) -> &'static [&'static str] {
    match durability {
        Durability::Durable => &["listen_addresses=", "unix_socket_permissions=0700", "timezone=UTC", TERSE],
        Durability::Disposable => &[
            "listen_addresses=",
            "unix_socket_permissions=0700",
            "timezone=UTC",
            TERSE,
            "fsync=off",
            "synchronous_commit=off",
            "full_page_writes=off",
        ],
    }
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

    /// The number of the postmaster of a folder.
    fn pid(directory: &Path) -> Pid {
        let text = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
        Pid::from_raw(text.lines().next().unwrap().parse().unwrap())
    }

    /// A process of the cluster's account that is no postmaster.
    fn bystander() -> std::process::Child {
        let mut command = Command::new("sleep");
        command.arg("600");
        if let Some(account) = Account::for_cluster().unwrap() {
            account.apply(&mut command);
        }
        parent_death::spawn(command).unwrap()
    }

    #[test]
    fn a_power_cut_whose_number_lives_again_is_recovered_from() {
        let directory = tempfile::tempdir().unwrap();
        let cut = Cluster::start(directory.path(), Durability::Disposable).unwrap();
        let killed = pid(directory.path());
        nix::sys::signal::kill(killed, Signal::SIGKILL).unwrap();
        while !cut.has_ended() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut other = bystander();
        for left in ["data/postmaster.pid", ".s.PGSQL.5432.lock"] {
            let file = directory.path().join(left);
            let text = fs::read_to_string(&file).unwrap();
            fs::write(&file, text.replacen(&killed.to_string(), &other.id().to_string(), 1)).unwrap();
        }
        let again = Cluster::start(directory.path(), Durability::Disposable).unwrap();
        assert!(again.is_owned() && connect(again.socket_directory()));
        assert_ne!(pid(directory.path()).as_raw(), other.id().cast_signed());
        assert!(other.try_wait().unwrap().is_none(), "the bystander was left alone");
        other.kill().unwrap();
        other.wait().unwrap();
    }

    #[test]
    fn programs_of_the_cluster_see_no_secret_and_write_as_its_account() {
        const CHILD: &str = "CAVS_TEST_ENVIRONMENT";
        if std::env::var_os(CHILD).is_none() {
            // The environment of this process can't be changed, so another one has it.
            let mut command = Command::new(std::env::current_exe().unwrap());
            let test = "tests::programs_of_the_cluster_see_no_secret_and_write_as_its_account";
            command
                .args(["--exact", test])
                .env(CHILD, "1")
                .env("CAVS_VAULT_KEY", "0123abcd")
                .env("PGPORT", "1");
            let output = command.output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let cluster = Cluster::start(directory.path(), Durability::Disposable).unwrap();
        let process = PathBuf::from(format!("/proc/{}", pid(directory.path())));
        let environment = fs::read(process.join("environ")).unwrap();
        let environment = String::from_utf8_lossy(&environment).into_owned();
        for secret in ["CAVS", "0123abcd", "PGPORT"] {
            assert!(!environment.contains(secret), "{environment}");
        }
        let owner = |path: &Path| std::os::unix::fs::MetadataExt::uid(&fs::metadata(path).unwrap());
        let account = owner(&process);
        for entry in fs::read_dir(directory.path()).unwrap() {
            let path = entry.unwrap().path();
            assert_eq!(owner(&path), account, "{}", path.display());
        }
        cluster.stop();
    }

    #[test]
    fn links_that_the_account_put_there_are_not_followed() {
        let directory = tempfile::tempdir().unwrap();
        Cluster::start(directory.path(), Durability::Disposable).unwrap().stop();
        let precious = tempfile::NamedTempFile::new().unwrap();
        fs::write(precious.path(), "precious").unwrap();
        let log = directory.path().join("postgres.log");
        fs::remove_file(&log).unwrap();
        std::os::unix::fs::symlink(precious.path(), &log).unwrap();
        let refused = Cluster::start(directory.path(), Durability::Disposable).unwrap_err();
        assert!(matches!(&refused, ClusterError::Link { path } if *path == log), "{refused}");
        assert_eq!(fs::read_to_string(precious.path()).unwrap(), "precious");
    }

    #[test]
    fn a_start_that_is_called_off_ends_at_once_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        for patience in [0, 50, 300] {
            let begun = Instant::now();
            let stopped = move || begun.elapsed() > Duration::from_millis(patience);
            let options = Options { durability: Durability::Disposable, connections: 20, stopped: &stopped };
            match Cluster::start_with(directory.path(), &options) {
                Err(ClusterError::Stopped) => {}
                other => panic!("{other:?}"),
            }
            assert!(begun.elapsed() < Duration::from_secs(2), "{patience} ms: {:?}", begun.elapsed());
        }
        assert!(!directory.path().join("data").exists());
        let cluster = Cluster::start(directory.path(), Durability::Disposable).unwrap();
        assert!(connect(cluster.socket_directory()));
    }

    #[test]
    fn the_log_does_not_grow_for_ever() {
        let directory = tempfile::tempdir().unwrap();
        let cluster = Cluster::start(directory.path(), Durability::Disposable).unwrap();
        let log = directory.path().join("postgres.log");
        let before = fs::read_to_string(&log).unwrap();
        assert!(before.contains("database system is ready"), "{before}");
        cluster.rotate_log_over(1 << 20);
        assert_eq!(fs::read_to_string(&log).unwrap(), before, "short enough");
        cluster.rotate_log_over(10);
        assert!(fs::read_to_string(&log).unwrap().is_empty());
        // The end of it is kept, and what comes next is written where the log begins.
        assert!(before.ends_with(&fs::read_to_string(directory.path().join("postgres.log.1")).unwrap()));
        cluster.stop();
        let after = fs::read(&log).unwrap();
        assert!(String::from_utf8_lossy(&after).contains("database system is shut down"));
        assert!(!after.contains(&0));
    }

    #[test]
    fn a_long_path_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let long = directory.path().join("x".repeat(100));
        let error = Cluster::start(&long, Durability::Disposable).unwrap_err();
        assert!(matches!(error, ClusterError::PathTooLong { .. }), "{error}");
    }
}
