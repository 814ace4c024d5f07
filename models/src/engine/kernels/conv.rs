//! Dense convolution as a register-tiled matrix product over channels-last pixels.

use super::{super::aligned::Aligned, Finish, Isa, finish, vector::Vector};

/// Weights that are read again and again before the next ones are: they stay in the first cache
/// beside the pixels, which has 32 KiB at least on all machines that matter.
const CHUNK_BYTES: usize = 24 << 10;

/// Weights packed for one instruction set: panels of a few registers of output channels; in a
/// panel, input positions one after the other, each with the panel's channels.
pub(crate) struct PackedConv {
    isa: Isa,
    /// Input positions: kernel height x kernel width x channels.
    depth: usize,
    /// Registers of output channels.
    vectors: usize,
    weights: Aligned,
}

impl PackedConv {
    /// Packs `[out, depth]`, where depth runs over kernel rows, kernel columns and channels, in
    /// this order.
    pub(crate) fn new(isa: Isa, weights: &[f32], outputs: usize) -> Self {
        let lanes = isa.lanes();
        let depth = weights.len() / outputs.max(1);
        let vectors = outputs.div_ceil(lanes);
        let mut packed = Aligned::zeros(vectors * lanes * depth);
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
    assert!(needed(walk, first, count).is_some_and(|length| length <= input.len()), "the input is too short");
    let depth = walk.taps.len().checked_mul(walk.run);
    assert_eq!(depth, Some(packed.depth), "the weights have another depth");
    assert_eq!(out.len(), count * pitch, "the output has no whole number of pixels");
    finish.check(pitch, out.len());
    let job = Job { packed, input, walk, first, count, finish, out };
    super::dispatch!(packed.isa, all, job);
}

/// Elements of the input up to the last one that is read; `None` where a number can't hold it.
fn needed(walk: &Walk<'_>, first: usize, count: usize) -> Option<usize> {
    let reach = walk.taps.iter().max().map_or(Some(0), |tap| tap.checked_add(walk.run))?;
    let last = first.checked_add(count)?.checked_sub(1)?;
    let down = (last / walk.width).checked_mul(walk.step[1])?;
    let across = (walk.width.min(last.checked_add(1)?) - 1).checked_mul(walk.step[0])?;
    down.checked_add(across)?.checked_add(reach)
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

/// Registers of the next panel. Wide panels read a pixel's value less often, so the last panels
/// share what is left.
fn panel([_, _, three, four]: [usize; 4], left: usize) -> usize {
    match left {
        5 | 6 | 9 if four > 0 => 3,
        4.. if four > 0 => 4,
        3 if three > 0 => 3,
        2.. => 2,
        _ => 1,
    }
}

/// # Safety
/// `V`'s instruction set is there; the lengths were checked by [`conv`].
#[inline(always)]
unsafe fn all<V: Vector>(mut job: Job<'_, '_>) {
    let mut vector = 0;
    let mut weights = job.packed.weights.as_ptr();
    while vector < job.packed.vectors {
        let width = panel(V::TILES, job.packed.vectors - vector);
        // SAFETY: panels are packed in this order, so `weights` points to this one's.
        unsafe {
            match width {
                4 => chunks::<V, 4>(&mut job, weights, vector),
                3 => chunks::<V, 3>(&mut job, weights, vector),
                2 => chunks::<V, 2>(&mut job, weights, vector),
                _ => chunks::<V, 1>(&mut job, weights, vector),
            }
            weights = weights.add(width * V::LANES * job.packed.depth);
        }
        vector += width;
    }
}

/// A part of the depth of one panel.
struct Chunk {
    weights: *const f32,
    /// First register of the panel's channels.
    vector: usize,
    /// The tap it starts in, and where in its run.
    tap: usize,
    skip: usize,
    count: usize,
    /// Whether sums start with the bias, or with what the chunk before left in the output.
    starts: bool,
    /// Whether sums are finished.
    ends: bool,
}

/// All pixels of one panel, a chunk of its weights after the other.
#[inline(always)]
unsafe fn chunks<V: Vector, const N: usize>(job: &mut Job<'_, '_>, weights: *const f32, vector: usize) {
    let depth = job.packed.depth;
    let bytes = depth * N * V::LANES * size_of::<f32>();
    // A few tiles read the weights too seldom for sums to be put aside.
    let chunks = if job.count > 4 * V::TILES[N - 1] { bytes.div_ceil(CHUNK_BYTES).max(1) } else { 1 };
    let length = depth.div_ceil(chunks);
    let mut at = 0;
    while at < depth {
        let count = length.min(depth - at);
        let (tap, skip) = (at / job.walk.run, at % job.walk.run);
        // SAFETY: the panel has `depth` positions.
        let weights = unsafe { weights.add(at * N * V::LANES) };
        let (starts, ends) = (at == 0, at + count == depth);
        let chunk = Chunk { weights, vector, tap, skip, count, starts, ends };
        unsafe { rows::<V, N>(job, &chunk) };
        at += count;
    }
}

/// All pixels, row by row, in tiles of nearly the same size.
#[inline(always)]
unsafe fn rows<V: Vector, const N: usize>(job: &mut Job<'_, '_>, chunk: &Chunk) {
    let Walk { width, step, .. } = *job.walk;
    let mut done = 0;
    while done < job.count {
        let (row, column) = ((job.first + done) / width, (job.first + done) % width);
        let mut left = (width - column).min(job.count - done);
        let mut tiles = left.div_ceil(V::TILES[N - 1]);
        // SAFETY: `conv` checked that every pixel of the walk lies in the input.
        let mut from = unsafe { job.input.as_ptr().add(row * step[1] + column * step[0]) };
        while tiles > 0 {
            let pixels = left.div_ceil(tiles);
            // SAFETY: as above, and `pixels` is at most what this panel's tiles hold.
            unsafe {
                match pixels {
                    12 => tile::<V, 12, N>(job, chunk, from, done),
                    11 => tile::<V, 11, N>(job, chunk, from, done),
                    10 => tile::<V, 10, N>(job, chunk, from, done),
                    9 => tile::<V, 9, N>(job, chunk, from, done),
                    8 => tile::<V, 8, N>(job, chunk, from, done),
                    7 => tile::<V, 7, N>(job, chunk, from, done),
                    6 => tile::<V, 6, N>(job, chunk, from, done),
                    5 => tile::<V, 5, N>(job, chunk, from, done),
                    4 => tile::<V, 4, N>(job, chunk, from, done),
                    3 => tile::<V, 3, N>(job, chunk, from, done),
                    2 => tile::<V, 2, N>(job, chunk, from, done),
                    _ => tile::<V, 1, N>(job, chunk, from, done),
                }
                from = from.add(pixels * step[0]);
            }
            (done, left, tiles) = (done + pixels, left - pixels, tiles - 1);
        }
    }
}

/// Most pixels of a tile, in groups of three: a group's addresses are one pointer and the step
/// between pixels, so that all of them fit the machine's integer registers.
const GROUPS: usize = 4;

/// One register tile: `M` pixels by `N` registers of channels.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant trip counts, unrolled into registers")]
unsafe fn tile<V: Vector, const M: usize, const N: usize>(
    job: &mut Job<'_, '_>,
    chunk: &Chunk,
    from: *const f32,
    at: usize,
) {
    if M > V::TILES[N - 1] {
        return;
    }
    let Walk { step: [step, _], taps, run, .. } = *job.walk;
    let pitch = job.packed.vectors * V::LANES;
    let channel = chunk.vector * V::LANES;
    let offset = at * pitch + channel;
    // SAFETY: `conv` checked that every pixel of the walk, with every tap and run, lies in the
    // input, that weights hold `depth` rows a panel, and that outputs, biases, slopes and
    // residuals have `pitch` elements for each pixel.
    unsafe {
        let mut sums = [[V::splat(0.0); N]; M];
        for n in 0..N {
            if chunk.starts {
                let bias = V::load(job.finish.bias.as_ptr().add(channel + n * V::LANES));
                for m in 0..M {
                    sums[m][n] = bias;
                }
            } else {
                for m in 0..M {
                    sums[m][n] = V::load(job.out.as_ptr().add(offset + m * pitch + n * V::LANES));
                }
            }
        }
        let mut weights = chunk.weights;
        let (mut tap, mut skip, mut left) = (chunk.tap, chunk.skip, chunk.count);
        while left > 0 {
            let count = left.min(run - skip);
            let mut groups = [from; GROUPS];
            for g in 0..M.div_ceil(3) {
                groups[g] = from.add(g * 3 * step + taps.get_unchecked(tap) + skip);
            }
            let mut rest = count;
            if V::UNROLL / N == 2 {
                weights = steps::<V, M, N, 2>(&mut sums, &mut groups, step, weights, count / 2);
                rest = count % 2;
            }
            weights = steps::<V, M, N, 1>(&mut sums, &mut groups, step, weights, rest);
            (tap, skip, left) = (tap + 1, 0, left - count);
        }
        if chunk.ends {
            finish::store(job.finish, sums, channel, offset, pitch, job.out);
        } else {
            for m in 0..M {
                for n in 0..N {
                    sums[m][n].store(job.out.as_mut_ptr().add(offset + m * pitch + n * V::LANES));
                }
            }
        }
    }
}

/// Multiplies and adds `K` input positions `times` times, and returns where the weights go on. With
/// few accumulators a pixel, addresses would else cost more than the arithmetic.
///
/// # Safety
/// As for [`tile`].
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant trip counts, unrolled into registers")]
unsafe fn steps<V: Vector, const M: usize, const N: usize, const K: usize>(
    sums: &mut [[V; N]; M],
    groups: &mut [*const f32; GROUPS],
    step: usize,
    mut weights: *const f32,
    times: usize,
) -> *const f32 {
    unsafe {
        for _ in 0..times {
            let mut factors = [[V::splat(0.0); N]; K];
            for k in 0..K {
                for n in 0..N {
                    factors[k][n] = V::load(weights.add((k * N + n) * V::LANES));
                }
            }
            for m in 0..M {
                let pixel = groups[m / 3].add(m % 3 * step);
                for k in 0..K {
                    let value = V::splat(*pixel.add(k));
                    for n in 0..N {
                        sums[m][n] = value.mul_add(factors[k][n], sums[m][n]);
                    }
                }
            }
            for g in 0..M.div_ceil(3) {
                groups[g] = groups[g].add(K);
            }
            weights = weights.add(K * N * V::LANES);
        }
    }
    weights
}
