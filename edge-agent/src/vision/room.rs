use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::mpsc;

use super::{Analysis, ImageFailure, Vision};
use crate::{
    sighting::Sighting,
    source::{Cursor, Frame},
};

/// What became of a frame.
#[derive(Debug)]
pub struct Seen {
    /// What the source calls the frame.
    pub frame: String,
    /// Where the source goes on after this frame, where it can go on at all.
    pub cursor: Option<Cursor>,
    /// One sighting per face, or why the frame gave nothing.
    pub result: Result<Vec<Sighting>, ImageFailure>,
}

/// Analyses frames until there are no more of them or nobody wants them. Blocks: give it a thread.
pub fn watch<V: Vision>(mut vision: V, mut frames: mpsc::Receiver<Frame>, seen: mpsc::Sender<Seen>) {
    while let Some(frame) = frames.blocking_recv() {
        let result = look_at(&mut vision, &frame);
        let outcome = Seen { frame: frame.name, cursor: frame.cursor, result };
        if seen.blocking_send(outcome).is_err() {
            return;
        }
    }
}

fn look_at<V: Vision>(vision: &mut V, frame: &Frame) -> Result<Vec<Sighting>, ImageFailure> {
    let image = frame
        .image
        .as_ref()
        .map_err(|error| ImageFailure { reason: "FRAME_UNREADABLE", message: error.to_string() })?;
    let analysis = analyze_guarded(vision, image)?;
    let pack_digest = vision.pack_digest();
    let sighting =
        |face| Sighting { captured_at: frame.captured_at, frame: frame.name.clone(), pack_digest, face };
    Ok(analysis.faces.into_iter().map(sighting).collect())
}

/// Analyses an image; a panic of a decoder is a bad image, not the end of the agent.
pub(crate) fn analyze_guarded<V: Vision>(vision: &mut V, image: &[u8]) -> Result<Analysis, ImageFailure> {
    catch_unwind(AssertUnwindSafe(|| vision.analyze(image))).unwrap_or_else(|_| {
        Err(ImageFailure { reason: "IMAGE_CORRUPT", message: "the image made the decoder panic".to_owned() })
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::vision::fake::FakeVision;

    #[test]
    fn bad_frames_are_reported_and_survived() {
        let (frames, inbox) = mpsc::channel(4);
        let (outbox, mut seen) = mpsc::channel(4);
        for (name, image) in [("a", Ok(b"panic".to_vec())), ("b", Ok(vec![])), ("c", Ok(b"faces 2".to_vec()))]
        {
            let frame = Frame { name: name.to_owned(), captured_at: Timestamp::now(), image, cursor: None };
            frames.blocking_send(frame).unwrap();
        }
        drop(frames);
        watch(FakeVision, inbox, outbox);
        let reason = |seen: Option<Seen>| seen.unwrap().result.unwrap_err().reason;
        assert_eq!(reason(seen.blocking_recv()), "IMAGE_CORRUPT");
        assert_eq!(reason(seen.blocking_recv()), "IMAGE_EMPTY");
        assert_eq!(seen.blocking_recv().unwrap().result.unwrap().len(), 2);
        assert!(seen.blocking_recv().is_none());
    }
}
