//! When a face is taken for somebody's.

mod confusable;
mod policy;
mod prediction;
mod rate;
mod roster;
mod thresholds;

pub use confusable::{ConfusablePairs, ordered};
pub use policy::{Judged, Match, Policy};
pub use prediction::{Candidate, Prediction, Probe};
pub use rate::{HIGHEST_ACCEPT, RateEvidence, RateReason, ScopeRate, wanted_rate};
pub use roster::{ExpectedPeople, RosterFirst};
pub use thresholds::{ThresholdChange, ThresholdVersion, Thresholds};
