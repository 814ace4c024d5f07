//! What a request can fail with, and the one table of reasons.

use std::time::Duration;

use cavs_gallery::GalleryError;
use cavs_types::{ErrorReason, ProtocolError};
use thiserror::Error;

use crate::{
    biometrics::{KeyError, SealError},
    db::DatabaseError,
};

/// Why a request was not done.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// The caller can't have it, for a reason to be told.
    #[error("{1}")]
    Refused(ErrorReason, String),
    /// The request is malformed.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The database.
    #[error(transparent)]
    Database(DatabaseError),
    /// Sealed data.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The keyring.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Matching.
    #[error(transparent)]
    Gallery(#[from] GalleryError),
    /// There is more to do than can be done now.
    #[error("{what} has too much to do")]
    Busy {
        /// What of the server.
        what: &'static str,
        /// When trying again is worth while.
        retry_in: Duration,
    },
    /// The caller has asked as often as they may.
    #[error("{what} was asked too often")]
    Limited {
        /// What of the server.
        what: &'static str,
        /// When they may again.
        retry_in: Duration,
    },
    /// A thread that should be there is gone.
    #[error("{0} has stopped")]
    Stopped(&'static str),
}

impl From<DatabaseError> for ServiceError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Erased => {
                Self::refused(ErrorReason::StudentErased, "the student was erased, for good")
            }
            error @ (DatabaseError::Unavailable(_)
            | DatabaseError::Busy(_)
            | DatabaseError::Full(_)
            | DatabaseError::Misconfigured(_)
            | DatabaseError::TooSlow(_)
            | DatabaseError::Taken(_)
            | DatabaseError::NotFound
            | DatabaseError::EpochRetired
            | DatabaseError::Damaged { .. }
            | DatabaseError::Migration(_)
            | DatabaseError::Query(_)) => Self::Database(error),
        }
    }
}

impl ServiceError {
    /// A refusal.
    pub fn refused(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self::Refused(reason, message.into())
    }

    /// As it is, unless a unique value was taken: that is the caller's to be told.
    pub(crate) fn taken(error: DatabaseError, reason: ErrorReason, message: impl FnOnce() -> String) -> Self {
        if matches!(error, DatabaseError::Taken(_)) { Self::refused(reason, message()) } else { error.into() }
    }

    /// The stable reason of the error.
    #[must_use]
    pub const fn reason(&self) -> ErrorReason {
        match self {
            Self::Refused(reason, _) => *reason,
            Self::Protocol(_) => ErrorReason::InvalidArgument,
            Self::Database(
                DatabaseError::Unavailable(_) | DatabaseError::Full(_) | DatabaseError::Misconfigured(_),
            ) => ErrorReason::DatabaseUnavailable,
            Self::Database(DatabaseError::Busy(_)) => ErrorReason::Overloaded,
            Self::Busy { .. } => ErrorReason::Overloaded,
            Self::Limited { .. } => ErrorReason::RateLimited,
            Self::Database(DatabaseError::Erased) => ErrorReason::StudentErased,
            Self::Database(DatabaseError::TooSlow(_)) => ErrorReason::CallTimeout,
            Self::Database(DatabaseError::Damaged { .. }) | Self::Seal(SealError::DoesNotOpen) => {
                ErrorReason::DataDamaged
            }
            Self::Database(
                DatabaseError::Taken(_)
                | DatabaseError::EpochRetired
                | DatabaseError::NotFound
                | DatabaseError::Migration(_)
                | DatabaseError::Query(_),
            )
            | Self::Seal(SealError::NoRandomness | SealError::NoSuchEpoch(_))
            | Self::Key(_)
            | Self::Gallery(_)
            | Self::Stopped(_) => ErrorReason::Internal,
        }
    }
}

/// Runs computation on a thread where it may take its time.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ServiceError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| ServiceError::Stopped("a computation"))
}
