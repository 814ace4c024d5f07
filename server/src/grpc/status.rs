use cavs_proto::{ErrorReason, ProtocolError};
use tonic::Status;
use tracing::error;

use crate::app::AppError;

/// What a caller is told: causes stay in the log, under the request's id.
impl From<AppError> for Status {
    fn from(cause: AppError) -> Self {
        let reason = cause.reason();
        match cause {
            AppError::Refused(reason, message) => cavs_proto::status(reason, message),
            AppError::Protocol(problem) => problem.into(),
            AppError::Store(_) | AppError::Vault(_) | AppError::Gallery(_) | AppError::Stopped(_) => {
                error!(%cause, reason = reason.as_str(), "a request failed");
                let message = if reason == ErrorReason::DatabaseUnavailable {
                    "the database does not answer; try again later"
                } else if reason == ErrorReason::DataDamaged {
                    "stored data is damaged; the server's log names it"
                } else {
                    "a fault of the server; its log has the cause"
                };
                cavs_proto::status(reason, message)
            }
        }
    }
}

/// An enum value of the wire: unspecified is missing, and an unknown number is an error.
pub(super) fn required_enum<E: TryFrom<i32> + PartialEq>(
    field: &'static str,
    number: i32,
) -> Result<E, ProtocolError> {
    if number == 0 {
        return Err(ProtocolError::Missing { field });
    }
    E::try_from(number).map_err(|_| ProtocolError::invalid(field, format_args!("{number} is no known value")))
}
