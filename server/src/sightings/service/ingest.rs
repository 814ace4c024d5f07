use std::{collections::HashMap, num::NonZeroU32, sync::Arc};

use cavs_types::{Decision, DeviceId, PredictionReason, SightingId, SiteId};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use tracing::warn;

use super::SightingFeed;
use crate::{
    biometrics::{BiometricStore, Key, Keys, Owner, SealedFace},
    db::Database,
    error::ServiceError,
    fleet::{DeviceStore, RunId, WatchedPeriod, refused},
    monitoring::Metrics,
    recognition::{Galleries, Prediction, Sought},
    schedule::Expected,
    sightings::{
        CapturedSighting, SightingAnswer, SightingKey, SightingStore, SightingToStore, StoreOutcome,
    },
};

/// Which evidence is kept: of decisions that a person may have to judge, by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidencePolicy {
    /// The decisions whose evidence is kept.
    pub keep: Vec<Decision>,
    /// Of so many accepted sightings with evidence, one is drawn by chance to be audited, and its evidence is kept;
    /// `None` where none is.
    pub audit_one_in: Option<NonZeroU32>,
}

impl EvidencePolicy {
    /// Whether a sighting is drawn. Its id is as good as a die: its last 62 bits are random.
    fn draws(&self, id: SightingId, decision: Decision) -> bool {
        let random = (id.uuid().as_u128() & u128::from(u32::MAX)) as u32;
        decision == Decision::Accepted && self.audit_one_in.is_some_and(|one_in| random % one_in == 0)
    }
}

/// Takes sightings in.
#[derive(Clone)]
pub struct Ingest {
    store: SightingStore,
    biometrics: BiometricStore,
    devices: DeviceStore,
    keys: Arc<Keys>,
    galleries: Arc<Galleries>,
    expected: Expected,
    evidence: Arc<EvidencePolicy>,
    metrics: Arc<Metrics>,
    feed: SightingFeed,
}

impl Ingest {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(
        db: &Database,
        keys: &Arc<Keys>,
        galleries: &Arc<Galleries>,
        expected: &Expected,
        evidence: EvidencePolicy,
        metrics: &Arc<Metrics>,
        feed: &SightingFeed,
    ) -> Self {
        Self {
            store: SightingStore::new(db),
            biometrics: BiometricStore::new(db),
            devices: DeviceStore::new(db),
            keys: Arc::clone(keys),
            galleries: Arc::clone(galleries),
            expected: expected.clone(),
            evidence: Arc::new(evidence),
            metrics: Arc::clone(metrics),
            feed: feed.clone(),
        }
    }

    /// What was made of sightings that went through a proxy. They are committed: without an answer of
    /// the database, nothing is said of them.
    pub async fn answers(
        &self,
        site: SiteId,
        proxy: DeviceId,
        wanted: &[(DeviceId, RunId, SightingKey)],
    ) -> HashMap<(DeviceId, SightingKey), SightingAnswer> {
        if wanted.is_empty() {
            return HashMap::new();
        }
        self.store.answers(site, proxy, wanted).await.unwrap_or_else(|cause| {
            warn!(%cause, %proxy, "cameras are not told what was made of their sightings");
            HashMap::new()
        })
    }

    /// Matches a batch of a device of the site with the site's people, and commits it; when this returns, it is in the database, once.
    ///
    /// # Errors
    /// `DEVICE_UNKNOWN`, `DEVICE_REVOKED`, `SITE_ARCHIVED`, `Database`: nothing is acknowledged then.
    pub async fn ingest(
        &self,
        site: SiteId,
        device: DeviceId,
        sightings: &[CapturedSighting],
    ) -> Result<Vec<StoreOutcome>, ServiceError> {
        let gallery = self.galleries.of(site).await?;
        let received_at = now_in_microseconds();
        // By the sighting's own time, also where it comes late: who was expected then.
        let asked = |captured: &CapturedSighting| {
            let seen_by = captured.camera.unwrap_or(device);
            captured.time_is_plausible(received_at).then_some((seen_by, captured.captured_at))
        };
        let asked: Vec<_> = sightings.iter().map(asked).collect();
        let expected = self.expected.at(site, &asked).await;
        let sought: Vec<Sought<'_>> = sightings
            .iter()
            .zip(&expected)
            .map(|(captured, expected)| Sought { probe: &captured.probe, expected: expected.as_ref() })
            .collect();
        let mut predictions = gallery.predict(&sought).await?;
        for (captured, prediction) in sightings.iter().zip(&mut predictions) {
            if !captured.time_is_plausible(received_at) {
                prediction.leave_to_person(PredictionReason::TimeImplausible);
            }
        }
        self.leave_maintenance_to_people(site, device, sightings, &mut predictions).await?;
        let day = received_at.to_zoned(TimeZone::UTC).date();
        let key = self.keys.day_key(&self.biometrics, site, day).await?;
        let batch: Vec<SightingToStore<'_>> = sightings
            .iter()
            .zip(&predictions)
            .map(|(captured, prediction)| self.seal(captured, prediction, received_at, day, &key))
            .collect::<Result<_, _>>()?;
        let stored = self.store.store_sightings(site, device, &batch).await?;
        let outcomes = stored.map_err(|why| refused(device, why))?;
        self.count(&outcomes, &predictions);
        if outcomes.contains(&StoreOutcome::Stored) {
            self.feed.tell(site);
        }
        Ok(outcomes)
    }

    /// What devices have seen while they were in maintenance is left to people.
    async fn leave_maintenance_to_people(
        &self,
        site: SiteId,
        device: DeviceId,
        sightings: &[CapturedSighting],
        predictions: &mut [Prediction],
    ) -> Result<(), ServiceError> {
        let seen_by = |captured: &CapturedSighting| captured.camera.unwrap_or(device);
        let times = || sightings.iter().map(|captured| captured.captured_at);
        let Some((first, last)) = times().min().zip(times().max()) else { return Ok(()) };
        let mut devices: Vec<DeviceId> =
            std::iter::once(device).chain(sightings.iter().map(seen_by)).collect();
        devices.sort_unstable();
        devices.dedup();
        let window = (first, last.checked_add(SignedDuration::from_secs(1)).unwrap_or(last));
        let maintenance = self.devices.maintenance(site, &devices, window).await?;
        for (captured, prediction) in sightings.iter().zip(predictions) {
            let is_meanwhile = |(id, period): &(DeviceId, WatchedPeriod)| {
                (*id == device || *id == seen_by(captured))
                    && (period.start..period.end).contains(&captured.captured_at)
            };
            if maintenance.iter().any(is_meanwhile) {
                prediction.leave_to_person(PredictionReason::DeviceInMaintenance);
            }
        }
        Ok(())
    }

    fn count(&self, outcomes: &[StoreOutcome], predictions: &[Prediction]) {
        let stored = |outcome: &&StoreOutcome| **outcome == StoreOutcome::Stored;
        let new = outcomes.iter().filter(stored).count();
        let repeated = outcomes.iter().filter(|outcome| **outcome == StoreOutcome::Duplicate).count();
        self.metrics.acknowledged(new, repeated);
        let new = outcomes.iter().zip(predictions).filter(|(outcome, _)| stored(outcome));
        new.for_each(|(_, prediction)| self.metrics.decided(prediction.decision));
    }

    fn seal<'a>(
        &self,
        captured: &'a CapturedSighting,
        prediction: &'a Prediction,
        received_at: Timestamp,
        day: Date,
        key: &Key,
    ) -> Result<SightingToStore<'a>, ServiceError> {
        let id = SightingId::generate();
        let owner = Owner::Probe(id, captured.probe.pack);
        let probe = key.seal(owner, &zeroize::Zeroizing::new(captured.probe.embedding.to_le_bytes()))?;
        let is_audited = !captured.evidence.is_empty() && self.evidence.draws(id, prediction.decision);
        let kept =
            is_audited || !captured.evidence.is_empty() && self.evidence.keep.contains(&prediction.decision);
        let evidence = kept.then(|| key.seal(Owner::Evidence(id), &captured.evidence)).transpose()?;
        let time_implausible = !captured.time_is_plausible(received_at);
        Ok(SightingToStore {
            id,
            captured,
            received_at,
            face: SealedFace { day, probe, evidence },
            prediction,
            time_implausible,
            is_audited,
        })
    }
}

/// As exactly as the database keeps times, so that both tell the same day.
fn now_in_microseconds() -> Timestamp {
    let now = Timestamp::now();
    Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
}
