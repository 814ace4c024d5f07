//! Depthwise convolution, one output row at a time.

use super::{super::aligned::Aligned, Finish, Isa, finish, vector::Vector};

/// Weights of a depthwise convolution: one after the other for each tap, with all channels.
pub(crate) struct PackedDepthwise {
    isa: Isa,
    kernel: [usize; 2],
    /// Channels rounded up to whole registers.
    pitch: usize,
    weights: Aligned,
}

impl PackedDepthwise {
    /// Packs `[channels, kernel height, kernel width]`.
    pub(crate) fn new(isa: Isa, weights: &[f32], channels: usize, kernel: [usize; 2]) -> Self {
        let pitch = channels.next_multiple_of(isa.lanes());
        let taps = kernel[0] * kernel[1];
        let mut packed = Aligned::zeros(pitch * taps);
        for (channel, taps) in weights.chunks_exact(taps).enumerate() {
            for (tap, weight) in taps.iter().enumerate() {
                packed[tap * pitch + channel] = *weight;
            }
        }
        Self { isa, kernel, pitch, weights: packed }
    }
}

/// Geometry of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowShape {
    /// Pixels of an input row, and elements from one to the next.
    pub(crate) width: usize,
    pub(crate) pitch: usize,
    pub(crate) stride: usize,
    pub(crate) pad_left: usize,
}

/// One output row from the kernel's input rows; a row that lies in the padding is empty. The
/// output's pitch is the number of channels rounded up to whole registers.
///
/// # Panics
/// Where a length does not fit the others.
pub(crate) fn depthwise_row(
    packed: &PackedDepthwise,
    rows: &[&[f32]],
    shape: &RowShape,
    finish: &Finish<'_>,
    out: &mut [f32],
) {
    assert_eq!(rows.len(), packed.kernel[0], "one row for each row of the kernel");
    // The last register of the last pixel may reach over its channels, but not over the slice.
    let needed =
        shape.width.checked_sub(1).and_then(|n| n.checked_mul(shape.pitch)?.checked_add(packed.pitch));
    let fits = |row: &&[f32]| row.is_empty() || needed.is_some_and(|needed| row.len() >= needed);
    assert!(rows.iter().all(fits), "an input row is too short");
    assert_eq!(out.len() % packed.pitch, 0, "the output has no whole number of pixels");
    let furthest =
        (out.len() / packed.pitch).checked_mul(shape.stride).and_then(|n| n.checked_add(packed.kernel[1]));
    let padded = shape.width.checked_add(shape.pad_left);
    assert!(furthest.is_some() && padded.is_some(), "the row is too long to be counted");
    finish.check(packed.pitch, out.len());
    let job = Job { packed, rows, shape: *shape, finish, out };
    super::dispatch!(packed.isa, row, job);
}

struct Job<'a, 'b> {
    packed: &'a PackedDepthwise,
    rows: &'a [&'b [f32]],
    shape: RowShape,
    finish: &'a Finish<'b>,
    out: &'a mut [f32],
}

/// # Safety
/// `V`'s instruction set is there; the lengths were checked by [`depthwise_row`].
#[inline(always)]
unsafe fn row<V: Vector>(mut job: Job<'_, '_>) {
    let RowShape { width, stride, pad_left, .. } = job.shape;
    let pixels = job.out.len() / job.packed.pitch;
    // Pixels whose whole kernel lies inside the row.
    let first = pad_left.div_ceil(stride).min(pixels);
    let inside = (width + pad_left).checked_sub(job.packed.kernel[1]).map_or(0, |span| span / stride + 1);
    let last = inside.clamp(first, pixels);
    // SAFETY: `first..last` are the pixels for which `inner` needs no border.
    unsafe {
        match (job.packed.kernel, stride) {
            ([3, 3], 1) => {
                edge::<V>(&mut job, 0, first);
                inner::<V, 6, 4, 1>(&mut job, first, last);
                edge::<V>(&mut job, last, pixels);
            }
            ([3, 3], 2) => {
                edge::<V>(&mut job, 0, first);
                inner::<V, 9, 5, 2>(&mut job, first, last);
                edge::<V>(&mut job, last, pixels);
            }
            _ => edge::<V>(&mut job, 0, pixels),
        }
    }
}

/// Pixels of any kernel, with the border cut off.
#[inline(always)]
unsafe fn edge<V: Vector>(job: &mut Job<'_, '_>, from: usize, to: usize) {
    for pixel in from..to {
        let mut channel = 0;
        // SAFETY: the registers of a pixel, four at a time and then singly.
        unsafe {
            while channel + 4 * V::LANES <= job.packed.pitch {
                edge_registers::<V, 4>(job, pixel, channel);
                channel += 4 * V::LANES;
            }
            while channel < job.packed.pitch {
                edge_registers::<V, 1>(job, pixel, channel);
                channel += V::LANES;
            }
        }
    }
}

/// `N` registers of one pixel of any kernel: taps outside the row are left out.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant trip counts, unrolled into registers")]
unsafe fn edge_registers<V: Vector, const N: usize>(job: &mut Job<'_, '_>, pixel: usize, channel: usize) {
    let RowShape { width, pitch, stride, pad_left } = job.shape;
    let [_, columns] = job.packed.kernel;
    let left = pixel * stride;
    let taps = pad_left.saturating_sub(left)..columns.min((width + pad_left).saturating_sub(left));
    // SAFETY: the taps lie inside the row, whose length was checked by `depthwise_row`.
    unsafe {
        let mut sums = [V::splat(0.0); N];
        for n in 0..N {
            sums[n] = V::load(job.finish.bias.as_ptr().add(channel + n * V::LANES));
        }
        for (y, row) in job.rows.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
            for x in taps.clone() {
                let value = row.as_ptr().add((left + x - pad_left) * pitch + channel);
                let tap = job.packed.weights.as_ptr().add((y * columns + x) * job.packed.pitch + channel);
                for n in 0..N {
                    let value = V::load(value.add(n * V::LANES));
                    sums[n] = value.mul_add(V::load(tap.add(n * V::LANES)), sums[n]);
                }
            }
        }
        let offset = pixel * job.packed.pitch + channel;
        finish::store(job.finish, [sums], channel, offset, job.packed.pitch, job.out);
    }
}

/// Pixels `from..to` of a 3x3 kernel with stride `S`, four, two and one at a time; `W4` and `W2`
/// input pixels cover four and two output pixels. Pixels are the outer loop: memory is then read in
/// the order in which it lies.
#[inline(always)]
unsafe fn inner<V: Vector, const W4: usize, const W2: usize, const S: usize>(
    job: &mut Job<'_, '_>,
    from: usize,
    to: usize,
) {
    // The rows that are there, and their weights.
    let mut rows = [(std::ptr::null(), std::ptr::null()); 3];
    let mut count = 0;
    for (y, row) in job.rows.iter().enumerate().filter(|(_, row)| !row.is_empty()).take(3) {
        // SAFETY: there are three rows of weights.
        rows[count] = unsafe { (row.as_ptr(), job.packed.weights.as_ptr().add(y * 3 * job.packed.pitch)) };
        count += 1;
    }
    // SAFETY: the caller's promise.
    unsafe {
        match count {
            3 => blocks::<V, W4, W2, S, 3>(job, &rows, from, to),
            2 => blocks::<V, W4, W2, S, 2>(job, &rows, from, to),
            1 => blocks::<V, W4, W2, S, 1>(job, &rows, from, to),
            _ => blocks::<V, W4, W2, S, 0>(job, &rows, from, to),
        }
    }
}

/// A row of the input, and its three rows of weights.
type Taps = (*const f32, *const f32);

/// [`inner`] for `R` rows.
#[inline(always)]
unsafe fn blocks<V: Vector, const W4: usize, const W2: usize, const S: usize, const R: usize>(
    job: &mut Job<'_, '_>,
    rows: &[Taps; 3],
    from: usize,
    to: usize,
) {
    let mut at = from;
    // SAFETY: the caller's promise, for a part of the pixels.
    unsafe {
        while at + 4 <= to {
            block::<V, 4, W4, S, R>(job, rows, at);
            at += 4;
        }
        if at + 2 <= to {
            block::<V, 2, W2, S, R>(job, rows, at);
            at += 2;
        }
        if at < to {
            block::<V, 1, 3, S, R>(job, rows, at);
        }
    }
}

/// `M` pixels of a 3x3 kernel, covered by `W` input pixels, each loaded once a row.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant trip counts, unrolled into registers")]
unsafe fn block<V: Vector, const M: usize, const W: usize, const S: usize, const R: usize>(
    job: &mut Job<'_, '_>,
    rows: &[Taps; 3],
    at: usize,
) {
    let RowShape { pitch, pad_left, .. } = job.shape;
    let packed = job.packed.pitch;
    let start = (at * S - pad_left) * pitch;
    let mut channel = 0;
    while channel < packed {
        // SAFETY: for these pixels all three columns lie inside the row.
        unsafe {
            let mut sums = [[V::load(job.finish.bias.as_ptr().add(channel)); 1]; M];
            for (row, weights) in &rows[..R] {
                let weights = weights.add(channel);
                let taps = [V::load(weights), V::load(weights.add(packed)), V::load(weights.add(2 * packed))];
                let start = row.add(start + channel);
                let mut values = [taps[0]; W];
                for w in 0..W {
                    values[w] = V::load(start.add(w * pitch));
                }
                for m in 0..M {
                    for x in 0..3 {
                        sums[m][0] = values[m * S + x].mul_add(taps[x], sums[m][0]);
                    }
                }
            }
            finish::store(job.finish, sums, channel, at * packed + channel, packed, job.out);
        }
        channel += V::LANES;
    }
}
