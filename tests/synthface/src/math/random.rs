//! Chance from a seed, the same on every machine.

/// SplitMix64 (Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators").
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// A generator for one purpose (`stream`) of one seed.
    pub(crate) fn new(seed: u64, stream: u64) -> Random {
        let mut random = Random(seed ^ stream.wrapping_mul(0xD1B5_4A32_D192_ED03));
        // Neighbouring seeds must not give neighbouring first draws.
        random.0 = random.next().wrapping_add(seed.rotate_left(32));
        random
    }

    /// Any 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in [low, high).
    pub(crate) fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// Normal with mean 0 and deviation 1 (Box and Muller 1958).
    pub(crate) fn normal(&mut self) -> f32 {
        let radius = (-2.0 * libm::logf(self.unit().max(1e-7))).sqrt();
        radius * libm::cosf(std::f32::consts::TAU * self.unit())
    }

    /// Normal, cut at `limit` deviations.
    pub(crate) fn normal_within(&mut self, limit: f32) -> f32 {
        self.normal().clamp(-limit, limit)
    }

    /// True with this probability.
    pub(crate) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// A whole number below `n`; 0 when `n` is 0.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { ((u128::from(self.next()) * n as u128) >> 64) as usize }
    }

    /// One of `items`, each equally likely.
    pub(crate) fn pick<T: Copy, const N: usize>(&mut self, items: [T; N]) -> T {
        const { assert!(N > 0, "there is nothing to pick from") };
        items[self.below(N)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_seeds_have_nothing_in_common() {
        let mut a = Random::new(1, 0);
        let mut b = Random::new(2, 0);
        let mut c = Random::new(1, 1);
        let close = (0..1000).filter(|_| (a.unit() - b.unit()).abs() < 0.01).count();
        assert!(close < 60, "{close} of 1000 draws agree");
        assert_ne!(Random::new(1, 0).next(), c.next());
    }

    #[test]
    fn normals_have_unit_deviation() {
        let mut random = Random::new(7, 0);
        let squares: f32 = (0..10_000).map(|_| random.normal()).map(|n| n * n).sum();
        assert!((squares / 10_000.0 - 1.0).abs() < 0.06);
    }
}
