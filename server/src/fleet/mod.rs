//! Devices: agents and the cameras that they speak for, who may speak, and with which settings they run.

mod model;
mod service;
mod store;

pub(crate) use model::longest;
pub use model::{
    ALIVE_FOR, Admission, CameraRefusal, CameraStanding, ConnectedTwice, Coverage, Device, DeviceChange,
    DeviceKey, DeviceNotes, DevicePosition, DeviceReport, DeviceVersion, DeviceWatch, Gap, GapReason,
    HOLDS_FOR, Health, Heartbeat, MOST_PERIODS, MOST_UNCERTAIN_MS, NewDevice, NotAdmitted, ONLINE_FOR,
    ProxiedCamera, ProxyRef, PushedSettings, ReportedPeriod, RunId, SettingsChange, SettingsReport,
    SettingsVersion, Standing, TOKENS, WatchReport, WatchedPeriod, coverage, merge, message_proves_two,
};
pub(crate) use service::refused;
pub use service::{DeviceStreams, DeviceWatches, Devices};
pub use store::DeviceStore;
pub(crate) use store::{lock_standings, note_refusals};
