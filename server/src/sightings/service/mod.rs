mod audits;
mod candidates;
mod feed;
mod ingest;
mod late;
mod re_enrollment;
mod reviews;
mod statistics;
mod thresholds;

pub use candidates::CandidateTemplates;
pub use feed::{SightingFeed, SightingWatch};
pub use ingest::{EvidencePolicy, Ingest};
pub use late::LateMatches;
pub use re_enrollment::ReEnrollment;
pub use reviews::Reviews;
pub use statistics::Statistics;
pub use thresholds::{DecisionCounts, RateCost, ThresholdEffect};
