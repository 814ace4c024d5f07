use cavs_proto::v1;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    layout::{facts, moment, table},
    time,
};
use crate::printer::{Report, Style};

/// A site's numbers.
#[derive(Debug, Serialize)]
pub struct StatsView {
    /// RFC 3339.
    pub as_of: Option<Timestamp>,
    /// Sightings that wait for a person; counted to 10,000.
    pub pending_reviews: u64,
    /// Whether there are no more.
    pub pending_reviews_exact: bool,
    /// Of those, what somebody has flagged.
    pub flagged_reviews: u64,
    /// Devices that are not revoked.
    pub devices: u64,
    /// Of those, who were heard in the last five minutes.
    pub devices_online: u64,
    /// Of today.
    pub today: CountsView,
    /// Of the last hour.
    pub last_hour: CountsView,
    /// How often accepted sightings of these days name the right person, as people found who were not told whom the
    /// machine meant.
    pub accuracy: AccuracyView,
    /// Oldest first.
    pub days: Vec<DayView>,
    /// Of today, those with most sightings first.
    pub rooms: Vec<RoomView>,
    /// Of today, those with most sightings first.
    pub by_device: Vec<DeviceStatsView>,
}

/// What people found who were not told whom the machine meant.
#[derive(Debug, Default, Serialize)]
pub struct AccuracyView {
    /// Audits in which both said the same.
    pub right: u64,
    /// Audits in which they did not.
    pub wrong: u64,
    /// Audits in which nobody could tell.
    pub unclear: u64,
    /// Audits that nobody has looked at.
    pub waiting: u64,
    /// right / (right + wrong); null where it was not measured.
    pub share: Option<f64>,
    /// The lower end of its 95 % interval.
    pub share_low: Option<f64>,
    /// The upper end.
    pub share_high: Option<f64>,
}

impl AccuracyView {
    fn in_words(&self) -> String {
        let waiting = match self.waiting {
            0 => String::new(),
            waiting => format!("; {waiting} audits wait (cavs review audit)"),
        };
        match (self.share, self.share_low, self.share_high) {
            (Some(share), Some(low), Some(high)) => {
                let [share, low, high] = [share, low, high].map(|share| format!("{:.1}", share * 100.0));
                let audited = self.right + self.wrong;
                format!("{share} % of {audited} audited decisions (95 %: {low} to {high} %){waiting}")
            }
            _ => format!("not measured{waiting}"),
        }
    }
}

impl From<v1::Accuracy> for AccuracyView {
    fn from(accuracy: v1::Accuracy) -> Self {
        let v1::Accuracy { right, wrong, unclear, waiting, share, share_low, share_high } = accuracy;
        Self { right, wrong, unclear, waiting, share, share_low, share_high }
    }
}

/// Of some sightings.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct CountsView {
    /// All of them.
    pub sightings: u64,
    /// Those that the machine was sure of.
    pub accepted: u64,
    /// Those that it left to a person.
    pub pending: u64,
    /// Those of nobody who is enrolled.
    pub unknown: u64,
    /// Different students whom the machine accepted or a person approved.
    pub students: u64,
}

/// Of a day.
#[derive(Debug, Serialize)]
pub struct DayView {
    /// YYYY-MM-DD, in the reader's zone.
    pub day: String,
    /// Of its sightings.
    #[serde(flatten)]
    pub counts: CountsView,
}

/// Of a room.
#[derive(Debug, Serialize)]
pub struct RoomView {
    /// Empty for devices without a room.
    pub classroom: String,
    /// Of its sightings.
    #[serde(flatten)]
    pub counts: CountsView,
}

/// Of a device.
#[derive(Debug, Serialize)]
pub struct DeviceStatsView {
    /// UUID.
    pub device_id: String,
    /// Its name.
    pub device_name: String,
    /// Of its sightings.
    #[serde(flatten)]
    pub counts: CountsView,
    /// When it was heard last; RFC 3339.
    pub last_seen_time: Option<Timestamp>,
}

impl From<v1::SightingCounts> for CountsView {
    fn from(counts: v1::SightingCounts) -> Self {
        let v1::SightingCounts { sightings, accepted, pending, unknown, students } = counts;
        Self { sightings, accepted, pending, unknown, students }
    }
}

impl CountsView {
    fn cells(&self) -> [String; 5] {
        [self.students, self.sightings, self.accepted, self.pending, self.unknown]
            .map(|count| count.to_string())
    }

    fn in_words(&self) -> String {
        let Self { sightings, accepted, pending, unknown, students } = self;
        format!(
            "{students} students, {sightings} sightings: {accepted} accepted, {pending} pending, {unknown} unknown"
        )
    }
}

impl StatsView {
    /// The server's answer, with the days that were asked for.
    #[must_use]
    pub fn new(stats: v1::Stats, days: impl Iterator<Item = String>) -> Self {
        let counts = |counts: Option<v1::SightingCounts>| CountsView::from(counts.unwrap_or_default());
        let day = |(counts, day): (v1::SightingCounts, String)| DayView { day, counts: counts.into() };
        Self {
            as_of: time(stats.as_of_time.as_ref()),
            pending_reviews: stats.pending_reviews,
            pending_reviews_exact: stats.pending_reviews_exact,
            flagged_reviews: stats.flagged_reviews,
            devices: stats.devices,
            devices_online: stats.devices_online,
            today: counts(stats.counts),
            last_hour: counts(stats.last_hour),
            accuracy: stats.accuracy.unwrap_or_default().into(),
            days: stats.further_periods.into_iter().zip(days).map(day).collect(),
            rooms: stats
                .rooms
                .into_iter()
                .map(|room| RoomView { classroom: room.classroom, counts: counts(room.counts) })
                .collect(),
            by_device: stats
                .by_device
                .into_iter()
                .map(|device| DeviceStatsView {
                    device_id: device.device_id,
                    device_name: device.device_name,
                    counts: counts(device.counts),
                    last_seen_time: time(device.last_seen_time.as_ref()),
                })
                .collect(),
        }
    }
}

impl Report for StatsView {
    fn table(&self, style: &Style) -> String {
        let more = if self.pending_reviews_exact { "" } else { "more than " };
        let today = self.days.last().map(|day| day.day.as_str()).unwrap_or_default();
        let numbers = facts(
            style,
            &[
                ("as of", moment(style, self.as_of)),
                (
                    "waiting",
                    format!(
                        "{more}{} to review, {} of them flagged (cavs review list)",
                        self.pending_reviews, self.flagged_reviews
                    ),
                ),
                (
                    "devices",
                    format!("{} of {} online (cavs devices list)", self.devices_online, self.devices),
                ),
                ("last hour", self.last_hour.in_words()),
                ("today", format!("{} (cavs sightings list --from {today})", self.today.in_words())),
                ("accuracy", self.accuracy.in_words()),
            ],
        );
        let row = |name: &str, counts: &CountsView| {
            let [students, sightings, accepted, pending, unknown] = counts.cells();
            [name.to_owned(), students, sightings, accepted, pending, unknown]
        };
        let counted = |what: &'static str, rows: Vec<[String; 6]>| {
            table(style, [what, "STUDENTS", "SIGHTINGS", "ACCEPTED", "PENDING", "UNKNOWN"], rows)
        };
        let days = self.days.iter().map(|day| row(&day.day, &day.counts)).collect();
        let rooms = self.rooms.iter().map(|room| row(&room.classroom, &room.counts)).collect();
        let devices = self.by_device.iter().map(|device| row(&device.device_name, &device.counts)).collect();
        let mut parts =
            vec![numbers, counted("DAY", days), counted("ROOM", rooms), counted("DEVICE", devices)];
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }
}
