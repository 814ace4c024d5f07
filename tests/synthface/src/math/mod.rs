//! Vectors, shapes, noise and chance: everything that a render is computed with.
//!
//! A render must come out the same everywhere, so nothing here calls the platform's mathematics
//! library: IEEE arithmetic and square roots are exact, the rest is polynomials or the `libm` crate.

mod noise;
mod random;
mod real;
mod shape;
mod vector;

pub(crate) use noise::{cells, fractal_noise, noise, noises};
pub(crate) use random::Random;
pub(crate) use real::{LANES, LaneMask, Lanes, Mask, Real};
pub(crate) use shape::{
    box_exit, bump, capsule, ellipsoid, lerp, lerp3, power, rounded_cone, smooth_max, smooth_min, smoothstep,
};
pub use vector::Vec3;
pub(crate) use vector::{Mat3, vec3};

/// Radians in a degree.
pub(crate) const DEGREE: f32 = std::f32::consts::PI / 180.0;
