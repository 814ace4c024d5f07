//! What is known of a face that was seen.

mod audit;
mod late;
mod queue;
mod re_enrollment;
mod review;
mod sighting;
mod statistics;

pub use audit::{Accuracy, Audit, AuditAnswer, AuditCounts, AuditOutcome};
pub use late::{LateMatch, LateMatchPosition, late_match_days, late_match_list};
pub use queue::{ClaimedBy, QueueFilter, QueuePosition, QueueRequest};
pub use re_enrollment::{MonthSimilarity, needs_re_enrollment};
pub use review::{BulkReview, BulkReviewed, Claim, NewClaim, NewReview, NewWithdrawal, Review, Withdrawal};
pub use sighting::{
    BoundingBox, CapturedSighting, Clock, EARLIEST, JudgedFace, LATEST, Sighting, SightingAnswer,
    SightingFilter, SightingKey, SightingPosition, Track,
};
pub(crate) use sighting::{MOST_AHEAD, MOST_BEHIND};
pub use statistics::{DeviceStats, Period, SightingCounts, Stats, StatsRequest};
