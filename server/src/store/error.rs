use thiserror::Error;
use tokio_postgres::error::SqlState;

/// What can happen to a query.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The database does not answer; later it may.
    #[error("the database does not answer: {0}")]
    Unavailable(String),
    /// A unique value is taken.
    #[error("the value is taken already")]
    Taken,
    /// A row that was referred to is not there.
    #[error("no such row")]
    NotFound,
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
    #[error("migrations: {0}")]
    Migration(#[from] refinery::Error),
    /// A fault of ours.
    #[error("query: {0}")]
    Query(tokio_postgres::Error),
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(state) = error.code() else {
            // No answer of the server's: the connection is gone, or the row is not what we think.
            let text = error_chain(&error);
            return match error.is_closed()
                || std::error::Error::source(&error).is_some_and(|s| s.is::<std::io::Error>())
            {
                true => Self::Unavailable(text),
                false => Self::Query(error),
            };
        };
        match *state {
            SqlState::UNIQUE_VIOLATION => Self::Taken,
            SqlState::FOREIGN_KEY_VIOLATION => Self::NotFound,
            SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::TOO_MANY_CONNECTIONS
            | SqlState::DISK_FULL
            | SqlState::QUERY_CANCELED
            | SqlState::READ_ONLY_SQL_TRANSACTION => Self::Unavailable(error.to_string()),
            _ => Self::Query(error),
        }
    }
}

impl From<deadpool_postgres::PoolError> for StoreError {
    fn from(error: deadpool_postgres::PoolError) -> Self {
        match error {
            deadpool_postgres::PoolError::Backend(error) => match Self::from(error) {
                // Whatever kept a connection from being made: there is no database for us.
                Self::Query(error) => Self::Unavailable(error_chain(&error)),
                other @ (Self::Unavailable(_)
                | Self::Taken
                | Self::NotFound
                | Self::Damaged { .. }
                | Self::Migration(_)) => other,
            },
            error @ (deadpool_postgres::PoolError::Timeout(_)
            | deadpool_postgres::PoolError::Closed
            | deadpool_postgres::PoolError::NoRuntimeSpecified
            | deadpool_postgres::PoolError::PostCreateHook(_)) => Self::Unavailable(error.to_string()),
        }
    }
}

fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
