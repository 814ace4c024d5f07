use cavs_embedding::PackDigest;
use cavs_proto::{DeviceId, ErrorReason, SightingId};
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use tracing::warn;

use super::{App, AppError};
use crate::{
    domain::{
        Admission, CapturedSighting, Decision, Device, DeviceKey, DeviceStatus, Heartbeat, Prediction,
        PredictionReason, PushedSettings, RunId, SettingsReport,
    },
    store::{SightingToStore, StoreOutcome},
    vault::{Key, Owner},
};

/// Which evidence is kept: of decisions that a person may have to judge, by default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvidencePolicy {
    /// The decisions whose evidence is kept.
    pub keep: Vec<Decision>,
}

/// What became of the sightings of a batch, in their order.
pub type IngestOutcome = Vec<StoreOutcome>;

impl App {
    /// The device that a certificate names, if it may speak.
    ///
    /// # Errors
    /// `DEVICE_UNKNOWN`, `DEVICE_REVOKED`, `Store`.
    pub async fn admit_device(&self, id: DeviceId) -> Result<Device, AppError> {
        let device = self.device_store.device(&DeviceKey::Id(id)).await?;
        device
            .as_ref()
            .map(|d| d.status)
            .map_or(Err(refused(id, None)), |status| may_speak(id, Some(status)))?;
        device.ok_or_else(|| refused(id, None))
    }

    /// Takes note of what a start of a device's agent says at the beginning; gives the settings that it
    /// is to run with, where any were pushed.
    ///
    /// # Errors
    /// `MODEL_PACK_MISMATCH`: its probes could not be compared with any template.
    /// `DEVICE_CONNECTED_TWICE`: another start has the device's place now.
    pub async fn device_connected(
        &self,
        id: DeviceId,
        run: RunId,
        agent_version: &str,
        pack: PackDigest,
        settings: &SettingsReport,
    ) -> Result<Option<PushedSettings>, AppError> {
        if let Err(mismatch) = self.check_pack(pack) {
            self.device_store.device_mismatched(id, agent_version, pack, settings).await?;
            return Err(mismatch);
        }
        let Admission { welcome, twice } =
            self.device_store.run_greeted(id, run, agent_version, pack, settings).await?;
        if twice {
            self.note_twice(id);
        }
        if !welcome {
            return Err(connected_twice());
        }
        self.pushed_settings(id).await
    }

    /// Whether a device with this pack would be welcomed; nothing is recorded.
    ///
    /// # Errors
    /// `MODEL_PACK_MISMATCH`.
    pub async fn device_probed(
        &self,
        id: DeviceId,
        pack: PackDigest,
    ) -> Result<Option<PushedSettings>, AppError> {
        self.check_pack(pack)?;
        self.pushed_settings(id).await
    }

    /// A start of a device's agent has ended its stream.
    ///
    /// # Errors
    /// `Store`.
    pub async fn device_left(&self, id: DeviceId, run: RunId) -> Result<(), AppError> {
        Ok(self.device_store.run_left(id, run).await?)
    }

    fn check_pack(&self, pack: PackDigest) -> Result<(), AppError> {
        let served = self.recognition.pack();
        if pack == served {
            return Ok(());
        }
        let message =
            format!("the agent uses model pack {pack}, the server {served}: give both the same pack folder");
        Err(AppError::refused(ErrorReason::ModelPackMismatch, message))
    }

    fn note_twice(&self, id: DeviceId) {
        self.metrics.connected_twice();
        warn!(device = %id, "a device is connected twice: its certificate is in use in two places");
    }

    /// Takes note of a sign of life; gives the settings that the device is to run with where they
    /// are newer than the version that this stream has pushed.
    ///
    /// # Errors
    /// `DEVICE_UNKNOWN`, `DEVICE_REVOKED`, `DEVICE_CONNECTED_TWICE`: it may not go on. `Store`.
    pub async fn device_alive(
        &self,
        id: DeviceId,
        run: RunId,
        heartbeat: &Heartbeat,
        settings: &SettingsReport,
        pushed: u64,
    ) -> Result<Option<PushedSettings>, AppError> {
        let Some((status, version)) = self.device_store.device_alive(id, run, heartbeat, settings).await?
        else {
            self.admit_device(id).await?;
            if self.device_store.superseded_run_spoke(id, run).await? {
                self.note_twice(id);
            }
            return Err(connected_twice());
        };
        may_speak(id, Some(status))?;
        if version > pushed { self.pushed_settings(id).await } else { Ok(None) }
    }

    async fn pushed_settings(&self, id: DeviceId) -> Result<Option<PushedSettings>, AppError> {
        Ok(self.device_store.device(&DeviceKey::Id(id)).await?.and_then(|device| device.wanted))
    }

    /// Matches and commits a batch; when this returns, it is in the database, once.
    ///
    /// # Errors
    /// `DEVICE_UNKNOWN`, `DEVICE_REVOKED`, `Store`: nothing is acknowledged then.
    pub async fn ingest(
        &self,
        device: DeviceId,
        sightings: &[CapturedSighting],
    ) -> Result<IngestOutcome, AppError> {
        let mut predictions = self.recognition.predict(sightings).await?;
        let received_at = Timestamp::now();
        for (captured, prediction) in sightings.iter().zip(&mut predictions) {
            if !captured.time_is_plausible(received_at) {
                prediction.leave_to_person(PredictionReason::TimeImplausible);
            }
        }
        let month = first_of_month(received_at);
        let key = self.keys.month_key(&self.device_store, month).await?;
        let batch: Vec<SightingToStore<'_>> = sightings
            .iter()
            .zip(&predictions)
            .map(|(captured, prediction)| self.seal(captured, prediction, received_at, month, &key))
            .collect::<Result<_, _>>()?;
        let outcomes = self
            .device_store
            .store_sightings(device, &batch)
            .await?
            .map_err(|status| refused(device, status))?;
        self.count(&outcomes, &predictions);
        Ok(outcomes)
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
        key_month: Date,
        key: &Key,
    ) -> Result<SightingToStore<'a>, AppError> {
        let id = SightingId::generate();
        let owner = Owner::Probe(id, captured.pack);
        let probe = key.seal(owner, &zeroize::Zeroizing::new(captured.probe.to_le_bytes()))?;
        let kept = !captured.evidence.is_empty() && self.evidence.keep.contains(&prediction.decision);
        let evidence = kept.then(|| key.seal(Owner::Evidence(id), &captured.evidence)).transpose()?;
        let time_implausible = !captured.time_is_plausible(received_at);
        Ok(SightingToStore {
            id,
            captured,
            received_at,
            key_month,
            probe,
            evidence,
            prediction,
            time_implausible,
        })
    }
}

/// What a start is told that has to leave its place to another one.
fn connected_twice() -> AppError {
    let message =
        "another start of this device's agent is connected: its certificate is in use in two places";
    AppError::refused(ErrorReason::DeviceConnectedTwice, message)
}

fn may_speak(id: DeviceId, status: Option<DeviceStatus>) -> Result<(), AppError> {
    match status {
        Some(DeviceStatus::Active) => Ok(()),
        other => Err(refused(id, other)),
    }
}

fn refused(id: DeviceId, status: Option<DeviceStatus>) -> AppError {
    match status {
        Some(DeviceStatus::Revoked) => {
            AppError::refused(ErrorReason::DeviceRevoked, format!("device {id} is revoked"))
        }
        Some(DeviceStatus::Active) | None => {
            let message = format!("device {id} is not registered: run `cavs devices add`");
            AppError::refused(ErrorReason::DeviceUnknown, message)
        }
    }
}

/// The first day of the month in UTC.
fn first_of_month(time: Timestamp) -> Date {
    time.to_zoned(TimeZone::UTC).date().first_of_month()
}
