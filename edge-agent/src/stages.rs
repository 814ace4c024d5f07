//! What stands before and after the networks: from a frame to the sightings that are due.

use std::{panic::catch_unwind, sync::Arc, time::Duration};

use tokio::{runtime::Handle, sync::mpsc, time::timeout};

use crate::{
    backup::Backup,
    clock::Stamp,
    gate::{CoverDetector, FreezeDetector, Luma, MotionGate, Repetition},
    health::HealthCounters,
    sighting::Sighting,
    source::{Cursor, Frame},
    track::Tracker,
    vision::{ImageFailure, Vision, analyze_guarded, with_huffman_tables},
    watch::{CameraView, Observation},
};

/// What came of a frame.
#[derive(Debug)]
pub struct FrameOutcome {
    /// Nothing moved in it, so it was not analysed.
    pub still: bool,
    /// What it says of the camera.
    pub view: CameraView,
    /// Number of faces that the detector found in it.
    pub faces: usize,
    /// The sightings that are due, or why the frame gave nothing.
    pub result: Result<Vec<Sighting>, ImageFailure>,
}

/// A frame that has gone through the stages, on its way to the spool.
#[derive(Debug)]
pub struct ProcessedFrame {
    /// What the source calls the frame; empty for what the tracks still had to say at the source's end.
    pub name: String,
    /// Where the source goes on after this frame; `None` where it can't, or somebody in it is still to be sent.
    pub cursor: Option<Cursor>,
    /// What came of it.
    pub outcome: FrameOutcome,
    /// What is known of the camera with it; `None` before the first frame.
    pub watch: Option<Observation>,
}

/// How it is noticed that a source gives no frames.
#[derive(Debug, Clone)]
pub struct FrameWatch {
    /// How far two frames may be apart.
    pub patience: Duration,
    /// The source is a camera: that it gives no frames means something.
    pub live: bool,
    /// Where frames are counted that the agent was too busy for.
    pub counters: Arc<HealthCounters>,
}

/// What stands before and after the networks.
#[derive(Debug, Default)]
pub struct Stages {
    /// Notices a camera that hangs.
    pub frozen: FreezeDetector,
    /// Notices a lens that is covered.
    pub cover: CoverDetector,
    /// Lets only frames with motion through.
    pub gate: Option<MotionGate>,
    /// Makes one sighting of many faces; without it every face of every frame is a sighting.
    pub tracker: Option<Tracker>,
    /// Keeps pictures on the device.
    pub backup: Option<Backup>,
}

/// Takes frames through the stages until there are no more of them or nobody wants them; gives back what it
/// worked with. Blocks: give it a blocking thread of the runtime.
pub fn process_frames<V: Vision>(
    vision: V,
    stages: Stages,
    mut frames: mpsc::Receiver<Frame>,
    processed: mpsc::Sender<ProcessedFrame>,
    watch: FrameWatch,
) -> (V, Stages) {
    let runtime = Handle::try_current().ok().filter(|_| watch.live);
    let patience = watch.patience;
    let mut processor = FrameProcessor { vision, stages, unsent_cursor: None, watch, last_taken: None };
    loop {
        let next = match &runtime {
            // Nothing is lost where the time ends the wait: receiving is cancel safe.
            Some(runtime) => runtime.block_on(async { timeout(patience, frames.recv()).await }),
            None => Ok(frames.blocking_recv()),
        };
        let result = match next {
            Ok(Some(frame)) => processor.process(frame),
            Ok(None) => break,
            Err(_) => processor.silent(Stamp::now()),
        };
        if processed.blocking_send(result).is_err() {
            break;
        }
    }
    if let Some(last) = processor.finish() {
        // Fails only where nobody wants it.
        let _ = processed.blocking_send(last);
    }
    (processor.vision, processor.stages)
}

/// Vision with its stages, for a source whose place is remembered.
struct FrameProcessor<V> {
    vision: V,
    stages: Stages,
    /// The place of the newest frame, while somebody in it is still to be sent.
    unsent_cursor: Option<Cursor>,
    watch: FrameWatch,
    /// When the last frame was taken.
    last_taken: Option<Stamp>,
}

impl Stages {
    /// Takes one frame through freeze detector, gate, networks, backup and tracker.
    pub(crate) fn process<V: Vision>(&mut self, vision: &mut V, frame: &Frame) -> FrameOutcome {
        let pack_digest = vision.pack_digest();
        let repetition = self.repetition(frame);
        if repetition == Repetition::Frozen {
            // Who was in the picture is out of view: nobody knows whether they are still there.
            let due = self.tracker.as_mut().map(|tracker| tracker.on_frame(frame.taken, &frame.name, vec![]));
            let due = due.into_iter().flatten().map(|tracked| Sighting::of_track(tracked, pack_digest));
            let view = CameraView::Frozen;
            return FrameOutcome { still: true, view, faces: 0, result: Ok(due.collect()) };
        }
        let is_still = self.is_still(frame);
        let view = match (self.cover.is_covered(), repetition) {
            (true, _) => CameraView::Covered,
            (false, Repetition::New) => CameraView::Clear,
            (false, Repetition::Repeated | Repetition::Frozen) => CameraView::Repeated,
        };
        let is_repeated = repetition == Repetition::Repeated;
        if is_still || is_repeated {
            // The very picture that was there before says nothing new of anybody: the camera may have begun to hang.
            let due = self.tracker.as_mut().map(|tracker| match is_repeated {
                true => tracker.on_repeated_frame(frame.taken),
                false => tracker.on_still_frame(frame.taken),
            });
            let due = due.into_iter().flatten().map(|tracked| Sighting::of_track(tracked, pack_digest));
            return FrameOutcome { still: true, view, faces: 0, result: Ok(due.collect()) };
        }
        let faces = frame
            .image
            .as_ref()
            .map_err(|error| ImageFailure { reason: "FRAME_UNREADABLE", message: error.to_string() })
            .and_then(|image| Ok((image, analyze_guarded(vision, image)?.faces)));
        let (image, faces) = match faces {
            Ok(found) => found,
            Err(failure) => {
                let view = CameraView::Unreadable;
                return FrameOutcome { still: false, view, faces: 0, result: Err(failure) };
            }
        };
        let count = faces.len();
        // Where there is a face, there is something to see.
        let view = if count > 0 && view == CameraView::Covered { CameraView::Clear } else { view };
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
        FrameOutcome { still: false, view, faces: count, result: Ok(sightings) }
    }

    /// A camera's only: files of a directory may be copies of one picture.
    fn repetition(&mut self, frame: &Frame) -> Repetition {
        match &frame.image {
            Ok(image) if frame.cursor.is_none() => self.frozen.classify(frame.taken, image),
            Ok(_) | Err(_) => Repetition::New,
        }
    }

    /// Nothing moves in it. Looks, too, whether there is anything to see in it.
    fn is_still(&mut self, frame: &Frame) -> bool {
        let Ok(image) = &frame.image else { return false };
        let taken = frame.taken;
        // A camera's only: files of a directory come as fast as they are read, however far apart they were taken.
        if frame.cursor.is_none() && self.gate.as_ref().is_some_and(|gate| gate.can_skip(taken)) {
            return true;
        }
        if self.gate.is_none() && !self.cover.is_due(taken) {
            return false;
        }
        let luma = catch_unwind(|| Luma::of_jpeg(&with_huffman_tables(image))).ok().flatten();
        if let Some(luma) = &luma {
            self.cover.judge(taken, luma);
        }
        self.gate.as_mut().is_some_and(|gate| !gate.classify(taken, luma.as_ref()).passes())
    }
}

impl<V: Vision> FrameProcessor<V> {
    fn process(&mut self, frame: Frame) -> ProcessedFrame {
        let outcome = self.stages.process(&mut self.vision, &frame);
        self.last_taken = Some(frame.taken);
        let watch = Some(self.observation(frame.taken, outcome.view));
        let unsent = self.stages.tracker.as_ref().is_some_and(Tracker::has_unsent_people);
        // A place that is stored says that everything before it is stored too.
        let cursor = if unsent {
            self.unsent_cursor = frame.cursor.or(self.unsent_cursor.take());
            None
        } else {
            self.unsent_cursor = None;
            frame.cursor
        };
        ProcessedFrame { name: frame.name, cursor, outcome, watch }
    }

    /// The camera has given no frame for a while: who was in view is in view no longer.
    fn silent(&mut self, now: Stamp) -> ProcessedFrame {
        let pack_digest = self.vision.pack_digest();
        let due = self.stages.tracker.as_mut().map(|tracker| tracker.on_frame(now, "", Vec::new()));
        let due = due.into_iter().flatten().map(|tracked| Sighting::of_track(tracked, pack_digest));
        let view = CameraView::Silent;
        let outcome = FrameOutcome { still: true, view, faces: 0, result: Ok(due.collect()) };
        let watch = Some(self.observation(now, view));
        ProcessedFrame { name: String::new(), cursor: None, outcome, watch }
    }

    fn observation(&self, at: Stamp, view: CameraView) -> Observation {
        let FrameWatch { patience, counters, .. } = &self.watch;
        let unsent = self.stages.tracker.as_ref().and_then(Tracker::unsent_since);
        Observation {
            at,
            view,
            complete_until: unsent.unwrap_or(at),
            dropped: counters.dropped.get(),
            patience: *patience,
            pack: self.vision.pack_digest(),
        }
    }

    /// The last sightings of the tracks that go on when the source ends.
    fn finish(&mut self) -> Option<ProcessedFrame> {
        let pack_digest = self.vision.pack_digest();
        let tracked = self.stages.tracker.as_mut()?.finish();
        let sightings = tracked.into_iter().map(|tracked| Sighting::of_track(tracked, pack_digest));
        let view = CameraView::Silent;
        let outcome = FrameOutcome { still: true, view, faces: 0, result: Ok(sightings.collect()) };
        let watch = self.last_taken.map(|taken| self.observation(taken, view));
        Some(ProcessedFrame { name: String::new(), cursor: self.unsent_cursor.take(), outcome, watch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{gate::MotionOptions, track::TrackingOptions, vision::fake::FakeVision};

    fn run(stages: Stages, images: &[&str]) -> Vec<ProcessedFrame> {
        let (frames, inbox) = mpsc::channel(64);
        let (outbox, mut processed) = mpsc::channel(64);
        for (index, image) in images.iter().enumerate() {
            let name = index.to_string();
            let cursor = Some(Cursor { source: "s".to_owned(), position: name.clone() });
            let taken = Stamp::default().after(Duration::from_secs(index as u64));
            let frame = Frame { name, taken, image: Ok(image.as_bytes().to_vec()), cursor };
            frames.blocking_send(frame).unwrap();
        }
        drop(frames);
        let watch = FrameWatch { patience: Duration::from_secs(10), live: false, counters: Arc::default() };
        process_frames(FakeVision, stages, inbox, outbox, watch);
        std::iter::from_fn(|| processed.blocking_recv()).collect()
    }

    #[test]
    fn only_a_cameras_frames_go_unread_while_nothing_moves() {
        let mut gate = MotionGate::new(MotionOptions::default());
        let grey = Luma::from_cells(8, 8, |_, _| 90.0);
        let at = |millis| Stamp::default().after(Duration::from_millis(millis));
        for seconds in 0..120 {
            let _ = gate.classify(at(1000 * seconds), Some(&grey));
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
        let mut process = |second: u64, image: &str| {
            let taken = Stamp::default().after(Duration::from_secs(second));
            let image = Ok(image.as_bytes().to_vec());
            stages.process(&mut FakeVision, &Frame { name: second.to_string(), taken, image, cursor: None })
        };
        // Whitespace makes other bytes of the same picture, as noise does.
        let changing: Vec<_> = (0..10)
            .map(|second| process(second, &format!("faces 1{}", " ".repeat(second as usize))))
            .collect();
        let frozen: Vec<_> = (10..1000).map(|second| process(second, "faces 1")).collect();
        assert!(changing.iter().all(|outcome| outcome.faces == 1));
        assert_eq!(frozen.iter().filter(|outcome| outcome.faces == 1).count(), 1, "as long as it is new");
        let last = frozen.into_iter().rev().find_map(|outcome| outcome.result.ok()?.into_iter().next());
        let last = last.unwrap().track.unwrap();
        assert!(last.left && last.last_seen.since_boot <= Duration::from_secs(10), "{last:?}");
    }

    #[test]
    fn bad_frames_are_reported_and_survived() {
        let frames = run(Stages::default(), &["panic", "", "faces 2"]);
        let reason = |frame: &ProcessedFrame| frame.outcome.result.as_ref().unwrap_err().reason;
        assert_eq!(reason(&frames[0]), "IMAGE_CORRUPT");
        assert_eq!(reason(&frames[1]), "IMAGE_EMPTY");
        assert_eq!(frames[2].outcome.result.as_ref().unwrap().len(), 2);
        assert!(frames.iter().all(|frame| frame.cursor.is_some()));
        assert_eq!(frames.len(), 3);
    }

    #[test]
    fn a_tracked_person_is_one_sighting_and_the_place_waits_for_it() {
        let tracker = Some(Tracker::new(TrackingOptions::default()));
        let frames = run(Stages { tracker, ..Stages::default() }, &["faces 1"; 6]);
        let sightings: Vec<_> =
            frames.iter().map(|frame| frame.outcome.result.as_ref().unwrap().len()).collect();
        assert_eq!(sightings, [0, 0, 1, 0, 0, 0, 1], "after two seconds, and what was left at the end");
        let places: Vec<_> = frames.iter().map(|frame| frame.cursor.is_some()).collect();
        assert_eq!(places[..3], [false, false, true]);
        assert!(frames[6].outcome.result.as_ref().unwrap()[0].track.unwrap().left);
    }
}
