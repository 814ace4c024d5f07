//! Why a command failed: for people, for programs, and as an exit code.

use std::{
    borrow::Cow,
    io,
    path::{Path, PathBuf},
};

use cavs_certs::CertError;
use cavs_models::{ImportError, PackError, VisionError};
use cavs_proto::error_reason;
use cavs_types::ErrorReason;
use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::exit::Exit;

/// Why a command failed: with its exit code, its stable reason, and what helps.
#[derive(Debug, Error)]
pub enum CliError {
    /// The command line or the configuration is wrong.
    #[error("{0}")]
    Usage(String),
    /// Something that no other variant names.
    #[error("{message}")]
    Failure {
        /// Stable, for programs.
        reason: &'static str,
        /// What went wrong, in a sentence for people.
        message: String,
    },
    /// Something that should be there is not.
    #[error("{message}")]
    NotFound {
        /// Stable, for programs.
        reason: &'static str,
        /// What went wrong, in a sentence for people.
        message: String,
    },
    /// A file can't be read or written.
    #[error("{path}: {source}", path = path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no session for this server.
    #[error("not logged in at {server}")]
    NotLoggedIn {
        /// Its address, as it was given.
        server: String,
    },
    /// The session's time is over.
    #[error("the session at {server} ended at {at}")]
    SessionExpired {
        /// Its address, as it was given.
        server: String,
        /// The end of the session's token.
        at: Timestamp,
    },
    /// No connection to the server.
    #[error("{server} can't be reached: {problem}")]
    Unreachable {
        /// Its address, as it was given.
        server: String,
        /// What the connection or the TLS library said.
        problem: String,
    },
    /// The server's certificate is not one to believe.
    #[error("{server} is not trusted: {problem}")]
    NotTrusted {
        /// Its address, as it was given.
        server: String,
        /// What the connection or the TLS library said.
        problem: String,
        /// The root that it was checked against.
        ca: PathBuf,
    },
    /// The server said nothing for too long.
    #[error("{server} gave no answer within {seconds} seconds")]
    TimedOut {
        /// Its address, as it was given.
        server: String,
        /// Seconds that the call had.
        seconds: u64,
    },
    /// The server answered with an error.
    #[error(transparent)]
    Rpc(Box<RpcError>),
    /// A certificate was not made.
    #[error(transparent)]
    Certs(#[from] CertError),
    /// A model pack is of no use.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// ONNX files did not become a model pack.
    #[error(transparent)]
    Import(#[from] ImportError),
    /// The networks of a model pack don't run.
    #[error(transparent)]
    Vision(#[from] VisionError),
    /// The printed result says already what failed.
    #[error("not everything was done")]
    Reported,
}

/// An error that the server gave.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct RpcError {
    code: Code,
    reason: Option<ErrorReason>,
    message: String,
    violations: Vec<FieldViolation>,
}

/// A field of a request, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldViolation {
    /// Path of the field in the request.
    pub field: String,
    /// What is wrong.
    pub description: String,
}

impl From<cavs_reports::FileError> for CliError {
    fn from(error: cavs_reports::FileError) -> Self {
        Self::failure("OUTPUT", error.to_string())
    }
}

impl CliError {
    /// Wrong use.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// A failure of its own kind.
    #[must_use]
    pub fn failure(reason: &'static str, message: impl Into<String>) -> Self {
        Self::Failure { reason, message: message.into() }
    }

    /// A failure of a file.
    #[must_use]
    pub fn file(path: &Path, source: io::Error) -> Self {
        Self::File { path: path.to_owned(), source }
    }

    /// An error status that came from the server.
    #[must_use]
    pub fn rpc(status: &Status) -> Self {
        let violations = status.get_details_bad_request().map(|bad| bad.field_violations).unwrap_or_default();
        let violations =
            violations.into_iter().map(|v| FieldViolation { field: v.field, description: v.description });
        let message = match status.message() {
            "" => format!("the server answered {:?} and said no more", status.code()),
            message => message.to_owned(),
        };
        Self::Rpc(Box::new(RpcError {
            code: status.code(),
            reason: error_reason(status),
            message,
            violations: violations.collect(),
        }))
    }

    /// The same error, naming what was asked for, where the server's words do not.
    #[must_use]
    pub fn about(mut self, what: &str) -> Self {
        if let Self::Rpc(error) = &mut self
            && !error.message.contains(what)
        {
            error.message = format!("{what}: {}", error.message);
        }
        self
    }

    /// The server broke the protocol.
    #[must_use]
    pub fn protocol(message: impl Into<String>) -> Self {
        Self::failure("PROTOCOL_VIOLATION", message)
    }

    /// Whether the next request would fail alike.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.exit(), Exit::NotAuthorised | Exit::Unavailable)
    }

    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Failure { .. } | Self::NotTrusted { .. } | Self::Reported => Exit::Failure,
            Self::NotFound { .. } => Exit::NotFound,
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
            Self::File { .. } => Exit::Failure,
            Self::NotLoggedIn { .. } | Self::SessionExpired { .. } => Exit::NotAuthorised,
            Self::Unreachable { .. } | Self::TimedOut { .. } => Exit::Unavailable,
            Self::Rpc(error) => error.reason.map_or_else(|| Exit::of_code(error.code), Exit::of_reason),
            Self::Certs(error) => exit_of_certs(error),
            Self::Pack(error) => exit_of_pack(error),
            Self::Import(ImportError::Pack(error)) | Self::Vision(VisionError::Pack(error)) => {
                exit_of_pack(error)
            }
            Self::Import(ImportError::Option { .. }) => Exit::Usage,
            Self::Import(ImportError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Exit::NotFound
            }
            Self::Import(_) | Self::Vision(_) => Exit::Failure,
        }
    }

    /// The stable reason, for programs.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        let reason = match self {
            Self::Usage(_) => "USAGE",
            Self::Failure { reason, .. } | Self::NotFound { reason, .. } => reason,
            Self::File { .. } => "FILE",
            Self::NotLoggedIn { .. } => "NOT_LOGGED_IN",
            Self::SessionExpired { .. } => "SESSION_EXPIRED",
            Self::Unreachable { .. } => "SERVER_UNREACHABLE",
            Self::NotTrusted { .. } => "SERVER_NOT_TRUSTED",
            Self::TimedOut { .. } => "TIMED_OUT",
            Self::Rpc(error) => match error.reason {
                Some(reason) => reason.as_str(),
                None => return Cow::Owned(format!("GRPC_{:?}", error.code).to_uppercase()),
            },
            Self::Certs(_) => "CERTIFICATE",
            Self::Pack(error) => error.reason(),
            Self::Import(error) => error.reason(),
            Self::Vision(error) => error.reason(),
            Self::Reported => "INCOMPLETE",
        };
        Cow::Borrowed(reason)
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotLoggedIn { .. } | Self::SessionExpired { .. } => Some("run: cavs login".to_owned()),
            Self::Unreachable { .. } => Some("check --server, and that the server is running".to_owned()),
            Self::NotTrusted { ca, .. } => {
                Some(format!("check --ca (now {}) and the host name in --server", ca.display()))
            }
            Self::TimedOut { .. } => Some("try again, or give it more time with --timeout".to_owned()),
            Self::Rpc(error) => error.reason.and_then(hint_for).map(str::to_owned),
            Self::Failure { reason, .. } | Self::NotFound { reason, .. } => {
                hint_of_own(reason).map(str::to_owned)
            }
            Self::Usage(_)
            | Self::File { .. }
            | Self::Certs(_)
            | Self::Pack(_)
            | Self::Import(_)
            | Self::Vision(_)
            | Self::Reported => None,
        }
    }

    /// The fields of the request that the server refused.
    #[must_use]
    pub fn violations(&self) -> &[FieldViolation] {
        if let Self::Rpc(error) = self { &error.violations } else { &[] }
    }
}

fn exit_of_pack(error: &PackError) -> Exit {
    match error {
        PackError::NotFound(_) => Exit::NotFound,
        PackError::Read { .. } | PackError::ChecksumMismatch { .. } | PackError::Invalid { .. } => {
            Exit::Failure
        }
    }
}

fn exit_of_certs(error: &CertError) -> Exit {
    match error {
        CertError::SiteName(_) | CertError::ServerName(_) | CertError::NoServerName => Exit::Usage,
        CertError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::NotFound,
        CertError::Io { .. }
        | CertError::Exists(_)
        | CertError::Unusable { .. }
        | CertError::KeyExposed { .. }
        | CertError::RootExpired(_)
        | CertError::Request(_)
        | CertError::Random
        | CertError::Generate(_) => Exit::Failure,
    }
}

/// What helps against the program's own reasons whose message does not say it.
fn hint_of_own(reason: &str) -> Option<&'static str> {
    match reason {
        "CONTEXT_NOT_FOUND" => Some("see: cavs context list"),
        "CONTEXT_EXISTS" => Some("change it with: cavs context update; or forget it with: cavs context rm"),
        "CA_UNUSABLE" => Some("give the site's root certificate (ca.pem) with --ca FILE"),
        "NO_IMAGES" => Some("see: cavs enroll --help"),
        "NO_EVIDENCE" => {
            Some("the server keeps pictures of the decisions that evidence.keep names in its configuration")
        }
        _ => None,
    }
}

fn hint_for(reason: ErrorReason) -> Option<&'static str> {
    use ErrorReason as R;
    match reason {
        R::Unauthenticated => Some("run: cavs login"),
        R::CredentialsInvalid => Some("check the user name and the password"),
        R::LoginThrottled => Some("wait a few minutes before you try again"),
        R::RoleInsufficient => Some("ask an admin, or log in as somebody else; see: cavs whoami"),
        R::SiteNotFound | R::SiteRequired => Some("see: cavs sites list"),
        R::StudentNotFound => Some("see: cavs students list"),
        R::DeviceNotFound => Some("see: cavs devices list"),
        R::SightingNotFound => Some("see: cavs sightings list"),
        R::PairNotFound => Some("see: cavs pairs list"),
        R::TermNotFound => Some("see: cavs terms list"),
        R::HolidayNotFound => Some("see: cavs terms holidays list"),
        R::GroupNotFound => Some("see: cavs groups list"),
        R::MemberNotFound | R::MemberExists => Some("see: cavs groups members list GROUP --all-dates"),
        R::RoomNotFound => Some("see: cavs rooms list"),
        R::ClassSessionNotFound => Some("see: cavs sessions list"),
        R::CorrectionNotFound => Some("see: cavs attendance explain SESSION STUDENT"),
        R::ExcuseNotFound => Some("see: cavs attendance excuses list"),
        R::AppealNotFound | R::AppealExists => Some("see: cavs attendance appeals list"),
        R::ProposalNotFound => Some("see: cavs attendance proposals list"),
        R::MarkNotFound => Some("see: cavs attendance show SESSION"),
        R::PolicyChanged => Some("see: cavs attendance policy show; then change it again"),
        R::WebhookNotFound => Some("see: cavs webhooks list"),
        R::WebhookChanged => Some("see: cavs webhooks show WEBHOOK; then change it again"),
        R::DeliveryNotFound => Some("see: cavs webhooks deliveries WEBHOOK"),
        R::ScheduleChanged => Some("look at it; then change it again"),
        R::TemplateNotFound => Some("see: cavs templates list STUDENT"),
        R::AlreadyReviewed => Some("add --replace to replace the earlier verdict"),
        R::ReviewClaimed => Some("to take it over: cavs review assign SIGHTING --to YOU"),
        R::SecondReviewerRequired => Some("to take the flag back: cavs review undo SIGHTING"),
        R::Overloaded
        | R::RateLimited
        | R::RequestUnderWay
        | R::RequestTooSlow
        | R::ShuttingDown
        | R::SpoolUnavailable
        | R::VisionUnavailable
        | R::DatabaseUnavailable
        | R::IdleTimeout
        | R::CallTimeout => Some("try again later"),
        R::ThresholdsChanged => Some("see: cavs thresholds list; then set them again"),
        R::GalleryTooSmall => Some("enroll more students first"),
        R::StudentErased => Some("to enroll the person again, add them as a new student"),
        R::DeviceChanged => Some("see: cavs devices show DEVICE; then change it again"),
        R::DeviceInactive => Some("to let it speak again: cavs devices update DEVICE --status active"),
        R::StudentChanged => Some("see: cavs students show STUDENT; then change it again"),
        R::StudentInactive => Some("run: cavs students reactivate STUDENT"),
        R::PhotoConsentRefused => {
            Some("when the student consents: cavs students update STUDENT --photo-consent given")
        }
        R::Internal | R::DataDamaged => Some("the server's log has the cause"),
        R::Unimplemented => Some("is the server older than this program? compare: cavs --version"),
        R::InvalidArgument
        | R::TermExists
        | R::HolidayExists
        | R::GroupExists
        | R::RoomExists
        | R::ClassSessionState
        | R::InUse
        | R::MessageInvalid
        | R::MessageTooLarge
        | R::NotFound
        | R::CallCancelled
        | R::PageTokenInvalid
        | R::DeviceIdentityMissing
        | R::DeviceUnknown
        | R::DeviceRevoked
        | R::CameraNotProxied
        | R::DeviceMismatch
        | R::FrameInvalid
        | R::FrameTooLarge
        | R::StreamReplaced
        | R::DeviceConnectedTwice
        | R::SiteExists
        | R::SiteArchived
        | R::StudentExists
        | R::StudentEmailTaken
        | R::StudentExternalIdTaken
        | R::ImportInvalid
        | R::DeviceExists
        | R::NotReviewed
        | R::UserNotFound
        | R::AuditNotFound
        | R::StreamOrder
        | R::RequestIdReused
        | R::ModelPackMismatch => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_decides_before_its_code() {
        let error = CliError::rpc(&cavs_proto::status(ErrorReason::LoginThrottled, "slowly"));
        assert_eq!((error.exit(), error.reason().as_ref()), (Exit::NotAuthorised, "LOGIN_THROTTLED"));
        let error = CliError::rpc(&Status::resource_exhausted("elsewhere"));
        assert_eq!((error.exit(), error.reason().as_ref()), (Exit::Unavailable, "GRPC_RESOURCEEXHAUSTED"));
    }

    #[test]
    fn refused_fields_are_kept() {
        let error = CliError::rpc(&cavs_proto::invalid_argument("number", "is too long"));
        assert_eq!(error.exit(), Exit::Usage);
        let expected = FieldViolation { field: "number".to_owned(), description: "is too long".to_owned() };
        assert_eq!(error.violations(), [expected]);
    }
}
