//! What happens to a sum before it is stored: residual, then activation.

use super::vector::Vector;

/// The activations that are applied in registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fused {
    None,
    Relu,
    /// Negative values times the channel's slope.
    Slopes,
}

/// What is added to and done to sums; all slices have a whole number of registers a pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finish<'a> {
    /// One summand per output channel.
    pub(crate) bias: &'a [f32],
    pub(crate) fused: Fused,
    /// One slope per output channel, for [`Fused::Slopes`].
    pub(crate) slopes: &'a [f32],
    /// As long as the output, or empty.
    pub(crate) residual: &'a [f32],
}

impl Finish<'_> {
    /// # Panics
    /// Where a slice is shorter than `pitch` channels or `length` outputs need.
    pub(super) fn check(&self, pitch: usize, length: usize) {
        assert!(self.bias.len() >= pitch, "the bias is too short");
        assert!(self.fused != Fused::Slopes || self.slopes.len() >= pitch, "the slopes are too short");
        assert!(self.residual.is_empty() || self.residual.len() >= length, "the residual is too short");
    }
}

/// Finishes the sums of `M` pixels, `pitch` elements apart, by `N` registers of channels from
/// `channel`, and stores them at `offset`.
///
/// # Safety
/// `V`'s instruction set is there; `out`, and what [`Finish::check`] passed for, hold these
/// registers of all `M` pixels.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "constant trip counts, unrolled into registers")]
pub(super) unsafe fn store<V: Vector, const M: usize, const N: usize>(
    f: &Finish<'_>,
    mut sums: [[V; N]; M],
    channel: usize,
    offset: usize,
    pitch: usize,
    out: &mut [f32],
) {
    // SAFETY: as above. One decision for the whole tile, so that it stays in registers.
    unsafe {
        if !f.residual.is_empty() {
            for m in 0..M {
                for n in 0..N {
                    let residual = V::load(f.residual.as_ptr().add(offset + m * pitch + n * V::LANES));
                    sums[m][n] = sums[m][n].add(residual);
                }
            }
        }
        let zero = V::splat(0.0);
        match f.fused {
            Fused::None => {}
            Fused::Relu => {
                for m in 0..M {
                    for n in 0..N {
                        sums[m][n] = sums[m][n].max(zero);
                    }
                }
            }
            Fused::Slopes => {
                for n in 0..N {
                    let slope = V::load(f.slopes.as_ptr().add(channel + n * V::LANES));
                    for m in 0..M {
                        sums[m][n] = sums[m][n].min(zero).mul_add(slope, sums[m][n].max(zero));
                    }
                }
            }
        }
        for m in 0..M {
            for n in 0..N {
                sums[m][n].store(out.as_mut_ptr().add(offset + m * pitch + n * V::LANES));
            }
        }
    }
}
