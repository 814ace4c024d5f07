//! Embeddings as 16-bit fixed-point numbers, stored as two 8-bit digits.
//!
//! A component is `(256 high + low) scale`, both digits i8. The high digits alone are the i8
//! quantisation that a scan reads; with the low digits the error of a component is at most the largest
//! component / 65,278, which is an eighth of what f16 costs a typical embedding. All dot products are integers:
//! every machine finds the same similarities, and no NaN can arise.

use cavs_embedding::UnitEmbedding;
use zeroize::Zeroize;

use crate::simd;

/// Largest magnitude of a component in fixed point: its high digit is then at most 127.
const FULL_SCALE: f32 = 32_639.0;

/// Greatest norm of what [`UnitEmbedding`] accepts as unit, and a little.
const NORM: f32 = 1.006;

/// Allowance for rounding in f32 arithmetic on similarities.
const ROUNDING: f32 = 1e-5;

/// 64 components of a row, on a cache line of their own; erased when dropped.
#[derive(Clone, PartialEq, Eq, Hash)]
#[repr(C, align(64))]
pub(crate) struct Lane(pub(crate) [i8; Self::WIDTH]);

impl Lane {
    pub(crate) const WIDTH: usize = 64;
    pub(crate) const ZERO: Self = Self([0; Self::WIDTH]);

    /// Lanes that hold `dimension` components.
    pub(crate) const fn count(dimension: usize) -> usize {
        dimension.div_ceil(Self::WIDTH)
    }

    /// Packs `dimension` components into lanes, the last one filled up with zeros.
    pub(crate) fn pack(dimension: usize, components: impl Iterator<Item = i8>) -> Vec<Self> {
        // Room for all from the start: a vector that grows leaves copies behind.
        let mut lanes = vec![Self::ZERO; Self::count(dimension)];
        for (to, from) in lanes.iter_mut().flat_map(|lane| &mut lane.0).zip(components) {
            *to = from;
        }
        lanes
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// An embedding in fixed point.
#[derive(Clone)]
pub(crate) struct Code {
    pub(crate) high: Vec<Lane>,
    pub(crate) low: Vec<Lane>,
    /// What one unit of the low digit is worth.
    pub(crate) scale: f32,
    /// Norm of what the high digits leave out.
    pub(crate) residual: f32,
}

/// A borrowed [`Code`].
#[derive(Clone, Copy)]
pub(crate) struct CodeRef<'a> {
    pub(crate) high: &'a [Lane],
    pub(crate) low: &'a [Lane],
    pub(crate) scale: f32,
    pub(crate) residual: f32,
}

impl Code {
    pub(crate) fn new(embedding: &UnitEmbedding) -> Self {
        let components = embedding.as_slice();
        let scale = components.iter().fold(0.0f32, |largest, c| largest.max(c.abs())) / FULL_SCALE;
        let mut high = vec![Lane::ZERO; Lane::count(components.len())];
        let mut low = high.clone();
        let mut squares = 0i64;
        for ((high, low), some) in high.iter_mut().zip(&mut low).zip(components.chunks(Lane::WIDTH)) {
            let mut of_lane = 0;
            for ((high, low), component) in high.0.iter_mut().zip(&mut low.0).zip(some) {
                let fixed = round(component / scale);
                let digit = (fixed + 128) >> 8;
                let rest = fixed - 256 * digit;
                (*high, *low) = (digit as i8, rest as i8);
                of_lane += rest * rest;
            }
            squares += i64::from(of_lane);
        }
        Self { high, low, scale, residual: (squares as f64).sqrt() as f32 * scale }
    }

    pub(crate) fn as_ref(&self) -> CodeRef<'_> {
        CodeRef { high: &self.high, low: &self.low, scale: self.scale, residual: self.residual }
    }

    /// The value of a unit of the high digits' dot product, for rows of scale 1.
    pub(crate) fn unit(&self) -> f32 {
        65_536.0 * self.scale
    }

    /// How much the similarity to a row can exceed what the high digits say (Cauchy-Schwarz), as
    /// `constant + factor * the row's residual`.
    pub(crate) fn slack(&self) -> (f32, f32) {
        (self.residual * NORM + ROUNDING, NORM + self.residual)
    }
}

/// To the nearest integer. `f32::round` is a call of a library where the processor has no instruction for it
/// that every processor has, and quantising is what a load spends most on.
pub(crate) fn round(number: f32) -> i32 {
    (number + 0.5f32.copysign(number)) as i32
}

impl CodeRef<'_> {
    pub(crate) fn to_owned(self) -> Code {
        Code { high: self.high.to_vec(), low: self.low.to_vec(), scale: self.scale, residual: self.residual }
    }

    /// The cosine, exact but for the fixed point's rounding.
    pub(crate) fn cosine(self, other: CodeRef<'_>) -> f32 {
        let dot = |a, b| i64::from(simd::dot(a, b));
        let fixed = 65_536 * dot(self.high, other.high)
            + 256 * (dot(self.high, other.low) + dot(self.low, other.high))
            + dot(self.low, other.low);
        (fixed as f64 * f64::from(self.scale) * f64::from(other.scale)) as f32
    }

    /// The components, the filling of the last lane included.
    pub(crate) fn components(self) -> impl Iterator<Item = f32> {
        self.high
            .iter()
            .zip(self.low)
            .flat_map(|(high, low)| high.0.into_iter().zip(low.0))
            .map(move |(high, low)| (256 * i32::from(high) + i32::from(low)) as f32 * self.scale)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn embedding() -> impl Strategy<Value = Vec<f32>> {
        let component =
            prop_oneof![8 => -1.0f32..1.0, 1 => Just(0.0), 1 => -1e-3f32..1e-3, 1 => -50.0f32..50.0];
        prop::collection::vec(component, 1..200)
    }

    fn unit(components: Vec<f32>) -> Option<UnitEmbedding> {
        UnitEmbedding::normalize(components).ok()
    }

    proptest! {
        #[test]
        fn fixed_point_is_exact_to_five_digits_and_slack_is_enough((a, b) in embedding().prop_flat_map(|a| {
            let len = a.len();
            (Just(a), prop::collection::vec(-1.0f32..1.0, len))
        })) {
            let (Some(a), Some(b)) = (unit(a), unit(b)) else { return Ok(()) };
            let (probe, row) = (Code::new(&a), Code::new(&b));
            let truth: f64 = a.as_slice().iter().zip(b.as_slice()).map(|(a, b)| f64::from(a * b)).sum();
            let cosine = probe.as_ref().cosine(row.as_ref());
            prop_assert!((f64::from(cosine) - truth).abs() < 1e-4, "{cosine} {truth}");
            let high = simd::dot(&probe.high, &row.high) as f32 * probe.unit() * row.scale;
            let (constant, factor) = probe.slack();
            prop_assert!(cosine <= high + constant + factor * row.residual);
        }

        #[test]
        fn components_come_back(a in embedding()) {
            let Some(a) = unit(a) else { return Ok(()) };
            let code = Code::new(&a);
            let largest = a.as_slice().iter().fold(0.0f32, |largest, c| largest.max(c.abs()));
            for (found, expected) in code.as_ref().components().zip(a.as_slice()) {
                prop_assert!((found - expected).abs() <= largest / 65_000.0);
            }
        }
    }

    #[test]
    fn extreme_embeddings_keep_their_similarity() {
        let mut one_hot = vec![0.0; 4096];
        one_hot[4095] = -1.0;
        let flat = vec![1.0 / 64.0; 4096];
        for (a, b, expected) in
            [(&one_hot, &one_hot, 1.0), (&flat, &flat, 1.0), (&one_hot, &flat, -1.0 / 64.0)]
        {
            let [a, b] = [a, b].map(|v| Code::new(&UnitEmbedding::new(v.clone()).unwrap()));
            assert!((a.as_ref().cosine(b.as_ref()) - expected).abs() < 1e-6);
        }
    }
}
