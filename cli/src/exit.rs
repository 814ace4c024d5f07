//! What the program says with its exit code.

use cavs_types::ErrorReason;
use tonic::Code;

/// The exit code of `cavs`. Stable: scripts depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It was done.
    Success = 0,
    /// It was not done, for a reason that none of the others names.
    Failure = 1,
    /// The command line, the configuration, or a value in it is wrong.
    Usage = 2,
    /// What was asked for is not there.
    NotFound = 3,
    /// Not logged in, or not allowed.
    NotAuthorised = 4,
    /// The server can't be reached or can't serve now; later it may.
    Unavailable = 5,
}

impl Exit {
    /// The exit code for a reason that the server gave.
    #[must_use]
    pub const fn of_reason(reason: ErrorReason) -> Self {
        use ErrorReason as R;
        match reason {
            // Several sites: the command line has to say which.
            R::InvalidArgument | R::FrameInvalid | R::ImportInvalid | R::MessageInvalid | R::SiteRequired => Self::Usage,
            R::SiteNotFound | R::StudentNotFound | R::DeviceNotFound | R::SightingNotFound | R::TemplateNotFound | R::PairNotFound
            | R::UserNotFound
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
            | R::WebhookNotFound
            | R::DeliveryNotFound
            | R::AuditNotFound | R::NotFound => Self::NotFound,
            R::Unauthenticated
            | R::CredentialsInvalid
            // Not "unavailable": a script that tries again would only prolong the wait.
            | R::LoginThrottled
            | R::RoleInsufficient
            | R::DeviceIdentityMissing
            | R::DeviceUnknown
            | R::DeviceRevoked
            | R::DeviceInactive
            | R::CameraNotProxied
            | R::DeviceMismatch => Self::NotAuthorised,
            R::Overloaded
            | R::RateLimited
            | R::RequestUnderWay
            | R::RequestTooSlow
            | R::IdleTimeout
            | R::CallTimeout
            | R::ShuttingDown
            | R::SpoolUnavailable
            | R::VisionUnavailable
            | R::DatabaseUnavailable => Self::Unavailable,
            R::PageTokenInvalid
            | R::FrameTooLarge
            | R::StreamReplaced
            | R::DeviceConnectedTwice
            | R::SiteExists
            | R::SiteArchived
            | R::StudentExists
            | R::StudentErased
            | R::StudentEmailTaken
            | R::StudentExternalIdTaken
            | R::StudentChanged
            | R::DeviceChanged
            | R::StudentInactive
            | R::PhotoConsentRefused
            | R::GalleryTooSmall
            | R::TermExists
            | R::HolidayExists
            | R::GroupExists
            | R::MemberExists
            | R::RoomExists
            | R::ClassSessionState
            | R::ScheduleChanged
            | R::AppealExists
            | R::PolicyChanged
            | R::WebhookChanged
            | R::InUse
            | R::ThresholdsChanged
            | R::DeviceExists
            | R::AlreadyReviewed
            | R::NotReviewed
            | R::ReviewClaimed
            | R::SecondReviewerRequired
            | R::StreamOrder
            | R::RequestIdReused
            | R::ModelPackMismatch
            | R::DataDamaged
            | R::Unimplemented
            | R::MessageTooLarge
            | R::CallCancelled
            | R::Internal => Self::Failure,
        }
    }

    /// The exit code for a gRPC code that came without a reason of ours.
    #[must_use]
    pub const fn of_code(code: Code) -> Self {
        match code {
            Code::Ok => Self::Success,
            Code::InvalidArgument => Self::Usage,
            Code::NotFound => Self::NotFound,
            Code::PermissionDenied | Code::Unauthenticated => Self::NotAuthorised,
            Code::DeadlineExceeded | Code::ResourceExhausted | Code::Unavailable => Self::Unavailable,
            Code::Cancelled
            | Code::Unknown
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss => Self::Failure,
        }
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    #[test]
    fn every_reason_has_its_exit_code() {
        let mut table = String::new();
        for &reason in ErrorReason::ALL {
            writeln!(table, "{:<24} {}", reason.as_str(), Exit::of_reason(reason) as u8).unwrap();
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn a_reason_never_contradicts_the_meaning_of_its_code() {
        for &reason in ErrorReason::ALL {
            let (of_reason, of_code) = (Exit::of_reason(reason), Exit::of_code(cavs_proto::code_of(reason)));
            let narrowed = matches!(
                reason,
                ErrorReason::PageTokenInvalid
                    | ErrorReason::LoginThrottled
                    | ErrorReason::SiteRequired
                    | ErrorReason::RequestUnderWay
            );
            assert!(of_reason == of_code || narrowed, "{}: {of_reason:?}, {of_code:?}", reason.as_str());
        }
    }
}
