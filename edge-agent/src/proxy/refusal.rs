use std::time::Duration;

use cavs_proto::v1;
use cavs_types::ErrorReason;
use tonic::{Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, StatusExt};

/// When somebody who came at a bad moment is to come again.
const SOON: Duration = Duration::from_secs(1);

/// The metadata that says so in milliseconds, for those who read no details.
pub(super) const RETRY_AFTER_MS: &str = "retry-after-ms";

/// Why a frame is not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One of the protocol's closed list; stable.
    pub(super) reason: ErrorReason,
    /// The reason in words, for the camera's owner.
    pub(super) message: String,
    /// What of the request is wrong.
    pub(super) field: Option<&'static str>,
    /// When trying again may help.
    pub(super) retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), field: None, retry_after: None }
    }

    pub(super) fn invalid(field: &'static str, problem: impl std::fmt::Display) -> Self {
        let message = format!("{field}: {problem}");
        Self { field: Some(field), ..Self::new(ErrorReason::InvalidArgument, message) }
    }

    pub(super) fn overloaded(message: &str) -> Self {
        Self { retry_after: Some(SOON), ..Self::new(ErrorReason::Overloaded, message) }
    }

    pub(super) fn with_reason(self, reason: ErrorReason) -> Self {
        Self { reason, ..self }
    }

    pub(super) fn retry(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// In milliseconds, rounded up: nobody is to come a moment too early.
    pub(super) fn retry_after_ms(&self) -> Option<u32> {
        let after = self.retry_after?;
        Some(u32::try_from(after.as_micros().div_ceil(1000)).unwrap_or(u32::MAX))
    }
}

impl From<Refusal> for v1::FrameRefusal {
    fn from(refusal: Refusal) -> Self {
        let retry_after_ms = refusal.retry_after_ms();
        Self { reason: refusal.reason.as_str().to_owned(), message: refusal.message, retry_after_ms }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (millis, reason) = (refusal.retry_after_ms(), refusal.reason);
        let Refusal { message, field, retry_after, .. } = refusal;
        let mut details = ErrorDetails::with_error_info(reason.as_str(), cavs_proto::ERROR_DOMAIN, []);
        if let Some(field) = field {
            details.add_bad_request_violation(field, &message);
        }
        if let Some(after) = retry_after {
            details.set_retry_info(Some(after));
        }
        let mut status = Self::with_error_details(cavs_proto::code_of(reason), message, details);
        if let Some(millis) = millis {
            status.metadata_mut().insert(RETRY_AFTER_MS, MetadataValue::from(millis));
        }
        status
    }
}

impl From<&Status> for Refusal {
    /// A status of our own, back again: bodies can only fail with statuses.
    fn from(status: &Status) -> Self {
        let otherwise = if status.code() == tonic::Code::OutOfRange {
            ErrorReason::FrameTooLarge
        } else {
            ErrorReason::InvalidArgument
        };
        let reason = cavs_proto::error_reason(status).unwrap_or(otherwise);
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        Self { retry_after, ..Self::new(reason, status.message()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_when_to_come_again_in_every_form() {
        let refusal = Refusal::overloaded("busy").retry(Duration::from_micros(1500));
        let wire = v1::FrameRefusal::from(refusal.clone());
        assert_eq!((wire.reason.as_str(), wire.retry_after_ms), ("OVERLOADED", Some(2)));
        let status = Status::from(refusal.clone());
        assert_eq!(status.code(), tonic::Code::ResourceExhausted);
        assert_eq!(status.metadata().get(RETRY_AFTER_MS).unwrap(), "2");
        assert_eq!(Refusal::from(&status), refusal);
        let violations = Status::from(Refusal::invalid("frame_id", "is too long"));
        assert_eq!(
            violations.get_error_details().bad_request().unwrap().field_violations[0].field,
            "frame_id"
        );
    }
}
