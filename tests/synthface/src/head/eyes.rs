//! Sockets, lids and the shape of the opening.

use crate::identity::Shape;
use crate::math::{Mask, Real, Vec3, bump, ellipsoid, smooth_max, smooth_min, smoothstep, vec3};
use crate::view::Expression;

/// Both eyes of one head in one expression.
#[derive(Clone, Debug)]
pub(crate) struct Eyes {
    /// Centre of the right-hand eyeball.
    pub(crate) centre: Vec3,
    pub(crate) radius: f32,
    /// The opening is the overlap of two discs: radius and height of the centre of the one whose edge is
    /// the upper lid, then of the lower.
    upper: (f32, f32),
    lower: (f32, f32),
    /// Sine and cosine of the slant.
    tilt: (f32, f32),
    crease: f32,
    bag: f32,
    socket: Vec3,
}

impl Eyes {
    pub(crate) fn new(p: &Shape, expression: &Expression) -> Eyes {
        let smile = expression.smile.max(0.0);
        let open = (1.0 - expression.blink.max(0.0) - 0.12 * smile).max(0.1) - expression.blink.min(0.0);
        let (up, low, half) = (p.lid_upper * open, p.lid_lower * (1.0 - 0.25 * smile), p.lid_width);
        // Circle through the two corners and the middle of the lid.
        let radius = |sagitta: f32| (half * half + sagitta * sagitta) / (2.0 * sagitta);
        Eyes {
            centre: vec3(p.eye_x, p.eye_y, p.eye_z),
            radius: p.eye_radius,
            upper: (radius(up), up - radius(up)),
            lower: (radius(low), radius(low) - low),
            tilt: libm::sincosf(p.lid_tilt),
            crease: p.lid_crease,
            bag: p.eye_bag,
            socket: vec3(2.1, 1.35, 1.7).recip(),
        }
    }

    /// Distance in the plane of the face to the almond between the lids, negative inside.
    #[inline]
    pub(crate) fn opening<R: Real>(&self, s: Vec3<R>) -> R {
        let (dx, dy) = (s.x - self.centre.x, s.y - self.centre.y);
        let (sn, cs) = self.tilt;
        let (x, y) = (dx * cs + dy * sn, dy * cs - dx * sn);
        let disc = |(radius, height): (f32, f32)| (x * x + (y - height) * (y - height)).sqrt() - radius;
        disc(self.upper).max(disc(self.lower))
    }

    /// Hollows the sockets.
    #[inline]
    pub(crate) fn sockets<R: Real>(&self, d: R, s: Vec3<R>) -> R {
        let at = self.centre + vec3(0.0, 0.05, 2.35);
        smooth_max(d, -ellipsoid(s - at, self.socket), 1.3)
    }

    /// Adds the lids and cuts the opening into them.
    #[inline]
    pub(crate) fn lids<R: Real>(&self, d: R, s: Vec3<R>) -> R {
        let e = s - self.centre;
        let reach = e.length();
        let d = smooth_min(d, reach - (self.radius + 0.16), 0.55);
        if !reach.below(3.2).any() {
            return d;
        }
        let o = self.opening(s);
        let near = reach.below(3.2) & o.below(1.2);
        if !near.any() {
            return d;
        }
        let crease = bump(o - self.crease, 0.10) * 0.10 * smoothstep(1.9, 1.0, e.x.abs());
        let bag = (bump(o - 0.95, 0.18) * 0.09 - bump(o - 0.55, 0.25) * 0.05) * self.bag;
        let lid = d + R::choose(e.y.above(0.0), crease, bag);
        R::choose(near, smooth_max(lid, -o.max(-e.z), 0.10), d)
    }

    /// Distance to the eyeballs.
    #[inline]
    pub(crate) fn ball<R: Real>(&self, s: Vec3<R>) -> R {
        (s - self.centre).length() - self.radius
    }
}
