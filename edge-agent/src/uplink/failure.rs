use cavs_certs::tls_fault;
use cavs_proto::error_reason;
use cavs_types::ErrorReason;
use thiserror::Error;
use tonic::Status;

/// What the agent was waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Connection, TLS and the stream's headers.
    Connect,
    /// The server's `Welcome`.
    Welcome,
    /// The acknowledgement of a batch.
    Acknowledgement,
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Connect => "a connection",
            Self::Welcome => "the server's welcome",
            Self::Acknowledgement => "an acknowledgement",
        })
    }
}

/// Why a session with the server ended, or did not begin.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// The phase did not end within its time.
    #[error("waited too long for {0}")]
    Timeout(Phase),
    /// The server gave a reason.
    #[error("the server said {}: {message}", reason.as_str())]
    Refused {
        /// From the status's `ErrorInfo`.
        reason: ErrorReason,
        /// The status's message.
        message: String,
    },
    /// Network, TLS or HTTP/2.
    #[error("{0}")]
    Transport(String),
    /// The server said something that it may not say.
    #[error("the server broke the protocol: {0}")]
    Protocol(String),
    /// The spool could not be read or written.
    #[error("{0}")]
    Spool(String),
    /// The server ended the stream.
    #[error("the server closed the stream")]
    Closed,
}

impl Failure {
    /// Another agent speaks for the device. It does so in turns with this one, if the two last.
    #[must_use]
    pub fn is_contested(&self) -> bool {
        use ErrorReason::{DeviceConnectedTwice, StreamReplaced};
        matches!(self, Self::Refused { reason: DeviceConnectedTwice | StreamReplaced, .. })
    }

    /// What a person has to do, where that is so: before another attempt can succeed, unless
    /// [`Self::is_contested`]. Such attempts are made seldom.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        let Self::Refused { reason, .. } = self else { return None };
        advice(*reason)
    }
}

/// Reasons that don't go away by themselves, and what to do about them.
fn advice(reason: ErrorReason) -> Option<&'static str> {
    use ErrorReason as R;
    match reason {
        R::ModelPackMismatch => Some(
            "install the pack that the server uses and name it in vision.pack, or add this one to the server",
        ),
        R::DeviceUnknown => Some(
            "register the device with `cavs devices add`, or give server.certificate the one of a registered device",
        ),
        R::DeviceRevoked => {
            Some("the device was revoked; if that was a mistake, issue a new certificate for a new device")
        }
        R::DeviceInactive => Some(
            "somebody has set the device inactive; what it sees is kept until `cavs devices update DEVICE --status active`",
        ),
        R::DeviceIdentityMissing => {
            Some("server.certificate names no device; issue a device certificate for this agent")
        }
        // A server from before the second one says the first.
        R::StreamReplaced | R::DeviceConnectedTwice => Some(
            "another agent uses this device's certificate: issue a certificate of its own to each; this one tries again, and nothing is lost",
        ),
        R::InvalidArgument
        | R::PageTokenInvalid
        | R::Unauthenticated
        | R::CredentialsInvalid
        | R::LoginThrottled
        | R::RoleInsufficient
        | R::CameraNotProxied
        | R::DeviceMismatch
        | R::FrameInvalid
        | R::FrameTooLarge
        | R::RateLimited
        | R::RequestIdReused
        | R::RequestUnderWay
        | R::RequestTooSlow
        | R::SpoolUnavailable
        | R::SiteNotFound
        | R::SiteRequired
        | R::SiteExists
        | R::SiteArchived
        | R::StudentNotFound
        | R::StudentExists
        | R::StudentErased
        | R::StudentEmailTaken
        | R::StudentExternalIdTaken
        | R::StudentChanged
        | R::DeviceChanged
        | R::StudentInactive
        | R::PhotoConsentRefused
        | R::ImportInvalid
        | R::PairNotFound
        | R::TermNotFound
        | R::TermExists
        | R::HolidayNotFound
        | R::HolidayExists
        | R::GroupNotFound
        | R::GroupExists
        | R::MemberNotFound
        | R::MemberExists
        | R::RoomNotFound
        | R::RoomExists
        | R::ClassSessionNotFound
        | R::ClassSessionState
        | R::ScheduleChanged
        | R::MarkNotFound
        | R::CorrectionNotFound
        | R::ExcuseNotFound
        | R::AppealNotFound
        | R::AppealExists
        | R::ProposalNotFound
        | R::PolicyChanged
        | R::WebhookChanged
        | R::InUse
        | R::GalleryTooSmall
        | R::ThresholdsChanged
        | R::DeviceNotFound
        | R::DeviceExists
        | R::SightingNotFound
        | R::TemplateNotFound
        | R::CallTimeout
        | R::AlreadyReviewed
        | R::NotReviewed
        | R::ReviewClaimed
        | R::SecondReviewerRequired
        | R::UserNotFound
        | R::AuditNotFound
        | R::WebhookNotFound
        | R::DeliveryNotFound
        | R::StreamOrder
        | R::Overloaded
        | R::IdleTimeout
        | R::ShuttingDown
        | R::VisionUnavailable
        | R::DatabaseUnavailable
        | R::DataDamaged
        | R::Unimplemented
        | R::MessageInvalid
        | R::MessageTooLarge
        | R::NotFound
        | R::CallCancelled
        | R::Internal => None,
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        match error_reason(&status) {
            Some(reason) => Self::Refused { reason, message: status.message().to_owned() },
            // The text of a status shows its source as a debugger would.
            None => Self::Transport(with_causes(std::error::Error::source(&status).unwrap_or(&status))),
        }
    }
}

/// An error and its causes in one line: the message that helps is usually the innermost one. What went wrong
/// with TLS is said in words alone.
pub(super) fn with_causes(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(fault) = tls_fault(error) {
        return format!("the server: {fault}");
    }
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_the_server_are_typed_and_others_are_transport() {
        let revoked = Failure::from(cavs_proto::status(ErrorReason::DeviceRevoked, "revoked on Monday"));
        assert_eq!(revoked.to_string(), "the server said DEVICE_REVOKED: revoked on Monday");
        assert!(revoked.advice().is_some());
        let down = Failure::from(cavs_proto::status(ErrorReason::DatabaseUnavailable, "down"));
        assert_eq!(down.advice(), None);
        assert!(matches!(Failure::from(Status::unknown("x")), Failure::Transport(_)));
    }
}
