//! The nose.

use crate::identity::Shape;
use crate::math::{Real, Vec3, capsule, ellipsoid, lerp, rounded_cone, smooth_max, smooth_min, vec3};

/// The nose of one head.
#[derive(Clone, Debug)]
pub(crate) struct Nose {
    root: Vec3,
    middle: Vec3,
    end: Vec3,
    tip: Vec3,
    tip_radius: f32,
    bridge: f32,
    flank: Vec3,
    wing: Vec3,
    wing_at: Vec3,
    columella: [Vec3; 2],
    nostril: Vec3,
    nostril_at: Vec3,
    bound: Vec3,
}

impl Nose {
    pub(crate) fn new(p: &Shape, smile: f32) -> Nose {
        let (y, z) = (p.nose_y + p.nose_upturn * 0.25, p.nose_z);
        let middle_z = lerp(p.nasion_z + 0.35, z - 0.7, 0.47) + p.nose_hump;
        Nose {
            root: vec3(0.0, 0.9, p.nasion_z),
            middle: vec3(0.0, lerp(0.7, y, 0.45), middle_z),
            end: vec3(0.0, y + 0.25, z - p.nose_tip),
            tip: vec3(0.0, y, z - p.nose_tip),
            tip_radius: p.nose_tip,
            bridge: p.bridge_width,
            flank: vec3(0.0, lerp(0.7, y, 0.55) - 0.4, lerp(p.nasion_z, z, 0.5) - 1.5),
            wing: vec3(p.wing_radius, p.wing_radius * 0.92, p.wing_radius * 1.25).recip(),
            wing_at: vec3(p.nose_width - p.wing_radius + 0.06 * smile, p.nose_y - 0.30, z - 2.05),
            columella: [vec3(0.0, y - 0.5, z - 1.0), vec3(0.0, p.nose_y - 1.05, z - 2.0)],
            nostril: vec3(p.nostril, p.nostril * 0.75, p.nostril * 1.7).recip(),
            nostril_at: vec3(p.nose_width * 0.46, p.nose_y - 0.92 + 0.25 * p.nose_upturn, z - 1.55),
            bound: vec3(0.0, lerp(0.9, y, 0.55), z - 2.0),
        }
    }

    /// Distance to a sphere around the nose.
    #[inline]
    pub(crate) fn bound<R: Real>(&self, s: Vec3<R>) -> R {
        (s - self.bound).length() - 4.4
    }

    /// Adds the nose.
    #[inline]
    pub(crate) fn join<R: Real>(&self, d: R, s: Vec3<R>) -> R {
        let b = self.bridge;
        let mut n = rounded_cone(s, self.root, Vec3::of(self.middle), b, b * 0.98);
        let lower = rounded_cone(s, self.middle, Vec3::of(self.end), b * 0.98, self.tip_radius * 0.80);
        n = smooth_min(n, lower, 0.5);
        let flank = vec3(1.0 / 1.5, 1.0 / 2.6, 1.0 / 1.45);
        n = smooth_min(n, ellipsoid(s - self.flank, flank), 1.0);
        n = smooth_min(n, (s - self.tip).length() - self.tip_radius, 0.6);
        n = smooth_min(n, ellipsoid(s - self.wing_at, self.wing), 0.55);
        n = smooth_min(n, capsule(s, self.columella[0], self.columella[1], 0.41), 0.4);
        let d = smooth_min(d, n, 0.75);
        smooth_max(d, -ellipsoid(s - self.nostril_at, self.nostril), 0.22)
    }
}
