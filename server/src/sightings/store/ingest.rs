//! How sightings come in; how they are read is in `sighting_queries`.

use std::collections::{BTreeSet, HashMap};

use cavs_types::{DeviceId, DeviceStatus, SightingId};
use futures_util::future::try_join_all;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use super::SightingStore;
use crate::{
    db::{DatabaseError, to_bigint, to_integer},
    fleet::{CameraRefusal, CameraStanding, lock_standings, note_refusals},
    recognition::Prediction,
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
    /// The sealed probe.
    pub probe: Vec<u8>,
    /// The sealed evidence, where it is kept.
    pub evidence: Option<Vec<u8>>,
    /// What the machine says.
    pub prediction: &'a Prediction,
    /// A time of it is far from the server's clock.
    pub time_implausible: bool,
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

const INSERT: &str = "
    INSERT INTO sightings (id, device_id, boot_epoch, sequence, classroom, captured_at, received_at, frame,
        box_x, box_y, box_width, box_height, detection_score, quality, liveness,
        pack_digest, probe,
        decision, reason, predicted_student_id, similarity, margin, threshold, candidates,
        clock_trust, clock_uncertainty_ms, track_id, track_entered_at, track_last_seen_at, track_left,
        threshold_version, via, run_id, time_implausible)
    SELECT $1, d.id, $3, $4, d.classroom, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16,
        $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33
    FROM devices d WHERE d.id = $2 AND NOT ($34 AND EXISTS (
        -- Stored before there were run ids, and offered again by an agent that has none.
        SELECT FROM sightings s WHERE s.device_id = d.id AND s.via = $31 AND s.boot_epoch = $3
            AND s.sequence = $4 AND s.run_id = '00000000-0000-0000-0000-000000000000'
            AND s.frame = $7 AND s.box_x = $8 AND s.box_y = $9 AND s.detection_score = $12))
    ON CONFLICT (device_id, via, run_id, boot_epoch, sequence) DO NOTHING";

impl SightingStore {
    /// Commits a batch of one device in one transaction, if the device may speak; of cameras that it may
    /// not speak for, only that it did. A repeated sighting changes nothing. `Ok(Err(status))`: nothing was stored, as the device is revoked
    /// or (`None`) not known.
    ///
    /// # Errors
    /// `Unavailable`; nothing was stored then, or all of it, and sending it again is right.
    pub async fn store_sightings(
        &self,
        device: DeviceId,
        batch: &[SightingToStore<'_>],
    ) -> Result<Result<Vec<StoreOutcome>, Option<DeviceStatus>>, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let cameras: BTreeSet<Uuid> =
            batch.iter().filter_map(|sighting| sighting.captured.camera).map(DeviceId::uuid).collect();
        let cameras: Vec<Uuid> = cameras.into_iter().collect();
        let (status, standings) = lock_standings(&transaction, device, &cameras).await?;
        if status != Some(DeviceStatus::Active) {
            return Ok(Err(status));
        }
        let refusal = |sighting: &SightingToStore<'_>| {
            let camera = sighting.captured.camera?;
            let judged = CameraStanding::judge(standings.get(&camera).copied(), device);
            judged.err().map(|refusal| (camera, refusal))
        };
        let insert = transaction.prepare_cached(INSERT).await?;
        let insert_evidence =
            transaction.prepare_cached("INSERT INTO evidence (sighting_id, image) VALUES ($1, $2)").await?;
        // The statements go out together, in order, and their answers come back together.
        let outcomes = try_join_all(batch.iter().map(|sighting| {
            let (transaction, insert, insert_evidence) = (&transaction, &insert, &insert_evidence);
            let refused = refusal(sighting);
            async move {
                if let Some((_, refusal)) = refused {
                    return Ok(StoreOutcome::Refused(refusal));
                }
                if insert_sighting(transaction, insert, device, sighting).await? == 0 {
                    return Ok(StoreOutcome::Duplicate);
                }
                if let Some(evidence) = &sighting.evidence {
                    transaction.execute(insert_evidence, &[&sighting.id.uuid(), evidence]).await?;
                }
                Ok::<_, DatabaseError>(StoreOutcome::Stored)
            }
        }))
        .await?;
        let mut refusals: HashMap<_, u64> = HashMap::new();
        batch.iter().filter_map(refusal).for_each(|refused| *refusals.entry(refused).or_default() += 1);
        note_refusals(&transaction, device, &refusals).await?;
        let sql = "UPDATE devices SET last_seen_at = now() WHERE id = $1 OR (id = ANY($2) AND proxy_id = $1)";
        transaction.execute(sql, &[&device.uuid(), &cameras]).await?;
        transaction.commit().await?;
        Ok(Ok(outcomes))
    }
}

async fn insert_sighting(
    transaction: &deadpool_postgres::Transaction<'_>,
    insert: &tokio_postgres::Statement,
    device: DeviceId,
    sighting: &SightingToStore<'_>,
) -> Result<u64, DatabaseError> {
    let SightingToStore { id, captured, received_at, probe, evidence: _, prediction, time_implausible } =
        sighting;
    let (bounds, predicted) = (captured.bounding_box, prediction.predicted());
    let candidates: Vec<CandidateColumn> = prediction
        .candidates
        .iter()
        .map(|c| CandidateColumn { student_id: c.student.uuid(), similarity: c.similarity.get() })
        .collect();
    let best = prediction.candidates.first().map(|c| c.similarity.get());
    let (clock, track) = (captured.clock, captured.track);
    let seen_by = captured.camera.unwrap_or(device);
    let run = captured.numbered_under();
    let parameters: [&(dyn ToSql + Sync); 34] = [
        &id.uuid(),
        &seen_by.uuid(),
        &to_bigint(captured.key.boot_epoch),
        &to_bigint(captured.key.sequence),
        &captured.captured_at,
        received_at,
        &captured.frame,
        &bounds.x,
        &bounds.y,
        &bounds.width,
        &bounds.height,
        &captured.detection_score,
        &Json(captured.probe.quality),
        &captured.liveness,
        &captured.probe.pack.as_bytes().as_slice(),
        probe,
        &prediction.decision.as_str(),
        &prediction.reason.as_str(),
        &predicted.map(|c| c.student.uuid()),
        &best,
        &prediction.margin,
        &prediction.threshold,
        &Json(candidates),
        &clock.trust.as_str(),
        &clock.uncertainty_ms.map(to_bigint),
        &track.map(|t| to_bigint(t.id)),
        &track.map(|t| t.entered_at),
        &track.map(|t| t.last_seen_at),
        &track.map(|t| t.left),
        &to_integer(prediction.threshold_version),
        &device.uuid(),
        &run.uuid(),
        time_implausible,
        &captured.run.is_none(),
    ];
    Ok(transaction.execute(insert, &parameters).await?)
}
