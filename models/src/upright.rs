//! Which way up a photograph is.
//!
//! Detectors answer to faces that lie on their side or stand on their head, too, with high scores and
//! landmarks where those of an upright face would be; what the embedder makes of them is alike for
//! different people. The upright one of the four turns of a picture scores best.

use crate::{Face, FacePipeline, Image, Picture, VisionError, detect::Detection, quality};

/// Largest tilt of a face in a picture that is the right way up, in degrees: beyond it, the next
/// quarter turn is nearer.
pub const MAX_TILT: f32 = 45.0;

/// By how much the best turn has to score better than the next one, and how well at least. With 0.04 and
/// 0.8, of 80 made-up portraits for training both packs choose the right turn of each; of 120 of FairFace
/// that were cut at the edges of the face, which detectors see worst, the built-in pack never takes a
/// wrong one and is in doubt about 19, the imported one takes one and is in doubt about half. What is
/// milder here asks for the more of the other.
const LEAD: f32 = 0.035;
const LEAST_SCORE: f32 = 0.7;

/// What the best turn's score and its lead have to come to: the less it leads, the better it has to score.
/// All 72 portraits of 24 rendered people, whose scores begin at 0.74, are right and in no doubt.
const LEAST_EVIDENCE: f32 = 0.84;

/// Detections from this score on are compared with the best one.
const RIVAL_SCORE: f32 = 0.3;

/// The faces of a photograph the right way up.
#[derive(Debug, Clone, Default)]
pub struct Upright {
    /// Quarters by which the picture had to be turned clockwise, 0 to 3; places of faces are those in
    /// the turned picture.
    pub quarters: u8,
    /// The faces in that turn, the largest first.
    pub faces: Vec<Face>,
    /// No turn has an upright face that another turn does not answer to nearly as well.
    pub doubtful: bool,
}

impl FacePipeline {
    /// The faces of a photograph that may be turned by quarters, in the turn in which one is seen best.
    /// Takes four looks of the detector.
    ///
    /// # Errors
    /// As [`analyze`](Self::analyze).
    pub fn analyze_upright(&mut self, image: &Image) -> Result<Upright, VisionError> {
        let mut best = [0f32; 4];
        for (quarters, best) in (0..).zip(&mut best) {
            let turned = (quarters > 0).then(|| image.turned(quarters));
            let found = self.detect(turned.as_ref().unwrap_or(image), RIVAL_SCORE)?;
            *best = found.iter().filter(|d| may_be_upright(d)).map(|d| d.score).fold(0.0, f32::max);
        }
        let (quarters, doubtful) = choose(best);
        let faces = if quarters == 0 {
            self.analyze_picture(&mut Picture::whole(image))?
        } else {
            self.analyze(&image.turned(quarters))?
        };
        Ok(Upright { quarters, doubtful: doubtful && !faces.is_empty(), faces })
    }
}

/// The turn with the best score, and whether another one is as likely. Where nothing stands upright in
/// any turn, the picture stays as it is.
fn choose(best: [f32; 4]) -> (u8, bool) {
    let (mut first, mut highest, mut next) = (0, 0.0, 0.0);
    for (quarters, score) in (0..).zip(best) {
        if score > highest {
            (first, highest, next) = (quarters, score, highest);
        } else {
            next = score.max(next);
        }
    }
    let lead = highest - next;
    (first, lead < LEAD || highest < LEAST_SCORE || highest + lead < LEAST_EVIDENCE)
}

/// Whether a detection may be an upright face.
fn may_be_upright(detection: &Detection) -> bool {
    quality::plausible(&detection.landmarks) && quality::pose(&detection.landmarks).roll.abs() <= MAX_TILT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_turn_is_chosen_and_doubt_is_said() {
        assert_eq!(choose([0.9, 0.6, 0.7, 0.0]), (0, false));
        assert_eq!(choose([0.6, 0.7, 0.95, 0.94]), (2, true));
        assert_eq!(choose([0.0, 0.0, 0.0, 0.8]), (3, false));
        assert_eq!(choose([0.0, 0.79, 0.0, 0.3]), (1, false));
        assert_eq!(choose([0.0, 0.79, 0.0, 0.75]), (1, true));
        assert_eq!(choose([0.0, 0.69, 0.0, 0.3]), (1, true));
        assert_eq!(choose([0.0; 4]), (0, true));
    }
}
