//! Pooling, one output row at a time.

use super::{Isa, vector::Vector};

/// What becomes of the pixels under a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pooling {
    Max,
    /// The mean over the pixels that lie inside the picture.
    Average,
    /// The mean over the whole window, padding counted as zeros.
    AverageWithPads,
}

/// Geometry of an output row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolRow {
    /// Rows that the window would have with padding.
    pub(crate) tall: usize,
    /// Pixels of an input row, padding left of it, and padding on both sides.
    pub(crate) width: usize,
    pub(crate) pad_left: usize,
    pub(crate) pads: usize,
    /// Columns of the window, and pixels from one window to the next.
    pub(crate) columns: usize,
    pub(crate) stride: usize,
    /// Elements of a pixel, in the input and in the output.
    pub(crate) pitch: usize,
}

/// Pools one output row from the input rows under the window; rows in the padding are empty.
///
/// # Panics
/// Where a length does not fit the others.
pub(crate) fn pool_row(isa: Isa, pooling: Pooling, rows: &[&[f32]], shape: &PoolRow, out: &mut [f32]) {
    assert_eq!(shape.pitch % isa.lanes(), 0, "a pixel has no whole registers");
    assert_eq!(out.len() % shape.pitch, 0, "the output has no whole number of pixels");
    let needed = shape.width.checked_mul(shape.pitch);
    let fits = |row: &&[f32]| row.is_empty() || needed.is_some_and(|needed| row.len() >= needed);
    assert!(rows.iter().all(fits), "an input row is too short");
    let furthest =
        (out.len() / shape.pitch).checked_mul(shape.stride).and_then(|n| n.checked_add(shape.columns));
    let padded = shape.width.checked_add(shape.pads);
    assert!(furthest.is_some() && padded.is_some(), "the row is too long to be counted");
    let job = Job { pooling, rows, shape, out };
    super::dispatch!(isa, row, job);
}

struct Job<'a, 'b> {
    pooling: Pooling,
    rows: &'a [&'b [f32]],
    shape: &'a PoolRow,
    out: &'a mut [f32],
}

/// # Safety
/// `V`'s instruction set is there; the lengths were checked by [`pool_row`].
#[inline(always)]
unsafe fn row<V: Vector>(job: Job<'_, '_>) {
    let Job { pooling, rows, shape, out } = job;
    let PoolRow { tall, width, pad_left, pads, columns, stride, pitch } = *shape;
    let high = rows.iter().filter(|row| !row.is_empty()).count();
    for (at, pixel) in out.chunks_exact_mut(pitch).enumerate() {
        let start = at * stride;
        let end = (start + columns).min(width + pads);
        let first = start.saturating_sub(pad_left);
        let wide = end.saturating_sub(pad_left).min(width).saturating_sub(first);
        let factor = match pooling {
            Pooling::Max => 1.0,
            Pooling::Average => 1.0 / (high * wide) as f32,
            Pooling::AverageWithPads => 1.0 / (tall * (end - start)) as f32,
        };
        // SAFETY: the window lies inside the rows, whose lengths were checked, and a pixel has
        // whole registers.
        unsafe {
            match (pooling, rows, wide) {
                (Pooling::Max, [top, bottom], 2) if high == 2 => {
                    let rows = [top.as_ptr().add(first * pitch), bottom.as_ptr().add(first * pitch)];
                    largest_of_four::<V>(rows, pitch, pixel);
                }
                (Pooling::Max, ..) => largest::<V>(rows, first * pitch, wide, pixel),
                (Pooling::Average | Pooling::AverageWithPads, ..) => {
                    mean::<V>(rows, first * pitch, wide, factor, pixel);
                }
            }
        }
    }
}

/// # Safety
/// As for [`row`]; `out` is a pixel, of which the rows have two.
#[inline(always)]
unsafe fn largest_of_four<V: Vector>([top, bottom]: [*const f32; 2], pitch: usize, out: &mut [f32]) {
    let mut channel = 0;
    while channel < pitch {
        unsafe {
            let (top, bottom) = (top.add(channel), bottom.add(channel));
            let high = V::load(top).max(V::load(top.add(pitch)));
            let low = V::load(bottom).max(V::load(bottom.add(pitch)));
            high.max(low).store(out.as_mut_ptr().add(channel));
        }
        channel += V::LANES;
    }
}

/// # Safety
/// As for [`row`]; `out` is a pixel, of which each row has `wide` from the element `from`.
#[inline(always)]
unsafe fn largest<V: Vector>(rows: &[&[f32]], from: usize, wide: usize, out: &mut [f32]) {
    let mut channel = 0;
    while channel < out.len() {
        unsafe {
            let mut most = V::splat(f32::MIN);
            for row in rows {
                for x in 0..if row.is_empty() { 0 } else { wide } {
                    most = most.max(V::load(row.as_ptr().add(from + x * out.len() + channel)));
                }
            }
            most.store(out.as_mut_ptr().add(channel));
        }
        channel += V::LANES;
    }
}

/// # Safety
/// As for [`largest`].
#[inline(always)]
unsafe fn mean<V: Vector>(rows: &[&[f32]], from: usize, wide: usize, factor: f32, out: &mut [f32]) {
    let mut channel = 0;
    while channel < out.len() {
        unsafe {
            let mut sum = V::splat(0.0);
            for row in rows {
                for x in 0..if row.is_empty() { 0 } else { wide } {
                    sum = sum.add(V::load(row.as_ptr().add(from + x * out.len() + channel)));
                }
            }
            sum.mul_add(V::splat(factor), V::splat(0.0)).store(out.as_mut_ptr().add(channel));
        }
        channel += V::LANES;
    }
}
