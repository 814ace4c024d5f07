//! Faces that were seen: how they come in, how they are listed, and what people say of them.

mod model;
mod service;
pub(crate) mod store;

pub use model::{
    BoundingBox, BulkReview, BulkReviewed, CapturedSighting, Clock, EARLIEST, LATEST, NewReview,
    NewWithdrawal, QueueFilter, QueuePosition, Review, Sighting, SightingAnswer, SightingFilter, SightingKey,
    SightingPosition, Track, Withdrawal,
};
pub use service::{DecisionCounts, EvidencePolicy, Ingest, RateCost, Reviews, ThresholdEffect};
pub use store::{SightingStore, SightingToStore, StoreOutcome};
