use cavs_embedding::PackDigest;
use cavs_proto::{DeviceId, ProtocolError};
use jiff::Timestamp;

use super::text;

/// What a device is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceKind {
    /// An agent that runs the networks itself.
    Agent,
    /// A camera that sends frames through an agent.
    Esp32Cam,
}

/// Whether a device may speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceStatus {
    /// It may.
    Active,
    /// Never again.
    Revoked,
}

/// An agent or a camera.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Ours; its certificate carries it.
    pub id: DeviceId,
    /// Unique.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// The room it watches.
    pub classroom: String,
    /// Whether it may speak.
    pub status: DeviceStatus,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it spoke last.
    pub last_seen_at: Option<Timestamp>,
    /// What it said of itself.
    pub report: DeviceReport,
}

/// What a device says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceReport {
    /// Version of its software.
    pub agent_version: String,
    /// The model pack it embeds with.
    pub pack: Option<PackDigest>,
    /// Sightings that wait in its spool.
    pub spooled: u64,
    /// Sightings it lost.
    pub lost: u64,
}

/// A device to be registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDevice {
    /// Unique, 1 to 100 characters.
    pub name: String,
    /// What it is.
    pub kind: DeviceKind,
    /// At most 100 characters.
    pub classroom: String,
}

impl NewDevice {
    /// Checks what a person typed.
    ///
    /// # Errors
    /// `Missing` or `Invalid`, by field.
    pub fn new(name: &str, kind: DeviceKind, classroom: &str) -> Result<Self, ProtocolError> {
        Ok(Self {
            name: text::required_line("name", name, 100)?,
            kind,
            classroom: text::line("classroom", classroom, 100)?,
        })
    }
}

/// How a device is named in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeviceKey {
    /// By our id.
    Id(DeviceId),
    /// By its name.
    Name(String),
}
