use std::{error::Error, fmt, io};

use cavs_certs::tls_fault;
use deadpool_postgres::{HookError, PoolError, TimeoutType};
use thiserror::Error;
use tokio_postgres::error::SqlState;

/// Kinds of the I/O errors that the client makes of bytes that are no messages of the protocol.
const UNREADABLE: [io::ErrorKind; 3] =
    [io::ErrorKind::Other, io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData];

/// Raised by the trigger `check_key_epoch`.
const EPOCH_RETIRED: &str = "CV001";
/// Raised where an erased student would get a face or a name.
const ERASED: &str = "CV101";

/// What can happen to a query.
#[derive(Debug, Error)]
pub enum DatabaseError {
    /// The database does not answer; later it may.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// All connections are in use, for longer than a caller waits.
    #[error("no connection to the database is free: {0}")]
    Busy(String),
    /// The database has no room left.
    #[error("the database has no room left: {0}")]
    Full(String),
    /// The database can't be used as it is configured, until somebody changes that.
    #[error("the database can't be used: {0}")]
    Misconfigured(String),
    /// The database works, but was not done in time: the query was given up.
    #[error("the database was not done in time: {0}")]
    TooSlow(String),
    /// A unique value is taken: the constraint or index that says so.
    #[error("the value is taken already ({0})")]
    Taken(String),
    /// A data key was wrapped by an epoch of the keyring that is retired: the newest one has to be read.
    #[error("the epoch of the keyring is retired; has another server rotated it?")]
    EpochRetired,
    /// A row that was referred to is not there.
    #[error("no such row")]
    NotFound,
    /// The student was erased: the database attaches neither face nor name to them any more.
    #[error("the student was erased")]
    Erased,
    /// A row holds what no row should hold.
    #[error("{table}: column {column} holds {value:?}")]
    Damaged {
        /// The row's table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// A harmless part of the value.
        value: String,
    },
    /// The schema can't be brought up to date.
    #[error("migrations: {}", Described(.0))]
    Migration(refinery::Error),
    /// A fault of ours.
    #[error("query: {}", Described(.0))]
    Query(tokio_postgres::Error),
}

impl DatabaseError {
    /// Whether the same may work later, without anybody changing the configuration.
    #[must_use]
    pub const fn may_pass(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Busy(_))
    }

    /// A failure to connect: whatever it was, there is no database for us.
    pub(super) fn of_connecting(error: tokio_postgres::Error) -> Self {
        let no_postgres = |error: &tokio_postgres::Error| {
            let problem = Described(error);
            Self::Misconfigured(format!("{problem}; does PostgreSQL listen at this host and port?"))
        };
        // Answers that are none of PostgreSQL's end in the middle of what would be a message, or are no
        // message at all; the client makes I/O errors of both that no system call gives.
        let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
        let of_tls = error.to_string().starts_with("error performing TLS");
        if !of_tls && io.is_some_and(|io| io.raw_os_error().is_none() && UNREADABLE.contains(&io.kind())) {
            return no_postgres(&error);
        }
        let failure = Self::from(error);
        if let Self::Query(error) = &failure {
            return no_postgres(error);
        }
        failure
    }
}

impl From<refinery::Error> for DatabaseError {
    fn from(error: refinery::Error) -> Self {
        let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
        while let Some(inner) = cause {
            if inner.downcast_ref::<tokio_postgres::Error>().and_then(|e| e.code())
                == Some(&SqlState::DISK_FULL)
            {
                return Self::Full(Described(&error).to_string());
            }
            cause = inner.source();
        }
        Self::Migration(error)
    }
}

impl From<tokio_postgres::Error> for DatabaseError {
    fn from(error: tokio_postgres::Error) -> Self {
        let text = Described(&error).to_string();
        let Some(state) = error.code() else {
            let source = error.source();
            if let Some(fault) = source.and_then(tls_fault) {
                return Self::Misconfigured(format!(
                    "{fault}; see `database.authority` and the host of `database.url`"
                ));
            }
            if text.starts_with("error performing TLS")
                || text.starts_with("invalid configuration")
                || text.starts_with("authentication error")
            {
                return Self::Misconfigured(text);
            }
            // No answer of the server's: the connection is gone, or the row is not what we think.
            return match error.is_closed() || source.is_some_and(|source| source.is::<std::io::Error>()) {
                true => Self::Unavailable(text),
                false => Self::Query(error),
            };
        };
        // States of our own, which triggers raise.
        if state.code() == EPOCH_RETIRED {
            return Self::EpochRetired;
        }
        if state.code() == ERASED {
            return Self::Erased;
        }
        match *state {
            SqlState::UNIQUE_VIOLATION | SqlState::EXCLUSION_VIOLATION => {
                let constraint = error.as_db_error().and_then(|said| said.constraint());
                Self::Taken(constraint.unwrap_or_default().to_owned())
            }
            SqlState::FOREIGN_KEY_VIOLATION => Self::NotFound,
            SqlState::TOO_MANY_CONNECTIONS => Self::Busy(text),
            SqlState::DISK_FULL => Self::Full(text),
            // Of `statement_timeout`, and of a database administrator's `pg_cancel_backend`.
            SqlState::QUERY_CANCELED => Self::TooSlow(text),
            SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
                Self::Unavailable(text)
            }
            SqlState::READ_ONLY_SQL_TRANSACTION => {
                Self::Unavailable(format!("{text}; is this the standby of another server?"))
            }
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION if text.contains("no encryption") => {
                Self::Misconfigured(format!(
                    "{text}; it demands TLS: add sslmode=require to `database.url`, and name the file of its authority as `database.authority`"
                ))
            }
            SqlState::INVALID_PASSWORD
            | SqlState::INVALID_AUTHORIZATION_SPECIFICATION
            | SqlState::INVALID_CATALOG_NAME
            | SqlState::INSUFFICIENT_PRIVILEGE => Self::Misconfigured(text),
            SqlState::PROTOCOL_VIOLATION => Self::Misconfigured(text),
            _ => Self::Query(error),
        }
    }
}

impl From<PoolError> for DatabaseError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                Self::of_connecting(error)
            }
            PoolError::Timeout(TimeoutType::Wait) => Self::Busy("all of the pool are in use".into()),
            error @ (PoolError::Timeout(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_)) => Self::Unavailable(error.to_string()),
        }
    }
}

/// An error with its causes, and of what the database said only what holds no row's values: its details do.
struct Described<'a, E>(&'a E);

impl<E: Error + 'static> fmt::Display for Described<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        let mut next: Option<&(dyn Error + 'static)> = Some(self.0);
        while let Some(error) = next {
            if let Some(said) = error.downcast_ref::<tokio_postgres::error::DbError>() {
                let hint = said.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
                join(&mut text, &format!("{} (SQLSTATE {}){hint}", said.message(), said.code().code()));
                break;
            }
            let message = error.to_string();
            // What only says that the database answered with an error.
            if message != "db error" {
                // Some errors write their cause, too.
                let cause = error.source().map(ToString::to_string).unwrap_or_default();
                let message = message.trim_matches('`');
                let own = message.strip_suffix(cause.as_str()).unwrap_or(message);
                join(&mut text, own.trim_end_matches([':', ',', ' ', '`']));
            }
            next = error.source();
        }
        f.write_str(&text)
    }
}

/// Adds a cause, if it is not there yet.
fn join(text: &mut String, cause: &str) {
    if cause.is_empty() || text.contains(cause) {
        return;
    }
    if !text.is_empty() {
        text.push_str(": ");
    }
    text.push_str(cause);
}
