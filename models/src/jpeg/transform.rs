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

/// Pixels from values around zero, rounded and saturated.
fn bytes<const N: usize>(values: [f32; N]) -> [u8; N] {
    /// From here on, the lowest bits of a float are its whole part: much cheaper than a conversion.
    const WHOLE: f32 = 8_388_608.0;
    values.map(|v| {
        // Written so that each is one instruction: a NaN can't be.
        let v = if v > -128.0 { v } else { -128.0 };
        let v = if v < 127.0 { v } else { 127.0 };
        (v + (WHOLE + 128.0)).to_bits() as u8
    })
}

fn fill<const W: usize>(block: &[f32; MAX_BLOCK], rows: usize, out: &mut [u8], stride: usize) {
    let [value] = bytes([block[0] / 8.0]);
    (0..rows).for_each(|y| out[y * stride..][..W].fill(value));
}

/// A 4x4 block of pixels from the lower half of the frequencies.
pub(super) fn quarter(block: &[f32; MAX_BLOCK], end: usize, out: &mut [u8], stride: usize) {
    if end == 1 {
        return fill::<4>(block, 4, out, stride);
    }
    for (y, row) in four(block).iter().enumerate() {
        out[y * stride..][..4].copy_from_slice(&bytes(*row));
    }
}

/// As [`quarter`], with every pixel twice: for chroma that is halved horizontally.
pub(super) fn wide(block: &[f32; MAX_BLOCK], end: usize, out: &mut [u8], stride: usize) {
    if end == 1 {
        return fill::<8>(block, 4, out, stride);
    }
    for (y, row) in four(block).iter().enumerate() {
        let line = &mut out[y * stride..][..8];
        line.as_chunks_mut::<2>().0.iter_mut().zip(bytes(*row)).for_each(|(to, v)| *to = [v; 2]);
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
    if end <= LOW { eight::<4>(block, out, stride) } else { eight::<8>(block, out, stride) }
}

/// Eight-point transforms of the N x N lowest frequencies. Even frequencies are the same at both ends
/// and odd ones opposite, which halves the work.
fn eight<const N: usize>(block: &[f32; MAX_BLOCK], out: &mut [u8], stride: usize) {
    let mut columns = [[[0f32; N]; 4]; 2];
    for u in 0..N {
        for (to, weight) in columns[u % 2].iter_mut().zip(COS8[u]) {
            for x in 0..N {
                to[x] += block[u * 8 + x] * weight;
            }
        }
    }
    for y in 0..8 {
        let (near, sign) = if y < 4 { (y, 1.0) } else { (7 - y, -1.0) };
        let mut halves = [[0f32; 4]; 2];
        for v in 0..N {
            let column = columns[0][near][v] + sign * columns[1][near][v];
            for x in 0..4 {
                halves[v % 2][x] += column * COS8[v][x];
            }
        }
        let mut line = [0f32; 8];
        for x in 0..4 {
            line[x] = halves[0][x] + halves[1][x];
            line[7 - x] = halves[0][x] - halves[1][x];
        }
        out[y * stride..][..8].copy_from_slice(&bytes(line));
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
