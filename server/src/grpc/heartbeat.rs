//! Between the wire's and our words for what a device says of itself.

use cavs_proto::{from_timestamp, to_timestamp, v1};

use crate::{
    fleet::{Health, Heartbeat, PushedSettings, SettingsReport},
    text::printable,
};

/// Longest reason of a rejection that is kept, in characters.
const MAX_REJECTION: usize = 500;

/// Takes a heartbeat as it is: a strange number in it costs no sighting.
pub(super) fn heartbeat_from_wire(beat: &v1::Heartbeat) -> Heartbeat {
    Heartbeat {
        sent_at: from_timestamp("send_time", beat.send_time.as_ref()).ok(),
        spooled: beat.spooled,
        oldest_spooled_at: from_timestamp("oldest_spooled_at", beat.oldest_spool_time.as_ref()).ok(),
        lost: beat.lost,
        lost_repeats: beat.lost_repeats,
        lost_expired: beat.lost_expired,
        lost_damaged: beat.lost_damaged,
        lost_evidence: beat.lost_evidence,
        rejected: beat.rejected,
        health: beat.health.as_ref().map(|health| Health {
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

pub(super) fn report_from_wire(report: Option<&v1::SettingsReport>) -> SettingsReport {
    let report = report.cloned().unwrap_or_default();
    SettingsReport {
        running: report.running_version,
        on_trial: report.on_trial,
        rejected: report.rejected_version,
        rejection: printable(&report.rejection, MAX_REJECTION),
    }
}

/// What the device said of its settings is beside it, in [`report_to_wire`].
pub(super) fn heartbeat_to_wire(beat: Heartbeat) -> v1::Heartbeat {
    v1::Heartbeat {
        send_time: beat.sent_at.map(to_timestamp),
        spooled: beat.spooled,
        lost: beat.lost,
        lost_repeats: beat.lost_repeats,
        lost_expired: beat.lost_expired,
        lost_damaged: beat.lost_damaged,
        lost_evidence: beat.lost_evidence,
        rejected: beat.rejected,
        oldest_spool_time: beat.oldest_spooled_at.map(to_timestamp),
        settings: None,
        health: beat.health.map(|health| v1::DeviceHealth {
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

pub(super) fn report_to_wire(report: SettingsReport) -> v1::SettingsReport {
    v1::SettingsReport {
        running_version: report.running,
        on_trial: report.on_trial,
        rejected_version: report.rejected,
        rejection: report.rejection,
    }
}

pub(super) fn settings_to_wire(pushed: PushedSettings) -> v1::DeviceSettings {
    v1::DeviceSettings { version: pushed.version, settings: pushed.settings.into_iter().collect() }
}
