//! The best shots of a track and their vote.

use cavs_embedding::UnitEmbedding;
use cavs_types::Quality;

use super::associate::similarity;
use crate::{clock::Stamp, vision::Face};

/// Every shot has at least this say: a track of bad shots only still votes.
const LEAST_WEIGHT: f32 = 0.01;

/// One face of a track.
#[derive(Debug, Clone)]
pub(super) struct Shot {
    pub(super) taken: Stamp,
    pub(super) frame: String,
    pub(super) face: Face,
    weight: f32,
}

impl Shot {
    pub(super) fn new(taken: Stamp, frame: &str, face: Face) -> Self {
        let weight = weight(&face);
        Self { taken, frame: frame.to_owned(), face, weight }
    }
}

/// How much a face's word counts, above 0 and at most 1.
pub(super) fn weight(face: &Face) -> f32 {
    let quality = f32::from(face.quality.unified_score.min(Quality::BEST)) / f32::from(Quality::BEST);
    let score = if face.score.is_finite() { face.score.clamp(0.0, 1.0) } else { 0.0 };
    (quality * score).max(LEAST_WEIGHT)
}

/// The best few shots, best first. Only the best one keeps its picture: memory is bounded by the
/// number of tracks, not by that of shots.
#[derive(Debug, Clone, Default)]
pub(super) struct BestShots {
    shots: Vec<Shot>,
}

impl BestShots {
    pub(super) fn is_empty(&self) -> bool {
        self.shots.is_empty()
    }

    pub(super) fn add(&mut self, mut shot: Shot, most: usize) {
        // Behind its equals: of two equal shots the earlier one stays.
        let place = self.shots.partition_point(|other| other.weight >= shot.weight);
        if place > 0 {
            shot.face.evidence = None;
        } else if let Some(former) = self.shots.first_mut() {
            former.face.evidence = None;
        }
        self.shots.insert(place, shot);
        self.shots.truncate(most.max(1));
    }

    pub(super) fn absorb(&mut self, other: Self, most: usize) {
        for shot in other.shots {
            self.add(shot, most);
        }
    }

    /// The best shot with the embedding on which all agree; nothing where there are no shots.
    pub(super) fn vote(self, same_person: f32) -> Option<Shot> {
        let mut shots = self.shots;
        // With three voices or more, one that contradicts the others is a mistake of the tracker.
        if shots.len() >= 3 {
            let agrees: Vec<_> = (0..shots.len()).map(|one| agrees(&shots, one, same_person)).collect();
            if agrees.contains(&true) {
                let mut agrees = agrees.into_iter();
                shots.retain(|_| agrees.next().unwrap_or(true));
            }
        }
        let mean = weighted_mean(&shots);
        let liveness = mean_liveness(&shots);
        let mut best = shots.into_iter().next()?;
        // Shots that cancel each other out have no mean; the best one speaks alone.
        if let Some(mean) = mean {
            best.face.embedding = mean;
        }
        best.face.liveness = liveness;
        Some(best)
    }
}

/// One shot is of the same person as all the others together.
fn agrees(shots: &[Shot], one: usize, same_person: f32) -> bool {
    let others = shots.iter().enumerate().filter(|(index, _)| *index != one).map(|(_, shot)| shot);
    let mean = weighted_mean(others);
    mean.and_then(|mean| similarity(&mean, &shots[one].face.embedding)).is_some_and(|s| s >= same_person)
}

fn weighted_mean<'a>(shots: impl IntoIterator<Item = &'a Shot>) -> Option<UnitEmbedding> {
    let mut shots = shots.into_iter().peekable();
    let dimension = shots.peek()?.face.embedding.dimension();
    let mut sum = vec![0.0; dimension];
    for shot in shots.filter(|shot| shot.face.embedding.dimension() == dimension) {
        for (sum, component) in sum.iter_mut().zip(shot.face.embedding.as_slice()) {
            *sum += shot.weight * component;
        }
    }
    UnitEmbedding::normalize(sum).ok()
}

fn mean_liveness(shots: &[Shot]) -> Option<f32> {
    let (sum, weight) = shots
        .iter()
        .filter_map(|shot| Some((shot.face.liveness?, shot.weight)))
        .fold((0.0, 0.0), |(sum, total), (liveness, weight)| (sum + weight * liveness, total + weight));
    (weight > 0.0).then(|| (sum / weight).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vision::fake;

    fn shot(direction: [f32; 3], quality: u8) -> Shot {
        let mut face = fake::face(0);
        face.embedding = UnitEmbedding::normalize(direction.to_vec()).unwrap();
        face.quality.unified_score = quality;
        face.liveness = Some(f32::from(quality) / 100.0);
        Shot::new(Stamp::default(), &quality.to_string(), face)
    }

    #[test]
    fn better_shots_have_more_say_and_the_best_gives_the_picture() {
        let mut shots = BestShots::default();
        for one in [shot([1.0, 0.2, 0.0], 20), shot([1.0, 0.0, 0.0], 80), shot([1.0, 0.1, 0.0], 40)] {
            shots.add(one, 5);
        }
        assert_eq!(shots.shots.iter().filter(|shot| shot.face.evidence.is_some()).count(), 1);
        let voted = shots.vote(0.4).unwrap();
        assert_eq!(voted.frame, "80");
        assert!(voted.face.evidence.is_some());
        let [x, y, _] = *voted.face.embedding.as_slice() else { panic!() };
        assert!(y / x > 0.0 && y / x < 0.1, "between the best and the others, nearer to the best");
        assert!(voted.face.liveness.unwrap() > 0.5);
    }

    #[test]
    fn a_stray_face_is_outvoted() {
        let mut shots = BestShots::default();
        for one in [shot([0.0, 1.0, 0.0], 60), shot([1.0, 0.0, 0.0], 50), shot([1.0, 0.0, 0.1], 50)] {
            shots.add(one, 5);
        }
        let voted = shots.vote(0.5).unwrap();
        assert!(voted.face.embedding.as_slice()[0] > 0.99);
    }

    #[test]
    fn only_the_best_are_kept() {
        let mut shots = BestShots::default();
        for quality in [10, 90, 30, 70, 50] {
            shots.add(shot([1.0, 0.0, 0.0], quality), 3);
        }
        assert_eq!(shots.shots.iter().map(|s| s.frame.as_str()).collect::<Vec<_>>(), ["90", "70", "50"]);
        assert!(BestShots::default().vote(0.4).is_none());
    }
}
