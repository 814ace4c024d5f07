use std::collections::BTreeMap;

use cavs_proto::v1::{self, coverage_gap::Reason};
use cavs_types::{DeviceKind, DeviceStatus, WatchState};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    UNRECOGNISED,
    layout::{facts, moment, table},
    time, word,
};
use crate::{
    list::List,
    printer::{Report, Style},
};

/// An agent or a camera.
#[derive(Debug, Clone, Serialize)]
pub struct DeviceView {
    /// UUID of the device.
    pub id: String,
    /// Name; unique among the devices that are not revoked.
    pub name: String,
    /// `agent` or `esp32_cam`.
    pub kind: &'static str,
    /// The classroom in which it is.
    pub classroom: String,
    /// `active`, `inactive`, `maintenance` or `revoked`.
    pub status: &'static str,
    /// What people note of it.
    pub description: String,
    /// The IP address that people noted.
    pub noted_address: String,
    /// The IP address from which it connected last.
    pub seen_address: String,
    /// Its hardware address, as people noted it.
    pub mac_address: String,
    /// RFC 3339.
    pub create_time: Option<Timestamp>,
    /// RFC 3339; null until the device has spoken for the first time.
    pub last_seen_time: Option<Timestamp>,
    /// Version of its agent.
    pub agent_version: String,
    /// SHA-256 of its model pack.
    pub pack_digest: String,
    /// It has spoken within the last 45 seconds.
    pub online: bool,
    /// Sightings that waited in its spool when it spoke last.
    pub spooled: u64,
    /// Sightings that it lost, for whatever reason.
    pub lost: u64,
    /// Its last heartbeat; null until there was one.
    pub heartbeat: Option<HeartbeatView>,
    /// Settings that are pushed to it; null where nobody has ever pushed any.
    pub wanted: Option<WantedView>,
    /// What became of them.
    pub running: RunningView,
    /// The proxy that speaks for this camera; null where none does.
    pub proxy: Option<ProxyView>,
    /// Tokens that are good.
    pub token_count: u32,
    /// Its certificate is or was in use in two places; null where that was never noticed.
    pub connected_twice: Option<ConnectedTwiceView>,
    /// How much of today it was watching; null in lists.
    pub today: Option<CoverageView>,
}

/// How much of a time a device was watching.
#[derive(Debug, Clone, Serialize)]
pub struct CoverageView {
    /// RFC 3339.
    pub start_time: Timestamp,
    /// RFC 3339.
    pub end_time: Timestamp,
    /// 0 to 1.
    pub watched_share: f64,
    /// RFC 3339: what it saw until then is with the server; null where it has never said so.
    pub delivered_until_time: Option<Timestamp>,
    /// The rest of the time, in order.
    pub gaps: Vec<GapView>,
}

/// A time in which a device was not watching.
#[derive(Debug, Clone, Serialize)]
pub struct GapView {
    /// RFC 3339.
    pub start_time: Option<Timestamp>,
    /// RFC 3339.
    pub end_time: Option<Timestamp>,
    /// What the device said that it was, or `not_watched`, or `not_delivered`.
    pub reason: &'static str,
}

/// Two agents that lived at the same time with one certificate.
#[derive(Debug, Clone, Serialize)]
pub struct ConnectedTwiceView {
    /// It was noticed within the last ten minutes.
    pub now: bool,
    /// RFC 3339: when it was noticed last.
    pub last_time: Option<Timestamp>,
    /// Times that it was noticed.
    pub count: u64,
}

/// An agent that speaks for a camera.
#[derive(Debug, Clone, Serialize)]
pub struct ProxyView {
    /// UUID of the device.
    pub id: String,
    /// The proxy's name in the fleet.
    pub name: String,
}

/// A device's sign of life. Counters of losses are since its spool was made.
#[derive(Debug, Clone, Serialize)]
pub struct HeartbeatView {
    /// RFC 3339, by the device's clock.
    pub sent_at: Option<Timestamp>,
    /// RFC 3339: when the oldest sighting that waits was stored; null where none waits.
    pub oldest_spooled_at: Option<Timestamp>,
    /// Those of `lost` that repeated an earlier sighting of their track.
    pub lost_repeats: u64,
    /// Those of `lost` that became too old.
    pub lost_expired: u64,
    /// Those of `lost` that could not be recovered from a damaged spool.
    pub lost_damaged: u64,
    /// Face crops lost.
    pub lost_evidence: u64,
    /// Sightings that the server rejected.
    pub rejected: u64,
    /// How the machine is.
    pub health: Option<HealthView>,
}

/// How a device is. What it can't measure is null.
#[derive(Debug, Clone, Serialize)]
pub struct HealthView {
    /// Degrees Celsius.
    pub temperature: Option<f32>,
    /// 0 to 100, of all processors.
    pub cpu_percent: Option<f32>,
    /// Memory of the agent in RAM, in bytes.
    pub memory_resident: Option<u64>,
    /// Memory that programs can still get, in bytes.
    pub memory_available: Option<u64>,
    /// Space on the spool's file system, in bytes.
    pub disk_free: Option<u64>,
    /// Frames that went through the agent.
    pub frames_per_second: Option<f32>,
    /// Faces that were found.
    pub faces_per_second: Option<f32>,
    /// Frames since the agent's start.
    pub frames: u64,
    /// Those that could not be analysed.
    pub frames_bad: u64,
    /// Those that came while the agent was busy.
    pub frames_dropped: u64,
    /// Failures of the camera.
    pub source_failures: u64,
    /// Seconds since the agent's start.
    pub uptime_seconds: u64,
    /// The clock followed a time server or agreed with the server's.
    pub clock_synchronised: bool,
    /// Messages of the server that the agent does not know: it is older.
    pub unknown_messages: u64,
    /// The disk is full: nothing can be stored, and nothing taken out of the spool.
    pub disk_full: bool,
}

/// Settings that are pushed to a device.
#[derive(Debug, Clone, Serialize)]
pub struct WantedView {
    /// Counts up with every change.
    pub version: u64,
    /// By SECTION.KEY.
    pub settings: BTreeMap<String, String>,
    /// RFC 3339.
    pub pushed_time: Option<Timestamp>,
    /// Name of the user who pushed them.
    pub pushed_by: String,
}

/// What became of pushed settings.
#[derive(Debug, Clone, Serialize)]
pub struct RunningView {
    /// The version in use; 0 for the device's own configuration.
    pub version: u64,
    /// It has yet to prove itself.
    pub on_trial: bool,
    /// The last version that the device refused or went back from; 0 where there is none.
    pub rejected_version: u64,
    /// Why the device gave that version up.
    pub rejection: String,
}

/// Devices, ordered by name.
#[derive(Debug)]
pub struct DeviceList;

impl From<v1::Device> for DeviceView {
    fn from(device: v1::Device) -> Self {
        let (pushed_time, pushed_by) = (time(device.wanted_time.as_ref()), device.wanted_by);
        let running = device.running.unwrap_or_default();
        let proxy = ProxyView { id: device.proxy_id, name: device.proxy_name };
        Self {
            id: device.id,
            name: device.name,
            kind: word(device.kind, DeviceKind::as_str),
            classroom: device.classroom,
            status: word(device.status, DeviceStatus::as_str),
            description: device.description,
            noted_address: device.noted_address,
            seen_address: device.seen_address,
            mac_address: device.mac_address,
            create_time: time(device.create_time.as_ref()),
            last_seen_time: time(device.last_seen_time.as_ref()),
            agent_version: device.agent_version,
            pack_digest: device.pack_digest,
            spooled: device.spooled,
            lost: device.lost,
            online: device.online,
            heartbeat: device.heartbeat.map(Into::into),
            wanted: device.wanted.map(|wanted| WantedView {
                version: wanted.version,
                settings: wanted.settings.into_iter().collect(),
                pushed_time,
                pushed_by,
            }),
            running: RunningView {
                version: running.running_version,
                on_trial: running.on_trial,
                rejected_version: running.rejected_version,
                rejection: running.rejection,
            },
            proxy: (!proxy.id.is_empty()).then_some(proxy),
            token_count: device.token_count,
            connected_twice: device.connected_twice.map(|twice| ConnectedTwiceView {
                now: twice.now,
                last_time: time(twice.last_time.as_ref()),
                count: twice.count,
            }),
            today: None,
        }
    }
}

impl CoverageView {
    /// Of the answer to a request for this time.
    pub(crate) fn new(start_time: Timestamp, end_time: Timestamp, coverage: v1::DeviceCoverage) -> Self {
        let gaps = coverage.gaps.into_iter().map(|gap| GapView {
            start_time: time(gap.start_time.as_ref()),
            end_time: time(gap.end_time.as_ref()),
            reason: match gap.reason() {
                Reason::State => word(gap.state, WatchState::as_str),
                Reason::NotWatched => "not_watched",
                Reason::NotDelivered => "not_delivered",
                Reason::Unspecified => UNRECOGNISED,
            },
        });
        Self {
            start_time,
            end_time,
            watched_share: coverage.watched_share,
            delivered_until_time: time(coverage.delivered_until_time.as_ref()),
            gaps: gaps.collect(),
        }
    }

    fn facts(&self, style: &Style) -> Vec<(&'static str, String)> {
        let delivered = match self.delivered_until_time {
            None => "it has never said: that it did not see somebody proves nothing".to_owned(),
            until => moment(style, until),
        };
        let watched = format!("{:.1} % of today", 100.0 * self.watched_share);
        vec![("delivered until", delivered), ("watching", watched)]
    }
}

impl GapView {
    /// The reason in words.
    fn in_words(&self) -> String {
        match self.reason {
            "not_watched" => "it claims nothing of this time: it was off, or not there yet",
            "not_delivered" => "it has not delivered so far: it is offline, or still sending",
            "camera_failed" => "the camera gave no pictures",
            "camera_frozen" => "the camera gave one and the same picture",
            "camera_covered" => "the lens was covered, or it was dark",
            "overloaded" => "the device was too busy to look",
            "disk_full" => "what was seen could not be stored on the device",
            "sightings_lost" => "sightings were given up before the server had them",
            "clock_wrong" => "the device's clock was wrong",
            "pack_not_served" => "the device used a model pack that the server does not serve",
            "maintenance" => "the device was in maintenance",
            other => other,
        }
        .to_owned()
    }
}

impl From<v1::Heartbeat> for HeartbeatView {
    fn from(beat: v1::Heartbeat) -> Self {
        Self {
            sent_at: time(beat.send_time.as_ref()),
            oldest_spooled_at: time(beat.oldest_spool_time.as_ref()),
            lost_repeats: beat.lost_repeats,
            lost_expired: beat.lost_expired,
            lost_damaged: beat.lost_damaged,
            lost_evidence: beat.lost_evidence,
            rejected: beat.rejected,
            health: beat.health.map(|health| HealthView {
                temperature: health.temperature,
                cpu_percent: health.cpu_percent,
                memory_resident: health.memory_resident,
                memory_available: health.memory_available,
                disk_free: health.disk_free,
                frames_per_second: health.frames_per_second,
                faces_per_second: health.faces_per_second,
                frames: health.frames,
                frames_bad: health.frames_bad,
                frames_dropped: health.frames_dropped,
                source_failures: health.source_failures,
                uptime_seconds: health.uptime_seconds,
                clock_synchronised: health.clock_synchronised,
                unknown_messages: health.unknown_messages,
                disk_full: health.disk_full,
            }),
        }
    }
}

impl DeviceView {
    fn last_seen(&self, style: &Style) -> String {
        match self.last_seen_time {
            None if !style.exact => "never".to_owned(),
            time => moment(style, time),
        }
    }

    /// What somebody has to do something about.
    fn alarms(&self, style: &Style) -> Vec<(&'static str, String)> {
        let mut alarms = Vec::new();
        if let Some(ConnectedTwiceView { now, last_time, count }) = &self.connected_twice {
            let (last, times) = (moment(style, *last_time), if *count == 1 { "time" } else { "times" });
            alarms.push(match now {
                true => (
                    "ALARM",
                    format!("connected twice, last noticed {last}: two agents use this device's certificate"),
                ),
                false => ("connected twice", format!("last noticed {last}, {count} {times} in all")),
            });
        }
        let health = self.heartbeat.as_ref().and_then(|beat| beat.health.as_ref());
        if health.is_some_and(|health| health.disk_full) {
            alarms.push(("ALARM", "the device's disk is full: what it sees is not kept".to_owned()));
        }
        alarms
    }

    fn online(&self) -> &'static str {
        if self.online { "online" } else { "offline" }
    }

    /// Which pushed settings are in use, and what became of the last ones that are not.
    fn settings(&self) -> String {
        let RunningView { version, on_trial, rejected_version, .. } = self.running;
        let wanted = self.wanted.as_ref().map_or(0, |wanted| wanted.version);
        let running = match version {
            0 => "the device's own".to_owned(),
            version => format!("version {version}"),
        };
        match () {
            () if on_trial => format!("{running}, on trial"),
            () if wanted == version => running,
            () if wanted == rejected_version => format!("{running}; version {wanted} was rejected"),
            () => format!("{running}; version {wanted} was not taken yet"),
        }
    }

    fn health_facts(&self) -> Vec<(&'static str, String)> {
        let Some(health) = self.heartbeat.as_ref().and_then(|beat| beat.health.as_ref()) else {
            return vec![];
        };
        let text =
            |value: Option<f32>, unit: &str| value.map(|v| format!("{v:.1}{unit}")).unwrap_or_default();
        let bytes = |value: Option<u64>| value.map(mebibytes).unwrap_or_default();
        vec![
            ("temperature", text(health.temperature, " °C")),
            ("processors", text(health.cpu_percent, " % busy")),
            ("memory", bytes(health.memory_resident)),
            ("memory left", bytes(health.memory_available)),
            ("disk left", bytes(health.disk_free)),
            ("frames", text(health.frames_per_second, " a second")),
            ("faces", text(health.faces_per_second, " a second")),
            (
                "frames dropped",
                format!("{} of {}", health.frames_dropped, health.frames + health.frames_dropped),
            ),
            ("frames bad", health.frames_bad.to_string()),
            ("camera failures", health.source_failures.to_string()),
            ("running for", format!("{} min", health.uptime_seconds / 60)),
            ("clock", if health.clock_synchronised { "right" } else { "not known to be right" }.to_owned()),
        ]
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

impl Report for DeviceView {
    fn table(&self, style: &Style) -> String {
        let beat = self.heartbeat.as_ref();
        let count = |count: fn(&HeartbeatView) -> u64| beat.map(|b| count(b).to_string()).unwrap_or_default();
        let mut lines = vec![
            ("name", self.name.clone()),
            ("kind", self.kind.to_owned()),
            ("classroom", self.classroom.clone()),
            ("status", format!("{}, {}", self.status, self.online())),
            ("description", self.description.clone()),
            ("last seen", self.last_seen(style)),
            ("connects from", self.seen_address.clone()),
            ("noted address", self.noted_address.clone()),
            ("MAC", self.mac_address.clone()),
        ];
        lines.extend(self.alarms(style));
        lines.extend([
            ("spooled", self.spooled.to_string()),
            ("oldest spooled", beat.map(|b| moment(style, b.oldest_spooled_at)).unwrap_or_default()),
            ("lost", self.lost.to_string()),
            ("lost crops", count(|b| b.lost_evidence)),
            ("rejected", count(|b| b.rejected)),
        ]);
        lines.extend(self.today.iter().flat_map(|today| today.facts(style)));
        lines.extend(self.health_facts());
        lines.extend([
            ("agent version", self.agent_version.clone()),
            ("model pack", self.pack_digest.clone()),
            ("settings", self.settings()),
        ]);
        if self.running.rejected_version > 0 {
            let RunningView { rejected_version, rejection, .. } = &self.running;
            lines.push(("last rejection", format!("version {rejected_version}: {rejection}")));
        }
        if self.kind == DeviceKind::Esp32Cam.as_str() {
            let proxy = self.proxy.as_ref().map_or_else(|| "none".to_owned(), |proxy| proxy.name.clone());
            lines.extend([("proxy", proxy), ("tokens", self.token_count.to_string())]);
        }
        lines.extend([("created", moment(style, self.create_time)), ("id", self.id.clone())]);
        let rows = self.wanted.iter().flat_map(|wanted| &wanted.settings);
        let rows = rows.map(|(key, value)| [key.clone(), value.clone()]).collect();
        let gaps = self.today.iter().flat_map(|today| &today.gaps);
        let gaps = gaps
            .map(|gap| [moment(style, gap.start_time), moment(style, gap.end_time), gap.in_words()])
            .collect();
        let mut parts = vec![
            facts(style, &lines),
            table(style, ["PUSHED SETTING", "VALUE"], rows),
            table(style, ["NOT WATCHING FROM", "UNTIL", "WHY"], gaps),
        ];
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }
}

/// What was pushed to a device at one time.
#[derive(Debug, Clone, Serialize)]
pub struct SettingsVersionView {
    /// Counts up with every change.
    pub version: u64,
    /// RFC 3339.
    pub push_time: Option<Timestamp>,
    /// Name of the user who pushed them.
    pub pushed_by: String,
    /// Those that the version before did not have so, by SECTION.KEY.
    pub set: BTreeMap<String, String>,
    /// Those that it leaves to the device again.
    pub unset: Vec<String>,
    /// All of them, by SECTION.KEY.
    pub settings: BTreeMap<String, String>,
}

impl From<v1::DeviceSettingsVersion> for SettingsVersionView {
    fn from(version: v1::DeviceSettingsVersion) -> Self {
        Self {
            version: version.version,
            push_time: time(version.push_time.as_ref()),
            pushed_by: version.pushed_by,
            set: version.set.into_iter().collect(),
            unset: version.unset,
            settings: version.settings.into_iter().collect(),
        }
    }
}

/// What was ever pushed to a device, the newest first.
#[derive(Debug)]
pub struct SettingsHistory;

impl List for SettingsHistory {
    type Entry = SettingsVersionView;
    const FIELD: &'static str = "versions";
    const NAME: &'static str = "versions of settings";
    const HEADER: &'static [&'static str] = &["VERSION", "PUSHED", "BY", "SET", "UNSET"];

    fn cells(version: &SettingsVersionView, style: &Style) -> Vec<String> {
        let set: Vec<String> = version.set.iter().map(|(key, value)| format!("{key}={value}")).collect();
        vec![
            version.version.to_string(),
            moment(style, version.push_time),
            version.pushed_by.clone(),
            set.join(" "),
            version.unset.join(" "),
        ]
    }
}

impl List for DeviceList {
    type Entry = DeviceView;
    const FIELD: &'static str = "devices";
    const NAME: &'static str = "devices";
    const HEADER: &'static [&'static str] =
        &["NAME", "KIND", "CLASSROOM", "STATUS", "ONLINE", "LAST SEEN", "SPOOLED", "ID"];

    fn cells(device: &DeviceView, style: &Style) -> Vec<String> {
        vec![
            device.name.clone(),
            device.kind.to_owned(),
            device.classroom.clone(),
            device.status.to_owned(),
            device.online().to_owned(),
            device.last_seen(style),
            device.spooled.to_string(),
            device.id.clone(),
        ]
    }
}
