use cavs_types::{DeviceId, DeviceKind, DeviceRole, ProtocolError, RoomId};
use jiff::Timestamp;

use super::ScheduleVersion;
use crate::text;

/// Longest name of a room, in characters: that of a device's `classroom`.
const LONGEST_NAME: usize = 100;

/// Where devices and sessions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    /// Made by the server, or by the database for a device's `classroom`.
    pub id: RoomId,
    /// Unique in the site.
    pub name: String,
    /// Those that are not revoked, by name.
    pub devices: Vec<RoomDevice>,
    /// One more with each change.
    pub version: ScheduleVersion,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it was changed.
    pub updated_at: Timestamp,
}

/// A device that is not revoked, in its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoomDevice {
    /// Which.
    pub id: DeviceId,
    /// As people call it.
    pub name: String,
    /// An agent or a camera.
    pub kind: DeviceKind,
    /// In which room it is.
    pub room: RoomId,
    /// What it sees of the room.
    pub role: DeviceRole,
    /// The agent that speaks for it, where it is a camera.
    pub proxy: Option<DeviceId>,
}

/// A name of a room as it is stored.
///
/// # Errors
/// `Missing` or `Invalid`.
pub fn room_name(field: &'static str, typed: &str) -> Result<String, ProtocolError> {
    text::required(field, text::name(field, typed, LONGEST_NAME)?)
}
