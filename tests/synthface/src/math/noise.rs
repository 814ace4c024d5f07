//! Lattice noise: skin blotches, strands of hair, weave of cloth.

use super::{LANES, Lanes, Vec3, lerp, vec3};

/// Factors of the coordinates of a lattice point, and of the seed; those of xxHash32.
const FACTORS: [u32; 4] = [0x9E37_79B1, 0x85EB_CA77, 0xC2B2_AE3D, 0x27D4_EB2F];

/// Mixes what lattice points' coordinates have been folded into to numbers in [0, 1): Chris Wellon's low-bias
/// 32-bit mixer.
#[inline(always)]
fn mix<const N: usize>(n: [u32; N]) -> [f32; N] {
    let n = n.map(|n| n ^ (n >> 15)).map(|n| n.wrapping_mul(0x2C1B_3C6D));
    let n = n.map(|n| n ^ (n >> 12)).map(|n| n.wrapping_mul(0x297A_2D39));
    // Fits a signed number, for which processors have more instructions.
    n.map(|n| ((n ^ (n >> 15)) >> 8) as i32 as f32 * (1.0 / 16_777_216.0))
}

/// A number in [0, 1) that depends on a lattice point and a seed.
#[inline(always)]
fn hash_unit(x: u32, y: u32, z: u32, seed: u32) -> f32 {
    let [a, b, c, s] = FACTORS;
    let [unit] = mix([x.wrapping_mul(a) ^ y.wrapping_mul(b) ^ z.wrapping_mul(c) ^ seed.wrapping_mul(s)]);
    unit
}

/// Whole and fractional parts, for numbers below four million; beyond, the lattice ends and nothing panics.
/// `floor` would be a call, because not every processor has an instruction for it.
#[inline(always)]
fn split<const N: usize>(x: [f32; N]) -> ([u32; N], [f32; N]) {
    /// Added to a number, it leaves no bits for fractions: the sum is rounded to a whole number.
    const ROUND: f32 = 12_582_912.0;
    let floor = x.map(|x| {
        let nearest = (x + ROUND) - ROUND;
        if nearest > x { nearest - 1.0 } else { nearest }
    });
    let whole = floor.map(|floor| (floor + ROUND).to_bits().wrapping_sub(ROUND.to_bits()));
    (whole, std::array::from_fn(|i| x[i] - floor[i]))
}

#[inline(always)]
fn xor<const N: usize>(a: [u32; N], b: [u32; N]) -> [u32; N] {
    std::array::from_fn(|i| a[i] ^ b[i])
}

#[inline(always)]
fn between<const N: usize>(a: [f32; N], b: [f32; N], t: [f32; N]) -> [f32; N] {
    std::array::from_fn(|i| lerp(a[i], b[i], t[i]))
}

/// Both ends of lattice cells along an axis, folded, and how far points are between them.
#[inline(always)]
fn ends<const N: usize>(x: [f32; N], factor: u32) -> ([u32; N], [u32; N], [f32; N]) {
    let (whole, part) = split(x);
    let near = whole.map(|whole| whole.wrapping_mul(factor));
    (near, near.map(|near| near.wrapping_add(factor)), part.map(|d| d * d * (3.0 - 2.0 * d)))
}

/// [`noise`] at `N` points side by side, each with its own seed.
#[inline(always)]
fn lattice<const N: usize>(x: [f32; N], y: [f32; N], z: [f32; N], seeds: [u32; N]) -> [f32; N] {
    let [a, b, c, s] = FACTORS;
    let (left, right, u) = ends(x, a);
    let (lower, upper, v) = ends(y, b);
    let (back, front, w) = ends(z, c);
    let seeds = seeds.map(|seed| seed.wrapping_mul(s));
    let (back, front) = (xor(back, seeds), xor(front, seeds));
    let mut rows = [[0.0; N]; 4];
    for (row, (y, z)) in rows.iter_mut().zip([(lower, back), (upper, back), (lower, front), (upper, front)]) {
        let yz = xor(y, z);
        *row = between(mix(xor(yz, left)), mix(xor(yz, right)), u);
    }
    let layers = between(between(rows[0], rows[1], v), between(rows[2], rows[3], v), w);
    layers.map(|n| n * 2.0 - 1.0)
}

/// Smooth noise in [-1, 1] with features of unit size.
pub(crate) fn noise(p: Vec3, seed: u32) -> f32 {
    let [value] = lattice([p.x], [p.y], [p.z], [seed]);
    value
}

/// [`noise`] at several points, each with its own seed.
pub(crate) fn noises(p: Vec3<Lanes>, seeds: [u32; LANES]) -> Lanes {
    Lanes(lattice(p.x.0, p.y.0, p.z.0, seeds))
}

/// Noise summed over up to four `octaves`, each twice as fine and half as strong as the last; within [-1, 1].
pub(crate) fn fractal_noise(p: Vec3, octaves: usize, seed: u32) -> f32 {
    // Not quite twice as fine, so that the lattices of the octaves do not coincide.
    const FINE: [f32; LANES] = [1.0, 2.03, 2.03 * 2.03, 2.03 * 2.03 * 2.03];
    let seeds = std::array::from_fn(|octave| seed.wrapping_add(octave as u32 * 17));
    let layers = noises(Vec3::gather(|octave| p * FINE[octave]), seeds);
    let weighted = layers * Lanes([0.5, 0.25, 0.125, 0.0625]);
    weighted.0.iter().take(octaves).sum()
}

/// Distance to the nearest of randomly placed points, one in each unit cell, and a number in [0, 1) that
/// belongs to that point.
pub(crate) fn cells(p: Vec3, seed: u32) -> (f32, f32) {
    let ([i, j, k], _) = split([p.x, p.y, p.z]);
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
