use cavs_proto::v1;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    UNRECOGNISED,
    layout::{facts, moment, table},
    time,
};
use crate::{
    paging::Listing,
    printer::{Report, Style},
};

/// An agent or a camera.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceView {
    /// UUID.
    pub id: String,
    /// Unique name.
    pub name: String,
    /// `agent` or `esp32-cam`.
    pub kind: &'static str,
    /// The room it watches.
    pub classroom: String,
    /// `active` or `revoked`.
    pub status: &'static str,
    /// RFC 3339.
    pub create_time: Option<Timestamp>,
    /// RFC 3339; null until the device has spoken for the first time.
    pub last_seen_time: Option<Timestamp>,
    /// Version of its agent.
    pub agent_version: String,
    /// SHA-256 of its model pack.
    pub pack_digest: String,
    /// Sightings that waited in its spool when it spoke last.
    pub spooled: u64,
    /// Sightings that did not fit into its spool.
    pub lost: u64,
}

/// Devices.
#[derive(Debug, Serialize)]
pub struct DeviceList {
    /// Ordered by name.
    pub devices: Vec<DeviceView>,
    /// How many there are on the server.
    pub total_size: u64,
}

impl From<v1::Device> for DeviceView {
    fn from(device: v1::Device) -> Self {
        let kind = match device.kind() {
            v1::DeviceKind::Agent => "agent",
            v1::DeviceKind::Esp32Cam => "esp32-cam",
            v1::DeviceKind::Unspecified => UNRECOGNISED,
        };
        let status = match device.status() {
            v1::DeviceStatus::Active => "active",
            v1::DeviceStatus::Revoked => "revoked",
            v1::DeviceStatus::Unspecified => UNRECOGNISED,
        };
        Self {
            id: device.id,
            name: device.name,
            kind,
            classroom: device.classroom,
            status,
            create_time: time(device.create_time.as_ref()),
            last_seen_time: time(device.last_seen_time.as_ref()),
            agent_version: device.agent_version,
            pack_digest: device.pack_digest,
            spooled: device.spooled,
            lost: device.lost,
        }
    }
}

impl From<Listing<v1::Device>> for DeviceList {
    fn from(listing: Listing<v1::Device>) -> Self {
        Self { devices: listing.items.into_iter().map(Into::into).collect(), total_size: listing.total }
    }
}

impl DeviceView {
    fn last_seen(&self, style: &Style) -> String {
        self.last_seen_time.map_or_else(|| "never".to_owned(), |time| moment(style, Some(time)))
    }
}

impl Report for DeviceView {
    fn table(&self, style: &Style) -> String {
        facts(
            style,
            &[
                ("name", self.name.clone()),
                ("kind", self.kind.to_owned()),
                ("classroom", self.classroom.clone()),
                ("status", self.status.to_owned()),
                ("last seen", self.last_seen(style)),
                ("spooled", self.spooled.to_string()),
                ("lost", self.lost.to_string()),
                ("agent version", self.agent_version.clone()),
                ("model pack", self.pack_digest.clone()),
                ("created", moment(style, self.create_time)),
                ("id", self.id.clone()),
            ],
        )
    }
}

impl Report for DeviceList {
    fn table(&self, style: &Style) -> String {
        let rows = self.devices.iter().map(|device| {
            [
                device.name.clone(),
                device.kind.to_owned(),
                device.classroom.clone(),
                device.status.to_owned(),
                device.last_seen(style),
                device.spooled.to_string(),
                device.id.clone(),
            ]
        });
        table(style, ["NAME", "KIND", "CLASSROOM", "STATUS", "LAST SEEN", "SPOOLED", "ID"], rows.collect())
    }
}
