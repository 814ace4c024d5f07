//! Threads that run the networks over frames, each with networks of its own, behind one queue.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
};

use cavs_types::DeviceId;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use crate::{
    source::{Frame, camera::JpegSplitter},
    stages::{FrameOutcome, Stages},
    vision::{ImageFailure, Vision},
};

/// A frame for the networks.
#[derive(Debug)]
pub(super) struct AnalysisJob {
    pub(super) camera: DeviceId,
    pub(super) frame: Frame,
    /// What stands before and after the networks for a camera that is pulled. A frame that was sent
    /// goes through the networks alone: its sender wants an answer.
    pub(super) stages: Option<Arc<Mutex<Stages>>>,
    pub(super) reply: oneshot::Sender<FrameOutcome>,
    /// What it holds of the bytes in flight.
    pub(super) hold: Option<OwnedSemaphorePermit>,
}

/// Takes frames through the networks until there are no more. Blocks: give it a thread.
pub(super) fn work<V: Vision>(mut vision: V, jobs: &Mutex<mpsc::Receiver<AnalysisJob>>, max_bytes: usize) {
    loop {
        // Whoever waits for the next frame holds the queue; the others wait for their turn.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).blocking_recv();
        let Some(AnalysisJob { camera, mut frame, stages, reply, hold }) = next else { return };
        if reply.is_closed() {
            continue;
        }
        frame.image = frame.image.and_then(|image| {
            whole_jpeg(&image, max_bytes).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidData, "no JPEG, or one that was cut off or damaged")
            })
        });
        let mut outcome = match &stages {
            Some(stages) => {
                stages.lock().unwrap_or_else(PoisonError::into_inner).process(&mut vision, &frame)
            }
            None => Stages::default().process(&mut vision, &frame),
        };
        if let Ok(sightings) = &mut outcome.result {
            sightings.iter_mut().for_each(|sighting| sighting.camera = Some(camera));
        }
        drop((frame, hold));
        // Fails only where nobody wants it.
        let _ = reply.send(outcome);
    }
}

/// The JPEG that begins with the first byte, without what small cameras leave behind it. A decoder
/// would make a grey half of one that was cut off, and a face in its upper half would be matched.
pub(super) fn whole_jpeg(bytes: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    if !bytes.starts_with(&[0xFF, 0xD8]) {
        return None;
    }
    let mut splitter = JpegSplitter::new(max_bytes);
    let (_, picture) = splitter.feed(bytes);
    // One that began later is not what was sent.
    picture.filter(|picture| splitter.dropped() == 0 && bytes.starts_with(picture))
}

/// What stands in the way of a frame.
pub(super) fn failure_text(failure: &ImageFailure) -> String {
    format!("{}: {}", failure.reason, failure.message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A JPEG in form only.
    fn picture() -> Vec<u8> {
        let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xE1, 0x00, 0x06, 0xFF, 0xD8, 0xFF, 0xD9];
        jpeg.extend([0xFF, 0xDA, 0x00, 0x03, 0x01, 1, 2, 0xFF, 0x00, 3, 0xFF, 0xD9]);
        jpeg
    }

    #[test]
    fn only_a_whole_picture_is_one() {
        let jpeg = picture();
        assert_eq!(whole_jpeg(&jpeg, 1000).as_ref(), Some(&jpeg));
        let padded = [jpeg.as_slice(), &[0; 30]].concat();
        assert_eq!(whole_jpeg(&padded, 1000).as_ref(), Some(&jpeg));
        for length in 0..jpeg.len() {
            assert_eq!(whole_jpeg(&jpeg[..length], 1000), None, "{length}");
        }
        // The next picture must not be taken for the one that was cut off.
        let two = [&jpeg[..jpeg.len() - 2], &jpeg].concat();
        assert_eq!(whole_jpeg(&two, 1000), None);
        assert_eq!(whole_jpeg(&jpeg, jpeg.len() - 1), None);
        assert_eq!(whole_jpeg(&[b"x", jpeg.as_slice()].concat(), 1000), None);
    }

    proptest! {
        #[test]
        fn whatever_comes_it_begins_and_ends_as_a_picture(
            mut bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..22, value: u8,
        ) {
            let mut jpeg = picture();
            jpeg[at] = value;
            bytes.splice(0..0, jpeg);
            if let Some(found) = whole_jpeg(&bytes, 200) {
                prop_assert!(found.len() <= 200 && bytes.starts_with(&found));
                prop_assert!(found.starts_with(&[0xFF, 0xD8]) && found.ends_with(&[0xFF, 0xD9]));
            }
        }
    }
}
