//! When a face is taken for somebody's.

mod policy;
mod prediction;
mod thresholds;

pub use policy::{Judged, Match, Policy};
pub use prediction::{Candidate, Prediction, Probe};
pub use thresholds::{ThresholdChange, ThresholdVersion, Thresholds};
