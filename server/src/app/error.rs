use std::time::Duration;

use cavs_gallery::GalleryError;
use cavs_proto::{ErrorReason, ProtocolError};
use thiserror::Error;

use crate::{store::StoreError, vault::VaultError};

/// Why a request was not done.
#[derive(Debug, Error)]
pub enum AppError {
    /// The caller can't have it, for a reason to be told.
    #[error("{1}")]
    Refused(ErrorReason, String),
    /// The request is malformed.
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Sealed data.
    #[error(transparent)]
    Vault(#[from] VaultError),
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
    /// A thread that should be there is gone.
    #[error("{0} has stopped")]
    Stopped(&'static str),
}

impl AppError {
    /// A refusal.
    pub fn refused(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self::Refused(reason, message.into())
    }

    /// The stable reason of the error.
    #[must_use]
    pub const fn reason(&self) -> ErrorReason {
        match self {
            Self::Refused(reason, _) => *reason,
            Self::Protocol(_) => ErrorReason::InvalidArgument,
            Self::Store(StoreError::Unavailable(_) | StoreError::Full(_) | StoreError::Misconfigured(_)) => {
                ErrorReason::DatabaseUnavailable
            }
            Self::Store(StoreError::Busy(_)) => ErrorReason::Overloaded,
            Self::Busy { .. } => ErrorReason::Overloaded,
            Self::Store(StoreError::TooSlow(_)) => ErrorReason::CallTimeout,
            Self::Store(StoreError::Damaged { .. }) | Self::Vault(VaultError::DoesNotOpen) => {
                ErrorReason::DataDamaged
            }
            Self::Store(
                StoreError::Taken | StoreError::NotFound | StoreError::Migration(_) | StoreError::Query(_),
            )
            | Self::Vault(VaultError::NoRandomness)
            | Self::Gallery(_)
            | Self::Stopped(_) => ErrorReason::Internal,
        }
    }
}
