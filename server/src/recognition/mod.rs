//! Who somebody is: galleries, thresholds, the policy, and the networks that look at pictures.

mod model;
mod service;
mod store;

pub use model::{
    Candidate, ConfusablePairs, ExpectedPeople, HIGHEST_ACCEPT, Judged, Match, Policy, Prediction, Probe,
    RateEvidence, RateReason, RosterFirst, ScopeRate, ThresholdChange, ThresholdVersion, Thresholds, ordered,
    wanted_rate,
};
pub use service::{
    Calibrated, Galleries, GalleryReport, GalleryState, Looked, Recognition, RecognitionSetup, Sought,
    Suggestion, Vision, VisionFailure,
};
pub use store::ThresholdStore;
