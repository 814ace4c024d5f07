//! The large forms: cranium, face, jaw, cheeks, ears.

use crate::identity::Shape;
use crate::math::{Mask, Real, Vec3, bump, capsule, ellipsoid, rounded_cone, smooth_max, smooth_min, vec3};

/// Large forms of one head.
#[derive(Clone, Debug)]
pub(crate) struct Skull {
    cranium: Vec3,
    face: Vec3,
    jaw: Vec3,
    jaw_y: f32,
    forehead: f32,
    chin: [Vec3; 2],
    cheekbone: Vec3,
    cheekbone_at: Vec3,
    cheek: Vec3,
    cheek_at: Vec3,
    muzzle: f32,
    temple: f32,
    ridge: f32,
}

impl Skull {
    pub(crate) fn new(p: &Shape, smile: f32) -> Skull {
        Skull {
            cranium: vec3(p.skull_width, p.skull_height, p.skull_depth).recip(),
            face: vec3(p.face_width, 7.4, 6.9).recip(),
            jaw: vec3(p.jaw_width, 3.6, 5.4).recip(),
            jaw_y: p.jaw_y,
            forehead: 0.45 * p.forehead - 0.25,
            chin: [
                vec3(0.0, p.chin_y, p.chin_z),
                vec3(p.chin_width * 0.65, p.chin_y + 0.15, p.chin_z - 0.25),
            ],
            cheekbone: vec3(p.cheekbone * 1.15, p.cheekbone * 0.8, p.cheekbone).recip(),
            cheekbone_at: vec3(p.cheekbone_x, p.cheekbone_y, 5.7),
            cheek: vec3(p.cheek_fat, p.cheek_fat * 1.15, p.cheek_fat * 0.9).recip(),
            cheek_at: vec3(3.3, -5.4 + 0.35 * smile, 5.9 + 0.15 * smile),
            muzzle: 0.30 * (p.muzzle - 0.6),
            temple: 0.35 + p.temple,
            ridge: p.brow_ridge,
        }
    }

    /// Skull and jaw without any flesh: what hair lies on. `s` is mirrored to the right half.
    #[inline]
    pub(crate) fn bone<R: Real>(&self, s: Vec3<R>) -> R {
        let d = ellipsoid(s - vec3(0.0, 2.7, -0.6), self.cranium);
        let d = smooth_min(d, ellipsoid(s - vec3(0.0, -3.2, 2.2), self.face), 2.4);
        let d = smooth_min(d, ellipsoid(s - vec3(0.0, self.jaw_y, 2.8), self.jaw), 2.4);
        let brow = vec3(1.0 / 4.6, 1.0 / 2.6, 1.0 / 4.2);
        let d = smooth_min(d, ellipsoid(s - vec3(0.0, 5.0, 4.6), brow) - self.forehead, 1.8);
        smooth_min(d, rounded_cone(s, self.chin[0], Vec3::of(self.chin[1]), 1.35, 1.25), 2.0)
    }

    /// Adds cheeks, muzzle and temples to the bone.
    #[inline]
    pub(crate) fn flesh<R: Real>(&self, d: R, s: Vec3<R>) -> R {
        let mut d = d;
        let front = s.z.above(0.0) & s.y.below(3.0);
        if front.any() {
            let mut soft = smooth_min(d, ellipsoid(s - self.cheekbone_at, self.cheekbone), 1.7);
            soft = smooth_min(soft, ellipsoid(s - self.cheek_at, self.cheek), 2.2);
            let muzzle = vec3(1.0 / 3.0, 1.0 / 2.6, 1.0 / 2.75);
            soft = smooth_min(soft, ellipsoid(s - vec3(0.0, -7.3, 6.0), muzzle) - self.muzzle, 1.6);
            d = R::choose(front, soft, d);
        }
        d + bump((s - vec3(6.9, 2.6, 4.2)).length(), 2.2) * self.temple
    }

    /// Adds the ridge that carries the eyebrows.
    #[inline]
    pub(crate) fn ridge<R: Real>(&self, d: R, s: Vec3<R>) -> R {
        let end = Vec3::of(vec3(4.3, 1.75, 6.3));
        let ridge = rounded_cone(s, vec3(1.0, 1.75, 7.9), end, self.ridge, self.ridge * 0.9);
        smooth_min(d, ridge, 1.3)
    }
}

/// The outer ears.
#[derive(Clone, Debug)]
pub(crate) struct Ears {
    at: Vec3,
    /// Sine and cosine of the angle to the head.
    angle: (f32, f32),
    size: f32,
}

impl Ears {
    /// Sine and cosine of the backward slant of an ear, 12 degrees.
    const SLANT: (f32, f32) = (0.207_911_7, 0.978_147_6);

    pub(crate) fn new(p: &Shape) -> Ears {
        Ears {
            at: vec3(p.skull_width - 0.10 + p.ear_angle * 0.8, -1.3, -1.2),
            angle: libm::sincosf(0.35 + p.ear_angle * 0.5),
            size: p.ear_size,
        }
    }

    /// Distance to a sphere around the ear.
    #[inline]
    pub(crate) fn bound<R: Real>(&self, s: Vec3<R>) -> R {
        (s - self.at).length() - 3.4 * self.size
    }

    /// Adds the ear: a plate with rolled rim, inner fold, hollow, tragus and lobe.
    #[inline]
    pub(crate) fn join<R: Real>(&self, d: R, s: Vec3<R>) -> R {
        let e = s - self.at;
        let (sn, cs) = self.angle;
        let e = vec3(e.x * cs + e.z * sn, e.y, e.z * cs - e.x * sn).scaled(1.0 / self.size);
        let e =
            vec3(e.x, e.y * Self::SLANT.1 + e.z * Self::SLANT.0, e.z * Self::SLANT.1 - e.y * Self::SLANT.0);
        // The outline narrows to the lobe.
        let below = (e.y - 0.6).at_most(0.0);
        let narrow = (R::of(1.0) - below * below * 0.0385).at_least(0.45);
        let (y, z) = (e.y, e.z / narrow);
        let plate = ellipsoid(vec3(e.x, y, z), vec3(1.0 / 0.34, 1.0 / 2.65, 1.0 / 1.5));
        let ring = |ry: f32, rz: f32| {
            let (u, v) = (y * (1.0 / ry), z * (1.0 / rz));
            ((u * u + v * v).sqrt() - 1.0) * rz
        };
        let rim = ring(2.62, 1.5);
        // The rolled rim runs over the top and back, and thins towards the lobe.
        let roll = (((y + 2.2) * 0.4).within(0.0, 1.0) * 0.6 + 0.4)
            * 0.25
            * (R::of(1.0) - (z - 0.9).within(0.0, 1.0) * 0.5);
        let helix = (rim * rim + (e.x - 0.22) * (e.x - 0.22)).sqrt() - roll;
        let mut ear = smooth_min(plate, helix, 0.22);
        let hollow = ellipsoid(e - vec3(0.42, -0.35, 0.35), vec3(1.0 / 0.5, 1.0 / 1.05, 1.0 / 0.68));
        let fold = {
            let r = ring(1.75, 0.85);
            (r * r + (e.x - 0.16) * (e.x - 0.16)).sqrt() - 0.16 + (z - 0.1).at_least(0.0) * 0.4
        };
        ear = smooth_min(ear, fold, 0.2);
        ear = smooth_max(ear, -hollow, 0.3);
        ear = smooth_min(ear, capsule(e, vec3(0.15, -0.7, 1.05), vec3(0.25, -0.2, 1.1), 0.24), 0.25);
        smooth_min(d, ear * narrow * self.size, 0.6)
    }
}
