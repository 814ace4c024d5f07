use thiserror::Error;

use crate::vocabulary::vocabulary;

vocabulary! {
    /// Why a call failed: stable, for programs to act on. The text stands in `ErrorInfo.reason`.
    #[derive(Hash)]
    ErrorReason, "error reason";
    /// A field of the request is missing or wrong; `BadRequest` names it.
    InvalidArgument = "INVALID_ARGUMENT",
    /// A page token of another list, or a made-up one.
    PageTokenInvalid = "PAGE_TOKEN_INVALID",
    /// No or no valid token.
    Unauthenticated = "UNAUTHENTICATED",
    /// Wrong user name or password.
    CredentialsInvalid = "CREDENTIALS_INVALID",
    /// Too many failed logins; wait.
    LoginThrottled = "LOGIN_THROTTLED",
    /// The user's role does not allow it.
    RoleInsufficient = "ROLE_INSUFFICIENT",
    /// The certificate names no device.
    DeviceIdentityMissing = "DEVICE_IDENTITY_MISSING",
    /// The certificate names a device that is not registered.
    DeviceUnknown = "DEVICE_UNKNOWN",
    /// The device was revoked.
    DeviceRevoked = "DEVICE_REVOKED",
    /// The device may not speak for now: somebody has set it inactive.
    DeviceInactive = "DEVICE_INACTIVE",
    /// Somebody else has changed the device meanwhile.
    DeviceChanged = "DEVICE_CHANGED",
    /// This proxy does not speak for that camera: there is none, or another one does.
    CameraNotProxied = "CAMERA_NOT_PROXIED",
    /// The request names another device than the certificate or the token.
    DeviceMismatch = "DEVICE_MISMATCH",
    /// No whole picture: truncated, damaged, or of another kind.
    FrameInvalid = "FRAME_INVALID",
    /// A picture over the limit.
    FrameTooLarge = "FRAME_TOO_LARGE",
    /// More frames than a camera may send; retry later.
    RateLimited = "RATE_LIMITED",
    /// The request did not come to its end in time.
    RequestTooSlow = "REQUEST_TOO_SLOW",
    /// The proxy can't keep anything now; retry later.
    SpoolUnavailable = "SPOOL_UNAVAILABLE",
    /// The device has opened another stream, which took this one's place.
    StreamReplaced = "STREAM_REPLACED",
    /// Another start of the device's agent speaks now: its certificate is in use in two places.
    DeviceConnectedTwice = "DEVICE_CONNECTED_TWICE",
    /// No site of that id or name.
    SiteNotFound = "SITE_NOT_FOUND",
    /// There are several sites: the request has to say which.
    SiteRequired = "SITE_REQUIRED",
    /// A site of that name exists.
    SiteExists = "SITE_EXISTS",
    /// The site was archived: it can be looked at, and nothing of it can be changed.
    SiteArchived = "SITE_ARCHIVED",
    /// No student of that id or number.
    StudentNotFound = "STUDENT_NOT_FOUND",
    /// A student of that number exists.
    StudentExists = "STUDENT_EXISTS",
    /// The student's face was erased.
    StudentErased = "STUDENT_ERASED",
    /// Another student of the site has that e-mail address.
    StudentEmailTaken = "STUDENT_EMAIL_TAKEN",
    /// Another student of the site has that external id.
    StudentExternalIdTaken = "STUDENT_EXTERNAL_ID_TAKEN",
    /// Somebody has changed the student since; look at them, and decide again.
    StudentChanged = "STUDENT_CHANGED",
    /// The student is not active: nobody looks for them.
    StudentInactive = "STUDENT_INACTIVE",
    /// The student has refused to be recognised.
    PhotoConsentRefused = "PHOTO_CONSENT_REFUSED",
    /// The two students are no pair.
    PairNotFound = "PAIR_NOT_FOUND",
    /// A file that students are to be read from can't be one.
    ImportInvalid = "IMPORT_INVALID",
    /// No term of that id or name.
    TermNotFound = "TERM_NOT_FOUND",
    /// A term of that name or external id exists.
    TermExists = "TERM_EXISTS",
    /// No holiday of that id.
    HolidayNotFound = "HOLIDAY_NOT_FOUND",
    /// A holiday of that name begins on that day.
    HolidayExists = "HOLIDAY_EXISTS",
    /// No group of that id or name.
    GroupNotFound = "GROUP_NOT_FOUND",
    /// A group of that name or external id exists.
    GroupExists = "GROUP_EXISTS",
    /// The student is no member of the group.
    MemberNotFound = "MEMBER_NOT_FOUND",
    /// The student is a member of the group on some of these days.
    MemberExists = "MEMBER_EXISTS",
    /// No room of that id or name.
    RoomNotFound = "ROOM_NOT_FOUND",
    /// A room of that name exists.
    RoomExists = "ROOM_EXISTS",
    /// No class session of that id.
    ClassSessionNotFound = "CLASS_SESSION_NOT_FOUND",
    /// The class session is in a state in which that can't be done.
    ClassSessionState = "CLASS_SESSION_STATE",
    /// Somebody has changed the term, group, room or class session since; look at it, and decide again.
    ScheduleChanged = "SCHEDULE_CHANGED",
    /// A class session says nothing of somebody: they are not on its roster, or it has not opened.
    MarkNotFound = "MARK_NOT_FOUND",
    /// No correction of that id that was not taken back.
    CorrectionNotFound = "CORRECTION_NOT_FOUND",
    /// No excuse of that id that was not taken back.
    ExcuseNotFound = "EXCUSE_NOT_FOUND",
    /// No appeal of that id that waits for a decision.
    AppealNotFound = "APPEAL_NOT_FOUND",
    /// Nobody has decided on the appeal against that mark that there is.
    AppealExists = "APPEAL_EXISTS",
    /// Nobody proposes that mark, or it was decided on.
    ProposalNotFound = "PROPOSAL_NOT_FOUND",
    /// Somebody has changed the policy of attendance since; look at it, and decide again.
    PolicyChanged = "POLICY_CHANGED",
    /// No webhook of that id.
    WebhookNotFound = "WEBHOOK_NOT_FOUND",
    /// Somebody has changed the webhook since; look at it, and decide again.
    WebhookChanged = "WEBHOOK_CHANGED",
    /// The webhook has no such delivery.
    DeliveryNotFound = "DELIVERY_NOT_FOUND",
    /// Something depends on it; that has to go first.
    InUse = "IN_USE",
    /// Somebody has set other thresholds since; look at them, and decide again.
    ThresholdsChanged = "THRESHOLDS_CHANGED",
    /// The gallery holds too few faces to conclude anything from them.
    GalleryTooSmall = "GALLERY_TOO_SMALL",
    /// No device of that id or name.
    DeviceNotFound = "DEVICE_NOT_FOUND",
    /// A device of that name exists.
    DeviceExists = "DEVICE_EXISTS",
    /// No sighting of that id.
    SightingNotFound = "SIGHTING_NOT_FOUND",
    /// No template of that id.
    TemplateNotFound = "TEMPLATE_NOT_FOUND",
    /// The sighting was approved or rejected before; ask to replace it.
    AlreadyReviewed = "ALREADY_REVIEWED",
    /// Somebody else has claimed the sighting, or was given it.
    ReviewClaimed = "REVIEW_CLAIMED",
    /// Who flagged the sighting does not decide it.
    SecondReviewerRequired = "SECOND_REVIEWER_REQUIRED",
    /// No reviewer of the site has that user name.
    UserNotFound = "USER_NOT_FOUND",
    /// No audit of the sighting waits for an answer.
    AuditNotFound = "AUDIT_NOT_FOUND",
    /// No verdict on the sighting is in force that could be taken back.
    NotReviewed = "NOT_REVIEWED",
    /// Messages on a stream came in the wrong order.
    StreamOrder = "STREAM_ORDER",
    /// Agent and server use different model packs.
    ModelPackMismatch = "MODEL_PACK_MISMATCH",
    /// Over a limit of the server; retry later.
    Overloaded = "OVERLOADED",
    /// The other side said nothing for too long.
    IdleTimeout = "IDLE_TIMEOUT",
    /// The server could not answer in time; it may have done what was asked.
    CallTimeout = "CALL_TIMEOUT",
    /// The server is stopping.
    ShuttingDown = "SHUTTING_DOWN",
    /// The server has no such method, or does not know how the message is compressed.
    Unimplemented = "UNIMPLEMENTED",
    /// Another request had this request id, or its answer is not kept any more.
    RequestIdReused = "REQUEST_ID_REUSED",
    /// The request of this request id is not done yet.
    RequestUnderWay = "REQUEST_UNDER_WAY",
    /// The message is no message of the method.
    MessageInvalid = "MESSAGE_INVALID",
    /// The message is larger than the method takes.
    MessageTooLarge = "MESSAGE_TOO_LARGE",
    /// What a service of gRPC's own (health, reflection) was asked about is not there.
    NotFound = "NOT_FOUND",
    /// The caller left before the answer.
    CallCancelled = "CALL_CANCELLED",
    /// The networks that look at enrolled pictures have failed and are not back yet; retry later.
    VisionUnavailable = "VISION_UNAVAILABLE",
    /// The database does not answer.
    DatabaseUnavailable = "DATABASE_UNAVAILABLE",
    /// Stored data can't be decrypted or understood.
    DataDamaged = "DATA_DAMAGED",
    /// A fault of the server; its log has the cause.
    Internal = "INTERNAL",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_its_field() {
        assert_eq!(
            ProtocolError::Missing { field: "student.number" }.to_string(),
            "student.number: is required"
        );
        assert_eq!(ProtocolError::invalid("name", "too long").to_string(), "name: too long");
    }
}
