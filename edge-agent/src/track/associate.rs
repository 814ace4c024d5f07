//! Which face of a new frame continues which track.

use cavs_embedding::UnitEmbedding;

use crate::vision::{BoundingBox, Face};

/// Overlap (intersection over union) from which a face is where a track was a moment ago. At five
/// frames a second a walking person's face overlaps with itself by more than this.
const MIN_OVERLAP: f32 = 0.3;

/// Share of the same-person similarity below which overlap alone proves nothing: where two people
/// cross, or one sits down where another sat, the boxes overlap and the faces differ. Other people's
/// faces are at 0 +- 0.06, so that half of the threshold is some three deviations away from them. A
/// shot too blurred or turned to reach it begins a track of its own, which the next ones join.
const MIN_SIMILARITY_SHARE: f32 = 0.5;

/// What of a track a new face is compared with.
pub(super) struct TrackAppearance<'a> {
    /// Where its face was, if that was a moment ago.
    pub(super) bounding_box: Option<BoundingBox>,
    /// What its faces have in common.
    pub(super) embedding: &'a UnitEmbedding,
}

/// Pairs of (track, face) indices, best first; every track and every face is in at most one.
pub(super) fn associate(
    appearances: &[TrackAppearance<'_>],
    faces: &[Face],
    same_person: f32,
) -> Vec<(usize, usize)> {
    let mut candidates = Vec::new();
    for (track, appearance) in appearances.iter().enumerate() {
        for (index, face) in faces.iter().enumerate() {
            if let Some(score) = score(appearance, face, same_person) {
                candidates.push((score, track, index));
            }
        }
    }
    // Ties by index, so that the same frames always give the same tracks.
    candidates.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    let (mut taken_tracks, mut taken_faces) = (vec![false; appearances.len()], vec![false; faces.len()]);
    let mut pairs = Vec::new();
    for (_, track, face) in candidates {
        if !taken_tracks[track] && !taken_faces[face] {
            (taken_tracks[track], taken_faces[face]) = (true, true);
            pairs.push((track, face));
        }
    }
    pairs
}

fn score(appearance: &TrackAppearance<'_>, face: &Face, same_person: f32) -> Option<f32> {
    let similarity = similarity(appearance.embedding, &face.embedding)?;
    let overlap = appearance.bounding_box.map_or(0.0, |b| overlap(b, face.bounding_box));
    let continues = overlap >= MIN_OVERLAP && similarity >= MIN_SIMILARITY_SHARE * same_person;
    // Likeness counts more than place: people change places, not faces.
    (continues || similarity >= same_person).then_some(2.0 * similarity + overlap)
}

/// Cosine similarity, `None` for embeddings of different lengths.
pub(super) fn similarity(a: &UnitEmbedding, b: &UnitEmbedding) -> Option<f32> {
    a.similarity(b).map(|similarity| similarity.get())
}

/// Intersection over union, 0 to 1; 0 for boxes without an area or with nonsense in them.
fn overlap(a: BoundingBox, b: BoundingBox) -> f32 {
    let span =
        |a: f32, a_length: f32, b: f32, b_length: f32| ((a + a_length).min(b + b_length) - a.max(b)).max(0.0);
    let shared = span(a.x, a.width, b.x, b.width) * span(a.y, a.height, b.y, b.height);
    let all = a.width * a.height + b.width * b.height - shared;
    let ratio = shared / all;
    if ratio.is_finite() && all > 0.0 { ratio.clamp(0.0, 1.0) } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(x: f32, y: f32, width: f32, height: f32) -> BoundingBox {
        BoundingBox { x, y, width, height }
    }

    #[test]
    fn overlap_is_a_ratio_whatever_the_boxes() {
        assert_eq!(overlap(at(0.0, 0.0, 10.0, 10.0), at(0.0, 0.0, 10.0, 10.0)), 1.0);
        assert_eq!(overlap(at(0.0, 0.0, 10.0, 10.0), at(20.0, 0.0, 10.0, 10.0)), 0.0);
        assert!((overlap(at(0.0, 0.0, 10.0, 10.0), at(5.0, 0.0, 10.0, 10.0)) - 1.0 / 3.0).abs() < 1e-6);
        for nonsense in [f32::NAN, f32::INFINITY, -1.0, 0.0] {
            let ratio = overlap(at(0.0, 0.0, nonsense, 10.0), at(nonsense, 0.0, 10.0, 10.0));
            assert!((0.0..=1.0).contains(&ratio), "{nonsense}");
        }
    }
}
