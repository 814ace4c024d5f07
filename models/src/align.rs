//! From five landmarks to the 112x112 face that embedders were trained on.

use crate::{Image, Point};

/// Where the landmarks of an aligned face are, in a square of 112 pixels: the template of ArcFace
/// (Deng et al., CVPR 2019, <https://arxiv.org/abs/1801.07698>; InsightFace `face_align.py`).
pub(crate) const TEMPLATE: [Point; 5] = [
    Point { x: 38.2946, y: 51.6963 },
    Point { x: 73.5318, y: 51.5014 },
    Point { x: 56.0252, y: 71.7366 },
    Point { x: 41.5493, y: 92.3655 },
    Point { x: 70.7299, y: 92.2041 },
];

/// The crop that a refiner looks at: its middle and its side in the template's pixels.
pub(crate) const MIDDLE: Point = Point { x: 56.0, y: 66.0 };
pub(crate) const SPAN: f32 = 140.0;

/// Side of the template's square.
const TEMPLATE_SIDE: f32 = 112.0;

/// A rotation with uniform scale and shift: `(x, y)` becomes `(a x - b y + tx, b x + a y + ty)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SimilarityTransform {
    a: f32,
    b: f32,
    tx: f32,
    ty: f32,
}

impl SimilarityTransform {
    /// The least-squares transform that takes template points of an aligned face of `side` pixels
    /// to landmarks of the picture; `None` where the landmarks coincide.
    pub(crate) fn from_template(landmarks: &[Point; 5], side: usize) -> Option<Self> {
        let factor = side as f32 / TEMPLATE_SIDE;
        let template = TEMPLATE.map(|p| Point { x: p.x * factor, y: p.y * factor });
        // The optimum of |s R p + t - q|^2 in closed form (Umeyama 1991); it can't mirror in 2-D
        // when written as a complex factor.
        let mean = |points: &[Point; 5]| {
            let (x, y) = points.iter().fold((0.0, 0.0), |(x, y), p| (x + p.x, y + p.y));
            Point { x: x / 5.0, y: y / 5.0 }
        };
        let (from, to) = (mean(&template), mean(landmarks));
        let (mut along, mut across, mut spread) = (0.0, 0.0, 0.0);
        for (p, q) in template.iter().zip(landmarks) {
            let (px, py, qx, qy) = (p.x - from.x, p.y - from.y, q.x - to.x, q.y - to.y);
            along += px * qx + py * qy;
            across += px * qy - py * qx;
            spread += px * px + py * py;
        }
        let (a, b) = (along / spread, across / spread);
        let size = a.hypot(b);
        if !size.is_finite() || size < 1e-3 {
            return None;
        }
        Some(Self { a, b, tx: to.x - a * from.x + b * from.y, ty: to.y - b * from.x - a * from.y })
    }

    /// Pixels of the picture that one pixel of the aligned face covers a side.
    pub(crate) fn scale(&self) -> f32 {
        self.a.hypot(self.b)
    }

    /// Sine and cosine of the face's tilt, clockwise.
    pub(crate) fn turn(&self) -> (f32, f32) {
        let size = self.scale();
        (self.b / size, self.a / size)
    }

    pub(crate) fn apply(&self, x: f32, y: f32) -> (f32, f32) {
        (self.a * x - self.b * y + self.tx, self.b * x + self.a * y + self.ty)
    }
}

/// Samples the aligned face bilinearly into `out`, `side * side` RGB pixels as f32 0-255; what lies
/// outside the picture is black.
pub(crate) fn warp(image: &Image, transform: &SimilarityTransform, side: usize, out: &mut [[f32; 3]]) {
    for (row, line) in out.chunks_exact_mut(side).enumerate() {
        for (column, pixel) in line.iter_mut().enumerate() {
            let (x, y) = transform.apply(column as f32, row as f32);
            *pixel = bilinear(image, x, y);
        }
    }
}

/// A colour between pixels, 0-255; black outside the picture.
pub(crate) fn bilinear(image: &Image, x: f32, y: f32) -> [f32; 3] {
    let (width, height) = (image.width() as i64, image.height() as i64);
    let (left, top) = (x.floor(), y.floor());
    let (across, down) = (x - left, y - top);
    let (left, top) = (left as i64, top as i64);
    if left < -1 || top < -1 || left >= width || top >= height {
        return [0.0; 3];
    }
    let mut sum = [0.0; 3];
    let corners = [
        (left, top, (1.0 - across) * (1.0 - down)),
        (left + 1, top, across * (1.0 - down)),
        (left, top + 1, (1.0 - across) * down),
        (left + 1, top + 1, across * down),
    ];
    for (x, y, weight) in corners {
        if (0..width).contains(&x) && (0..height).contains(&y) {
            let pixel = &image.pixels()[(y * width + x) as usize * 3..][..3];
            sum.iter_mut().zip(pixel).for_each(|(s, p)| *s += weight * f32::from(*p));
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_template_maps_to_itself() {
        let t = SimilarityTransform::from_template(&TEMPLATE, 112).unwrap();
        assert!(
            (t.a - 1.0).abs() < 1e-5 && t.b.abs() < 1e-5 && t.tx.abs() < 1e-3 && t.ty.abs() < 1e-3,
            "{t:?}"
        );
    }

    #[test]
    fn a_turned_and_grown_face_is_found_again() {
        let turned = TEMPLATE.map(|p| Point { x: -2.0 * p.y + 300.0, y: 2.0 * p.x + 10.0 });
        let t = SimilarityTransform::from_template(&turned, 112).unwrap();
        for (p, q) in TEMPLATE.iter().zip(&turned) {
            let (x, y) = t.apply(p.x, p.y);
            assert!((x - q.x).abs() < 1e-2 && (y - q.y).abs() < 1e-2);
        }
        assert!(SimilarityTransform::from_template(&[Point { x: 5.0, y: 5.0 }; 5], 112).is_none());
    }

    #[test]
    fn outside_is_black_and_inside_is_sampled() {
        let image = Image::from_rgb8(2, 1, vec![0, 0, 0, 100, 200, 40]).unwrap();
        assert_eq!(bilinear(&image, 0.5, 0.0), [50.0, 100.0, 20.0]);
        assert_eq!(bilinear(&image, 9.0, 9.0), [0.0; 3]);
    }
}
