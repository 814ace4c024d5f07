//! What other thresholds would have made of what was seen.

use std::{collections::HashMap, sync::Arc};

use cavs_types::Decision;

use super::Reviews;
use crate::{
    error::ServiceError,
    recognition::{Calibrated, Policy, Recognition, ThresholdChange, ThresholdVersion},
    sightings::JudgedFace,
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
    fn of(faces: &[JudgedFace], recognition: &Recognition, thresholds: &ThresholdVersion) -> Self {
        let mut counts = Self::default();
        let site = recognition.policy(thresholds);
        let mut among: HashMap<u32, Policy> = HashMap::new();
        for JudgedFace { face, expected } in faces {
            let policy = match expected {
                None => &site,
                Some(templates) => among
                    .entry(*templates)
                    .or_insert_with(|| recognition.policy_among(thresholds, *templates)),
            };
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

/// What a wanted rate of false matches costs in work of people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateCost {
    /// The latest sightings, at most 10,000.
    pub sightings: u32,
    /// Those of them that the lowest threshold would accept and the one in force leaves to a person.
    pub left_to_people: u32,
}

impl Reviews {
    /// What the rate that a gallery's accept threshold follows costs; `None` where it follows none.
    ///
    /// # Errors
    /// `Database`.
    pub async fn rate_cost(&self, recognition: &Recognition) -> Result<Option<RateCost>, ServiceError> {
        let in_force = recognition.thresholds();
        if in_force.rate.is_none() {
            return Ok(None);
        }
        let floor = recognition.configured_thresholds().thresholds.accept;
        let mut lowest = in_force.clone();
        lowest.thresholds.accept = floor.max(in_force.thresholds.review);
        let faces = self.store.latest_judged(recognition.site(), recognition.pack(), TRIED).await?;
        let [now, would] = [&in_force, &lowest].map(|t| DecisionCounts::of(&faces, recognition, t).accepted);
        let sightings = u32::try_from(faces.len()).unwrap_or(u32::MAX);
        Ok(Some(RateCost { sightings, left_to_people: would.saturating_sub(now) }))
    }

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
        let (thresholds, rate) = recognition.changed_thresholds(change, &before).await?;
        let faces = self.store.latest_judged(recognition.site(), recognition.pack(), TRIED).await?;
        let after = ThresholdVersion::unset(thresholds, rate);
        let decisions = [&before, &after].map(|t| DecisionCounts::of(&faces, recognition, t));
        let calibration = recognition.calibration().await?;
        Ok(ThresholdEffect { before, after, calibration, decisions })
    }
}
