use std::cmp::Ordering;

/// Cosine similarity of two embeddings: in [-1, 1], never NaN, totally ordered.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Similarity(f32);

impl Similarity {
    /// The lowest similarity.
    pub const MIN: Self = Self(-1.0);

    /// Takes a computed cosine: rounding is clamped into [-1, 1] and NaN becomes the worst match,
    /// so that a damaged vector can never look like a perfect one.
    #[must_use]
    pub fn clamped(cosine: f32) -> Self {
        if cosine.is_nan() { Self::MIN } else { Self(cosine.clamp(-1.0, 1.0)) }
    }

    /// The cosine.
    #[must_use]
    pub const fn get(self) -> f32 {
        self.0
    }
}

impl Eq for Similarity {}

impl Ord for Similarity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for Similarity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_is_the_worst_match() {
        assert_eq!(Similarity::clamped(f32::NAN), Similarity::MIN);
        assert_eq!(Similarity::clamped(1.000_001).get(), 1.0);
        assert!(Similarity::clamped(0.3) > Similarity::clamped(-0.3));
    }
}
