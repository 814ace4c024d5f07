//! Lattice noise: skin blotches, strands of hair, weave of cloth.

use super::{Vec3, lerp, vec3};

/// Factors of the coordinates of a lattice point, and of the seed; those of xxHash32.
const FACTORS: [u32; 4] = [0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D, 0x27D4_EB2F];

/// Mixes what a lattice point's coordinates have been folded into to a number in [0, 1): Chris Wellon's
/// low-bias 32-bit mixer.
#[inline(always)]
fn mix(mut n: u32) -> f32 {
    n ^= n >> 15;
    n = n.wrapping_mul(0x2C1B_3C6D);
    n ^= n >> 12;
    n = n.wrapping_mul(0x297A_2D39);
    n ^= n >> 15;
    // Fits a signed number, for which processors have more instructions.
    (n >> 8) as i32 as f32 * (1.0 / 16_777_216.0)
}

/// A number in [0, 1) that depends on a lattice point and a seed.
#[inline(always)]
fn hash_unit(x: u32, y: u32, z: u32, seed: u32) -> f32 {
    let [a, b, c, s] = FACTORS;
    mix(x.wrapping_mul(a) ^ y.wrapping_mul(b) ^ z.wrapping_mul(c) ^ seed.wrapping_mul(s))
}

/// Whole and fractional part, for numbers below four million; beyond, the lattice ends and nothing panics.
/// `floor` would be a call, because not every processor has an instruction for it.
#[inline(always)]
fn split(x: f32) -> (u32, f32) {
    /// Added to a number, it leaves no bits for fractions: the sum is rounded to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let nearest = (x + ROUND) - ROUND;
    let floor = if nearest > x { nearest - 1.0 } else { nearest };
    ((floor + ROUND).to_bits().wrapping_sub(ROUND.to_bits()), x - floor)
}

/// Smooth noise in [-1, 1] with features of unit size.
pub(crate) fn noise(p: Vec3, seed: u32) -> f32 {
    let ((i, dx), (j, dy), (k, dz)) = (split(p.x), split(p.y), split(p.z));
    let fade = |d: f32| d * d * (3.0 - 2.0 * d);
    let (u, v, w) = (fade(dx), fade(dy), fade(dz));
    // The eight corners of the cell side by side, which compilers turn into vector instructions.
    let [a, b, c, s] = FACTORS;
    let pair = |i: u32, factor: u32| (i.wrapping_mul(factor), i.wrapping_mul(factor).wrapping_add(factor));
    let (x, y, z) = (pair(i, a), pair(j, b), pair(k, c));
    let seed = seed.wrapping_mul(s);
    let near = [y.0 ^ z.0 ^ seed, y.1 ^ z.0 ^ seed, y.0 ^ z.1 ^ seed, y.1 ^ z.1 ^ seed];
    let left: [f32; 4] = std::array::from_fn(|n| mix(near[n] ^ x.0));
    let right: [f32; 4] = std::array::from_fn(|n| mix(near[n] ^ x.1));
    let row: [f32; 4] = std::array::from_fn(|n| lerp(left[n], right[n], u));
    lerp(lerp(row[0], row[1], v), lerp(row[2], row[3], v), w) * 2.0 - 1.0
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
                let cell = [i.wrapping_add_signed(a), j.wrapping_add_signed(b), k.wrapping_add_signed(c)];
                let at = |axis: u32| hash_unit(cell[0], cell[1], cell[2], seed.wrapping_add(axis));
                let [x, y, z] = cell.map(|whole| whole as i32 as f32);
                let point = vec3(x + at(0), y + at(1), z + at(2));
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
