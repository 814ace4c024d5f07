//! Faces that were seen: how they come in, how they are listed, and what people say of them.

mod model;
mod service;
pub(crate) mod store;

pub use model::{
    Accuracy, Audit, AuditAnswer, AuditCounts, AuditOutcome, BoundingBox, BulkReview, BulkReviewed,
    CapturedSighting, Claim, ClaimedBy, Clock, DeviceStats, EARLIEST, LATEST, MonthSimilarity, NewClaim,
    NewReview, NewWithdrawal, Period, QueueFilter, QueuePosition, QueueRequest, Review, Sighting,
    SightingAnswer, SightingCounts, SightingFilter, SightingKey, SightingPosition, Stats, StatsRequest,
    Track, Withdrawal, needs_re_enrollment,
};
pub(crate) use model::{MOST_AHEAD, MOST_BEHIND};
pub use service::{
    CandidateTemplates, DecisionCounts, EvidencePolicy, Ingest, RateCost, ReEnrollment, Reviews,
    SightingFeed, SightingWatch, Statistics, ThresholdEffect,
};
pub use store::{SightingStore, SightingToStore, StoreOutcome};
