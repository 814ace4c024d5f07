//! Results as people and programs see them. The JSON field names are stable: programs depend on them.

mod attendance;
mod audit;
mod certs;
mod check_in;
mod context;
mod device;
mod device_token;
mod enrollment;
mod gallery;
mod late_match;
mod layout;
mod matching;
mod pack;
mod pair;
mod report;
mod retention;
mod schedule;
mod schedule_import;
mod setup;
mod sighting;
mod site;
mod stats;
mod student;
mod sync;
mod template;
mod user;
mod warning;
mod webhook;

pub(crate) use layout::{TableParts, table_of};

use cavs_proto::{WireEnum, enum_from_wire, from_timestamp, v1};
use cavs_types::Quality;
use jiff::Timestamp;

pub use attendance::{
    AppealList, AppealView, AttendancePolicyView, ExcuseList, ExcuseView, ExplanationView, MarkChangeList,
    MarkChangeView, MarkList, ProposalList, SheetView,
};
pub use audit::{AuditAnswered, AuditView};
pub use certs::{CertificateView, DevSetView};
pub use check_in::{CheckedInView, CredentialsView, SessionCodeView};
pub use context::{ContextList, ContextView, SettingView, SettingsView};
pub use device::{
    CoverageView, DeviceList, DeviceView, HealthView, HeartbeatView, ProxyView, RunningView, SettingsHistory,
    WantedView,
};
pub use device_token::{DeviceTokenView, RevokedTokensView};
pub use enrollment::{
    BulkEnrollment, Enrollment, EnrollmentPreview, FolderEnrollment, FolderPreview, VerdictView,
};
pub use gallery::{
    CalibrationView, GalleryView, GraphView, SearchesView, SideView, SuggestionView, ThresholdChangeView,
    ThresholdList, ThresholdsView,
};
pub use late_match::{LateMatchList, LateMatchPolicyView, LateMatchView};
pub use matching::{CandidateView as MatchCandidateView, IdentifiedView, MatchList, MatchView, VerifiedView};
pub use pack::PackView;
pub use pair::{PairList, PairView};
pub use report::ReportView;
pub use retention::RetentionView;
pub use schedule::{
    ClassroomList, ClassroomView, GroupList, GroupView, HolidayList, HolidayView, MemberList, MemberView,
    MembershipView, MembershipsView, NamedView, PlannedSessionsView, RoomDeviceView, SessionList,
    SessionView, TermList, TermView,
};
pub use schedule_import::{RosterImportView, SessionImportView};
pub use setup::SetupView;
pub use sighting::{BulkReviewView, ClaimsView, ReviewItemView, ReviewQueue, SightingList, SightingView};
pub use site::{EnrollmentGateView, SiteList, SiteView};
pub use stats::{CountsView, DayView, DeviceStatsView, RoomView, StatsView};
pub use student::{
    ErasureView, ImportProblemView, ImportView, StudentErased, StudentList, StudentRefView, StudentView,
};
pub use sync::{SyncItemView, SyncView};
pub use template::{TemplateAdded, TemplateDeleted, TemplateList, TemplateShown, TemplateView};
pub use user::{LoggedIn, LoggedOut, SiteRoleView, UserView, WhoAmI};
pub use warning::{WarningContactView, WarningMailList, WarningMailView, WarningPolicyView};
pub use webhook::{
    DeliveryList, DeliveryView, RedeliveredView, WebhookList, WebhookSecretView, WebhookTestView, WebhookView,
};

/// A point in time from the wire; none where the server says nothing that is one.
fn time(timestamp: Option<&prost_types::Timestamp>) -> Option<Timestamp> {
    from_timestamp("time", timestamp).ok()
}

/// A quality from the wire; none where the server says nothing that is one.
fn quality(wire: Option<v1::FaceQuality>) -> Option<Quality> {
    wire?.try_into().ok()
}

/// What stands for an enum value that a newer server may know.
const UNRECOGNISED: &str = "unrecognised";

/// The text of a vocabulary's value from the wire.
fn word<T: WireEnum>(number: i32, text: fn(T) -> &'static str) -> &'static str {
    enum_from_wire("", number).map_or(UNRECOGNISED, text)
}
