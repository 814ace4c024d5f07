//! Joins the faces of consecutive frames into tracks, and says what of a track is worth sending.
//!
//! A person who stays in view gives one sighting soon after entering and one every
//! `resend_interval` after that, each with the vote of the best shots since the one before. The
//! tracker is a state machine without clock or I/O: time is what the frames say.

mod associate;
mod shots;
mod tracker;

use std::time::Duration;

use crate::{
    clock::Stamp,
    vision::{Face, UNCALIBRATED_SAME_PERSON},
};

pub use tracker::Tracker;

/// How faces become tracks and tracks become sightings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackingOptions {
    /// Least time between two sightings of a person who stays.
    pub resend_interval: Duration,
    /// How long shots are collected before the first sighting of a track.
    pub settle: Duration,
    /// How long somebody may be out of sight before they count as having left.
    pub forget_after: Duration,
    /// Most shots that vote in one sighting.
    pub best_shots: usize,
    /// Cosine similarity from which two faces are the same person.
    pub same_person: f32,
}

impl Default for TrackingOptions {
    fn default() -> Self {
        Self {
            resend_interval: Duration::from_secs(300),
            settle: Duration::from_secs(2),
            forget_after: Duration::from_secs(10),
            best_shots: 5,
            same_person: UNCALIBRATED_SAME_PERSON,
        }
    }
}

/// What a sighting says of the track that it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SightingTrack {
    /// Unique among the tracks of one start of the agent.
    pub id: u64,
    /// When the person came into view.
    pub entered: Stamp,
    /// When the person was last in view.
    pub last_seen: Stamp,
    /// The person is out of view, so `last_seen` is when they left.
    pub left: bool,
    /// Sightings of this track that were sent before this one.
    pub ordinal: u32,
    /// Faces that were seen since the sighting before this one; the best of them voted.
    pub shots: u32,
}

/// A face that a track has due as a sighting.
#[derive(Debug, Clone)]
pub struct TrackedFace {
    /// When the best shot was taken.
    pub taken: Stamp,
    /// What the source calls the best shot's frame.
    pub frame: String,
    /// The best shot, with the embedding on which the shots agreed.
    pub face: Face,
    /// The stay that it stands for.
    pub track: SightingTrack,
}
