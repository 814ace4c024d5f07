//! Responses that hold one resource: a method has a message of its own for its answer, so that something can be
//! added to it later, and mostly there is nothing but the resource in it.

use crate::v1;

/// A response with nothing but a resource.
pub trait OneResource: From<Self::Resource> {
    /// What it holds.
    type Resource;

    /// The resource; none where the other side left it out, which it must not.
    fn into_resource(self) -> Option<Self::Resource>;
}

macro_rules! one_resource {
    ($($resource:ident $field:ident: $($response:ident)*;)*) => {$($(
        impl From<v1::$resource> for v1::$response {
            fn from($field: v1::$resource) -> Self {
                Self { $field: Some($field) }
            }
        }

        impl OneResource for v1::$response {
            type Resource = v1::$resource;

            fn into_resource(self) -> Option<v1::$resource> {
                self.$field
            }
        }
    )*)*};
}

one_resource! {
    Appeal appeal: CreateAppealResponse DecideAppealResponse WithdrawAppealResponse;
    Excuse excuse: CreateExcuseResponse WithdrawExcuseResponse;
    MarkExplanation explanation: CorrectMarkResponse DecideMarkProposalResponse ExplainMarkResponse
        WithdrawCorrectionResponse;
    Sheet sheet: CheckInResponse FinaliseSessionResponse GetSheetResponse TakeRollCallResponse;
    CheckedIn check_in: CheckInWithCardResponse CheckInWithCodeResponse CheckInWithPinResponse;
    ClassSession session: CancelClassSessionResponse CreateClassSessionResponse GetClassSessionResponse
        ReinstateClassSessionResponse UpdateClassSessionResponse;
    ConfusablePair pair: CreateConfusablePairResponse;
    Device device: AssignCameraResponse ConfigureDeviceResponse CreateDeviceResponse GetDeviceResponse
        ReplaceDeviceResponse RevokeDeviceResponse UpdateDeviceResponse;
    EnrollmentPolicy policy: GetEnrollmentPolicyResponse UpdateEnrollmentPolicyResponse;
    Erasure erasure: GetErasureResponse;
    Gallery gallery: GetGalleryResponse;
    Group group: ArchiveGroupResponse CreateGroupResponse GetGroupResponse UpdateGroupResponse;
    GroupMember member: AddGroupMemberResponse;
    Holiday holiday: CreateHolidayResponse;
    Retention retention: GetRetentionResponse UpdateRetentionResponse;
    Room room: CreateRoomResponse GetRoomResponse UpdateRoomResponse;
    Sighting sighting: GetSightingResponse;
    Site site: ArchiveSiteResponse CreateSiteResponse GetSiteResponse RenameSiteResponse UpdateSiteResponse;
    Stats stats: GetStatsResponse;
    Student student: CreateStudentResponse DeactivateStudentResponse GetStudentResponse ReactivateStudentResponse
        UpdateStudentResponse;
    WarningMail mail: ResendWarningMailResponse;
    WarningPolicy policy: GetWarningPolicyResponse UpdateWarningPolicyResponse;
    Term term: CreateTermResponse GetTermResponse UpdateTermResponse;
    Webhook webhook: GetWebhookResponse UpdateWebhookResponse;
}
