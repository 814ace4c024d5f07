//! What two parties must agree on to compare faces: unit embeddings, similarities and pack digests.
//!
//! Pure values without I/O or dependencies on networks, so that the vision pipeline, the gallery,
//! the spool and the server can share them.

mod digest;
mod embedding;
mod similarity;

pub use digest::{DigestError, PackDigest};
pub use embedding::{EmbeddingError, MAX_DIMENSION, NORM_TOLERANCE, UnitEmbedding};
pub use similarity::Similarity;
