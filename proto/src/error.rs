use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status, codegen::http::HeaderMap};
use tonic_types::{ErrorDetails, StatusExt};

/// `ErrorInfo.domain` of every error.
pub const ERROR_DOMAIN: &str = "cavs.v1";

/// Stable reasons of errors, as `ErrorInfo.reason` carries them.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal => $code:ident,)*) => {
        /// Why a call failed: stable, for programs to act on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorReason {
            $($(#[$doc])* $name,)*
        }

        impl ErrorReason {
            /// Every reason there is.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The text in `ErrorInfo.reason`.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The gRPC code that goes with it.
            #[must_use]
            pub const fn code(self) -> Code {
                match self {
                    $(Self::$name => Code::$code,)*
                }
            }
        }
    };
}

reasons! {
    /// A field of the request is missing or wrong; `BadRequest` names it.
    InvalidArgument = "INVALID_ARGUMENT" => InvalidArgument,
    /// A page token of another list, or a made-up one.
    PageTokenInvalid = "PAGE_TOKEN_INVALID" => InvalidArgument,
    /// No or no valid token.
    Unauthenticated = "UNAUTHENTICATED" => Unauthenticated,
    /// Wrong user name or password.
    CredentialsInvalid = "CREDENTIALS_INVALID" => Unauthenticated,
    /// Too many failed logins; wait.
    LoginThrottled = "LOGIN_THROTTLED" => ResourceExhausted,
    /// The user's role does not allow it.
    RoleInsufficient = "ROLE_INSUFFICIENT" => PermissionDenied,
    /// The certificate names no device.
    DeviceIdentityMissing = "DEVICE_IDENTITY_MISSING" => Unauthenticated,
    /// The certificate names a device that is not registered.
    DeviceUnknown = "DEVICE_UNKNOWN" => PermissionDenied,
    /// The device was revoked.
    DeviceRevoked = "DEVICE_REVOKED" => PermissionDenied,
    /// This proxy does not speak for that camera: there is none, or another one does.
    CameraNotProxied = "CAMERA_NOT_PROXIED" => PermissionDenied,
    /// The request names another device than the certificate or the token.
    DeviceMismatch = "DEVICE_MISMATCH" => PermissionDenied,
    /// No whole picture: truncated, damaged, or of another kind.
    FrameInvalid = "FRAME_INVALID" => InvalidArgument,
    /// A picture over the limit.
    FrameTooLarge = "FRAME_TOO_LARGE" => OutOfRange,
    /// More frames than a camera may send; retry later.
    RateLimited = "RATE_LIMITED" => ResourceExhausted,
    /// The request did not come to its end in time.
    RequestTooSlow = "REQUEST_TOO_SLOW" => DeadlineExceeded,
    /// The proxy can't keep anything now; retry later.
    SpoolUnavailable = "SPOOL_UNAVAILABLE" => Unavailable,
    /// The device has opened another stream, which took this one's place.
    StreamReplaced = "STREAM_REPLACED" => Aborted,
    /// Another start of the device's agent speaks now: its certificate is in use in two places.
    DeviceConnectedTwice = "DEVICE_CONNECTED_TWICE" => FailedPrecondition,
    /// No student of that id or number.
    StudentNotFound = "STUDENT_NOT_FOUND" => NotFound,
    /// A student of that number exists.
    StudentExists = "STUDENT_EXISTS" => AlreadyExists,
    /// The student's face was erased.
    StudentErased = "STUDENT_ERASED" => FailedPrecondition,
    /// Somebody has set other thresholds since; look at them, and decide again.
    ThresholdsChanged = "THRESHOLDS_CHANGED" => Aborted,
    /// The gallery holds too few faces to conclude anything from them.
    GalleryTooSmall = "GALLERY_TOO_SMALL" => FailedPrecondition,
    /// No device of that id or name.
    DeviceNotFound = "DEVICE_NOT_FOUND" => NotFound,
    /// A device of that name exists.
    DeviceExists = "DEVICE_EXISTS" => AlreadyExists,
    /// No sighting of that id.
    SightingNotFound = "SIGHTING_NOT_FOUND" => NotFound,
    /// No template of that id.
    TemplateNotFound = "TEMPLATE_NOT_FOUND" => NotFound,
    /// The sighting was approved or rejected before; ask to replace it.
    AlreadyReviewed = "ALREADY_REVIEWED" => FailedPrecondition,
    /// Messages on a stream came in the wrong order.
    StreamOrder = "STREAM_ORDER" => FailedPrecondition,
    /// Agent and server use different model packs.
    ModelPackMismatch = "MODEL_PACK_MISMATCH" => FailedPrecondition,
    /// Over a limit of the server; retry later.
    Overloaded = "OVERLOADED" => ResourceExhausted,
    /// The other side said nothing for too long.
    IdleTimeout = "IDLE_TIMEOUT" => DeadlineExceeded,
    /// The server could not answer in time; it may have done what was asked.
    CallTimeout = "CALL_TIMEOUT" => DeadlineExceeded,
    /// The server is stopping.
    ShuttingDown = "SHUTTING_DOWN" => Unavailable,
    /// The server has no such method, or does not know how the message is compressed.
    Unimplemented = "UNIMPLEMENTED" => Unimplemented,
    /// The message is no message of the method.
    MessageInvalid = "MESSAGE_INVALID" => InvalidArgument,
    /// The message is larger than the method takes.
    MessageTooLarge = "MESSAGE_TOO_LARGE" => OutOfRange,
    /// What a service of gRPC's own (health, reflection) was asked about is not there.
    NotFound = "NOT_FOUND" => NotFound,
    /// The caller left before the answer.
    CallCancelled = "CALL_CANCELLED" => Cancelled,
    /// The networks that look at enrolled pictures have failed and are not back yet; retry later.
    VisionUnavailable = "VISION_UNAVAILABLE" => Unavailable,
    /// The database does not answer.
    DatabaseUnavailable = "DATABASE_UNAVAILABLE" => Unavailable,
    /// Stored data can't be decrypted or understood.
    DataDamaged = "DATA_DAMAGED" => DataLoss,
    /// A fault of the server; its log has the cause.
    Internal = "INTERNAL" => Internal,
}

/// Input from a wire that can't be what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// A field that must be there is not.
    #[error("{field}: is required")]
    Missing {
        /// Path of the field in the request.
        field: &'static str,
    },
    /// A field holds what it may not hold.
    #[error("{field}: {problem}")]
    Invalid {
        /// Path of the field in the request.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl ProtocolError {
    /// An `Invalid` error.
    #[must_use]
    pub fn invalid(field: &'static str, problem: impl ToString) -> Self {
        Self::Invalid { field, problem: problem.to_string() }
    }
}

impl From<ProtocolError> for Status {
    fn from(error: ProtocolError) -> Self {
        match error {
            ProtocolError::Missing { field } => invalid_argument(field, "is required"),
            ProtocolError::Invalid { field, problem } => invalid_argument(field, &problem),
        }
    }
}

/// A status with `ErrorInfo` of this domain.
#[must_use]
pub fn status(reason: ErrorReason, message: impl Into<String>) -> Status {
    let details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, []);
    Status::with_error_details(reason.code(), message, details)
}

/// A status that also says when trying again is worth while.
#[must_use]
pub fn status_with_retry(reason: ErrorReason, message: impl Into<String>, retry_in: Duration) -> Status {
    let mut details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, []);
    details.set_retry_info(Some(retry_in));
    Status::with_error_details(reason.code(), message, details)
}

/// `INVALID_ARGUMENT` with a field violation.
#[must_use]
pub fn invalid_argument(field: &str, problem: &str) -> Status {
    let reason = ErrorReason::InvalidArgument;
    let mut details = ErrorDetails::with_error_info(reason.as_str(), ERROR_DOMAIN, []);
    details.add_bad_request_violation(field, problem);
    Status::with_error_details(reason.code(), format!("{field}: {problem}"), details)
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
    ErrorReason::ALL.iter().copied().find(|reason| reason.as_str() == info.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_survives_the_wire() {
        for &reason in ErrorReason::ALL {
            let status = status(reason, "x");
            assert_eq!(status.code(), reason.code());
            assert_eq!(error_reason(&status), Some(reason));
        }
    }

    #[test]
    fn wrong_fields_are_named() {
        let status = Status::from(ProtocolError::Missing { field: "student.number" });
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
            assert_eq!((error_reason(&completed), completed.code()), (Some(reason), reason.code()));
            assert_eq!(completed.message(), made.message());
        }
        let ours = Status::from(ProtocolError::Missing { field: "student.number" });
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
