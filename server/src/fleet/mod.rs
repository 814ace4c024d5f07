//! Devices: agents and the cameras that they speak for, who may speak, and with which settings they run.

mod model;
mod service;
mod store;

pub use model::{
    ALIVE_FOR, Admission, CameraRefusal, CameraStanding, ConnectedTwice, Device, DeviceChange, DeviceKey,
    DevicePosition, DeviceReport, HOLDS_FOR, Health, Heartbeat, NewDevice, NotAdmitted, ONLINE_FOR,
    ProxiedCamera, ProxyRef, PushedSettings, RunId, SettingsChange, SettingsReport, Standing, TOKENS,
    message_proves_two,
};
pub(crate) use service::refused;
pub use service::{DeviceStreams, Devices};
pub use store::DeviceStore;
pub(crate) use store::{lock_standings, note_refusals};
