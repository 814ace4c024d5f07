use std::{io, path::PathBuf};

use thiserror::Error;

/// Why there is no cluster.
#[derive(Debug, Error)]
pub enum ClusterError {
    /// PostgreSQL is not installed.
    #[error(
        "PostgreSQL's `{program}` was found neither in PATH nor in /usr/lib/postgresql/*/bin; \
         install it (Debian: apt-get install postgresql) or set `database.url`"
    )]
    NotInstalled {
        /// The missing program.
        program: &'static str,
    },
    /// The data are of a version whose programs are not there.
    #[error(
        "the data are of PostgreSQL {data}, which is not installed (found: {found}), and no other version reads \
         them; install it (Debian: apt-get install postgresql-{data}), or bring them to a newer one with pg_upgrade"
    )]
    OtherVersion {
        /// The data's major version.
        data: String,
        /// The major versions that are there.
        found: String,
    },
    /// Called as root, and there is no unprivileged account to run as.
    #[error(
        "PostgreSQL refuses to run as root, and there is no user `postgres` to run it as; make one (adduser \
         --system --group postgres), or run the server as a user of its own"
    )]
    NoAccount,
    /// Called as an account that others use, too.
    #[error(
        "the database would belong to `nobody`, whom other programs share; run the server as a user of its own"
    )]
    Nobody,
    /// The rights of root could not be put down.
    #[error("the rights of user `{account}` could not be taken on")]
    Privileges {
        /// Whom PostgreSQL runs as.
        account: String,
    },
    /// A link where a folder or file of the cluster's own belongs.
    #[error("{}: is a symbolic link, and none is followed; name the folder itself in `database.data_dir`", path.display())]
    Link {
        /// The link.
        path: PathBuf,
    },
    /// The directory belongs to another user, or holds something else.
    #[error(
        "{}: belongs to the user of number {owner} and is not empty; if it is the database's, run: chown -R {account}: {}",
        directory.display(), directory.display()
    )]
    Foreign {
        /// The cluster's directory.
        directory: PathBuf,
        /// The number of its owner.
        owner: u32,
        /// Whom PostgreSQL runs as.
        account: String,
    },
    /// The caller wants no cluster any more.
    #[error("the start of the database was called off")]
    Stopped,
    /// The directory can't be made or used.
    #[error("{}: {cause}", directory.display())]
    Directory {
        /// The path in question.
        directory: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The unprivileged account may not enter a directory above.
    #[error(
        "user `{account}` can't reach {}, as {} is closed to others; choose another data directory",
        directory.display(), closed.display()
    )]
    Unreachable {
        /// Whom PostgreSQL runs as.
        account: String,
        /// The directory that is closed.
        closed: PathBuf,
        /// The cluster's directory.
        directory: PathBuf,
    },
    /// The socket's path would not fit into the kernel's limit.
    #[error("{}: longer than {limit} bytes, which a Unix socket's path can't be; choose a shorter data directory", directory.display())]
    PathTooLong {
        /// The cluster's directory.
        directory: PathBuf,
        /// The limit in bytes.
        limit: usize,
    },
    /// A program can't be started.
    #[error("{}: {cause}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The cluster could not be made.
    #[error("`{tool}` failed; the end of {}:\n{tail}", log.display())]
    Initialize {
        /// The program that failed.
        tool: &'static str,
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// PostgreSQL ended, or was not ready in time.
    #[error("PostgreSQL did not start; the end of {}:\n{tail}", log.display())]
    Start {
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// Another process's PostgreSQL in the same directory was starting or stopping for too long.
    #[error("another PostgreSQL holds the directory and is not ready; see {}", log.display())]
    StartTimeout {
        /// Its log.
        log: PathBuf,
    },
}
