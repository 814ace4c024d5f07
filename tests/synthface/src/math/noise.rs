//! Lattice noise: skin blotches, strands of hair, weave of cloth.

use super::{Vec3, lerp, vec3};

/// A number in [0, 1) that depends on a lattice point and a seed. The constants are those of xxHash32
/// and of Chris Wellon's low-bias 32-bit mixer.
#[inline(always)]
pub(crate) fn hash_unit(x: i32, y: i32, z: i32, seed: u32) -> f32 {
    let mut n = (x as u32).wrapping_mul(0x9E37_79B1)
        ^ (y as u32).wrapping_mul(0x85EB_CA77)
        ^ (z as u32).wrapping_mul(0xC2B2_AE3D)
        ^ seed.wrapping_mul(0x27D4_EB2F);
    n ^= n >> 15;
    n = n.wrapping_mul(0x2C1B_3C6D);
    n ^= n >> 12;
    n = n.wrapping_mul(0x297A_2D39);
    n ^= n >> 15;
    (n >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// Whole and fractional part; the cast saturates, so that no input can panic.
#[inline(always)]
fn split(x: f32) -> (i32, f32) {
    let floor = x.floor();
    (floor as i32, x - floor)
}

/// Smooth noise in [-1, 1] with features of unit size.
pub(crate) fn noise(p: Vec3, seed: u32) -> f32 {
    let ((i, dx), (j, dy), (k, dz)) = (split(p.x), split(p.y), split(p.z));
    let fade = |d: f32| d * d * (3.0 - 2.0 * d);
    let (u, v, w) = (fade(dx), fade(dy), fade(dz));
    let corner =
        |a: i32, b: i32, c: i32| hash_unit(i.wrapping_add(a), j.wrapping_add(b), k.wrapping_add(c), seed);
    let near = lerp(lerp(corner(0, 0, 0), corner(1, 0, 0), u), lerp(corner(0, 1, 0), corner(1, 1, 0), u), v);
    let far = lerp(lerp(corner(0, 0, 1), corner(1, 0, 1), u), lerp(corner(0, 1, 1), corner(1, 1, 1), u), v);
    lerp(near, far, w) * 2.0 - 1.0
}

/// Noise summed over `octaves`, each twice as fine and half as strong as the last; within [-1, 1].
pub(crate) fn fractal_noise(p: Vec3, octaves: u32, seed: u32) -> f32 {
    let (mut sum, mut weight, mut q) = (0.0, 0.5, p);
    for octave in 0..octaves {
        sum += weight * noise(q, seed.wrapping_add(octave * 17));
        // Not quite two, so that the lattices of the octaves do not coincide.
        q = q * 2.03;
        weight *= 0.5;
    }
    sum
}

/// Distance to the nearest of randomly placed points, one in each unit cell, and a number in [0, 1) that
/// belongs to that point.
pub(crate) fn cells(p: Vec3, seed: u32) -> (f32, f32) {
    let ((i, _), (j, _), (k, _)) = (split(p.x), split(p.y), split(p.z));
    let mut best = (f32::MAX, 0.0);
    for a in -1..2 {
        for b in -1..2 {
            for c in -1..2 {
                let (x, y, z) = (i.wrapping_add(a), j.wrapping_add(b), k.wrapping_add(c));
                let at = |axis: u32| hash_unit(x, y, z, seed.wrapping_add(axis));
                let point = vec3(x as f32 + at(0), y as f32 + at(1), z as f32 + at(2));
                let distance = (point - p).length();
                if distance < best.0 {
                    best = (distance, at(3));
                }
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_stays_in_range_and_is_continuous() {
        let mut last = noise(vec3(-3.0, 0.2, 0.7), 5);
        for i in 1..6000 {
            let n = noise(vec3(-3.0 + i as f32 * 0.001, 0.2, 0.7), 5);
            assert!((-1.0..=1.0).contains(&n));
            assert!((n - last).abs() < 0.01);
            last = n;
        }
    }

    #[test]
    fn absurd_points_do_not_panic() {
        for x in [f32::MAX, f32::MIN, f32::INFINITY, f32::NAN] {
            let p = vec3(x, x, x);
            let _ = noise(p, 1);
            let _ = fractal_noise(p, 4, 1);
            let _ = cells(p, 1);
        }
    }
}
