//! Which way up a photograph is.
//!
//! Detectors answer to faces that lie on their side or stand on their head, too, with high scores and
//! landmarks where those of an upright face would be; what the embedder makes of them is alike for
//! different people. A refiner tells; without one, the upright one of the four turns scores best.

use crate::{
    Face, FacePipeline, Image, Picture, VisionError,
    detect::Detection,
    quality,
    refiner::{CONFIDENT, is_face},
};

/// Largest tilt of a face in a picture that is the right way up, in degrees: beyond it, the next
/// quarter turn is nearer.
pub const MAX_TILT: f32 = 45.0;

/// Without a refiner: by how much the best turn has to score better than the next one, and how well at least. With 0.04 and
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
        let min_score = self.min_score();
        let (mut scores, mut confidences) = ([0f32; 4], self.is_refined().then_some([0f32; 4]));
        for quarters in 0..4u8 {
            let turned = (quarters > 0).then(|| image.turned(quarters));
            let found = self.find(turned.as_ref().unwrap_or(image), RIVAL_SCORE)?;
            for detection in found.iter().filter(|d| may_be_upright(d)) {
                let at = usize::from(quarters);
                scores[at] = scores[at].max(detection.score);
                // What would not be taken for a face is no rival, however sure the refiner is of a part of one.
                if let Some(confidence) = detection.confidence.filter(|_| is_face(detection, min_score)) {
                    confidences.iter_mut().for_each(|best| best[at] = best[at].max(confidence));
                }
            }
        }
        let (quarters, doubtful) = match confidences {
            Some(confidences) => choose(confidences, unconfirmed),
            None => choose(scores, undecided),
        };
        let faces = if quarters == 0 {
            self.analyze_picture(&mut Picture::whole(image))?
        } else {
            self.analyze(&image.turned(quarters))?
        };
        Ok(Upright { quarters, doubtful: doubtful && !faces.is_empty(), faces })
    }
}

/// The turn for which most speaks, and whether that is doubtful by what speaks for it and for the next
/// one. Where nothing stands upright in any turn, the picture stays as it is.
fn choose(evidence: [f32; 4], doubtful: impl Fn(f32, f32) -> bool) -> (u8, bool) {
    let (mut first, mut highest, mut next) = (0, 0.0, 0.0);
    for (quarters, found) in (0..).zip(evidence) {
        if found > highest {
            (first, highest, next) = (quarters, found, highest);
        } else {
            next = found.max(next);
        }
    }
    (first, doubtful(highest, next))
}

/// Doubt where a refiner was asked.
fn unconfirmed(best: f32, next: f32) -> bool {
    best < CONFIDENT || next >= CONFIDENT
}

/// Doubt where only the detector knows.
fn undecided(best: f32, next: f32) -> bool {
    let lead = best - next;
    lead < LEAD || best < LEAST_SCORE || best + lead < LEAST_EVIDENCE
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
        let of_scores = |scores| choose(scores, undecided);
        assert_eq!(of_scores([0.9, 0.6, 0.7, 0.0]), (0, false));
        assert_eq!(of_scores([0.6, 0.7, 0.95, 0.94]), (2, true));
        assert_eq!(of_scores([0.0, 0.0, 0.0, 0.8]), (3, false));
        assert_eq!(of_scores([0.0, 0.79, 0.0, 0.3]), (1, false));
        assert_eq!(of_scores([0.0, 0.79, 0.0, 0.75]), (1, true));
        assert_eq!(of_scores([0.0, 0.69, 0.0, 0.3]), (1, true));
        assert_eq!(of_scores([0.0; 4]), (0, true));
        let of_confidences = |confidences| choose(confidences, unconfirmed);
        assert_eq!(of_confidences([0.1, 0.5, 0.2, 0.49]), (1, false));
        assert_eq!(of_confidences([0.6, 0.9, 0.0, 0.0]), (1, true));
        assert_eq!(of_confidences([0.4, 0.0, 0.1, 0.2]), (0, true));
        assert_eq!(of_confidences([0.0; 4]), (0, true));
    }
}
