//! The deformation field: a smooth displacement of the whole head by radial basis functions.
//!
//! People differ less in single measurements than in how the whole surface runs; this field is what
//! carries most of the identity.

use crate::math::{Mask, Random, Real, Vec3, vec3};

/// Number of basis functions.
pub(crate) const BASES: usize = 16;

/// Where the basis functions sit on the right half of the head (they act on both), centimetres.
const CENTRES: [[f32; 3]; BASES] = [
    [0.0, 5.0, 8.5],
    [3.5, 4.5, 7.0],
    [0.0, 1.5, 9.0],
    [3.2, 2.0, 8.0],
    [5.4, 0.8, 5.5],
    [3.0, -1.6, 8.0],
    [5.6, -3.0, 5.0],
    [0.0, -2.0, 10.0],
    [1.8, -4.2, 9.0],
    [0.0, -5.6, 10.0],
    [3.6, -5.2, 7.5],
    [2.6, -7.2, 8.5],
    [0.0, -8.8, 9.0],
    [2.4, -10.0, 7.5],
    [5.2, -7.6, 4.0],
    [0.0, -10.8, 8.0],
];
/// How far back the basis functions reach, centimetres.
const BACK: f32 = 0.0;
/// Deviation of the symmetric displacement, centimetres.
const SYMMETRIC: f32 = 0.30;
/// Deviation of the displacement that differs between left and right, centimetres.
const ASYMMETRIC: f32 = 0.045;
/// Draws are cut at this many deviations: beyond, noses buckle.
const CUT: f32 = 2.0;
/// Softens the change of sides at x = 0, square centimetres.
const MIDLINE: f32 = 0.8;

/// One person's displacement field.
#[derive(Clone, Debug)]
pub(crate) struct Deformation {
    centre: [[f32; BASES]; 3],
    /// One over the squared reach of each basis function.
    sharpness: [f32; BASES],
    symmetric: [[f32; BASES]; 3],
    asymmetric: [[f32; BASES]; 3],
}

impl Deformation {
    pub(crate) fn sample(random: &mut Random) -> Deformation {
        let mut field = Deformation {
            centre: [[0.0; BASES]; 3],
            sharpness: [0.0; BASES],
            symmetric: [[0.0; BASES]; 3],
            asymmetric: [[0.0; BASES]; 3],
        };
        for (k, centre) in CENTRES.iter().enumerate() {
            let reach = random.range(2.6, 4.0);
            field.sharpness[k] = 1.0 / (reach * reach);
            // Lips twist easily: near the mouth the field is weaker, and the same on both sides.
            let mouth = (-8.9..-5.0).contains(&centre[1]) && centre[0] < 4.0;
            for axis in 0..3 {
                field.centre[axis][k] = centre[axis];
                let (even, odd) = (random.normal_within(CUT), random.normal_within(CUT));
                let on_midline = axis == 0 && centre[0] == 0.0;
                let strength = match (on_midline, mouth) {
                    (true, _) => 0.0,
                    (false, true) => 0.55,
                    (false, false) => 1.0,
                };
                field.symmetric[axis][k] = even * SYMMETRIC * strength;
                field.asymmetric[axis][k] = if mouth { 0.0 } else { odd * ASYMMETRIC };
            }
        }
        field
    }

    /// The symmetric amplitudes in deviations, for comparing people.
    pub(crate) fn signature(&self) -> impl Iterator<Item = f32> + '_ {
        self.symmetric.iter().flatten().map(|amplitude| amplitude / SYMMETRIC)
    }

    /// Takes a point of the deformed head to the undeformed head.
    #[inline]
    pub(crate) fn apply<R: Real>(&self, p: Vec3<R>) -> Vec3<R> {
        // Nothing reaches the back of the head.
        if !p.z.above(BACK).any() {
            return p;
        }
        let side = p.x / (p.x * p.x + MIDLINE).sqrt();
        let ax = p.x.abs();
        let (mut dx, mut dy, mut dz) = (R::of(0.0), R::of(0.0), R::of(0.0));
        for k in 0..BASES {
            let x = ax - self.centre[0][k];
            let y = p.y - self.centre[1][k];
            let z = p.z - self.centre[2][k];
            let t = R::of(1.0) - (x * x + y * y + z * z) * self.sharpness[k];
            // Most basis functions do not reach most points.
            if t.above(0.0).any() {
                let f = t.at_least(0.0) * t.at_least(0.0);
                dx += f * (self.symmetric[0][k] + self.asymmetric[0][k]);
                dy += (side * self.asymmetric[1][k] + self.symmetric[1][k]) * f;
                dz += (side * self.asymmetric[2][k] + self.symmetric[2][k]) * f;
            }
        }
        p + vec3(dx * side, dy, dz)
    }

    /// Takes a point of the undeformed head to the deformed head, by fixed-point iteration.
    pub(crate) fn invert(&self, q: Vec3) -> Vec3 {
        let mut p = q;
        for _ in 0..8 {
            p = p - (self.apply(p) - q);
        }
        p
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inverse_undoes_the_field() {
        for seed in 0..50 {
            let field = Deformation::sample(&mut Random::new(seed, 0));
            for q in [vec3(3.1, 0.0, 8.0), vec3(0.0, -3.7, 10.9), vec3(-2.5, -7.1, 8.5)] {
                let error = (field.apply(field.invert(q)) - q).length();
                assert!(error < 0.02, "seed {seed}: {error} cm");
            }
        }
    }
}
