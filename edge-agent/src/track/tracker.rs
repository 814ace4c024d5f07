use std::time::Duration;

use cavs_embedding::UnitEmbedding;

use super::{
    SightingTrack, TrackedFace, TrackingOptions,
    associate::{TrackAppearance, associate, similarity},
    shots::{BestShots, Shot, weight},
};
use crate::{
    clock::Stamp,
    vision::{BoundingBox, Face},
};

/// Most tracks at once, those included that are out of view and may come back. Far more than a room
/// holds; it bounds the memory where a camera looks at a crowd.
const MAX_TRACKS: usize = 256;

/// How old a face's place may be to say where it is now.
const PLACE_VALID_FOR: Duration = Duration::from_millis(1500);

/// What a face's likeness keeps of its past when a shot is added: a haircut is learnt within minutes.
const MEAN_DECAY: f32 = 0.98;

/// See the [module](super).
#[derive(Debug)]
pub struct Tracker {
    options: TrackingOptions,
    tracks: Vec<Track>,
    next_id: u64,
}

#[derive(Debug)]
struct Track {
    id: u64,
    entered: Stamp,
    last_seen: Stamp,
    /// Until when nothing speaks against the person's presence; later than `last_seen` where the
    /// room has not moved since.
    present_until: Duration,
    bounding_box: BoundingBox,
    /// Weighted sum of the faces, and its direction.
    sum: Vec<f32>,
    mean_embedding: UnitEmbedding,
    /// The best shots since the last sighting.
    shots: BestShots,
    shot_count: u32,
    /// When the first of them was taken; `None` where there are none.
    unsent_since: Option<Stamp>,
    sent: u32,
    last_sent: Option<Duration>,
}

impl Tracker {
    /// A tracker that has seen nobody.
    #[must_use]
    pub fn new(options: TrackingOptions) -> Self {
        Self { options, tracks: Vec::new(), next_id: 1 }
    }

    /// Numbers its tracks on from those of an earlier tracker, so that no two share an id.
    #[must_use]
    pub fn after(self, earlier: &Self) -> Self {
        Self { next_id: self.next_id.max(earlier.next_id), ..self }
    }

    /// Somebody came into view and no sighting has said so yet.
    #[must_use]
    pub fn has_unsent_people(&self) -> bool {
        self.tracks.iter().any(|track| track.sent == 0)
    }

    /// When the first face was seen that no sighting stands for yet.
    #[must_use]
    pub fn unsent_since(&self) -> Option<Stamp> {
        let unsent = self.tracks.iter().filter_map(|track| track.unsent_since);
        unsent.min_by_key(|since| since.since_boot)
    }

    /// Takes the faces of a frame. Frames come in the order of their `since_boot`.
    pub fn on_frame(&mut self, taken: Stamp, frame: &str, faces: Vec<Face>) -> Vec<TrackedFace> {
        let now = taken.since_boot;
        let appearances: Vec<_> = self
            .tracks
            .iter()
            .map(|track| TrackAppearance {
                bounding_box: (now.saturating_sub(track.present_until) <= PLACE_VALID_FOR)
                    .then_some(track.bounding_box),
                embedding: &track.mean_embedding,
            })
            .collect();
        let pairs = associate(&appearances, &faces, self.options.same_person);
        let mut owners = vec![None; faces.len()];
        for (track, face) in pairs {
            owners[face] = Some(track);
        }
        let known = self.tracks.len();
        for (face, owner) in faces.into_iter().zip(owners) {
            match owner.filter(|track| *track < known) {
                Some(track) => self.tracks[track].add(taken, frame, face, self.options.best_shots),
                None => {
                    self.tracks.push(Track::new(self.next_id, taken, frame, face));
                    self.next_id += 1;
                }
            }
        }
        self.collect(now)
    }

    /// Takes note that the room has not moved since the last frame: whoever was in view still is.
    pub fn on_still_frame(&mut self, taken: Stamp) -> Vec<TrackedFace> {
        let now = taken.since_boot;
        let forget_after = self.options.forget_after;
        for track in &mut self.tracks {
            if now.saturating_sub(track.present_until) <= forget_after {
                track.present_until = track.present_until.max(now);
            }
        }
        self.collect(now)
    }

    /// Takes note that time has passed in which nobody was seen, nor seen to be gone.
    pub fn on_repeated_frame(&mut self, taken: Stamp) -> Vec<TrackedFace> {
        self.collect(taken.since_boot)
    }

    /// Ends all tracks: there will be no more frames.
    pub fn finish(&mut self) -> Vec<TrackedFace> {
        let same_person = self.options.same_person;
        self.tracks.drain(..).filter_map(|mut track| track.send(None, true, same_person)).collect()
    }

    /// The sightings that are due, and an end to tracks that are over.
    fn collect(&mut self, now: Duration) -> Vec<TrackedFace> {
        self.join_returned(now);
        let options = self.options;
        let mut due = Vec::new();
        self.tracks.retain_mut(|track| {
            let left = now.saturating_sub(track.present_until) > options.forget_after;
            let is_due = match track.last_sent {
                None => left || now.saturating_sub(track.entered.since_boot) >= options.settle,
                Some(last) => now.saturating_sub(last) >= options.resend_interval,
            };
            if is_due && let Some(tracked) = track.send(Some(now), left, options.same_person) {
                due.push(tracked);
                return true;
            }
            // Who has left is remembered until their next sighting would be due: if they return
            // before, they are not sent again too soon.
            !(left && is_due)
        });
        while self.tracks.len() > MAX_TRACKS {
            let oldest = self.tracks.iter().enumerate().min_by_key(|(_, track)| track.present_until);
            let Some((index, _)) = oldest else { break };
            due.extend(self.tracks.swap_remove(index).send(Some(now), true, options.same_person));
        }
        due
    }

    /// New tracks of people who were here before go back into their old track. One face was not
    /// enough to see that; the shots together are.
    fn join_returned(&mut self, now: Duration) {
        let options = self.options;
        let mut index = 0;
        while index < self.tracks.len() {
            let track = &self.tracks[index];
            let settled = now.saturating_sub(track.entered.since_boot) >= options.settle;
            let former = (track.sent == 0 && settled).then(|| self.former_track(track)).flatten();
            match former {
                Some(former) => {
                    let returned = self.tracks.remove(index);
                    let former = if former > index { former - 1 } else { former };
                    self.tracks[former].absorb(returned, options.best_shots);
                }
                None => index += 1,
            }
        }
    }

    fn former_track(&self, track: &Track) -> Option<usize> {
        let mean_embedding =
            |other: &Track| similarity(&track.mean_embedding, &other.mean_embedding).unwrap_or(-1.0);
        self.tracks
            .iter()
            .enumerate()
            // Two faces in one frame are two people, however alike they look.
            .filter(|(_, other)| {
                other.id != track.id && other.last_seen.since_boot < track.entered.since_boot
            })
            .map(|(index, other)| (index, mean_embedding(other)))
            .filter(|(_, mean_embedding)| *mean_embedding >= self.options.same_person)
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(index, _)| index)
    }
}

impl Track {
    fn new(id: u64, taken: Stamp, frame: &str, face: Face) -> Self {
        let mut track = Self {
            id,
            entered: taken,
            last_seen: taken,
            present_until: taken.since_boot,
            bounding_box: face.bounding_box,
            sum: vec![0.0; face.embedding.dimension()],
            mean_embedding: face.embedding.clone(),
            shots: BestShots::default(),
            shot_count: 0,
            unsent_since: None,
            sent: 0,
            last_sent: None,
        };
        track.add(taken, frame, face, 1);
        track
    }

    fn add(&mut self, taken: Stamp, frame: &str, face: Face, best_shots: usize) {
        self.last_seen = taken;
        self.present_until = self.present_until.max(taken.since_boot);
        self.bounding_box = face.bounding_box;
        let weight = weight(&face);
        for (sum, component) in self.sum.iter_mut().zip(face.embedding.as_slice()) {
            *sum = MEAN_DECAY * *sum + weight * component;
        }
        self.update_mean();
        self.unsent_since.get_or_insert(taken);
        self.shot_count = self.shot_count.saturating_add(1);
        self.shots.add(Shot::new(taken, frame, face), best_shots);
    }

    fn absorb(&mut self, later: Self, best_shots: usize) {
        self.last_seen = later.last_seen;
        self.present_until = self.present_until.max(later.present_until);
        self.bounding_box = later.bounding_box;
        for (sum, component) in self.sum.iter_mut().zip(&later.sum) {
            *sum += component;
        }
        self.update_mean();
        self.unsent_since = self.unsent_since.or(later.unsent_since);
        self.shot_count = self.shot_count.saturating_add(later.shot_count);
        self.shots.absorb(later.shots, best_shots);
    }

    /// Faces that cancel each other out leave the likeness as it was.
    fn update_mean(&mut self) {
        if let Ok(mean_embedding) = UnitEmbedding::normalize(self.sum.clone()) {
            self.mean_embedding = mean_embedding;
        }
    }

    fn send(&mut self, now: Option<Duration>, left: bool, same_person: f32) -> Option<TrackedFace> {
        if self.shots.is_empty() {
            return None;
        }
        let Shot { taken, frame, face, .. } = std::mem::take(&mut self.shots).vote(same_person)?;
        let track = SightingTrack {
            id: self.id,
            entered: self.entered,
            last_seen: self.last_seen,
            left,
            ordinal: self.sent,
            shots: std::mem::take(&mut self.shot_count),
        };
        self.unsent_since = None;
        self.sent = self.sent.saturating_add(1);
        self.last_sent = now.or(self.last_sent);
        Some(TrackedFace { taken, frame, face, track })
    }
}

#[cfg(test)]
#[path = "tracker_tests.rs"]
mod tests;
