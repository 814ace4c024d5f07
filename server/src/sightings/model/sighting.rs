use std::{fmt, str::FromStr};

use bytes::Bytes;
use cavs_embedding::{PackDigest, Similarity};
use cavs_types::{
    ClockTrust, Decision, DeviceId, PredictionReason, ProtocolError, Quality, SightingId, StudentId,
};
use jiff::{SignedDuration, Timestamp};
use ring::digest::{Context, SHA256};

use super::{Claim, Review};
use crate::{
    fleet::RunId,
    page::ListName,
    people::StudentRef,
    recognition::{Judged, Prediction, Probe},
};

/// The earliest time that is taken for one: a device without a clock begins here.
pub const EARLIEST: Timestamp = Timestamp::UNIX_EPOCH;
/// The latest time that is taken for one: the year 2200.
pub const LATEST: Timestamp = Timestamp::constant(7_258_118_400, 0);

/// How far a time of a device may be ahead of the server's clock and still be believed: as far as Kerberos
/// lets clocks be apart (RFC 4120, 1.6).
pub(crate) const MOST_AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// How far it may be behind: a quarter, in which a site may have been cut off and its sightings have waited.
pub(crate) const MOST_BEHIND: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A face's place in its frame, in pixels from the top left corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BoundingBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

/// What a decision on a sighting depended on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct JudgedFace {
    /// The face and its best candidate.
    pub face: Judged,
    /// Templates of those who were expected, where the best candidate was one of them.
    pub expected: Option<u32>,
}

/// What a start of an agent numbers its sightings by: unique for ever together with the start, the device,
/// and the camera that it speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SightingKey {
    /// Increases with every start of the agent.
    pub boot_epoch: u64,
    /// Increases within an epoch.
    pub sequence: u64,
}

/// One event "this face was seen at this time", as the device tells it.
#[derive(Debug, Clone, PartialEq)]
pub struct CapturedSighting {
    /// Its number.
    pub key: SightingKey,
    /// The start of the agent that gave it; `None` from agents that have no run ids.
    pub run: Option<RunId>,
    /// By the device's clock.
    pub captured_at: Timestamp,
    /// The face.
    pub probe: Probe,
    /// Where the face is in its frame.
    pub bounding_box: BoundingBox,
    /// The detector's confidence, 0 to 1.
    pub detection_score: f32,
    /// JPEG of the face; empty where the device keeps none.
    pub evidence: Bytes,
    /// What the source calls the frame.
    pub frame: String,
    /// How far `captured_at` can be trusted.
    pub clock: Clock,
    /// What the sighting stands for, where faces are joined over frames.
    pub track: Option<Track>,
    /// The camera that a proxy speaks for; `None` where the device speaks for itself.
    pub camera: Option<DeviceId>,
}

impl CapturedSighting {
    /// The start of the agent that the sighting is numbered under. Where the agent has no run ids, its content
    /// stands for the start: two sightings that show the same are one, and two that don't are not, even where a
    /// clock without battery gave them the same number.
    #[must_use]
    pub fn numbered_under(&self) -> RunId {
        self.run.unwrap_or_else(|| {
            let mut content = Context::new(&SHA256);
            let camera = self.camera.map(DeviceId::uuid).unwrap_or_default();
            content.update(camera.as_bytes());
            content.update(self.probe.pack.as_bytes());
            content.update(&self.probe.embedding.to_le_bytes());
            let bounds = self.bounding_box;
            for number in [bounds.x, bounds.y, bounds.width, bounds.height, self.detection_score] {
                content.update(&number.to_le_bytes());
            }
            content.update(self.frame.as_bytes());
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&content.finish().as_ref()[..16]);
            RunId::of_digest(bytes)
        })
    }

    /// Whether its times can be: none of them is far from the server's clock when it came. A device says how
    /// far its clock can be trusted, but may be wrong in that, too.
    #[must_use]
    pub fn time_is_plausible(&self, received_at: Timestamp) -> bool {
        let track = self.track.iter().flat_map(|track| [track.entered_at, track.last_seen_at]);
        std::iter::once(self.captured_at)
            .chain(track)
            .all(|time| (-MOST_BEHIND..=MOST_AHEAD).contains(&time.duration_since(received_at)))
    }
}

/// What a device knows of its clock at a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// Whether it was right.
    pub trust: ClockTrust,
    /// How far a time may be off, in milliseconds.
    pub uncertainty_ms: Option<u64>,
}

/// The same face over consecutive frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Track {
    /// Unique among the tracks of a device and boot epoch.
    pub id: u64,
    /// When the person came into view.
    pub entered_at: Timestamp,
    /// When the person was last in view.
    pub last_seen_at: Timestamp,
    /// Whether the person has left.
    pub left: bool,
}

/// A recorded sighting.
#[derive(Debug, Clone, PartialEq)]
pub struct Sighting {
    /// Ours.
    pub id: SightingId,
    /// Who saw.
    pub device: DeviceId,
    /// Who saw, by name.
    pub device_name: String,
    /// Where.
    pub classroom: String,
    /// The device's number of it.
    pub key: SightingKey,
    /// By the device's clock.
    pub captured_at: Timestamp,
    /// By ours.
    pub received_at: Timestamp,
    /// Where the face is in its frame.
    pub bounding_box: BoundingBox,
    /// The detector's confidence, 0 to 1.
    pub detection_score: f32,
    /// How good the picture of the face is.
    pub quality: Quality,
    /// Probability that the face is live, where it was asked.
    pub liveness: Option<f32>,
    /// What the source calls the frame.
    pub frame: String,
    /// What made the probe.
    pub pack: PackDigest,
    /// What the machine said.
    pub prediction: Prediction<StudentRef>,
    /// Of the best candidate, where there was one.
    pub best_similarity: Option<Similarity>,
    /// The verdict in force: the newest that was not taken back.
    pub review: Option<Review>,
    /// The last verdicts, newest last, also those that others followed or that were taken back. Empty in lists.
    pub reviews: Vec<Review>,
    /// Who it was: by review, or else by an accepted prediction.
    pub student: Option<StudentRef>,
    /// Whether a picture of the face was kept.
    pub has_evidence: bool,
    /// Who alone decides it, while it waits for a person.
    pub claim: Option<Claim>,
    /// Sightings of the queue of the same visit, this one among them; 0 where nobody asked.
    pub visit_size: u32,
    /// How far `captured_at` can be trusted.
    pub clock: Clock,
    /// What the sighting stands for, where faces are joined over frames.
    pub track: Option<Track>,
    /// A time of it is far from the server's clock.
    pub time_implausible: bool,
}

/// What was made of a camera's sighting, for the camera.
#[derive(Debug, Clone, PartialEq)]
pub struct SightingAnswer {
    /// Ours.
    pub id: SightingId,
    /// What follows.
    pub decision: Decision,
    /// Why.
    pub reason: PredictionReason,
    /// Whom the machine means.
    pub student: Option<StudentRef>,
    /// Of the best candidate.
    pub similarity: Option<Similarity>,
    /// The similarity that would have been accepted.
    pub threshold: f32,
}

/// Where a sighting stands in lists: by time, and by id among those of the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SightingPosition {
    /// By the device's clock, or by ours where that can't be.
    pub listed_at: Timestamp,
    /// Ours.
    pub id: SightingId,
}

impl Sighting {
    /// Where it stands in lists.
    #[must_use]
    pub const fn position(&self) -> SightingPosition {
        let listed_at = if self.time_implausible { self.received_at } else { self.captured_at };
        SightingPosition { listed_at, id: self.id }
    }
}

impl fmt::Display for SightingPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.listed_at, self.id)
    }
}

impl FromStr for SightingPosition {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let wrong = || ProtocolError::invalid("page_token", "is no position in a list of sightings");
        let (time, id) = text.split_once(' ').ok_or_else(wrong)?;
        let listed_at: Timestamp = time.parse().map_err(|_| wrong())?;
        if !(EARLIEST..=LATEST).contains(&listed_at) {
            return Err(wrong());
        }
        Ok(Self { listed_at, id: id.parse().map_err(|_| wrong())? })
    }
}

/// Which sightings: all that is set must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SightingFilter {
    /// Of this device.
    pub device: Option<DeviceId>,
    /// In this room.
    pub classroom: Option<String>,
    /// Of this student.
    pub student: Option<StudentId>,
    /// Decided so.
    pub decision: Option<Decision>,
    /// Captured at or after; received, where the time can't be.
    pub from: Option<Timestamp>,
    /// Captured before; received, where the time can't be.
    pub until: Option<Timestamp>,
}

impl SightingFilter {
    /// The list that page tokens are of.
    #[must_use]
    pub fn list_name(&self, name: &str) -> ListName {
        let Self { device, classroom, student, decision, from, until } = self;
        ListName::new(name)
            .with("device", text(device).as_deref())
            .with("classroom", classroom.as_deref())
            .with("student", text(student).as_deref())
            .with("decision", decision.map(Decision::as_str))
            .with("from", text(from).as_deref())
            .with("until", text(until).as_deref())
    }
}

pub(super) fn text<T: fmt::Display>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(T::to_string)
}

#[cfg(test)]
mod tests {
    use cavs_embedding::UnitEmbedding;
    use cavs_types::Quality;

    use super::*;

    fn captured(captured_at: Timestamp) -> CapturedSighting {
        let quality = Quality::uniform(90);
        CapturedSighting {
            key: SightingKey { boot_epoch: 1, sequence: 1 },
            run: None,
            captured_at,
            probe: Probe {
                embedding: UnitEmbedding::normalize(vec![1.0; 2]).unwrap(),
                pack: PackDigest::from_bytes([1; 32]),
                quality,
                liveness: None,
            },
            bounding_box: BoundingBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0 },
            detection_score: 0.9,
            evidence: Bytes::new(),
            frame: String::new(),
            clock: Clock { trust: ClockTrust::Corrected, uncertainty_ms: None },
            track: None,
            camera: None,
        }
    }

    #[test]
    fn times_far_from_the_servers_clock_are_not_believed() {
        let now: Timestamp = "2026-03-02T08:00:00Z".parse().unwrap();
        let plausible = |time: &str| captured(time.parse().unwrap()).time_is_plausible(now);
        assert!(plausible("2026-03-02T08:05:00Z") && !plausible("2026-03-02T08:05:01Z"));
        assert!(plausible("2025-12-02T08:00:00Z") && !plausible("2025-12-02T07:59:59Z"));
        assert!(!plausible("2076-01-01T00:00:00Z") && !plausible("1970-01-01T00:00:00Z"));

        // A track's times count, too.
        let mut tracked = captured(now);
        let entered_at = "2076-01-01T00:00:00Z".parse().unwrap();
        tracked.track = Some(Track { id: 1, entered_at, last_seen_at: now, left: false });
        assert!(!tracked.time_is_plausible(now));
    }

    #[test]
    fn every_filter_makes_another_list() {
        let time = Timestamp::UNIX_EPOCH;
        let id = SightingId::generate().uuid();
        let filters = [
            SightingFilter::default(),
            SightingFilter { device: Some(id.into()), ..Default::default() },
            SightingFilter { student: Some(id.into()), ..Default::default() },
            SightingFilter { classroom: Some(id.to_string()), ..Default::default() },
            SightingFilter { decision: Some(Decision::Pending), ..Default::default() },
            SightingFilter { decision: Some(Decision::Unknown), ..Default::default() },
            SightingFilter { from: Some(time), ..Default::default() },
            SightingFilter { until: Some(time), ..Default::default() },
        ];
        let request = |filter: &SightingFilter, token: &str| {
            crate::page::PageRequest::<SightingPosition>::new(1, token, false, filter.list_name("x"))
        };
        for (index, filter) in filters.iter().enumerate() {
            let items = vec![SightingPosition { listed_at: time, id: id.into() }; 2];
            let token = request(filter, "").unwrap().page(items, |item| *item).next;
            for (other_index, other) in filters.iter().enumerate() {
                assert_eq!(request(other, &token).is_ok(), index == other_index, "{filter:?} {other:?}");
            }
        }
    }
}
