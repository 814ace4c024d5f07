//! What is known of devices, and what they may do.

mod device;
mod proxy;
mod run;

pub use device::{
    ConnectedTwice, Device, DeviceChange, DeviceKey, DevicePosition, DeviceReport, Health, Heartbeat,
    NewDevice, NotAdmitted, ONLINE_FOR, PushedSettings, SettingsChange, SettingsReport,
};
pub use proxy::{CameraRefusal, CameraStanding, ProxiedCamera, ProxyRef, TOKENS};
pub use run::{ALIVE_FOR, Admission, HOLDS_FOR, RunId, Standing, message_proves_two};
