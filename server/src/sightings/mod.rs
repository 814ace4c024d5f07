//! Faces that were seen: how they come in, how they are listed, and what people say of them.

mod model;
mod service;
pub(crate) mod store;

pub use model::{
    Accuracy, Audit, AuditAnswer, AuditCounts, AuditOutcome, BoundingBox, BulkReview, BulkReviewed,
    CapturedSighting, Claim, ClaimedBy, Clock, DeviceStats, EARLIEST, JudgedFace, LATEST, LateMatch,
    LateMatchPosition, MonthSimilarity, NewClaim, NewReview, NewWithdrawal, Period, QueueFilter,
    QueuePosition, QueueRequest, Review, Sighting, SightingAnswer, SightingCounts, SightingFilter,
    SightingKey, SightingPosition, Stats, StatsRequest, Track, Withdrawal, late_match_days, late_match_list,
    needs_re_enrollment,
};
pub(crate) use model::{MOST_AHEAD, MOST_BEHIND};
pub use service::{
    CandidateTemplates, DecisionCounts, EvidencePolicy, Ingest, LateMatches, RateCost, ReEnrollment, Reviews,
    SightingFeed, SightingWatch, Statistics, ThresholdEffect,
};
pub use store::{SightingStore, SightingToStore, StoreOutcome};
