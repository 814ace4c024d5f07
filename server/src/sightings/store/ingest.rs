//! How sightings come in; how they are read is in `queries`.

use std::collections::{BTreeSet, HashMap, HashSet};

use cavs_types::{DeviceId, SightingId, SiteId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::Json;
use uuid::Uuid;

use super::{SightingStore, audits};
use crate::{
    biometrics::{SealedFace, store_faces},
    db::{Batch, DatabaseError, to_bigint, to_integer},
    fleet::{CameraRefusal, CameraStanding, NotAdmitted, lock_standings, note_refusals},
    recognition::{Candidate, Prediction},
    sightings::CapturedSighting,
};

/// A candidate in the `candidates` column.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CandidateColumn {
    pub(crate) student_id: Uuid,
    pub(crate) similarity: f32,
}

/// A sighting with all that is stored of it.
#[derive(Debug)]
pub struct SightingToStore<'a> {
    /// Its new id; not used where the sighting is a repeated one.
    pub id: SightingId,
    /// What the device told.
    pub captured: &'a CapturedSighting,
    /// When it came.
    pub received_at: Timestamp,
    /// What is sealed of it.
    pub face: SealedFace,
    /// What the machine says.
    pub prediction: &'a Prediction,
    /// A time of it is far from the server's clock.
    pub time_implausible: bool,
    /// A person is to judge it without being told what the machine says.
    pub is_audited: bool,
}

/// What became of a sighting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreOutcome {
    /// It is committed now.
    Stored,
    /// It was committed before.
    Duplicate,
    /// It is of a camera that its sender may not speak for.
    Refused(CameraRefusal),
}

impl SightingStore {
    /// Commits a batch of one device in one transaction, if the device may speak; of cameras that it may
    /// not speak for, only that it did. A repeated sighting changes nothing. `Ok(Err(_))`: nothing was stored, as
    /// the device may not speak.
    ///
    /// # Errors
    /// `Unavailable`; nothing was stored then, or all of it, and sending it again is right.
    pub async fn store_sightings(
        &self,
        site: SiteId,
        device: DeviceId,
        batch: &[SightingToStore<'_>],
    ) -> Result<Result<Vec<StoreOutcome>, NotAdmitted>, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let cameras: BTreeSet<Uuid> =
            batch.iter().filter_map(|sighting| sighting.captured.camera).map(DeviceId::uuid).collect();
        let cameras: Vec<Uuid> = cameras.into_iter().collect();
        let (admitted, standings) = lock_standings(&transaction, site, device, &cameras).await?;
        if let Err(refused) = admitted {
            return Ok(Err(refused));
        }
        let refusal = |sighting: &SightingToStore<'_>| {
            let camera = sighting.captured.camera?;
            let judged = CameraStanding::judge(standings.get(&camera).copied(), device);
            judged.err().map(|refusal| (camera, refusal))
        };
        let (offered, refused): (Vec<_>, Vec<_>) =
            batch.iter().partition(|sighting| refusal(sighting).is_none());
        let stored = insert_sightings(&transaction, site, device, &offered).await?;
        let new = offered.iter().filter(|sighting| stored.contains(&sighting.id.uuid()));
        let faces: Vec<_> = new.map(|sighting| (sighting.id, &sighting.face)).collect();
        store_faces(&transaction, site, &faces).await?;
        let drawn: Vec<Uuid> = offered.iter().filter(|s| s.is_audited).map(|s| s.id.uuid()).collect();
        let drawn: Vec<Uuid> = drawn.into_iter().filter(|id| stored.contains(id)).collect();
        audits::draw(&transaction, site, &drawn).await?;
        let mut refusals: HashMap<_, u64> = HashMap::new();
        refused
            .into_iter()
            .filter_map(refusal)
            .for_each(|refused| *refusals.entry(refused).or_default() += 1);
        note_refusals(&transaction, site, device, &refusals).await?;
        let sql = "UPDATE devices SET last_seen_at = now()
                   WHERE site_id = $3 AND (id = $1 OR (id = ANY($2) AND proxy_id = $1))";
        transaction.execute(sql, &[&device.uuid(), &cameras, &site.uuid()]).await?;
        transaction.commit().await?;
        let outcome = |sighting: &SightingToStore<'_>| match refusal(sighting) {
            Some((_, refusal)) => StoreOutcome::Refused(refusal),
            None if stored.contains(&sighting.id.uuid()) => StoreOutcome::Stored,
            None => StoreOutcome::Duplicate,
        };
        Ok(Ok(batch.iter().map(outcome).collect()))
    }
}

/// Inserts what is not there yet, in one statement; the ids of those that were not.
async fn insert_sightings(
    transaction: &deadpool_postgres::Transaction<'_>,
    site: SiteId,
    device: DeviceId,
    sightings: &[&SightingToStore<'_>],
) -> Result<HashSet<Uuid>, DatabaseError> {
    let seen_by = |s: &SightingToStore<'_>| s.captured.camera.unwrap_or(device).uuid();
    let track = |s: &SightingToStore<'_>| s.captured.track;
    let batch = Batch::of(sightings)
        .column("site_id", |_| site.uuid())
        .column("id", |s| s.id.uuid())
        .column("device_id", |s| seen_by(s))
        .column("via", |_| device.uuid())
        .column("run_id", |s| s.captured.numbered_under().uuid())
        .column("boot_epoch", |s| to_bigint(s.captured.key.boot_epoch))
        .column("sequence", |s| to_bigint(s.captured.key.sequence))
        .column("captured_at", |s| s.captured.captured_at)
        .column("received_at", |s| s.received_at)
        .column("time_implausible", |s| s.time_implausible)
        .column("clock_trust", |s| s.captured.clock.trust.as_str())
        .column("clock_uncertainty_ms", |s| s.captured.clock.uncertainty_ms.map(to_bigint))
        .column("track_id", |s| track(s).map(|track| to_bigint(track.id)))
        .column("track_entered_at", |s| track(s).map(|track| track.entered_at))
        .column("track_last_seen_at", |s| track(s).map(|track| track.last_seen_at))
        .column("track_left", |s| track(s).map(|track| track.left))
        .column("frame", |s| s.captured.frame.as_str())
        .column("box_x", |s| s.captured.bounding_box.x)
        .column("box_y", |s| s.captured.bounding_box.y)
        .column("box_width", |s| s.captured.bounding_box.width)
        .column("box_height", |s| s.captured.bounding_box.height)
        .column("detection_score", |s| s.captured.detection_score)
        .column("quality", |s| Json(s.captured.probe.quality))
        .column("liveness", |s| s.captured.probe.liveness)
        .column("pack_digest", |s| s.captured.probe.pack.as_bytes().as_slice())
        .column("decision", |s| s.prediction.decision.as_str())
        .column("reason", |s| s.prediction.reason.as_str())
        .column("predicted_student_id", |s| s.prediction.predicted().map(|best| best.student.uuid()))
        .column("similarity", |s| s.prediction.candidates.first().map(|best| best.similarity.get()))
        .column("margin", |s| s.prediction.margin)
        .column("threshold", |s| s.prediction.threshold)
        .column("threshold_version", |s| to_integer(s.prediction.threshold_version))
        .column("scope", |s| s.prediction.scope.as_str())
        .column("scope_templates", |s| s.prediction.scope_templates.map(to_integer))
        .column("candidates", |s| Json(candidates(s.prediction)));
    let (columns, values) = (batch.names(), batch.given());
    let batch = batch.column("without_run", |s| s.captured.run.is_none());
    let source = batch.source();
    let sql = format!(
        "INSERT INTO sightings (classroom, {columns}) SELECT d.classroom, {values}
         FROM {source} JOIN devices d ON d.site_id = given.site_id AND d.id = given.device_id
         WHERE NOT (given.without_run AND EXISTS (
             -- Stored before there were run ids, and offered again by an agent that has none.
             SELECT FROM sightings s WHERE s.site_id = given.site_id AND s.device_id = given.device_id
                 AND s.via = given.via AND s.boot_epoch = given.boot_epoch AND s.sequence = given.sequence
                 AND s.run_id = '00000000-0000-0000-0000-000000000000' AND s.frame = given.frame
                 AND s.box_x = given.box_x AND s.box_y = given.box_y
                 AND s.detection_score = given.detection_score))
         -- As they came: of two alike, the first is stored. Their ids were made in this order.
         ORDER BY given.id
         ON CONFLICT (site_id, device_id, via, run_id, boot_epoch, sequence) DO NOTHING
         RETURNING id"
    );
    let insert = transaction.prepare_cached(&sql).await?;
    let rows = transaction.query(&insert, &batch.parameters()).await?;
    Ok(rows.iter().map(|row| row.try_get("id")).collect::<Result<_, _>>()?)
}

fn candidates(prediction: &Prediction) -> Vec<CandidateColumn> {
    let column =
        |c: &Candidate| CandidateColumn { student_id: c.student.uuid(), similarity: c.similarity.get() };
    prediction.candidates.iter().map(column).collect()
}
