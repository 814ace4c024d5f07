use cavs_types::Role;

/// Who may call a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Anybody.
    Public,
    /// Whoever is logged in: the method is about no site.
    Anyone,
    /// Operators: the method is about the sites themselves.
    Operator,
    /// Users whose role in the site includes this one; in archived sites, too.
    Role(Role),
    /// The same, where the site is not archived: the method changes something, or needs what is open.
    Active(Role),
    /// As [`Self::Active`], of users whose role includes one of two.
    ActiveEither(Role, Role),
}

/// Who may call the method of a path. What is not listed is nobody's.
pub(super) fn access(path: &str) -> Option<Access> {
    use Access::{Active, Anyone, Operator, Public};
    let viewer = Access::Role(Role::Viewer);
    let reviewer = Access::Role(Role::Reviewer);
    let admin = Active(Role::Admin);
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    Some(match (service, method) {
        ("grpc.health.v1.Health", _) => Public,
        ("grpc.reflection.v1.ServerReflection" | "grpc.reflection.v1alpha.ServerReflection", _) => Public,
        ("cavs.v1.AuthService", "Login") => Public,
        ("cavs.v1.AuthService", "Logout" | "WhoAmI") => Anyone,
        ("cavs.v1.SiteService", "GetSite" | "ListSites") => Anyone,
        ("cavs.v1.SiteService", "CreateSite" | "RenameSite" | "UpdateSite" | "ArchiveSite") => Operator,
        ("cavs.v1.StudentService", "GetStudent" | "ListStudents" | "GetErasure") => viewer,
        ("cavs.v1.StudentService", "CreateStudent" | "UpdateStudent" | "ImportStudents") => admin,
        ("cavs.v1.StudentService", "DeactivateStudent" | "ReactivateStudent") => admin,
        // Who asks to be forgotten is, wherever they were known.
        ("cavs.v1.StudentService", "EraseStudent") => Access::Role(Role::Admin),
        ("cavs.v1.TermService", "GetTerm" | "ListTerms" | "ListHolidays") => viewer,
        ("cavs.v1.TermService", "CreateTerm" | "UpdateTerm" | "DeleteTerm") => admin,
        ("cavs.v1.TermService", "CreateHoliday" | "DeleteHoliday") => admin,
        ("cavs.v1.GroupService", "GetGroup" | "ListGroups") => viewer,
        ("cavs.v1.GroupService", "ListGroupMembers" | "ListStudentGroups") => viewer,
        ("cavs.v1.GroupService", "CreateGroup" | "UpdateGroup" | "ArchiveGroup" | "DeleteGroup") => admin,
        ("cavs.v1.GroupService", "AddGroupMember" | "RemoveGroupMember" | "ImportRosters") => admin,
        ("cavs.v1.RoomService", "GetRoom" | "ListRooms") => viewer,
        ("cavs.v1.RoomService", "CreateRoom" | "UpdateRoom" | "DeleteRoom" | "PlaceDevice") => admin,
        ("cavs.v1.SessionService", "GetClassSession" | "ListClassSessions") => viewer,
        ("cavs.v1.SessionService", "CreateClassSession" | "CreateClassSessions") => admin,
        ("cavs.v1.SessionService", "UpdateClassSession" | "DeleteClassSession" | "ImportClassSessions") => {
            admin
        }
        ("cavs.v1.SessionService", "CancelClassSession" | "ReinstateClassSession") => admin,
        ("cavs.v1.RetentionService", "GetRetention") => viewer,
        ("cavs.v1.RetentionService", "UpdateRetention") => admin,
        ("cavs.v1.EnrollmentService", "ListTemplates" | "GetEnrollmentPolicy") => viewer,
        // With what is to be seen of a face.
        ("cavs.v1.EnrollmentService", "GetTemplate" | "UpdateEnrollmentPolicy") => admin,
        ("cavs.v1.EnrollmentService", "EnrollFromImages" | "DeleteTemplate") => admin,
        ("cavs.v1.EnrollmentService", "EnrollFromSighting" | "EnrollFromEmbeddings") => admin,
        // An archived site's gallery is closed.
        ("cavs.v1.GalleryService", "GetGallery" | "SuggestThreshold" | "ListThresholds") => {
            Active(Role::Viewer)
        }
        ("cavs.v1.GalleryService", "PreviewThresholds") => Active(Role::Viewer),
        ("cavs.v1.GalleryService", "ListConfusablePairs") => viewer,
        ("cavs.v1.GalleryService", "SetThresholds") => admin,
        ("cavs.v1.GalleryService", "CreateConfusablePair" | "DeleteConfusablePair") => admin,
        ("cavs.v1.AttendanceService", "GetSheet" | "ListMarks" | "WatchMarks") => viewer,
        ("cavs.v1.AttendanceService", "GetAttendancePolicy") => viewer,
        // Who can see why can see who is recognised by their face, and who is not.
        ("cavs.v1.AttendanceService", "ExplainMark" | "ListExcuses") => reviewer,
        ("cavs.v1.AttendanceService", "ListAppeals" | "ListMarkProposals") => reviewer,
        ("cavs.v1.AttendanceService", "CorrectMark" | "TakeRollCall" | "WithdrawCorrection" | "CheckIn") => {
            Active(Role::Reviewer)
        }
        ("cavs.v1.AttendanceService", "FinaliseSession" | "CreateExcuse" | "WithdrawExcuse") => {
            Active(Role::Reviewer)
        }
        (
            "cavs.v1.AttendanceService",
            "CreateAppeal" | "DecideAppeal" | "WithdrawAppeal" | "DecideMarkProposal",
        ) => Active(Role::Reviewer),
        ("cavs.v1.AttendanceService", "UpdateAttendancePolicy") => admin,
        ("cavs.v1.ReportService", "GetSheetReport" | "GetWeekReport" | "GetPersonReport") => viewer,
        ("cavs.v1.ReportService", "GetWarningReport" | "GetRoomReport") => viewer,
        // An address may hold what only its receiver should know.
        ("cavs.v1.WebhookService", "GetWebhook" | "ListWebhooks" | "ListWebhookDeliveries") => {
            Access::Role(Role::Admin)
        }
        ("cavs.v1.WebhookService", "CreateWebhook" | "UpdateWebhook" | "RotateWebhookSecret") => admin,
        ("cavs.v1.WebhookService", "TestWebhook" | "RedeliverWebhook") => admin,
        // Also where the site is archived: its secret is to be forgotten.
        ("cavs.v1.WebhookService", "DeleteWebhook") => Access::Role(Role::Admin),
        // The code says which session it is, and the PIN who they are.
        ("cavs.v1.CheckInService", "CheckInWithCode") => Public,
        // A card reader or a kiosk has the role of programs, which may do nothing else.
        ("cavs.v1.CheckInService", "CheckInWithCard" | "CheckInWithPin") => {
            Access::ActiveEither(Role::Capture, Role::Reviewer)
        }
        ("cavs.v1.CheckInService", "CreateSessionCode") => Active(Role::Reviewer),
        ("cavs.v1.CheckInService", "SetStudentCard" | "SetStudentPin") => admin,
        ("cavs.v1.CheckInService", "DeleteStudentCredential") => admin,
        ("cavs.v1.CheckInService", "GetStudentCredentials") => reviewer,
        ("cavs.v1.LateMatchService", "GetLateMatchPolicy" | "ListLateMatches") => reviewer,
        ("cavs.v1.LateMatchService", "DecideLateMatch") => Active(Role::Reviewer),
        ("cavs.v1.LateMatchService", "UpdateLateMatchPolicy") => admin,
        // With addresses of people.
        ("cavs.v1.WarningService", "GetWarningPolicy" | "ListWarningMails") => Access::Role(Role::Admin),
        ("cavs.v1.WarningService", "UpdateWarningPolicy" | "ResendWarningMail") => admin,
        ("cavs.v1.StatsService", "GetStats") => viewer,
        // A program with a camera of its own, or one that has faces: both have the role for that, and no other.
        ("cavs.v1.MatchService", "Identify" | "Verify") => Active(Role::Capture),
        ("cavs.v1.MatchService", "ListMatches") => admin,
        (
            "cavs.v1.DeviceService",
            "GetDevice" | "ListDevices" | "GetDeviceCoverage" | "ListDeviceSettings" | "WatchDevices",
        ) => viewer,
        ("cavs.v1.DeviceService", "CreateDevice" | "UpdateDevice" | "ReplaceDevice") => admin,
        ("cavs.v1.DeviceService", "ConfigureDevice" | "AssignCamera") => admin,
        ("cavs.v1.DeviceService", "IssueDeviceToken" | "RevokeDeviceTokens" | "RevokeDevice") => admin,
        ("cavs.v1.SightingService", "ListSightings" | "GetSighting") => viewer,
        ("cavs.v1.SightingService", "WatchSightings" | "ExportSightings") => viewer,
        ("cavs.v1.ReviewService", "ListPending" | "GetReviewItem" | "ListOwnReviews") => reviewer,
        ("cavs.v1.ReviewService", "ListCandidatePortraits") => reviewer,
        // Of whose verdicts is for the service to say.
        ("cavs.v1.ReviewService", "ReviewSighting" | "ReviewPending" | "WithdrawReview") => {
            Active(Role::Reviewer)
        }
        ("cavs.v1.ReviewService", "GetNextAudit" | "AnswerAudit") => Active(Role::Reviewer),
        ("cavs.v1.ReviewService", "ClaimPending" | "ReleaseClaims" | "AssignPending") => {
            Active(Role::Reviewer)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn every_method_of_the_protocol_has_an_entry() {
        let set = prost_types::FileDescriptorSet::decode(cavs_proto::FILE_DESCRIPTOR_SET).unwrap();
        let mut methods = 0;
        for service in set.file.iter().filter(|f| f.package() == "cavs.v1").flat_map(|f| &f.service) {
            // Devices have a listener of their own, and the agent in proxy mode takes frames.
            if matches!(service.name(), "IngestService" | "CaptureService") {
                continue;
            }
            for method in &service.method {
                let path = format!("/cavs.v1.{}/{}", service.name(), method.name());
                assert!(access(&path).is_some(), "{path}");
                methods += 1;
            }
        }
        assert!(methods > 10);
        for nobodys in ["", "/", "/cavs.v1.IngestService/Stream", "/cavs.v1.StudentService/Burn"] {
            assert_eq!(access(nobodys), None, "{nobodys}");
        }
    }
}
