//! From frequencies to pixels: inverse cosine transforms of eight and of four points.

use super::entropy::{MAX_BLOCK, ZIGZAG};

/// Factors of the coefficients, in the order of rows; they hold those of the transform, too.
pub(super) struct Quantizer {
    pub(super) factors: [f32; 64],
}

impl Quantizer {
    /// From a table in the order in which it is written.
    pub(super) fn new(values: &[u8; 64]) -> Self {
        let mut factors = [0.0; 64];
        for (value, place) in values.iter().zip(ZIGZAG) {
            // An orthonormal transform: T.81 A.3.3 with C(u) C(v) / 4.
            factors[usize::from(place)] = f32::from(*value);
        }
        Self { factors }
    }
}

/// Behind this many coefficients, in coding order, lie only those of the lower quarter.
const LOW: usize = 10;

/// cos(pi (2 x + 1) u / 8) * C(u) / sqrt(2) for four points: `COS4[u][x]`.
const COS4: [[f32; 4]; 4] = [
    [0.5, 0.5, 0.5, 0.5],
    [0.653_281_5, 0.270_598_05, -0.270_598_05, -0.653_281_5],
    [0.5, -0.5, -0.5, 0.5],
    [0.270_598_05, -0.653_281_5, 0.653_281_5, -0.270_598_05],
];

fn byte(v: f32) -> u8 {
    // Saturates.
    (v + 128.5) as u8
}

fn fill<const W: usize>(block: &[f32; MAX_BLOCK], rows: usize, out: &mut [u8], stride: usize) {
    let value = byte(block[0] / 8.0);
    (0..rows).for_each(|y| out[y * stride..][..W].fill(value));
}

/// A 4x4 block of pixels from the lower half of the frequencies.
pub(super) fn quarter(block: &[f32; MAX_BLOCK], end: usize, out: &mut [u8], stride: usize) {
    if end == 1 {
        return fill::<4>(block, 4, out, stride);
    }
    for (y, row) in four(block).iter().enumerate() {
        let line = &mut out[y * stride..][..4];
        line.iter_mut().zip(row).for_each(|(to, v)| *to = byte(*v));
    }
}

/// As [`quarter`], with every pixel twice: for chroma that is halved horizontally.
pub(super) fn wide(block: &[f32; MAX_BLOCK], end: usize, out: &mut [u8], stride: usize) {
    if end == 1 {
        return fill::<8>(block, 4, out, stride);
    }
    for (y, row) in four(block).iter().enumerate() {
        let line = &mut out[y * stride..][..8];
        line.chunks_exact_mut(2).zip(row).for_each(|(to, v)| to.fill(byte(*v)));
    }
}

/// Four-point transforms of the 4x4 lowest frequencies. The half of an orthonormal one: a block of
/// half the side has half the coefficients' size.
fn four(block: &[f32; MAX_BLOCK]) -> [[f32; 4]; 4] {
    let mut columns = [[0f32; 4]; 4];
    for (u, weights) in COS4.iter().enumerate() {
        for (y, to) in columns.iter_mut().enumerate() {
            for x in 0..4 {
                to[x] += block[u * 8 + x] * weights[y];
            }
        }
    }
    let mut pixels = [[0f32; 4]; 4];
    for (row, to) in columns.iter().zip(&mut pixels) {
        for (v, weights) in COS4.iter().enumerate() {
            for x in 0..4 {
                to[x] += row[v] * 0.5 * weights[x];
            }
        }
    }
    pixels
}

/// An 8x8 block of pixels: for chroma that is halved both ways already.
pub(super) fn whole(block: &[f32; MAX_BLOCK], end: usize, out: &mut [u8], stride: usize) {
    if end == 1 {
        return fill::<8>(block, 8, out, stride);
    }
    // Rows of frequencies that are not all zero.
    let rows = if end <= LOW { 4 } else { 8 };
    let mut columns = [[0f32; 8]; 8];
    for u in 0..rows {
        let from = &block[u * 8..][..8];
        for (y, to) in columns.iter_mut().enumerate() {
            for x in 0..8 {
                to[x] += from[x] * COS8[u][y];
            }
        }
    }
    for (y, row) in columns.iter().enumerate() {
        let mut pixels = [0f32; 8];
        for (v, weights) in COS8.iter().enumerate().take(rows) {
            for x in 0..8 {
                pixels[x] += row[v] * weights[x];
            }
        }
        let line = &mut out[y * stride..][..8];
        line.iter_mut().zip(pixels).for_each(|(to, v)| *to = byte(v));
    }
}

/// cos(pi (2 x + 1) u / 16) * C(u) / 2: `COS8[u][x]`.
const COS8: [[f32; 8]; 8] = {
    // The cosines of 1 to 7 sixteenths of pi, halved; the first is that of 4 for u = 0.
    const C: [f32; 9] = [
        0.5,
        0.490_392_64,
        0.461_939_77,
        0.415_734_8,
        0.353_553_39,
        0.277_785_12,
        0.191_341_72,
        0.097_545_16,
        0.0,
    ];
    let mut table = [[0.0; 8]; 8];
    let mut u = 0;
    while u < 8 {
        let mut x = 0;
        while x < 8 {
            // The angle in sixteenths of pi, folded into the first quarter of the circle.
            let angle = (2 * x + 1) * u % 32;
            let folded = if angle > 16 { 32 - angle } else { angle };
            table[u][x] = if u == 0 {
                C[4]
            } else if folded > 8 {
                -C[16 - folded]
            } else {
                C[folded]
            };
            x += 1;
        }
        u += 1;
    }
    table
};
