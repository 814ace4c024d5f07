mod ingest;
mod reviews;
mod thresholds;

pub use ingest::{EvidencePolicy, Ingest};
pub use reviews::Reviews;
pub use thresholds::{DecisionCounts, RateCost, ThresholdEffect};
