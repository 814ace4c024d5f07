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

/// Stores one register of sums, which belongs to the channels from `channel`, at `offset`.
///
/// # Safety
/// `V`'s instruction set is there; [`Finish::check`] passed for a pitch above `channel` and a
/// length above `offset`, each with a whole register to go.
#[inline(always)]
pub(super) unsafe fn store<V: Vector>(
    f: &Finish<'_>,
    sum: V,
    channel: usize,
    offset: usize,
    out: &mut [f32],
) {
    unsafe {
        let mut v = sum;
        if !f.residual.is_empty() {
            v = v.add(V::load(f.residual.as_ptr().add(offset)));
        }
        v = match f.fused {
            Fused::None => v,
            Fused::Relu => v.max(V::splat(0.0)),
            Fused::Slopes => {
                let zero = V::splat(0.0);
                v.min(zero).mul_add(V::load(f.slopes.as_ptr().add(channel)), v.max(zero))
            }
        };
        v.store(out.as_mut_ptr().add(offset));
    }
}
