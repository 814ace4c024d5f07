//! One event "this face was seen by this device at this time", as the agent's stages pass it on.

use std::time::Duration;

use cavs_embedding::PackDigest;
use cavs_proto::{
    from_timestamp, to_timestamp,
    v1::{self, capture_clock::Trust},
};
use cavs_types::DeviceId;
use jiff::{SignedDuration, Timestamp};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{
    clock::{ClockAnchor, EstimatedTime, Stamp},
    track::{SightingTrack, TrackedFace},
    vision::{BoundingBox, Face},
};

/// Which start of an agent numbered a sighting. Drawn at random: a clock without battery and a spool that
/// is gone, or two devices from one memory card, give the same numbers twice, but never the same run.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RunId([u8; 16]);

impl RunId {
    /// A new one; `None` where the system has no random numbers to give.
    #[must_use]
    pub fn draw() -> Option<Self> {
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Some(Self(bytes))
    }

    /// As it goes over the wire.
    #[must_use]
    pub fn to_wire(self) -> bytes::Bytes {
        bytes::Bytes::copy_from_slice(&self.0)
    }
}

impl std::fmt::Debug for RunId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What makes a sighting unique for ever, together with the run and the device.
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
    /// The face; of a track, its best shot with the embedding on which the shots agreed.
    pub face: Face,
    /// The track that it stands for; `None` where faces are not tracked.
    pub track: Option<SightingTrack>,
    /// The camera that a proxy speaks for; `None` where the agent speaks for itself.
    pub camera: Option<DeviceId>,
}

impl Sighting {
    /// The sighting that a track has due, of the device itself.
    #[must_use]
    pub fn of_track(tracked: TrackedFace, pack_digest: PackDigest) -> Self {
        let TrackedFace { taken, frame, face, track } = tracked;
        Self { taken, frame, pack_digest, face, track: Some(track), camera: None }
    }

    /// The wire message, without run, key and evidence, which the spool adds.
    #[must_use]
    pub fn to_wire(&self) -> v1::CapturedSighting {
        v1::CapturedSighting {
            boot_epoch: 0,
            sequence: 0,
            capture_time: Some(to_timestamp(self.taken.wall)),
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
            run_id: bytes::Bytes::new(),
        }
    }
}

/// Replaces the times of a wall clock that was not known to be right by what is believed of them
/// now, and says how far they can be trusted. Each time is judged by what its own clock said: the wall
/// clock may have been set between two of them.
pub(crate) fn correct_times(sighting: &mut v1::CapturedSighting, anchor: Option<&ClockAnchor>) {
    let shift = sighting.clock.as_mut().and_then(|clock| correct(&mut sighting.capture_time, clock, anchor));
    let Some(track) = &mut sighting.track else { return };
    let times = [
        (&mut track.enter_time, track.entered_clock.as_mut()),
        (&mut track.last_seen_time, track.last_seen_clock.as_mut()),
    ];
    for (time, clock) in times {
        match clock {
            Some(clock) => {
                correct(time, clock, anchor);
            }
            // Stored by an agent that kept one clock only: nothing better is known of the others.
            None => {
                let read = from_timestamp("time", time.as_ref()).ok();
                let moved = read.zip(shift).and_then(|(time, shift)| time.checked_add(shift).ok());
                *time = moved.map(to_timestamp).or(*time);
            }
        }
    }
}

/// Replaces a time by what is believed of it; gives how far it was moved.
fn correct(
    time: &mut Option<prost_types::Timestamp>,
    clock: &mut v1::CaptureClock,
    anchor: Option<&ClockAnchor>,
) -> Option<SignedDuration> {
    let wall = from_timestamp("time", time.as_ref()).ok()?;
    let stamp = stamp_of(wall, clock);
    let estimate = EstimatedTime::of(stamp, anchor);
    clock.trust = Trust::from(estimate.trust).into();
    clock.uncertainty_ms = estimate.uncertainty.map(millis);
    *time = Some(to_timestamp(estimate.wall));
    Some(estimate.wall.duration_since(wall))
}

/// The stamp in a wire message: its wall clock, and what is beside it in [`v1::CaptureClock`].
fn stamp_of(wall: Timestamp, clock: &v1::CaptureClock) -> Stamp {
    Stamp {
        wall,
        since_boot: Duration::from_millis(clock.since_boot_ms),
        synchronised: clock.trust() == Trust::Synchronised,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl From<Stamp> for v1::CaptureClock {
    fn from(stamp: Stamp) -> Self {
        let trust = if stamp.synchronised { Trust::Synchronised } else { Trust::Unsynchronised };
        Self { trust: trust.into(), uncertainty_ms: None, since_boot_ms: millis(stamp.since_boot) }
    }
}

impl From<SightingTrack> for v1::SightingTrack {
    fn from(track: SightingTrack) -> Self {
        Self {
            id: track.id,
            enter_time: Some(to_timestamp(track.entered.wall)),
            last_seen_time: Some(to_timestamp(track.last_seen.wall)),
            left: track.left,
            ordinal: track.ordinal,
            shots: track.shots,
            entered_clock: Some(track.entered.into()),
            last_seen_clock: Some(track.last_seen.into()),
        }
    }
}

impl From<BoundingBox> for v1::BoundingBox {
    fn from(b: BoundingBox) -> Self {
        Self { x: b.x, y: b.y, width: b.width, height: b.height }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(wall: i64, since_boot: u64, synchronised: bool) -> Stamp {
        let wall = Timestamp::from_second(wall).unwrap();
        Stamp { wall, since_boot: Duration::from_secs(since_boot), synchronised }
    }

    fn tracked(entered: Stamp, taken: Stamp, last_seen: Stamp) -> v1::CapturedSighting {
        let track = SightingTrack { id: 1, entered, last_seen, left: true, ordinal: 0, shots: 3 };
        v1::CapturedSighting {
            capture_time: Some(to_timestamp(taken.wall)),
            clock: Some(taken.into()),
            track: Some(track.into()),
            ..Default::default()
        }
    }

    fn seconds(time: Option<prost_types::Timestamp>) -> i64 {
        time.unwrap().seconds
    }

    /// Somebody came in while the clock stood in 1970, and was seen best after it was set.
    #[test]
    fn each_time_is_corrected_by_its_own_clock() {
        const NOON: i64 = 1_800_000_000;
        // The kernel started 100 s before noon.
        let anchor = ClockAnchor {
            boot: at(NOON - 100, 0, true).wall,
            learnt: Duration::from_secs(100),
            uncertainty: Duration::ZERO,
        };
        let mut sighting = tracked(at(40, 40, false), at(NOON - 50, 50, true), at(NOON - 45, 55, true));
        correct_times(&mut sighting, Some(&anchor));
        let track = sighting.track.unwrap();
        assert_eq!(seconds(sighting.capture_time), NOON - 50);
        assert_eq!(seconds(track.enter_time), NOON - 60, "the one that was wrong");
        assert_eq!(seconds(track.last_seen_time), NOON - 45);
        assert_eq!(track.entered_clock.unwrap().trust(), Trust::Corrected);

        // And the other way round: what was right stays, whatever is made of the best shot.
        let mut sighting = tracked(at(NOON - 60, 40, true), at(50, 50, false), at(NOON - 45, 55, true));
        correct_times(&mut sighting, Some(&anchor));
        let track = sighting.track.unwrap();
        assert_eq!(seconds(sighting.capture_time), NOON - 50);
        assert_eq!((seconds(track.enter_time), seconds(track.last_seen_time)), (NOON - 60, NOON - 45));
    }

    #[test]
    fn a_track_of_an_earlier_agent_moves_as_a_whole() {
        let mut sighting = tracked(at(40, 40, false), at(50, 50, false), at(55, 55, false));
        let track = sighting.track.as_mut().unwrap();
        (track.entered_clock, track.last_seen_clock) = (None, None);
        let boot = at(1_800_000_000, 0, true).wall;
        let anchor = ClockAnchor { boot, learnt: Duration::from_secs(100), uncertainty: Duration::ZERO };
        correct_times(&mut sighting, Some(&anchor));
        let track = sighting.track.unwrap();
        let times = [track.enter_time, sighting.capture_time, track.last_seen_time].map(seconds);
        assert_eq!(times, [1_800_000_040, 1_800_000_050, 1_800_000_055]);
    }
}
