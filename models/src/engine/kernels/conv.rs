//! Dense convolution as a register-tiled matrix product over channels-last pixels.

use super::{Finish, Isa, finish, vector::Vector};

/// Weights packed for one instruction set: panels of four, two or one register of output channels;
/// in a panel, input positions one after the other, each with the panel's channels.
pub(crate) struct PackedConv {
    isa: Isa,
    /// Input positions: kernel height x kernel width x channels.
    depth: usize,
    /// Registers of output channels.
    vectors: usize,
    weights: Vec<f32>,
}

impl PackedConv {
    /// Packs `[out, depth]`, where depth runs over kernel rows, kernel columns and channels, in
    /// this order.
    pub(crate) fn new(isa: Isa, weights: &[f32], outputs: usize) -> Self {
        let lanes = isa.lanes();
        let depth = weights.len() / outputs.max(1);
        let vectors = outputs.div_ceil(lanes);
        let mut packed = vec![0.0; vectors * lanes * depth];
        let mut first = 0;
        while first < vectors {
            let width = panel(isa.tiles(), vectors - first);
            let base = first * lanes * depth;
            for k in 0..depth {
                for lane in 0..width * lanes {
                    let out = first * lanes + lane;
                    if out < outputs {
                        packed[base + k * width * lanes + lane] = weights[out * depth + k];
                    }
                }
            }
            first += width;
        }
        Self { isa, depth, vectors, weights: packed }
    }
}

/// Where the pixels that a convolution reads are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk<'a> {
    /// Output pixels in a row.
    pub(crate) width: usize,
    /// Elements from one output pixel's input to the next one's, in a row and from row to row.
    pub(crate) step: [usize; 2],
    /// Offsets of the kernel's taps from a pixel's first element.
    pub(crate) taps: &'a [usize],
    /// Elements that are read at each tap.
    pub(crate) run: usize,
}

/// Convolves the output pixels `first..first + out.len() / pitch`, where `pitch` is the number of
/// output channels rounded up to whole registers.
///
/// # Panics
/// Where a length does not fit the others.
pub(crate) fn conv(
    packed: &PackedConv,
    input: &[f32],
    walk: &Walk<'_>,
    first: usize,
    finish: &Finish<'_>,
    out: &mut [f32],
) {
    let pitch = packed.vectors * packed.isa.lanes();
    let count = out.len() / pitch.max(1);
    if count == 0 {
        return;
    }
    let last = first + count - 1;
    let reach = walk.taps.iter().max().map_or(0, |tap| tap + walk.run);
    let furthest = (last / walk.width) * walk.step[1] + (walk.width.min(last + 1) - 1) * walk.step[0];
    assert!(furthest + reach <= input.len(), "the input is too short");
    assert_eq!(walk.taps.len() * walk.run, packed.depth, "the weights have another depth");
    assert_eq!(out.len(), count * pitch, "the output has no whole number of pixels");
    finish.check(pitch, out.len());
    let job = Job { packed, input, walk, first, count, finish, out };
    super::dispatch!(packed.isa, all, job);
}

struct Job<'a, 'b> {
    packed: &'a PackedConv,
    input: &'a [f32],
    walk: &'a Walk<'b>,
    first: usize,
    count: usize,
    finish: &'a Finish<'b>,
    out: &'a mut [f32],
}

/// Registers of the next panel: as wide as the tiles of the instruction set allow.
pub(super) fn panel(tiles: [usize; 3], left: usize) -> usize {
    match left {
        4.. if tiles[0] > 0 => 4,
        2.. if tiles[1] > 0 => 2,
        _ => 1,
    }
}

/// # Safety
/// `V`'s instruction set is there; the lengths were checked by [`conv`].
#[inline(always)]
unsafe fn all<V: Vector>(mut job: Job<'_, '_>) {
    let mut first = 0;
    let mut weights = job.packed.weights.as_ptr();
    while first < job.packed.vectors {
        let width = panel(V::TILES, job.packed.vectors - first);
        // SAFETY: panels are packed in this order, so `weights` points to this one's.
        unsafe {
            match (width, V::TILES) {
                (4, _) => rows::<V, 6, 4>(&mut job, weights, first),
                (2, [_, 8, _]) => rows::<V, 8, 2>(&mut job, weights, first),
                (2, [_, 6, _]) => rows::<V, 6, 2>(&mut job, weights, first),
                (2, _) => rows::<V, 4, 2>(&mut job, weights, first),
                (_, [_, _, 12]) => rows::<V, 12, 1>(&mut job, weights, first),
                (_, [_, _, 8]) => rows::<V, 8, 1>(&mut job, weights, first),
                _ => rows::<V, 4, 1>(&mut job, weights, first),
            }
            weights = weights.add(width * V::LANES * job.packed.depth);
        }
        first += width;
    }
}

/// All pixels of one panel, `M` at a time. The last tile overlaps the one before it: computing a
/// pixel twice is cheaper than a tile of another shape.
#[inline(always)]
unsafe fn rows<V: Vector, const M: usize, const N: usize>(
    job: &mut Job<'_, '_>,
    weights: *const f32,
    vector: usize,
) {
    let mut at = 0;
    while at + M <= job.count {
        unsafe { tile::<V, M, N>(job, weights, vector, at) };
        at += M;
        if at < job.count && at + M > job.count && job.count >= M {
            at = job.count - M;
        }
    }
    while at < job.count {
        unsafe { tile::<V, 1, N>(job, weights, vector, at) };
        at += 1;
    }
}

/// One register tile: `M` pixels by `N` registers of channels.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant trip counts, unrolled into registers")]
unsafe fn tile<V: Vector, const M: usize, const N: usize>(
    job: &mut Job<'_, '_>,
    weights: *const f32,
    vector: usize,
    at: usize,
) {
    let Walk { width, step, taps, run } = *job.walk;
    let lanes = V::LANES;
    let pitch = job.packed.vectors * lanes;
    // SAFETY: `conv` checked that every pixel of the walk, with every tap and run, lies in the
    // input, that weights hold `depth` rows a panel, and that outputs, biases, slopes and
    // residuals have `pitch` elements for each pixel.
    unsafe {
        let mut from = [job.input.as_ptr(); M];
        let pixel = job.first + at;
        let (mut row, mut column) = (pixel / width, pixel % width);
        for f in &mut from {
            *f = f.add(row * step[1] + column * step[0]);
            column += 1;
            if column == width {
                (row, column) = (row + 1, 0);
            }
        }
        let mut sums = [[V::splat(0.0); N]; M];
        let bias = job.finish.bias.as_ptr().add(vector * lanes);
        for n in 0..N {
            let b = V::load(bias.add(n * lanes));
            for sum in &mut sums {
                sum[n] = b;
            }
        }
        let mut w = weights;
        for tap in taps {
            for k in *tap..*tap + run {
                let mut factors = [V::splat(0.0); N];
                for n in 0..N {
                    factors[n] = V::load(w.add(n * lanes));
                }
                for m in 0..M {
                    let value = V::splat(*from[m].add(k));
                    for n in 0..N {
                        sums[m][n] = value.mul_add(factors[n], sums[m][n]);
                    }
                }
                w = w.add(N * lanes);
            }
        }
        for m in 0..M {
            let offset = (at + m) * pitch + vector * lanes;
            for n in 0..N {
                finish::store::<V>(
                    job.finish,
                    sums[m][n],
                    vector * lanes + n * lanes,
                    offset + n * lanes,
                    job.out,
                );
            }
        }
    }
}
