use thiserror::Error;

use crate::Similarity;

/// Longest embedding that is accepted from anywhere, in components.
pub const MAX_DIMENSION: usize = 4096;

/// How far the squared norm may be from 1: f16 on a wire costs about 1e-3.
pub const NORM_TOLERANCE: f32 = 1e-2;

/// Why a vector is no unit embedding.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum EmbeddingError {
    /// The byte length is not a multiple of four (little-endian f32).
    #[error("{0} bytes are not a whole number of 32-bit floats")]
    ByteLength(usize),
    /// No components, or more than [`MAX_DIMENSION`].
    #[error("{0} components, where 1 to {MAX_DIMENSION} are accepted")]
    Dimension(usize),
    /// A component is NaN or infinite.
    #[error("component {0} is not a finite number")]
    NotFinite(usize),
    /// The vector is zero, so it has no direction.
    #[error("the vector is zero")]
    Zero,
    /// The Euclidean norm is not 1 within [`NORM_TOLERANCE`].
    #[error("the norm is {0}, where 1 is expected")]
    NotUnit(f32),
}

/// An embedding of Euclidean norm 1 with finite components.
#[derive(Clone, PartialEq)]
pub struct UnitEmbedding(Box<[f32]>);

impl UnitEmbedding {
    /// Checks a vector that claims to be of unit norm.
    ///
    /// # Errors
    /// Any [`EmbeddingError`] but `ByteLength`.
    pub fn new(components: Vec<f32>) -> Result<Self, EmbeddingError> {
        let norm = checked_norm(&components)?;
        if (norm * norm - 1.0).abs() > NORM_TOLERANCE {
            return Err(if norm == 0.0 { EmbeddingError::Zero } else { EmbeddingError::NotUnit(norm) });
        }
        Ok(Self(components.into_boxed_slice()))
    }

    /// Scales a network's raw output to unit norm.
    ///
    /// # Errors
    /// `Dimension`, `NotFinite`, or `Zero` where there is nothing to scale.
    pub fn normalize(mut components: Vec<f32>) -> Result<Self, EmbeddingError> {
        let norm = checked_norm(&components)?;
        if norm < f32::MIN_POSITIVE {
            return Err(EmbeddingError::Zero);
        }
        for c in &mut components {
            *c /= norm;
        }
        Self::new(components)
    }

    /// Reads little-endian f32 components, as embeddings travel on the wire.
    ///
    /// # Errors
    /// Any [`EmbeddingError`].
    pub fn from_le_bytes(bytes: &[u8]) -> Result<Self, EmbeddingError> {
        let (chunks, rest) = bytes.as_chunks::<4>();
        if !rest.is_empty() {
            return Err(EmbeddingError::ByteLength(bytes.len()));
        }
        if chunks.is_empty() || chunks.len() > MAX_DIMENSION {
            return Err(EmbeddingError::Dimension(chunks.len()));
        }
        Self::new(chunks.iter().map(|c| f32::from_le_bytes(*c)).collect())
    }

    /// Little-endian f32 components.
    #[must_use]
    pub fn to_le_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|c| c.to_le_bytes()).collect()
    }

    /// Number of components.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.0.len()
    }

    /// The components.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        &self.0
    }

    /// Cosine similarity to another embedding, or `None` where the dimensions differ.
    #[must_use]
    pub fn similarity(&self, other: &Self) -> Option<Similarity> {
        (self.dimension() == other.dimension())
            .then(|| Similarity::clamped(self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()))
    }
}

impl std::fmt::Debug for UnitEmbedding {
    /// Shows the dimension only: an embedding is biometric data and must not reach a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "UnitEmbedding({} components)", self.dimension())
    }
}

/// Euclidean norm of a vector of accepted length and finite components.
fn checked_norm(components: &[f32]) -> Result<f32, EmbeddingError> {
    if components.is_empty() || components.len() > MAX_DIMENSION {
        return Err(EmbeddingError::Dimension(components.len()));
    }
    if let Some(at) = components.iter().position(|c| !c.is_finite()) {
        return Err(EmbeddingError::NotFinite(at));
    }
    let squared: f64 = components.iter().map(|c| f64::from(*c) * f64::from(*c)).sum();
    // A sum of squares of finite f32 never overflows f64; its root may still exceed f32.
    Ok((squared.sqrt() as f32).min(f32::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_no_direction() {
        assert_eq!(UnitEmbedding::new(vec![]), Err(EmbeddingError::Dimension(0)));
        assert_eq!(UnitEmbedding::new(vec![0.0; 4]), Err(EmbeddingError::Zero));
        assert_eq!(UnitEmbedding::new(vec![1.0, f32::NAN]), Err(EmbeddingError::NotFinite(1)));
        assert_eq!(UnitEmbedding::new(vec![3.0, 4.0]), Err(EmbeddingError::NotUnit(5.0)));
        assert_eq!(UnitEmbedding::from_le_bytes(&[0; 5]), Err(EmbeddingError::ByteLength(5)));
        assert_eq!(
            UnitEmbedding::from_le_bytes(&[0; 4 * (MAX_DIMENSION + 1)]),
            Err(EmbeddingError::Dimension(MAX_DIMENSION + 1))
        );
    }

    #[test]
    fn debug_shows_no_component() {
        let e = UnitEmbedding::new(vec![0.6, 0.8]).unwrap();
        assert_eq!(format!("{e:?}"), "UnitEmbedding(2 components)");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_round_trip(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(e) = UnitEmbedding::from_le_bytes(&bytes) {
                prop_assert_eq!(e.to_le_bytes(), bytes);
            }
        }

        #[test]
        fn normalized_vectors_are_unit(v in prop::collection::vec(-1e6f32..1e6, 1..600)) {
            match UnitEmbedding::normalize(v.clone()) {
                Ok(e) => prop_assert!((e.similarity(&e).unwrap().get() - 1.0).abs() < 1e-5),
                Err(e) => prop_assert!(e == EmbeddingError::Zero && v.iter().all(|c| c.abs() < 1e-30)),
            }
        }
    }
}
