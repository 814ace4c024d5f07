//! One event "this face was seen by this device at this time", as the agent's rooms pass it on.

use std::time::Duration;

use cavs_embedding::PackDigest;
use cavs_proto::{DeviceId, from_timestamp, to_timestamp, v1};

use crate::{
    clock::{Anchor, Believed, Stamp, Trust},
    track::{TrackNote, Tracked},
    vision::{BoundingBox, Face, Quality},
};

/// What makes a sighting unique for ever, together with the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SightingKey {
    /// Increases with every start of the agent.
    pub boot_epoch: u64,
    /// Increases with every sighting of one start.
    pub sequence: u64,
}

impl std::fmt::Display for SightingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.boot_epoch, self.sequence)
    }
}

/// A face of a frame or the best of a track, on its way to the spool, which gives it its key.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// When the frame was taken.
    pub taken: Stamp,
    /// What the source calls the frame.
    pub frame: String,
    /// Which pack made the embedding.
    pub pack_digest: PackDigest,
    /// The face.
    pub face: Face,
    /// What it stands for, where faces are tracked.
    pub track: Option<TrackNote>,
    /// The camera that a proxy speaks for; `None` where the agent speaks for itself.
    pub camera: Option<DeviceId>,
}

impl Sighting {
    /// A track's word.
    #[must_use]
    pub fn of_track(tracked: Tracked, pack_digest: PackDigest) -> Self {
        let Tracked { taken, frame, face, note } = tracked;
        Self { taken, frame, pack_digest, face, track: Some(note), camera: None }
    }

    /// The wire message, without key and evidence, which the spool keeps beside it.
    #[must_use]
    pub fn to_wire(&self) -> v1::CapturedSighting {
        v1::CapturedSighting {
            boot_epoch: 0,
            sequence: 0,
            captured_at: Some(to_timestamp(self.taken.wall)),
            embedding: self.face.embedding.to_le_bytes().into(),
            pack_digest: self.pack_digest.to_string(),
            bounding_box: Some(self.face.bounding_box.into()),
            detection_score: self.face.score,
            quality: Some(self.face.quality.into()),
            liveness: self.face.liveness,
            evidence: bytes::Bytes::new(),
            frame: self.frame.clone(),
            track: self.track.map(Into::into),
            clock: Some(self.taken.into()),
            camera_id: self.camera.map(|camera| camera.to_string()).unwrap_or_default(),
        }
    }
}

/// Replaces the times of a wall clock that was not known to be right by what is believed of them
/// now, and says how far they can be trusted.
pub(crate) fn correct_times(sighting: &mut v1::CapturedSighting, anchor: Option<&Anchor>) {
    let Some(clock) = &mut sighting.clock else { return };
    let Ok(wall) = from_timestamp("captured_at", sighting.captured_at.as_ref()) else { return };
    let stamp = Stamp {
        wall,
        since_boot: Duration::from_millis(clock.since_boot_ms),
        synchronised: clock.trust() == v1::capture_clock::Trust::Synchronised,
    };
    let believed = Believed::of(stamp, anchor);
    clock.trust = v1::capture_clock::Trust::from(believed.trust).into();
    clock.uncertainty_ms = believed.uncertainty.map(millis);
    let shift = believed.wall.duration_since(wall);
    let track = sighting.track.as_mut();
    let track_times = track.map(|track| [&mut track.entered_at, &mut track.last_seen_at]);
    for time in [&mut sighting.captured_at].into_iter().chain(track_times.into_iter().flatten()) {
        let shifted =
            from_timestamp("time", time.as_ref()).ok().and_then(|time| time.checked_add(shift).ok());
        *time = shifted.map(to_timestamp).or(*time);
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<Stamp> for v1::CaptureClock {
    fn from(stamp: Stamp) -> Self {
        let trust = if stamp.synchronised { Trust::Synchronised } else { Trust::Unsynchronised };
        Self {
            trust: v1::capture_clock::Trust::from(trust).into(),
            uncertainty_ms: None,
            since_boot_ms: millis(stamp.since_boot),
        }
    }
}

impl From<Trust> for v1::capture_clock::Trust {
    fn from(trust: Trust) -> Self {
        match trust {
            Trust::Synchronised => Self::Synchronised,
            Trust::Corrected => Self::Corrected,
            Trust::Unsynchronised => Self::Unsynchronised,
        }
    }
}

impl From<TrackNote> for v1::SightingTrack {
    fn from(note: TrackNote) -> Self {
        Self {
            id: note.id,
            entered_at: Some(to_timestamp(note.entered.wall)),
            last_seen_at: Some(to_timestamp(note.last_seen.wall)),
            left: note.left,
            ordinal: note.ordinal,
            shots: note.shots,
        }
    }
}

impl From<BoundingBox> for v1::BoundingBox {
    fn from(b: BoundingBox) -> Self {
        Self { x: b.x, y: b.y, width: b.width, height: b.height }
    }
}

impl From<Quality> for v1::FaceQuality {
    fn from(q: Quality) -> Self {
        Self {
            unified_score: q.unified_quality_score.into(),
            inter_eye_distance: q.inter_eye_distance.into(),
            head_size: q.head_size.into(),
            sharpness: q.sharpness.into(),
            under_exposure_prevention: q.under_exposure_prevention.into(),
            over_exposure_prevention: q.over_exposure_prevention.into(),
            head_pose_yaw: q.head_pose_yaw.into(),
            head_pose_pitch: q.head_pose_pitch.into(),
            head_pose_roll: q.head_pose_roll.into(),
        }
    }
}
