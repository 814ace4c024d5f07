//! What the server is about, as plain values and rules. No database, no network, no clock.

mod device;
mod face;
mod page;
mod policy;
mod proxy;
mod run;
mod sighting;
mod student;
mod template;
mod text;
mod threshold;
mod user;

pub use device::{
    ConnectedTwice, Device, DeviceChange, DeviceKey, DeviceKind, DevicePosition, DeviceReport, DeviceStatus,
    Fleet, Health, Heartbeat, NewDevice, ONLINE_FOR, PushedSettings, SettingsChange, SettingsReport,
};
pub use face::{BoundingBox, Quality};
pub use page::{COUNTED, ListName, Page, PageRequest, PageToken, Total};
pub use policy::{Judged, Match, Policy};
pub use proxy::{CameraRefusal, CameraStanding, ProxiedCamera, ProxyRef, SightingAnswer, TOKENS};
pub use run::{ALIVE_FOR, Admission, HOLDS_FOR, RunId, Standing, message_proves_two};
pub use sighting::{
    Candidate, CapturedSighting, Clock, ClockTrust, Decision, EARLIEST, LATEST, NewReview, Prediction,
    PredictionReason, Review, Sighting, SightingFilter, SightingKey, SightingPosition, StudentRef, Track,
    Verdict,
};
pub use student::{Erased, NewStudent, Student, StudentFilter, StudentKey, pseudonym};
pub use template::TemplateInfo;
pub use text::{lookup_name, lookup_number, printable};
pub use threshold::{ThresholdChange, ThresholdVersion, Thresholds};
pub use user::{Credentials, Role, User};
