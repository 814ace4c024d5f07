//! What all of CAVS calls things: typed ids, closed vocabularies with one text each, the reasons of errors, the
//! quality of a face, and which settings may be pushed to a device. No protocol, no I/O.
//!
//! A vocabulary's text is what columns of the database, configurations, JSON and command lines hold; the numbers
//! that stand for it in `cavs.v1` are matched to it in `cavs-proto`.

mod error;
mod ids;
mod quality;
mod settings;
mod vocabulary;

pub use error::{ErrorReason, ProtocolError};
pub use ids::{
    AppealId, CalendarId, CheckInId, ClassSessionId, CorrectionId, DataKeyId, DeviceId, ExcuseId, GroupId,
    HolidayId, IdError, ReviewId, RoomId, SightingId, SiteId, StudentId, TemplateId, TermId, UserId,
    WebhookDeliveryId, WebhookId,
};
pub use quality::Quality;
pub use settings::{SETTINGS, Setting, SettingKind, setting};
pub use vocabulary::{
    AppealState, CheckInKind, ClockTrust, ConfusableKind, CorrectionSource, CredentialKind, Decision,
    DeliveryState, DeviceKind, DeviceRole, DeviceStatus, EnrollmentGate, ErasureState, GalleryMode, Grouping,
    ImportFormat, MOST_RETENTION_DAYS, MailState, Mark, MatchKind, MatchScope, PendingCounts, PhotoConsent,
    PredictionReason, ProposalState, QueueOrder, RateBasis, RetentionState, Role, RosterFormat,
    SessionFormat, SessionSource, SessionState, StudentField, UnknownWord, Verdict, WatchState, WebhookEvent,
};
