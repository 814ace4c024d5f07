use std::time::Duration;

use cavs_types::ErrorReason;
use tonic::Status;
use tracing::error;

use crate::{db::DatabaseError, error::ServiceError};

/// What a caller is told: causes stay in the log, under the request's id.
impl From<ServiceError> for Status {
    fn from(cause: ServiceError) -> Self {
        let reason = cause.reason();
        match cause {
            ServiceError::Refused(reason, message) => cavs_proto::status(reason, message),
            ServiceError::Protocol(problem) => cavs_proto::status_of(problem),
            ServiceError::Busy { what, retry_in } => {
                let message = format!("{what} has too much to do now; try again in {} s", retry_in.as_secs());
                cavs_proto::status_with_retry(reason, message, retry_in)
            }
            ServiceError::Limited { what, retry_in } => {
                let message = format!(
                    "you have asked for {what} as often as you may; try again in {:.1} s",
                    retry_in.as_secs_f32()
                );
                cavs_proto::status_with_retry(reason, message, retry_in)
            }
            ServiceError::Database(_)
            | ServiceError::Seal(_)
            | ServiceError::Key(_)
            | ServiceError::Gallery(_)
            | ServiceError::Stopped(_) => {
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
const fn of_the_database(cause: &ServiceError) -> Option<(&'static str, Duration)> {
    let ServiceError::Database(cause) = cause else { return None };
    match cause {
        DatabaseError::Unavailable(_) => {
            Some(("the database does not answer; try again later", Duration::from_secs(5)))
        }
        DatabaseError::Busy(_) => {
            Some(("all connections to the database are in use; try again", Duration::from_secs(1)))
        }
        DatabaseError::Full(_) => Some((
            "the database's disk is full; whoever runs the server has to make room",
            Duration::from_secs(60),
        )),
        DatabaseError::Misconfigured(_) => Some((
            "the database refuses the server; whoever runs it finds the cause in its log",
            Duration::from_secs(60),
        )),
        DatabaseError::TooSlow(_) => Some((
            "the database was not done in time; ask for less, or try again later",
            Duration::from_secs(5),
        )),
        DatabaseError::Taken(_)
        | DatabaseError::EpochRetired
        | DatabaseError::NotFound
        | DatabaseError::Erased
        | DatabaseError::Damaged { .. }
        | DatabaseError::Migration(_)
        | DatabaseError::Query(_) => None,
    }
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
        let status = Status::from(ServiceError::Busy { what: "matching", retry_in });
        assert_eq!(
            (status.code(), error_reason(&status)),
            (Code::ResourceExhausted, Some(ErrorReason::Overloaded))
        );
        assert_eq!(status.get_details_retry_info().and_then(|info| info.retry_delay), Some(retry_in));
    }
}
