//! Depthwise convolution, one output row at a time.

use super::{Finish, Isa, finish, vector::Vector};

/// Weights of a depthwise convolution: one after the other for each tap, with all channels.
pub(crate) struct PackedDepthwise {
    isa: Isa,
    kernel: [usize; 2],
    /// Channels rounded up to whole registers.
    pitch: usize,
    weights: Vec<f32>,
}

impl PackedDepthwise {
    /// Packs `[channels, kernel height, kernel width]`.
    pub(crate) fn new(isa: Isa, weights: &[f32], channels: usize, kernel: [usize; 2]) -> Self {
        let pitch = channels.next_multiple_of(isa.lanes());
        let taps = kernel[0] * kernel[1];
        let mut packed = vec![0.0; pitch * taps];
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
    let needed = (shape.width - 1) * shape.pitch + packed.pitch;
    assert!(rows.iter().all(|r| r.is_empty() || r.len() >= needed), "an input row is too short");
    assert_eq!(out.len() % packed.pitch, 0, "the output has no whole number of pixels");
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
    let mut channel = 0;
    while channel < job.packed.pitch {
        // SAFETY: `first..last` are the pixels for which `three` needs no border.
        unsafe {
            edge::<V>(&mut job, channel, 0, first);
            match (job.packed.kernel, stride) {
                ([3, 3], 1) => three::<V, 4, 6, 1>(&mut job, channel, first, last),
                ([3, 3], 2) => three::<V, 4, 9, 2>(&mut job, channel, first, last),
                _ => edge::<V>(&mut job, channel, first, last),
            }
            edge::<V>(&mut job, channel, last, pixels);
        }
        channel += V::LANES;
    }
}

/// Pixels of any kernel, with the border checked at each tap.
#[inline(always)]
unsafe fn edge<V: Vector>(job: &mut Job<'_, '_>, channel: usize, from: usize, to: usize) {
    let RowShape { width, pitch, stride, pad_left } = job.shape;
    let [_, columns] = job.packed.kernel;
    for pixel in from..to {
        // SAFETY: taps outside the row are left out, those inside were checked by `depthwise_row`.
        unsafe {
            let mut sum = V::load(job.finish.bias.as_ptr().add(channel));
            for (y, row) in job.rows.iter().enumerate().filter(|(_, row)| !row.is_empty()) {
                for x in 0..columns {
                    let at = pixel * stride + x;
                    if at >= pad_left && at - pad_left < width {
                        let value = V::load(row.as_ptr().add((at - pad_left) * pitch + channel));
                        let tap =
                            job.packed.weights.as_ptr().add((y * columns + x) * job.packed.pitch + channel);
                        sum = value.mul_add(V::load(tap), sum);
                    }
                }
            }
            finish::store::<V>(job.finish, sum, channel, pixel * job.packed.pitch + channel, job.out);
        }
    }
}

/// Pixels `from..to` of a 3x3 kernel, `M` at a time: `W` input pixels cover them all, and each is
/// loaded once a row.
#[inline(always)]
unsafe fn three<V: Vector, const M: usize, const W: usize, const S: usize>(
    job: &mut Job<'_, '_>,
    channel: usize,
    from: usize,
    to: usize,
) {
    // SAFETY: for pixels in `from..to` all three columns lie inside the row; rows in the padding
    // are left out.
    unsafe {
        let RowShape { pitch, pad_left, .. } = job.shape;
        let weights = job.packed.weights.as_ptr().add(channel);
        let bias = V::load(job.finish.bias.as_ptr().add(channel));
        let mut taps = [[V::splat(0.0); 3]; 3];
        for (y, taps) in taps.iter_mut().enumerate() {
            for (x, tap) in taps.iter_mut().enumerate() {
                *tap = V::load(weights.add((y * 3 + x) * job.packed.pitch));
            }
        }
        let mut at = from;
        while at + M <= to {
            let mut sums = [bias; M];
            for (row, taps) in job.rows.iter().zip(&taps) {
                if row.is_empty() {
                    continue;
                }
                let start = row.as_ptr().add((at * S - pad_left) * pitch + channel);
                let mut values = [bias; W];
                for (w, value) in values.iter_mut().enumerate() {
                    *value = V::load(start.add(w * pitch));
                }
                for m in 0..M {
                    for x in 0..3 {
                        sums[m] = values[m * S + x].mul_add(taps[x], sums[m]);
                    }
                }
            }
            for (m, sum) in sums.into_iter().enumerate() {
                finish::store::<V>(job.finish, sum, channel, (at + m) * job.packed.pitch + channel, job.out);
            }
            at += M;
        }
        edge::<V>(job, channel, at, to);
    }
}
