use std::{fmt, str::FromStr};

use bytes::Bytes;
use cavs_embedding::{PackDigest, Similarity, UnitEmbedding};
use cavs_proto::{DeviceId, ProtocolError, SightingId, StudentId};
use jiff::{SignedDuration, Timestamp};

use super::{BoundingBox, ListName, Quality, RunId, text};

/// The earliest time that is taken for one: a device without a clock begins here.
pub const EARLIEST: Timestamp = Timestamp::UNIX_EPOCH;
/// The latest time that is taken for one: the year 2200.
pub const LATEST: Timestamp = Timestamp::constant(7_258_118_400, 0);

/// How far a time of a device may be ahead of the server's clock and still be believed: as far as Kerberos
/// lets clocks be apart (RFC 4120, 1.6).
const MOST_AHEAD: SignedDuration = SignedDuration::from_mins(5);
/// How far it may be behind: a quarter, in which a site may have been cut off and its sightings have waited.
const MOST_BEHIND: SignedDuration = SignedDuration::from_hours(90 * 24);

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
    pub probe: UnitEmbedding,
    /// What made the probe.
    pub pack: PackDigest,
    /// Where the face is in its frame.
    pub bounding_box: BoundingBox,
    /// The detector's confidence, 0 to 1.
    pub detection_score: f32,
    /// How good the picture of the face is.
    pub quality: Quality,
    /// Probability that the face is live, where it was asked.
    pub liveness: Option<f32>,
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

/// Whether a device's clock was right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockTrust {
    /// The device does not say.
    Unknown,
    /// It was.
    Synchronised,
    /// It was not, but the time was corrected by the server's.
    Corrected,
    /// It was not.
    Unsynchronised,
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

/// What follows from a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// The machine is sure enough.
    Accepted,
    /// A person has to say.
    Pending,
    /// Nobody who is enrolled.
    Unknown,
}

/// Why a decision is what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionReason {
    /// Similar enough to one student, and to no other.
    Matched,
    /// Not similar enough to anybody.
    LowSimilarity,
    /// Nearly as similar to another student.
    NarrowMargin,
    /// The face is tilted by more than half a quarter turn, or its landmarks can't be a face's.
    FaceNotUpright,
    /// The picture of the face is too poor to be sure.
    LowQuality,
    /// Captured at a time that is far from the server's clock.
    TimeImplausible,
    /// Nobody is enrolled.
    EmptyGallery,
    /// The probe is of a model pack that the server has no templates of.
    PackNotServed,
}

impl PredictionReason {
    /// Stable text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Matched => "MATCHED",
            Self::LowSimilarity => "LOW_SIMILARITY",
            Self::NarrowMargin => "NARROW_MARGIN",
            Self::FaceNotUpright => "FACE_NOT_UPRIGHT",
            Self::LowQuality => "LOW_QUALITY",
            Self::TimeImplausible => "TIME_IMPLAUSIBLE",
            Self::EmptyGallery => "EMPTY_GALLERY",
            Self::PackNotServed => "PACK_NOT_SERVED",
        }
    }
}

/// Somebody whom a face may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate<S = StudentId> {
    /// Who.
    pub student: S,
    /// How similar.
    pub similarity: Similarity,
}

/// What the matcher said of a sighting.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction<S = StudentId> {
    /// What follows.
    pub decision: Decision,
    /// Why: a [`PredictionReason`]'s text.
    pub reason: String,
    /// Best first.
    pub candidates: Vec<Candidate<S>>,
    /// Distance of the best to the next student; `None` where there is no next.
    pub margin: Option<f32>,
    /// The similarity that would have been accepted.
    pub threshold: f32,
    /// Version of the thresholds that decided.
    pub threshold_version: u32,
}

impl Prediction {
    /// Leaves to a person what the machine would have accepted, for a reason that the face does not give.
    pub fn leave_to_person(&mut self, reason: PredictionReason) {
        if self.decision == Decision::Accepted {
            self.decision = Decision::Pending;
            reason.as_str().clone_into(&mut self.reason);
        }
    }

    /// Whom the machine means: nobody where it says unknown.
    #[must_use]
    pub fn predicted(&self) -> Option<&Candidate> {
        match self.decision {
            Decision::Accepted | Decision::Pending => self.candidates.first(),
            Decision::Unknown => None,
        }
    }
}

/// What a person said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the predicted student, or the corrected one.
    Approved,
    /// It is not the predicted student.
    Rejected,
    /// Somebody else should look.
    Flagged,
}

/// A verdict to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReview {
    /// On what.
    pub sighting: SightingId,
    /// What the person says.
    pub verdict: Verdict,
    /// At most 2000 characters.
    pub notes: String,
    /// Who it really was.
    pub corrected: Option<StudentId>,
    /// Whether an earlier approval or rejection may be replaced.
    pub replace: bool,
}

impl NewReview {
    /// Checks what a person typed.
    ///
    /// # Errors
    /// `Invalid` notes.
    pub fn new(
        sighting: SightingId,
        verdict: Verdict,
        notes: &str,
        corrected: Option<StudentId>,
        replace: bool,
    ) -> Result<Self, ProtocolError> {
        Ok(Self { sighting, verdict, notes: text::paragraph("notes", notes, 2000)?, corrected, replace })
    }
}

/// A student as lists name them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StudentRef {
    /// Ours.
    pub id: StudentId,
    /// The site's.
    pub number: String,
    /// As people call them.
    pub name: String,
}

/// A recorded verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// What the person said.
    pub verdict: Verdict,
    /// User name of the person.
    pub reviewer: String,
    /// When.
    pub reviewed_at: Timestamp,
    /// In their words.
    pub notes: String,
    /// Who it really was.
    pub corrected: Option<StudentRef>,
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
    /// What a person said.
    pub review: Option<Review>,
    /// Who it was: by review, or else by an accepted prediction.
    pub student: Option<StudentRef>,
    /// Whether a picture of the face was kept.
    pub has_evidence: bool,
    /// How far `captured_at` can be trusted.
    pub clock: Clock,
    /// What the sighting stands for, where faces are joined over frames.
    pub track: Option<Track>,
    /// A time of it is far from the server's clock.
    pub time_implausible: bool,
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
        let decision = decision.map(|decision| match decision {
            Decision::Accepted => "accepted",
            Decision::Pending => "pending",
            Decision::Unknown => "unknown",
        });
        ListName::new(name)
            .with("device", text(device).as_deref())
            .with("classroom", classroom.as_deref())
            .with("student", text(student).as_deref())
            .with("decision", decision)
            .with("from", text(from).as_deref())
            .with("until", text(until).as_deref())
    }
}

fn text<T: fmt::Display>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(T::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(captured_at: Timestamp) -> CapturedSighting {
        let quality = Quality {
            unified_score: 90,
            inter_eye_distance: 90,
            head_size: 90,
            sharpness: 90,
            under_exposure_prevention: 90,
            over_exposure_prevention: 90,
            head_pose_yaw: 90,
            head_pose_pitch: 90,
            head_pose_roll: 90,
        };
        CapturedSighting {
            key: SightingKey { boot_epoch: 1, sequence: 1 },
            run: None,
            captured_at,
            probe: UnitEmbedding::normalize(vec![1.0; 2]).unwrap(),
            pack: PackDigest::from_bytes([1; 32]),
            bounding_box: BoundingBox { x: 0.0, y: 0.0, width: 1.0, height: 1.0 },
            detection_score: 0.9,
            quality,
            liveness: None,
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
    fn a_person_is_asked_only_where_the_machine_would_accept() {
        let left = |decision, reason: PredictionReason| {
            let mut prediction = Prediction::<StudentId> {
                decision,
                reason: reason.as_str().to_owned(),
                candidates: Vec::new(),
                margin: None,
                threshold: 0.5,
                threshold_version: 0,
            };
            prediction.leave_to_person(PredictionReason::TimeImplausible);
            (prediction.decision, prediction.reason)
        };
        let expected = (Decision::Pending, "TIME_IMPLAUSIBLE".to_owned());
        assert_eq!(left(Decision::Accepted, PredictionReason::Matched), expected);
        let expected = (Decision::Pending, "NARROW_MARGIN".to_owned());
        assert_eq!(left(Decision::Pending, PredictionReason::NarrowMargin), expected);
        assert_eq!(left(Decision::Unknown, PredictionReason::LowSimilarity).0, Decision::Unknown);
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
            crate::domain::PageRequest::<SightingPosition>::new(1, token, false, filter.list_name("x"))
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
