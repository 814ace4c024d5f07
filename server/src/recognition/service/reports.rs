//! What people ask of a gallery and of its thresholds.

use std::sync::Arc;

use cavs_embedding::Similarity;
use cavs_types::{ErrorReason, UserId};
use jiff::{SignedDuration, Timestamp};
use tracing::info;

use super::{Calibrated, GalleryState, Recognition};
use crate::{
    error::ServiceError,
    recognition::{
        ExpectedPeople, HIGHEST_ACCEPT, Policy, RateEvidence, RateReason, ScopeRate, ThresholdChange,
        ThresholdVersion, Thresholds, wanted_rate,
    },
};

/// How long a threshold stands before a server sets a lower one.
const SETTLED: SignedDuration = SignedDuration::from_mins(10);
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
        let per_thousand = wanted_rate(per_thousand)?;
        let calibration = self.calibration().await?.ok_or_else(|| {
            let message = "a threshold is suggested from 20 templates of at least two students on";
            ServiceError::refused(ErrorReason::GalleryTooSmall, message)
        })?;
        // What could not be set is no suggestion.
        let highest = Similarity::clamped(HIGHEST_ACCEPT);
        let accept = calibration.calibration.threshold_for(per_thousand).min(highest);
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
        let (thresholds, rate) = self.changed_thresholds(change, &before).await?;
        let set = if before.version == expected {
            self.set_version(expected, &thresholds, rate.as_ref(), Some(by)).await?
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

    /// What a change would make of the thresholds.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`.
    pub async fn changed_thresholds(
        &self,
        change: ThresholdChange,
        before: &ThresholdVersion,
    ) -> Result<(Thresholds, Option<RateReason>), ServiceError> {
        let calibrated = self.calibration().await?;
        Ok(change.apply(before, &self.rate_evidence(calibrated.as_deref()))?)
    }

    /// Lets the accept threshold follow the wanted rate, if one is wanted: sets the next version where the gallery
    /// asks for another threshold. Where several servers do so, one of them is first. What a server set follows what
    /// people have set last, or the configuration, in everything else.
    ///
    /// # Errors
    /// `Database`, `Stopped`.
    pub async fn follow_wanted_rate(&self) -> Result<(), ServiceError> {
        self.refresh_thresholds().await?;
        let standing = self.thresholds();
        let said = match (standing.version, &standing.set_by) {
            (0, _) | (_, Some(_)) => standing.clone(),
            (_, None) => {
                let by_people = self.threshold_store.set_by_people(self.site, self.pack()).await?;
                by_people.unwrap_or_else(|| self.configured_thresholds())
            }
        };
        let (mut thresholds, mut rate) = (said.thresholds, None);
        if let Some(RateReason { wanted, .. }) = said.rate {
            let calibrated = self.calibration().await?;
            let evidence = self.rate_evidence(calibrated.as_deref());
            let now = standing.thresholds.accept;
            let replacement = evidence
                .replacement(now, wanted)
                .filter(|(accept, _)| *accept > now || self.may_lower(&standing));
            let kept = standing.rate.map(|reason| RateReason { wanted, ..reason }).or(said.rate);
            let (accept, reason) = replacement.map_or((now, kept), |(accept, reason)| (accept, Some(reason)));
            // Somebody may have set a review threshold that is higher.
            thresholds.accept = accept.max(thresholds.review);
            rate = reason;
        }
        let wanted = |rate: &Option<RateReason>| rate.map(|reason| reason.wanted);
        if thresholds == standing.thresholds && wanted(&rate) == wanted(&standing.rate) {
            return Ok(());
        }
        if let Some(set) = self.set_version(standing.version, &thresholds, rate.as_ref(), None).await? {
            let (version, accept) = (set.version, thresholds.accept.get());
            let templates = rate.map(|reason| reason.templates);
            let (wanted, basis) = (wanted(&rate), rate.map(|reason| reason.basis.as_str()));
            info!(site = %self.site, version, accept, wanted, basis, templates, "set thresholds for the wanted rate");
        }
        self.refresh_thresholds().await
    }

    /// Whether a lower threshold may take the place of this one: not at once, as a server with other evidence may
    /// have set it, nor while templates are left out that the gallery should have.
    fn may_lower(&self, standing: &ThresholdVersion) -> bool {
        let settled = standing.set_at.is_none_or(|at| Timestamp::now().duration_since(at) >= SETTLED);
        settled && self.state().quarantined == 0
    }

    async fn set_version(
        &self,
        expected: u32,
        thresholds: &Thresholds,
        rate: Option<&RateReason>,
        by: Option<UserId>,
    ) -> Result<Option<ThresholdVersion>, ServiceError> {
        let (site, pack) = (self.site, self.pack());
        Ok(self.threshold_store.set_thresholds(site, pack, expected, thresholds, rate, by).await?)
    }

    /// How often a stranger is taken for one of those who are expected somewhere, and how often for somebody of the
    /// site, by the thresholds in force.
    #[must_use]
    pub fn false_match_rates(&self, people: &ExpectedPeople) -> (ScopeRate, ScopeRate) {
        let (in_force, calibrated) = (self.thresholds(), self.last_calibration());
        let evidence = self.rate_evidence(calibrated.as_deref());
        let rate = |policy: Policy| {
            let (templates, accept) = (policy.scope_templates.unwrap_or_default(), policy.thresholds.accept);
            ScopeRate { templates, accept, per_thousand: evidence.expected_among(templates as usize, accept) }
        };
        let templates = u32::try_from(self.gallery().templates_of(people.roster())).unwrap_or(u32::MAX);
        (rate(self.policy_among(&in_force, templates)), rate(self.policy(&in_force)))
    }

    pub(super) fn rate_evidence<'a>(&'a self, calibrated: Option<&'a Calibrated>) -> RateEvidence<'a> {
        let setup = &self.shared.setup;
        let gallery = calibrated.map(|calibrated| &calibrated.calibration);
        RateEvidence {
            templates: self.gallery().len(),
            gallery: gallery.filter(|gallery| gallery.samples() >= RateEvidence::LEAST_SAMPLES),
            pack: setup.calibration.as_ref(),
            floor: setup.thresholds.accept,
        }
    }

    /// Versions of the thresholds that were set, newest first, and at the end those of the configuration.
    ///
    /// # Errors
    /// `Database`.
    pub async fn threshold_versions(&self) -> Result<Vec<ThresholdVersion>, ServiceError> {
        let mut versions = self.threshold_store.thresholds(self.site, self.pack(), VERSIONS).await?;
        versions.push(self.configured_thresholds());
        Ok(versions)
    }
}
