//! Whose face it is, for integrators: answered like a sighting, recorded without the face.

mod model;
mod quota;
mod service;
mod store;

pub use model::{FaceToMatch, Identified, MatchPosition, MatchRecord, MatchedFace, NewMatch, Verified};
pub use quota::Quota;
pub use service::Matching;
pub use store::MatchStore;
