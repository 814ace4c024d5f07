//! What stands before and after the networks: from a frame to the sightings that are due.

use std::panic::catch_unwind;

use tokio::sync::mpsc;

use crate::{
    backup::Backup,
    gate::{FrozenPicture, Luma, MotionGate},
    sighting::Sighting,
    source::{Cursor, Frame},
    track::Tracker,
    vision::{ImageFailure, Vision, analyze_guarded, with_huffman_tables},
};

/// What became of a frame.
#[derive(Debug)]
pub struct Seen {
    /// What the source calls the frame.
    pub frame: String,
    /// Where the source goes on after this frame, where it can go on at all.
    pub cursor: Option<Cursor>,
    /// Nothing moved in it, so it was not analysed.
    pub still: bool,
    /// Faces found in it.
    pub faces: usize,
    /// The sightings that are due, or why the frame gave nothing.
    pub result: Result<Vec<Sighting>, ImageFailure>,
}

/// What stands before and after the networks.
#[derive(Debug, Default)]
pub struct Stages {
    /// Notices a camera that hangs.
    pub frozen: FrozenPicture,
    /// Lets only frames with motion through.
    pub gate: Option<MotionGate>,
    /// Makes one sighting of many faces; without it every face of every frame is a sighting.
    pub tracker: Option<Tracker>,
    /// Keeps pictures on the device.
    pub backup: Option<Backup>,
}

/// Analyses frames until there are no more of them or nobody wants them; gives back what it worked
/// with. Blocks: give it a thread.
pub fn watch<V: Vision>(
    vision: V,
    stages: Stages,
    mut frames: mpsc::Receiver<Frame>,
    seen: mpsc::Sender<Seen>,
) -> (V, Stages) {
    let mut room = Room { vision, stages, held: None };
    while let Some(frame) = frames.blocking_recv() {
        if seen.blocking_send(room.look_at(frame)).is_err() {
            break;
        }
    }
    if let Some(last) = room.finish() {
        // Fails only where nobody wants it.
        let _ = seen.blocking_send(last);
    }
    (room.vision, room.stages)
}

struct Room<V> {
    vision: V,
    stages: Stages,
    /// The place of the newest frame, while somebody in it is still to be sent.
    held: Option<Cursor>,
}

/// What a frame shows.
#[derive(Debug)]
pub(crate) struct Looked {
    /// Nothing moved in it, so it was not analysed.
    pub(crate) still: bool,
    /// Faces found in it.
    pub(crate) faces: usize,
    /// The sightings that are due, or why the frame gave nothing.
    pub(crate) result: Result<Vec<Sighting>, ImageFailure>,
}

impl Stages {
    pub(crate) fn look_at<V: Vision>(&mut self, vision: &mut V, frame: &Frame) -> Looked {
        let pack_digest = vision.pack_digest();
        if self.is_frozen(frame) {
            // Who was in the picture is out of view: nobody knows whether they are still there.
            let due = self.tracker.as_mut().map(|tracker| tracker.on_frame(frame.taken, &frame.name, vec![]));
            let due = due.into_iter().flatten().map(|tracked| Sighting::of_track(tracked, pack_digest));
            return Looked { still: true, faces: 0, result: Ok(due.collect()) };
        }
        if self.is_still(frame) {
            let due = self.tracker.as_mut().map(|tracker| tracker.on_quiet(frame.taken));
            let due = due.into_iter().flatten().map(|tracked| Sighting::of_track(tracked, pack_digest));
            return Looked { still: true, faces: 0, result: Ok(due.collect()) };
        }
        let faces = frame
            .image
            .as_ref()
            .map_err(|error| ImageFailure { reason: "FRAME_UNREADABLE", message: error.to_string() })
            .and_then(|image| Ok((image, analyze_guarded(vision, image)?.faces)));
        let (image, faces) = match faces {
            Ok(found) => found,
            Err(failure) => return Looked { still: false, faces: 0, result: Err(failure) },
        };
        let count = faces.len();
        if let Some(backup) = &mut self.backup {
            backup.keep(frame.taken, image, &faces);
        }
        let sightings = match &mut self.tracker {
            Some(tracker) => tracker
                .on_frame(frame.taken, &frame.name, faces)
                .into_iter()
                .map(|tracked| Sighting::of_track(tracked, pack_digest))
                .collect(),
            None => faces
                .into_iter()
                .map(|face| {
                    let (taken, frame) = (frame.taken, frame.name.clone());
                    Sighting { taken, frame, pack_digest, face, track: None, camera: None }
                })
                .collect(),
        };
        Looked { still: false, faces: count, result: Ok(sightings) }
    }

    /// A camera's only: files of a directory may be copies of one picture.
    fn is_frozen(&mut self, frame: &Frame) -> bool {
        match &frame.image {
            Ok(image) if frame.cursor.is_none() => self.frozen.is_frozen(frame.taken, image),
            _ => false,
        }
    }

    fn is_still(&mut self, frame: &Frame) -> bool {
        let (Some(gate), Ok(image)) = (&mut self.gate, &frame.image) else { return false };
        // A camera's only: files of a directory come as fast as they are read, however far apart they were taken.
        if frame.cursor.is_none() && gate.dozes(frame.taken) {
            return true;
        }
        let luma = catch_unwind(|| Luma::of_jpeg(&with_huffman_tables(image))).ok().flatten();
        !gate.judge(frame.taken, luma.as_ref()).passes()
    }
}

impl<V: Vision> Room<V> {
    fn look_at(&mut self, frame: Frame) -> Seen {
        let Looked { still, faces, result } = self.stages.look_at(&mut self.vision, &frame);
        let unsent = self.stages.tracker.as_ref().is_some_and(Tracker::has_unsent_people);
        // A place that is stored says that everything before it is stored too.
        let cursor = if unsent {
            self.held = frame.cursor.or(self.held.take());
            None
        } else {
            self.held = None;
            frame.cursor
        };
        Seen { frame: frame.name, cursor, still, faces, result }
    }

    /// What the tracks that go on at the end have to say.
    fn finish(&mut self) -> Option<Seen> {
        let pack_digest = self.vision.pack_digest();
        let tracked = self.stages.tracker.as_mut()?.finish();
        let sightings = tracked.into_iter().map(|tracked| Sighting::of_track(tracked, pack_digest));
        let (frame, cursor) = (String::new(), self.held.take());
        Some(Seen { frame, cursor, still: true, faces: 0, result: Ok(sightings.collect()) })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{clock::Stamp, gate::MotionOptions, track::TrackingOptions, vision::fake::FakeVision};

    fn run(stages: Stages, images: &[&str]) -> Vec<Seen> {
        let (frames, inbox) = mpsc::channel(64);
        let (outbox, mut seen) = mpsc::channel(64);
        for (index, image) in images.iter().enumerate() {
            let name = index.to_string();
            let cursor = Some(Cursor { source: "s".to_owned(), position: name.clone() });
            let taken = Stamp::default().after(Duration::from_secs(index as u64));
            let frame = Frame { name, taken, image: Ok(image.as_bytes().to_vec()), cursor };
            frames.blocking_send(frame).unwrap();
        }
        drop(frames);
        watch(FakeVision, stages, inbox, outbox);
        std::iter::from_fn(|| seen.blocking_recv()).collect()
    }

    #[test]
    fn only_a_cameras_frames_go_unread_while_nothing_moves() {
        let mut gate = MotionGate::new(MotionOptions::default());
        let grey = Luma::from_cells(8, 8, |_, _| 90.0);
        let at = |millis| Stamp::default().after(Duration::from_millis(millis));
        for seconds in 0..120 {
            let _ = gate.judge(at(1000 * seconds), Some(&grey));
        }
        let mut stages = Stages { gate: Some(gate), ..Stages::default() };
        let image = || Ok(b"no picture".to_vec());
        let mut frame = Frame { name: String::new(), taken: at(119_100), image: image(), cursor: None };
        assert!(stages.is_still(&frame), "a camera's");
        frame.cursor = Some(Cursor { source: "s".to_owned(), position: "p".to_owned() });
        assert!(!stages.is_still(&frame), "a directory's: it is read, and found to be no picture");
    }

    #[test]
    fn a_camera_that_hangs_attests_nobodys_presence() {
        let tracker = Some(Tracker::new(TrackingOptions::default()));
        let mut stages = Stages { tracker, ..Stages::default() };
        let mut look = |second: u64, image: &str| {
            let taken = Stamp::default().after(Duration::from_secs(second));
            let image = Ok(image.as_bytes().to_vec());
            stages.look_at(&mut FakeVision, &Frame { name: second.to_string(), taken, image, cursor: None })
        };
        // Whitespace makes other bytes of the same picture, as noise does.
        let lively: Vec<_> =
            (0..10).map(|second| look(second, &format!("faces 1{}", " ".repeat(second as usize)))).collect();
        let hangs: Vec<_> = (10..1000).map(|second| look(second, "faces 1")).collect();
        assert!(lively.iter().all(|looked| looked.faces == 1));
        assert_eq!(hangs.iter().filter(|looked| looked.faces == 1).count(), 60, "for a minute");
        let last = hangs.into_iter().rev().find_map(|looked| looked.result.ok()?.into_iter().next());
        let last = last.unwrap().track.unwrap();
        assert!(last.left && last.last_seen.since_boot <= Duration::from_secs(70), "{last:?}");
    }

    #[test]
    fn bad_frames_are_reported_and_survived() {
        let seen = run(Stages::default(), &["panic", "", "faces 2"]);
        let reason = |seen: &Seen| seen.result.as_ref().unwrap_err().reason;
        assert_eq!(reason(&seen[0]), "IMAGE_CORRUPT");
        assert_eq!(reason(&seen[1]), "IMAGE_EMPTY");
        assert_eq!(seen[2].result.as_ref().unwrap().len(), 2);
        assert!(seen.iter().all(|seen| seen.cursor.is_some()));
        assert_eq!(seen.len(), 3);
    }

    #[test]
    fn a_tracked_person_is_one_sighting_and_the_place_waits_for_it() {
        let tracker = Some(Tracker::new(TrackingOptions::default()));
        let seen = run(Stages { tracker, ..Stages::default() }, &["faces 1"; 6]);
        let sightings: Vec<_> = seen.iter().map(|seen| seen.result.as_ref().unwrap().len()).collect();
        assert_eq!(sightings, [0, 0, 1, 0, 0, 0, 1], "after two seconds, and what was left at the end");
        let places: Vec<_> = seen.iter().map(|seen| seen.cursor.is_some()).collect();
        assert_eq!(places[..3], [false, false, true]);
        assert!(seen[6].result.as_ref().unwrap()[0].track.unwrap().left);
    }
}
