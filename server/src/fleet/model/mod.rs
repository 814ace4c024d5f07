//! What is known of devices, and what they may do.

mod device;
mod proxy;
mod run;
mod watch;

pub use device::{
    ConnectedTwice, Device, DeviceChange, DeviceKey, DeviceNotes, DevicePosition, DeviceReport,
    DeviceVersion, Health, Heartbeat, NewDevice, NotAdmitted, ONLINE_FOR, PushedSettings, SettingsChange,
    SettingsReport, SettingsVersion,
};
pub use proxy::{CameraRefusal, CameraStanding, ProxiedCamera, ProxyRef, TOKENS};
pub use run::{ALIVE_FOR, Admission, HOLDS_FOR, RunId, Standing, message_proves_two};
pub(crate) use watch::longest;
pub use watch::{
    Coverage, DeviceWatch, Gap, GapReason, MOST_PERIODS, MOST_UNCERTAIN_MS, ReportedPeriod, WatchReport,
    WatchedPeriod, coverage, merge,
};
