//! What people ask of a gallery and of its thresholds.

use std::sync::Arc;

use cavs_embedding::Similarity;
use cavs_types::{ErrorReason, ProtocolError, UserId};
use tracing::info;

use super::{Calibrated, GalleryState, Recognition};
use crate::{
    error::ServiceError,
    recognition::{ThresholdChange, ThresholdVersion},
};

/// Rates of false matches, in 1,000, that a threshold is suggested for.
const RATES: std::ops::RangeInclusive<f64> = 0.001..=100.0;
/// Versions of thresholds that are listed.
const VERSIONS: u32 = 100;

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

impl Recognition {
    /// What is known of the running gallery. Takes up to seconds where it is calibrated anew.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn report(&self) -> Result<GalleryReport, ServiceError> {
        Ok(GalleryReport {
            calibration: self.calibration().await?,
            state: self.state(),
            sequence: self.sequence(),
            thresholds: self.thresholds(),
        })
    }

    /// The accept threshold at which so many of 1,000 strangers are expected to be accepted.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`, `GALLERY_TOO_SMALL`.
    pub async fn suggest_threshold(&self, per_thousand: f64) -> Result<Suggestion, ServiceError> {
        if !RATES.contains(&per_thousand) {
            let problem = format!("{per_thousand} is not {} to {}", RATES.start(), RATES.end());
            return Err(ProtocolError::invalid("false_matches_per_thousand", problem).into());
        }
        let calibration = self.calibration().await?.ok_or_else(|| {
            let message = "a threshold is suggested from 20 templates of at least two students on";
            ServiceError::refused(ErrorReason::GalleryTooSmall, message)
        })?;
        let accept = calibration.calibration.threshold_for(per_thousand);
        Ok(Suggestion { accept, calibration, in_force: self.thresholds() })
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
    ) -> Result<(ThresholdVersion, ThresholdVersion), ServiceError> {
        self.refresh_thresholds().await?;
        let before = self.thresholds();
        let thresholds = change.apply(&before.thresholds)?;
        let set = if before.version == expected {
            self.threshold_store.set_thresholds(self.site, self.pack(), expected, &thresholds, by).await?
        } else {
            None
        };
        self.refresh_thresholds().await?;
        let set = set.ok_or_else(|| {
            let now = self.thresholds().version;
            let message =
                format!("version {now} of the thresholds is in force, not {expected}: nothing was set");
            ServiceError::refused(ErrorReason::ThresholdsChanged, message)
        })?;
        info!(site = %self.site, version = set.version, accept = thresholds.accept.get(), %by, "set thresholds");
        Ok((before, set))
    }

    /// Versions of the thresholds that people set, newest first, and at the end those of the configuration.
    ///
    /// # Errors
    /// `Database`.
    pub async fn threshold_versions(&self) -> Result<Vec<ThresholdVersion>, ServiceError> {
        let mut versions = self.threshold_store.thresholds(self.site, self.pack(), VERSIONS).await?;
        versions.push(self.configured_thresholds());
        Ok(versions)
    }
}
