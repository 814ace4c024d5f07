//! What other thresholds would have made of what was seen.

use std::sync::Arc;

use cavs_types::Decision;

use super::Reviews;
use crate::{
    error::ServiceError,
    recognition::{Calibrated, Judged, Policy, Recognition, ThresholdChange, ThresholdVersion},
};

/// Sightings that other thresholds are tried on.
const TRIED: u32 = 10_000;

/// Decisions on some sightings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecisionCounts {
    /// Taken for somebody.
    pub accepted: u32,
    /// Left to a person.
    pub pending: u32,
    /// Taken for nobody.
    pub unknown: u32,
}

/// What other thresholds would do.
#[derive(Debug)]
pub struct ThresholdEffect {
    /// In force.
    pub before: ThresholdVersion,
    /// As they would be; of version 0.
    pub after: ThresholdVersion,
    /// What strangers are expected to do; `None` where the gallery is too small to say.
    pub calibration: Option<Arc<Calibrated>>,
    /// The latest sightings, as decided by either.
    pub decisions: [DecisionCounts; 2],
}

impl DecisionCounts {
    fn of(faces: &[Judged], policy: &Policy) -> Self {
        let mut counts = Self::default();
        for face in faces {
            let count = match policy.judge(*face).0 {
                Decision::Accepted => &mut counts.accepted,
                Decision::Pending => &mut counts.pending,
                Decision::Unknown => &mut counts.unknown,
            };
            *count += 1;
        }
        counts
    }
}

impl Reviews {
    /// Says what a change of the thresholds would do. Takes up to seconds, and changes nothing.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`.
    pub async fn preview_thresholds(
        &self,
        recognition: &Recognition,
        change: ThresholdChange,
    ) -> Result<ThresholdEffect, ServiceError> {
        recognition.refresh_thresholds().await?;
        let before = recognition.thresholds();
        let thresholds = change.apply(&before.thresholds)?;
        let faces = self.store.latest_judged(recognition.site(), recognition.pack(), TRIED).await?;
        let after = ThresholdVersion { version: 0, thresholds, set: None };
        let decisions = [&before, &after].map(|t| DecisionCounts::of(&faces, &recognition.policy(t)));
        let calibration = recognition.calibration().await?;
        Ok(ThresholdEffect { before, after, calibration, decisions })
    }
}
