use std::sync::Arc;

use cavs_embedding::Similarity;
use cavs_proto::{ErrorReason, ProtocolError, UserId};
use tracing::info;

use super::{App, AppError, Calibrated, GalleryState};
use crate::domain::{Decision, Judged, Policy, ThresholdChange, ThresholdVersion};

/// Rates of false matches, in 1,000, that a threshold is suggested for.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=100.0;
/// Versions of thresholds that are listed.
const VERSIONS: u32 = 100;
/// Sightings that other thresholds are tried on.
const TRIED: u32 = 10_000;

/// What is known of the running gallery.
#[derive(Debug)]
pub struct GalleryReport {
    /// Sizes and counters.
    pub state: GalleryState,
    /// Number of the latest change of the database that is in it.
    pub sequence: i64,
    /// The thresholds in force.
    pub thresholds: ThresholdVersion,
    /// What its faces say about false matches; `None` where there are too few.
    pub calibration: Option<Arc<Calibrated>>,
}

/// A threshold for a wanted rate of false matches.
#[derive(Debug)]
pub struct Suggestion {
    /// The accept threshold.
    pub accept: Similarity,
    /// What was it concluded from.
    pub calibration: Arc<Calibrated>,
    /// The thresholds in force.
    pub in_force: ThresholdVersion,
}

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

impl App {
    /// What is known of the running gallery. Takes up to seconds where it is calibrated anew.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn gallery(&self) -> Result<GalleryReport, AppError> {
        Ok(GalleryReport {
            calibration: self.recognition.calibration().await?,
            state: self.recognition.state(),
            sequence: self.recognition.sequence(),
            thresholds: self.recognition.thresholds(),
        })
    }

    /// The accept threshold at which so many of 1,000 strangers are expected to be accepted.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, `GALLERY_TOO_SMALL`.
    pub async fn suggest_threshold(&self, per_thousand: f64) -> Result<Suggestion, AppError> {
        if !RATES.contains(&per_thousand) {
            let problem = format!("{per_thousand} is not {} to {}", RATES.start(), RATES.end());
            return Err(ProtocolError::invalid("false_matches_per_thousand", problem).into());
        }
        let calibration = self.recognition.calibration().await?.ok_or_else(|| {
            let message = "a threshold is suggested from 20 templates of at least two students on";
            AppError::refused(ErrorReason::GalleryTooSmall, message)
        })?;
        let accept = calibration.calibration.threshold_for(per_thousand);
        Ok(Suggestion { accept, calibration, in_force: self.recognition.thresholds() })
    }

    /// Says what a change of the thresholds would do. Takes up to seconds, and changes nothing.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`.
    pub async fn preview_thresholds(&self, change: ThresholdChange) -> Result<ThresholdEffect, AppError> {
        self.recognition.refresh_thresholds().await?;
        let before = self.recognition.thresholds();
        let thresholds = change.apply(&before.thresholds)?;
        let faces = self.store.latest_judged(self.recognition.pack(), TRIED).await?;
        let after = ThresholdVersion { version: 0, thresholds, set: None };
        let decisions = [&before, &after].map(|t| DecisionCounts::of(&faces, &self.recognition.policy(t)));
        let calibration = self.recognition.calibration().await?;
        Ok(ThresholdEffect { before, after, calibration, decisions })
    }

    /// Changes the thresholds that are in force by version `expected`: before and after. They are in force
    /// here when this returns, and elsewhere within a second.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`; `THRESHOLDS_CHANGED`: others are in force, and nothing was set.
    pub async fn set_thresholds(
        &self,
        change: ThresholdChange,
        expected: u32,
        by: UserId,
    ) -> Result<(ThresholdVersion, ThresholdVersion), AppError> {
        self.recognition.refresh_thresholds().await?;
        let before = self.recognition.thresholds();
        let thresholds = change.apply(&before.thresholds)?;
        let set = if before.version == expected {
            self.store.set_thresholds(self.recognition.pack(), expected, &thresholds, by).await?
        } else {
            None
        };
        self.recognition.refresh_thresholds().await?;
        let set = set.ok_or_else(|| {
            let now = self.recognition.thresholds().version;
            let message =
                format!("version {now} of the thresholds is in force, not {expected}: nothing was set");
            AppError::refused(ErrorReason::ThresholdsChanged, message)
        })?;
        info!(version = set.version, accept = thresholds.accept.get(), %by, "set thresholds");
        Ok((before, set))
    }

    /// Versions of the thresholds that people set, newest first, and at the end those of the configuration.
    ///
    /// # Errors
    /// `Store`.
    pub async fn threshold_versions(&self) -> Result<Vec<ThresholdVersion>, AppError> {
        let mut versions = self.store.thresholds(self.recognition.pack(), VERSIONS).await?;
        versions.push(self.recognition.configured_thresholds());
        Ok(versions)
    }
}
