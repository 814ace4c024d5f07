use cavs_embedding::UnitEmbedding;
use cavs_types::Quality;

use crate::FaceGeometry;

/// A point of an image, in pixels from the top left corner.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Point {
    /// Distance from the left edge.
    pub x: f32,
    /// Distance from the top edge.
    pub y: f32,
}

/// An axis-aligned box of an image, in pixels; it may reach over the image's edge.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct BoundingBox {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub width: f32,
    /// Height.
    pub height: f32,
}

impl BoundingBox {
    /// Area in square pixels.
    #[must_use]
    pub fn area(&self) -> f32 {
        self.width.max(0.0) * self.height.max(0.0)
    }

    /// The longer side in pixels.
    #[must_use]
    pub fn long_side(&self) -> f32 {
        self.width.max(self.height)
    }

    /// Intersection over union with another box: 0 where they do not touch, 1 where they are equal.
    #[must_use]
    pub fn intersection_over_union(&self, other: &Self) -> f32 {
        let width = (self.x + self.width).min(other.x + other.width) - self.x.max(other.x);
        let height = (self.y + self.height).min(other.y + other.height) - self.y.max(other.y);
        let intersection = width.max(0.0) * height.max(0.0);
        let union = self.area() + other.area() - intersection;
        if union > 0.0 { intersection / union } else { 0.0 }
    }
}

/// One face of an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Face {
    /// Its place in the upright picture; may reach over the edge.
    pub bounding_box: BoundingBox,
    /// The eye on the image's left, the eye on its right, the nose tip, the mouth corner on the
    /// image's left, the one on its right.
    pub landmarks: [Point; 5],
    /// The detector's confidence, 0 to 1.
    pub score: f32,
    /// How fit the face is for recognition.
    pub quality: Quality,
    /// What its landmarks tell beside that.
    pub geometry: FaceGeometry,
    /// What the embedder makes of the aligned face.
    pub embedding: UnitEmbedding,
    /// 0 (looks like a print or a screen) to 1 (looks live), where the pack has a liveness network:
    /// the mean of the networks' probabilities, or its place among the camera's live faces.
    pub liveness: Option<f32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_a_ratio() {
        let a = BoundingBox { x: 0.0, y: 0.0, width: 10.0, height: 10.0 };
        let b = BoundingBox { x: 5.0, ..a };
        assert_eq!(a.intersection_over_union(&a), 1.0);
        assert!((a.intersection_over_union(&b) - 50.0 / 150.0).abs() < 1e-6);
        assert_eq!(a.intersection_over_union(&BoundingBox { x: 20.0, ..a }), 0.0);
        assert_eq!(BoundingBox::default().intersection_over_union(&BoundingBox::default()), 0.0);
    }
}
