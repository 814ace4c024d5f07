//! From a detector's outputs to faces: decoding of YuNet and SCRFD, and non-maximum suppression.

use crate::{
    BoundingBox, Point,
    pack::manifest::{DetectorKind, DetectorLevel},
};

/// Overlap (intersection over union) above which the weaker of two boxes is the same face; the
/// value of OpenCV's and InsightFace's own pipelines lies between 0.3 and 0.4.
const SAME_FACE: f32 = 0.3;

/// Most candidates before suppression, which compares all pairs.
const MAX_CANDIDATES: usize = 4096;

/// A face as the detector says it, in pixels of the detector's input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Detection {
    pub(crate) bounding_box: BoundingBox,
    pub(crate) landmarks: [Point; 5],
    pub(crate) score: f32,
    /// How sure a refiner is of the landmarks, 0 to 1, and a half where they just pass for an upright face's;
    /// `None` where nobody was asked.
    pub(crate) confidence: Option<f32>,
}

impl Detection {
    /// In pixels of a picture that is larger by a factor.
    pub(crate) fn grow(&mut self, factor: f32) {
        let b = self.bounding_box;
        let [x, y, width, height] = [b.x, b.y, b.width, b.height].map(|v| v * factor);
        self.bounding_box = BoundingBox { x, y, width, height };
        self.landmarks = self.landmarks.map(|p| Point { x: p.x * factor, y: p.y * factor });
    }
}

/// The four maps of one stride, row-major over cells (and anchors within a cell).
pub(crate) struct Maps<'a> {
    pub(crate) stride: usize,
    pub(crate) scores: &'a [f32],
    pub(crate) objectness: Option<&'a [f32]>,
    pub(crate) boxes: &'a [f32],
    pub(crate) landmarks: &'a [f32],
}

/// Appends the candidates of one stride whose score is at least `min_score`. `width` is that of the
/// detector's input, in pixels.
pub(crate) fn decode(
    kind: DetectorKind,
    maps: &Maps<'_>,
    width: usize,
    min_score: f32,
    found: &mut Vec<Detection>,
) {
    let anchors = match kind {
        DetectorKind::Yunet => 1,
        DetectorKind::Scrfd => crate::import::SCRFD_ANCHORS,
    };
    let columns = width.div_ceil(maps.stride);
    let stride = maps.stride as f32;
    for (at, class) in maps.scores.iter().enumerate() {
        let score = match maps.objectness {
            Some(objectness) => (class.clamp(0.0, 1.0) * objectness[at].clamp(0.0, 1.0)).sqrt(),
            None => *class,
        };
        if score.is_nan() || score < min_score {
            continue;
        }
        let cell = at / anchors;
        let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
        let b = &maps.boxes[at * 4..][..4];
        let bounding_box = match kind {
            DetectorKind::Yunet => {
                let (w, h) = (b[2].exp() * stride, b[3].exp() * stride);
                let (cx, cy) = ((column + b[0]) * stride, (row + b[1]) * stride);
                BoundingBox { x: cx - w / 2.0, y: cy - h / 2.0, width: w, height: h }
            }
            DetectorKind::Scrfd => BoundingBox {
                x: (column - b[0]) * stride,
                y: (row - b[1]) * stride,
                width: (b[0] + b[2]) * stride,
                height: (b[1] + b[3]) * stride,
            },
        };
        let k = &maps.landmarks[at * 10..][..10];
        let landmarks = std::array::from_fn(|i| Point {
            x: (column + k[2 * i]) * stride,
            y: (row + k[2 * i + 1]) * stride,
        });
        let sound = |d: &Detection| {
            let b = d.bounding_box;
            [b.x, b.y, b.width, b.height].iter().all(|v| v.is_finite())
                && b.area() > 0.0
                && d.landmarks.iter().all(|p| p.x.is_finite() && p.y.is_finite())
        };
        let detection = Detection { bounding_box, landmarks, score: score.min(1.0), confidence: None };
        if sound(&detection) {
            found.push(detection);
        }
    }
}

/// Keeps the strongest of each group of overlapping candidates, strongest first.
pub(crate) fn suppress(found: &mut Vec<Detection>) {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    found.truncate(MAX_CANDIDATES);
    keep_first(found);
}

/// Keeps the first of each group of overlapping candidates.
pub(crate) fn keep_first(found: &mut Vec<Detection>) {
    let mut kept = 0;
    for at in 0..found.len() {
        let candidate = found[at];
        let same =
            |k: &Detection| k.bounding_box.intersection_over_union(&candidate.bounding_box) > SAME_FACE;
        if !found[..kept].iter().any(same) {
            found[kept] = candidate;
            kept += 1;
        }
    }
    found.truncate(kept);
}

/// Whether a level's maps have the lengths that an input of this size gives.
pub(crate) fn fits(kind: DetectorKind, level: &DetectorLevel, maps: &Maps<'_>, size: [usize; 2]) -> bool {
    let anchors = match kind {
        DetectorKind::Yunet => 1,
        DetectorKind::Scrfd => crate::import::SCRFD_ANCHORS,
    };
    let cells = size[0].div_ceil(level.stride) * size[1].div_ceil(level.stride) * anchors;
    maps.scores.len() == cells
        && maps.objectness.is_none_or(|o| o.len() == cells)
        && maps.boxes.len() == cells * 4
        && maps.landmarks.len() == cells * 10
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detection(x: f32, score: f32) -> Detection {
        let bounding_box = BoundingBox { x, y: 0.0, width: 10.0, height: 10.0 };
        Detection { bounding_box, landmarks: [Point::default(); 5], score, confidence: None }
    }

    #[test]
    fn the_strongest_of_a_group_stays() {
        let mut found = vec![detection(0.0, 0.7), detection(1.0, 0.9), detection(50.0, 0.8)];
        suppress(&mut found);
        assert_eq!(found.iter().map(|d| d.score).collect::<Vec<_>>(), [0.9, 0.8]);
    }

    #[test]
    fn a_yunet_cell() {
        let maps = Maps {
            stride: 8,
            scores: &[0.0, 0.81],
            objectness: Some(&[1.0, 1.0]),
            boxes: &[0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.0, 2f32.ln()],
            landmarks: &[[0.0; 10], [1.0; 10]].concat(),
        };
        let mut found = vec![];
        decode(DetectorKind::Yunet, &maps, 16, 0.5, &mut found);
        assert_eq!(found.len(), 1);
        let b = found[0].bounding_box;
        assert!(
            (b.x - 8.0).abs() < 1e-4 && (b.y + 4.0).abs() < 1e-4 && (b.height - 16.0).abs() < 1e-4,
            "{b:?}"
        );
        assert!((found[0].score - 0.9).abs() < 1e-6);
        assert_eq!(found[0].landmarks[4], Point { x: 16.0, y: 8.0 });
    }

    #[test]
    fn what_is_not_finite_is_no_face() {
        let maps = Maps {
            stride: 8,
            scores: &[f32::NAN, 0.9],
            objectness: None,
            boxes: &[1.0, 1.0, 1.0, 1.0, f32::INFINITY, 1.0, 1.0, 1.0],
            landmarks: &[0.0; 20],
        };
        let mut found = vec![];
        decode(DetectorKind::Scrfd, &maps, 8, 0.5, &mut found);
        assert!(found.is_empty());
    }
}
