use std::time::Duration;

use cavs_proto::{ErrorReason, ProtocolError};
use tonic::Status;
use tracing::error;

use crate::{app::AppError, store::StoreError};

/// What a caller is told: causes stay in the log, under the request's id.
impl From<AppError> for Status {
    fn from(cause: AppError) -> Self {
        let reason = cause.reason();
        match cause {
            AppError::Refused(reason, message) => cavs_proto::status(reason, message),
            AppError::Protocol(problem) => cavs_proto::status_of(problem),
            AppError::Busy { what, retry_in } => {
                let message = format!("{what} has too much to do now; try again in {} s", retry_in.as_secs());
                cavs_proto::status_with_retry(reason, message, retry_in)
            }
            AppError::Store(_) | AppError::Vault(_) | AppError::Gallery(_) | AppError::Stopped(_) => {
                error!(%cause, reason = reason.as_str(), "a request failed");
                if let Some((message, retry_in)) = of_the_database(&cause) {
                    return cavs_proto::status_with_retry(reason, message, retry_in);
                }
                let message = if reason == ErrorReason::DataDamaged {
                    "stored data is damaged; the server's log names it"
                } else {
                    "a fault of the server; its log has the cause"
                };
                cavs_proto::status(reason, message)
            }
        }
    }
}

/// What helps a caller of what keeps the database from answering, and when trying again is worth while.
const fn of_the_database(cause: &AppError) -> Option<(&'static str, Duration)> {
    let AppError::Store(cause) = cause else { return None };
    match cause {
        StoreError::Unavailable(_) => {
            Some(("the database does not answer; try again later", Duration::from_secs(5)))
        }
        StoreError::Busy(_) => {
            Some(("all connections to the database are in use; try again", Duration::from_secs(1)))
        }
        StoreError::Full(_) => Some((
            "the database's disk is full; whoever runs the server has to make room",
            Duration::from_secs(60),
        )),
        StoreError::Misconfigured(_) => Some((
            "the database refuses the server; whoever runs it finds the cause in its log",
            Duration::from_secs(60),
        )),
        StoreError::TooSlow(_) => Some((
            "the database was not done in time; ask for less, or try again later",
            Duration::from_secs(5),
        )),
        StoreError::Taken
        | StoreError::NotFound
        | StoreError::Damaged { .. }
        | StoreError::Migration(_)
        | StoreError::Query(_) => None,
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cavs_proto::error_reason;
    use tonic::Code;
    use tonic_types::StatusExt;

    use super::*;

    #[test]
    fn what_is_turned_away_is_told_when_to_come_again() {
        let retry_in = Duration::from_secs(2);
        let status = Status::from(AppError::Busy { what: "matching", retry_in });
        assert_eq!(
            (status.code(), error_reason(&status)),
            (Code::ResourceExhausted, Some(ErrorReason::Overloaded))
        );
        assert_eq!(status.get_details_retry_info().and_then(|info| info.retry_delay), Some(retry_in));
    }
}
