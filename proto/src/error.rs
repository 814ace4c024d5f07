use std::time::Duration;

use cavs_types::{ErrorReason, ProtocolError};
use tonic::{Code, Status, codegen::http::HeaderMap};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of every error.
pub const ERROR_DOMAIN: &str = "cavs.v1";

/// The gRPC code that goes with a reason.
#[must_use]
pub const fn code_of(reason: ErrorReason) -> Code {
    use ErrorReason as R;
    match reason {
        R::InvalidArgument | R::PageTokenInvalid | R::FrameInvalid | R::ImportInvalid | R::MessageInvalid => {
            Code::InvalidArgument
        }
        R::Unauthenticated | R::CredentialsInvalid | R::DeviceIdentityMissing => Code::Unauthenticated,
        R::LoginThrottled | R::RateLimited | R::Overloaded => Code::ResourceExhausted,
        R::RoleInsufficient
        | R::DeviceUnknown
        | R::DeviceRevoked
        | R::DeviceInactive
        | R::CameraNotProxied
        | R::DeviceMismatch => Code::PermissionDenied,
        R::FrameTooLarge | R::MessageTooLarge => Code::OutOfRange,
        R::RequestTooSlow | R::IdleTimeout | R::CallTimeout => Code::DeadlineExceeded,
        R::SpoolUnavailable | R::ShuttingDown | R::VisionUnavailable | R::DatabaseUnavailable => {
            Code::Unavailable
        }
        R::StreamReplaced
        | R::ThresholdsChanged
        | R::StudentChanged
        | R::ScheduleChanged
        | R::DeviceChanged
        | R::RequestUnderWay
        | R::WebhookChanged
        | R::PolicyChanged => Code::Aborted,
        R::DeviceConnectedTwice
        | R::SiteRequired
        | R::SiteArchived
        | R::StudentErased
        | R::StudentInactive
        | R::PhotoConsentRefused
        | R::GalleryTooSmall
        | R::ClassSessionState
        | R::InUse
        | R::AlreadyReviewed
        | R::NotReviewed
        | R::ReviewClaimed
        | R::SecondReviewerRequired
        | R::StreamOrder
        | R::RequestIdReused
        | R::ModelPackMismatch => Code::FailedPrecondition,
        R::SiteNotFound
        | R::StudentNotFound
        | R::DeviceNotFound
        | R::SightingNotFound
        | R::TemplateNotFound
        | R::PairNotFound
        | R::TermNotFound
        | R::HolidayNotFound
        | R::GroupNotFound
        | R::MemberNotFound
        | R::RoomNotFound
        | R::ClassSessionNotFound
        | R::MarkNotFound
        | R::CorrectionNotFound
        | R::ExcuseNotFound
        | R::AppealNotFound
        | R::ProposalNotFound
        | R::UserNotFound
        | R::AuditNotFound
        | R::WebhookNotFound
        | R::DeliveryNotFound
        | R::NotFound => Code::NotFound,
        R::SiteExists
        | R::StudentExists
        | R::TermExists
        | R::HolidayExists
        | R::GroupExists
        | R::MemberExists
        | R::RoomExists
        | R::AppealExists
        | R::StudentEmailTaken
        | R::StudentExternalIdTaken
        | R::DeviceExists => Code::AlreadyExists,
        R::Unimplemented => Code::Unimplemented,
        R::CallCancelled => Code::Cancelled,
        R::DataDamaged => Code::DataLoss,
        R::Internal => Code::Internal,
    }
}

/// What a caller is told whose request can't be what it should be: `INVALID_ARGUMENT`, with the field.
///
/// Neither type is of this crate, so that it can't be a `From` that `?` finds: `.map_err(status_of)?`.
#[must_use]
pub fn status_of(problem: ProtocolError) -> Status {
    match problem {
        ProtocolError::Missing { field } => invalid_argument(field, "is required"),
        ProtocolError::Invalid { field, problem } => invalid_argument(field, &problem),
    }
}

/// A status with `ErrorInfo` of this domain.
#[must_use]
pub fn status(reason: ErrorReason, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, []);
    Status::with_error_details(code_of(reason), message, details)
}

/// A status that also says when trying again is worth while.
#[must_use]
pub fn status_with_retry(reason: ErrorReason, message: impl Into<String>, retry_in: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, []);
    details.set_retry_info(Some(retry_in));
    Status::with_error_details(code_of(reason), message, details)
}

/// `INVALID_ARGUMENT` with a field violation.
#[must_use]
pub fn invalid_argument(field: &str, problem: &str) -> Status {
    let reason = ErrorReason::InvalidArgument;
    let mut details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, []);
    details.add_bad_request_violation(field, problem);
    Status::with_error_details(code_of(reason), format!("{field}: {problem}"), details)
}

/// Gives the error in a response's headers or trailers its reason, where the framework made it and it
/// has none: no such method, no such message, too large a message.
pub fn complete_error(headers: &mut HeaderMap) {
    let Some(made) = Status::from_header_map(headers) else { return };
    if made.code() == Code::Ok || !made.details().is_empty() {
        return;
    }
    let completed = status(reason_of_framework(made.code()), made.message());
    // Fails for a message that no header can hold, which this one has been in.
    let _ = completed.add_header(headers);
}

/// Why the framework ends a call with a code. What it calls internal is a message that it can't read.
fn reason_of_framework(code: Code) -> ErrorReason {
    match code {
        Code::Unimplemented => ErrorReason::Unimplemented,
        Code::Internal => ErrorReason::MessageInvalid,
        Code::OutOfRange => ErrorReason::MessageTooLarge,
        Code::InvalidArgument => ErrorReason::InvalidArgument,
        Code::NotFound => ErrorReason::NotFound,
        Code::DeadlineExceeded => ErrorReason::CallTimeout,
        Code::ResourceExhausted => ErrorReason::Overloaded,
        Code::Unauthenticated => ErrorReason::Unauthenticated,
        Code::Cancelled | Code::Aborted | Code::Unavailable => ErrorReason::CallCancelled,
        Code::Ok
        | Code::Unknown
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::DataLoss => ErrorReason::Internal,
    }
}

/// The stable reason that a status of this domain carries.
#[must_use]
pub fn error_reason(status: &Status) -> Option<ErrorReason> {
    let info = status.get_details_error_info()?;
    if info.domain != ERROR_DOMAIN {
        return None;
    }
    info.reason.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_wire() {
        for &reason in ErrorReason::ALL {
            let status = status(reason, "x");
            assert_eq!(status.code(), code_of(reason));
            assert_eq!(error_reason(&status), Some(reason));
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        let status = status_of(ProtocolError::Missing { field: "student.number" });
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "student.number");
        assert_eq!(status.message(), "student.number: is required");
    }

    #[test]
    fn errors_of_the_framework_get_a_reason_and_others_keep_theirs() {
        let through = |status: Status| {
            let mut headers = HeaderMap::new();
            headers.insert("content-type", "application/grpc".parse().unwrap());
            status.add_header(&mut headers).unwrap();
            complete_error(&mut headers);
            assert_eq!(headers["content-type"], "application/grpc");
            Status::from_header_map(&headers).unwrap()
        };
        for (made, reason) in [
            (Status::unimplemented("no such method"), ErrorReason::Unimplemented),
            (Status::internal("failed to decode"), ErrorReason::MessageInvalid),
            (Status::out_of_range("message length too large"), ErrorReason::MessageTooLarge),
            (Status::resource_exhausted("too many"), ErrorReason::Overloaded),
        ] {
            let completed = through(made.clone());
            assert_eq!((error_reason(&completed), completed.code()), (Some(reason), code_of(reason)));
            assert_eq!(completed.message(), made.message());
        }
        let ours = status_of(ProtocolError::Missing { field: "student.number" });
        assert_eq!(through(ours.clone()).details(), ours.details());
        let mut fine = HeaderMap::new();
        complete_error(&mut fine);
        assert!(fine.is_empty());
    }

    #[test]
    fn a_status_can_say_when_to_try_again() {
        let status = status_with_retry(ErrorReason::Overloaded, "busy", Duration::from_millis(1500));
        let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(
            (error_reason(&status), told),
            (Some(ErrorReason::Overloaded), Some(Duration::from_millis(1500)))
        );
    }

    #[test]
    fn foreign_statuses_have_no_reason() {
        assert_eq!(error_reason(&Status::internal("x")), None);
    }
}
