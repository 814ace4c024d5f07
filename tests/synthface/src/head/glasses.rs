//! Spectacle frames.

use crate::identity::{Glasses, LensShape, Shape};
use crate::math::{Mask, Real, Vec3, capsule, vec3};

/// The frame that one head wears.
#[derive(Clone, Debug)]
pub(crate) struct Spectacles {
    centre: Vec3,
    half: (f32, f32),
    corner: f32,
    rim: f32,
    bridge: [Vec3; 2],
    temple: [Vec3; 2],
}

impl Spectacles {
    pub(crate) fn new(glasses: &Glasses, p: &Shape) -> Spectacles {
        let [width, height, rim] = glasses.size;
        let (half, corner) = match glasses.frame {
            LensShape::Rectangular => ((width, height), 0.75),
            LensShape::Round => ((width * 0.9, width * 0.9), width * 0.88),
            LensShape::Oval => ((width, height * 0.95), height * 0.8),
        };
        let z = p.eye_z + 3.05;
        let inner = (p.eye_x - half.0).max(0.45);
        let outer = inner + 2.0 * half.0;
        Spectacles {
            centre: vec3(inner + half.0, p.eye_y - 0.12, z),
            half,
            corner,
            rim,
            bridge: [vec3(0.0, p.eye_y + 0.4, z + 0.2), vec3(inner + 0.1, p.eye_y + 0.25, z)],
            temple: [
                vec3(outer, p.eye_y + 0.4, z - 0.04 * outer * outer),
                vec3(p.skull_width + 0.35, p.eye_y + 0.2, -1.0),
            ],
        }
    }

    /// Distance to the frame.
    #[inline]
    pub(crate) fn distance<R: Real>(&self, s: Vec3<R>) -> R {
        let around = (s - vec3(3.5, 0.0, 4.5)).length() - 9.0;
        let far = around.above(2.0);
        if far.all() {
            return around;
        }
        // The lenses' plane bends back with the face.
        let bend = (s.x - 1.0).at_least(0.0);
        let c = s - self.centre;
        let c = vec3(c.x, c.y, c.z + bend * bend * 0.028);
        let (x, y) = (c.x.abs() - (self.half.0 - self.corner), c.y.abs() - (self.half.1 - self.corner));
        let length = |a: R, b: R| (a * a + b * b).sqrt();
        let outside = length(x.at_least(0.0), y.at_least(0.0)) + x.max(y).at_most(0.0);
        let outline = outside - self.corner;
        let ring = length((outline.abs() - self.rim * 0.5).at_least(0.0), (c.z.abs() - 0.10).at_least(0.0));
        let bridge = capsule(s, self.bridge[0], self.bridge[1], self.rim * 0.6);
        let temple = capsule(s, self.temple[0], self.temple[1], self.rim * 0.65);
        R::choose(far, around, ring.min(bridge).min(temple) - 0.04)
    }
}
