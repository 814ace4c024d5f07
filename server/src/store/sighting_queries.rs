use std::collections::HashMap;

use cavs_embedding::Similarity;
use cavs_proto::{SightingId, StudentId};
use futures_util::future::try_join;
use jiff::civil::Date;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    Store, StoreError,
    enums::{Column, read_digest},
    sightings::CandidateColumn,
    templates::read_json,
};
use crate::domain::{
    BoundingBox, Candidate, Clock, ClockTrust, Decision, Page, PageRequest, Prediction, Quality, Review,
    Sighting, SightingFilter, SightingKey, SightingPosition, StudentRef, Track, Verdict,
};

const SELECT: &str = "
    SELECT s.*, d.name AS device_name, u.username AS reviewer,
        EXISTS (SELECT FROM evidence e WHERE e.sighting_id = s.id) AS has_evidence
    FROM sightings s JOIN devices d ON d.id = s.device_id LEFT JOIN users u ON u.id = s.reviewer_id";

/// Parameters 1 to 6 are the filter's.
const FILTER: &str = "
    ($1::uuid IS NULL OR s.device_id = $1) AND ($2::text IS NULL OR s.classroom = $2)
    AND ($3::uuid IS NULL OR s.student_id = $3) AND ($4::text IS NULL OR s.decision = $4)
    AND ($5::timestamptz IS NULL OR s.captured_at >= $5) AND ($6::timestamptz IS NULL OR s.captured_at < $6)";

impl Store {
    /// Sightings, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn sightings(
        &self,
        filter: &SightingFilter,
        request: &PageRequest<SightingPosition>,
    ) -> Result<Page<Sighting>, StoreError> {
        let order = "(s.captured_at, s.id) < ($7, $8)) ORDER BY s.captured_at DESC, s.id DESC";
        self.list("", order, filter, request).await
    }

    /// Sightings that wait for a person, oldest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn review_queue(
        &self,
        filter: &SightingFilter,
        request: &PageRequest<SightingPosition>,
    ) -> Result<Page<Sighting>, StoreError> {
        let order = "(s.captured_at, s.id) > ($7, $8)) ORDER BY s.captured_at, s.id";
        self.list("s.in_queue AND", order, filter, request).await
    }

    async fn list(
        &self,
        queue: &str,
        order: &str,
        filter: &SightingFilter,
        request: &PageRequest<SightingPosition>,
    ) -> Result<Page<Sighting>, StoreError> {
        let client = self.client().await?;
        let (device, student) = (filter.device.map(|id| id.uuid()), filter.student.map(|id| id.uuid()));
        let decision = filter.decision.map(Column::text);
        let filters: [&(dyn ToSql + Sync); 6] =
            [&device, &filter.classroom, &student, &decision, &filter.from, &filter.until];
        let after_time = request.after.map(|position| position.captured_at);
        let after_id = request.after.map(|position| position.id.uuid());
        let fetch = request.fetch();
        let mut parameters = filters.to_vec();
        parameters.extend([&after_time as &(dyn ToSql + Sync), &after_id, &fetch]);
        let sql = format!("{SELECT} WHERE {queue} {FILTER} AND ($8::uuid IS NULL OR {order} LIMIT $9");
        let rows = client.query(&sql, &parameters).await?;
        let sql = format!("SELECT count(*) FROM sightings s WHERE {queue} {FILTER}");
        let total: i64 = client.query_one(&sql, &filters).await?.try_get(0)?;
        let items = read_all(&client, &rows).await?;
        Ok(request.page(items, total.unsigned_abs(), Sighting::position))
    }

    /// One sighting.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn sighting(&self, id: SightingId) -> Result<Option<Sighting>, StoreError> {
        read_one(&self.client().await?, id).await
    }

    /// The sealed evidence of a sighting, with the month and the wrapped key that opens it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn evidence(&self, id: SightingId) -> Result<Option<(Date, Vec<u8>, Vec<u8>)>, StoreError> {
        let sql = "SELECT s.key_month, k.wrapped, e.image FROM evidence e
                   JOIN sightings s ON s.id = e.sighting_id JOIN sighting_keys k ON k.month = s.key_month
                   WHERE e.sighting_id = $1";
        let client = self.client().await?;
        let statement = client.prepare_cached(sql).await?;
        let row = client.query_opt(&statement, &[&id.uuid()]).await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).transpose()
    }
}

/// The students that a sighting names.
const STUDENTS_OF_ONE: &str = "
    SELECT p.id, p.number, p.name FROM students p WHERE p.id IN (
        SELECT s.student_id FROM sightings s WHERE s.id = $1
        UNION SELECT s.corrected_student_id FROM sightings s WHERE s.id = $1
        UNION SELECT (c->>'student_id')::uuid FROM sightings s, jsonb_array_elements(s.candidates) c
            WHERE s.id = $1)";

/// Reads one sighting. Its two statements go out together.
pub(super) async fn read_one(
    client: &deadpool_postgres::Object,
    id: SightingId,
) -> Result<Option<Sighting>, StoreError> {
    let select = format!("{SELECT} WHERE s.id = $1");
    let (select, students) =
        try_join(client.prepare_cached(&select), client.prepare_cached(STUDENTS_OF_ONE)).await?;
    let id = id.uuid();
    let parameters: [&(dyn ToSql + Sync); 1] = [&id];
    let (row, students) =
        try_join(client.query_opt(&select, &parameters), client.query(&students, &parameters)).await?;
    let Some(row) = row else { return Ok(None) };
    let candidates: Vec<CandidateColumn> = read_json(&row, "sightings", "candidates")?;
    read(&row, &candidates, &students_by_id(&students)?).map(Some)
}

/// Reads rows of [`SELECT`], and the students they name in one further query.
async fn read_all(client: &deadpool_postgres::Object, rows: &[Row]) -> Result<Vec<Sighting>, StoreError> {
    let candidates: Vec<Vec<CandidateColumn>> =
        rows.iter().map(|row| read_json(row, "sightings", "candidates")).collect::<Result<_, _>>()?;
    let mut ids: Vec<Uuid> = candidates.iter().flatten().map(|c| c.student_id).collect();
    for row in rows {
        for column in ["student_id", "corrected_student_id"] {
            ids.extend(row.try_get::<_, Option<Uuid>>(column)?);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    let found = client.query("SELECT id, number, name FROM students WHERE id = ANY($1)", &[&ids]).await?;
    let students = students_by_id(&found)?;
    rows.iter().zip(&candidates).map(|(row, candidates)| read(row, candidates, &students)).collect()
}

fn students_by_id(rows: &[Row]) -> Result<HashMap<Uuid, StudentRef>, StoreError> {
    rows.iter()
        .map(|row| {
            let id: Uuid = row.try_get("id")?;
            let (number, name) = (row.try_get("number")?, row.try_get("name")?);
            Ok((id, StudentRef { id: StudentId::from(id), number, name }))
        })
        .collect()
}

fn read(
    row: &Row,
    candidates: &[CandidateColumn],
    students: &HashMap<Uuid, StudentRef>,
) -> Result<Sighting, StoreError> {
    const TABLE: &str = "sightings";
    let student = |column| {
        Ok::<_, StoreError>(row.try_get::<_, Option<Uuid>>(column)?.and_then(|id| students.get(&id).cloned()))
    };
    let review = match row.try_get::<_, Option<&str>>("verdict")? {
        None => None,
        Some(verdict) => Some(Review {
            verdict: Verdict::read(TABLE, "verdict", verdict)?,
            reviewer: row.try_get::<_, Option<String>>("reviewer")?.unwrap_or_default(),
            reviewed_at: row.try_get("reviewed_at")?,
            notes: row.try_get("review_notes")?,
            corrected: student("corrected_student_id")?,
        }),
    };
    let named = |c: &CandidateColumn| {
        let student = students.get(&c.student_id)?.clone();
        Some(Candidate { student, similarity: Similarity::clamped(c.similarity) })
    };
    let quality: Quality = read_json(row, TABLE, "quality")?;
    let track = match row.try_get::<_, Option<i64>>("track_id")? {
        None => None,
        Some(id) => Some(Track {
            id: id.unsigned_abs(),
            entered_at: row.try_get("track_entered_at")?,
            last_seen_at: row.try_get("track_last_seen_at")?,
            left: row.try_get("track_left")?,
        }),
    };
    let uncertainty: Option<i64> = row.try_get("clock_uncertainty_ms")?;
    Ok(Sighting {
        id: row.try_get::<_, Uuid>("id")?.into(),
        device: row.try_get::<_, Uuid>("device_id")?.into(),
        device_name: row.try_get("device_name")?,
        classroom: row.try_get("classroom")?,
        key: SightingKey {
            boot_epoch: row.try_get::<_, i64>("boot_epoch")?.unsigned_abs(),
            sequence: row.try_get::<_, i64>("sequence")?.unsigned_abs(),
        },
        captured_at: row.try_get("captured_at")?,
        received_at: row.try_get("received_at")?,
        bounding_box: BoundingBox {
            x: row.try_get("box_x")?,
            y: row.try_get("box_y")?,
            width: row.try_get("box_width")?,
            height: row.try_get("box_height")?,
        },
        detection_score: row.try_get("detection_score")?,
        quality,
        liveness: row.try_get("liveness")?,
        frame: row.try_get("frame")?,
        pack: read_digest(TABLE, row.try_get("pack_digest")?)?,
        prediction: Prediction {
            decision: Decision::read(TABLE, "decision", row.try_get("decision")?)?,
            reason: row.try_get("reason")?,
            candidates: candidates.iter().filter_map(named).collect(),
            margin: row.try_get("margin")?,
            threshold: row.try_get("threshold")?,
            threshold_version: row.try_get::<_, i32>("threshold_version")?.unsigned_abs(),
        },
        review,
        student: student("student_id")?,
        has_evidence: row.try_get("has_evidence")?,
        clock: Clock {
            trust: ClockTrust::read(TABLE, "clock_trust", row.try_get("clock_trust")?)?,
            uncertainty_ms: uncertainty.map(i64::unsigned_abs),
        },
        track,
    })
}
