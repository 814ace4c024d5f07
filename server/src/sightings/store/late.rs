//! SQL of late enrollment.

use cavs_embedding::{PackDigest, Similarity};
use cavs_types::{Quality, SightingId, SiteId, StudentId, UserId};
use jiff::{Timestamp, civil::Date};
use tokio_postgres::{
    Row,
    types::{Json, ToSql, Type},
};
use uuid::Uuid;

use super::SightingStore;
use crate::{
    db::{Batch, Conditions, DatabaseError, to_integer},
    page::{Page, PageRequest},
    people::StudentRef,
    sightings::{LateMatch, LateMatchPosition},
};

/// How long after a student's new template was stored every server's gallery has it.
const FOLLOWED: &str = "3 s";
/// After how long somebody else takes on what a server has begun with.
const GIVEN_UP: &str = "10 min";

/// A face that was taken for nobody.
#[derive(Debug, Clone)]
pub struct UnknownFace {
    /// Which sighting.
    pub sighting: SightingId,
    /// When it is listed.
    pub listed_at: Timestamp,
    /// The day of the key that sealed its probe.
    pub day: Date,
    /// How good its picture is.
    pub quality: Quality,
    /// How probably it is live.
    pub liveness: Option<f32>,
}

/// What was found of a face.
#[derive(Debug, Clone, Copy)]
pub struct FoundLate {
    /// Which sighting.
    pub sighting: SightingId,
    /// Whom it may show.
    pub student: StudentId,
    /// How similar.
    pub similarity: Similarity,
    /// What would have been accepted without a person.
    pub threshold: f32,
}

impl SightingStore {
    /// How many days a site looks back; `None`: it doesn't.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn late_match_days(&self, site: SiteId) -> Result<Option<u32>, DatabaseError> {
        let sql = "SELECT late_match_days FROM sites WHERE id = $1";
        let row = self.db.client().await?.query_opt(sql, &[&site.uuid()]).await?;
        let days: Option<i32> = row.ok_or(DatabaseError::NotFound)?.try_get(0)?;
        Ok(days.map(i32::unsigned_abs))
    }

    /// Says how many days a site looks back. Where it does no more, nobody is looked up that waits for it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_late_match_days(&self, site: SiteId, days: Option<u32>) -> Result<(), DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let sql = "UPDATE sites SET late_match_days = $2 WHERE id = $1";
        transaction.execute(sql, &[&site.uuid(), &days.map(to_integer)]).await?;
        if days.is_none() {
            transaction.execute("DELETE FROM late_match_queue WHERE site_id = $1", &[&site.uuid()]).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Takes the students of a site who were enrolled since, with the last row of the queue that was taken.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn take_enrolled(
        &self,
        site: SiteId,
    ) -> Result<Option<(Vec<StudentId>, Vec<i64>)>, DatabaseError> {
        let sql = format!(
            "WITH taken AS (
                 UPDATE late_match_queue SET taken_at = now() WHERE (site_id, id) IN (
                     SELECT site_id, id FROM late_match_queue
                     WHERE site_id = $1 AND asked_at < now() - interval '{FOLLOWED}'
                         AND coalesce(taken_at < now() - interval '{GIVEN_UP}', true)
                     ORDER BY id LIMIT 500 FOR UPDATE SKIP LOCKED)
                 RETURNING id, student_id)
             SELECT array_agg(DISTINCT student_id) AS students, array_agg(id) AS ids FROM taken"
        );
        let row = self.db.client().await?.query_one(&sql, &[&site.uuid()]).await?;
        let students: Option<Vec<Uuid>> = row.try_get("students")?;
        let Some(students) = students else { return Ok(None) };
        Ok(Some((students.into_iter().map(StudentId::from).collect(), row.try_get("ids")?)))
    }

    /// What was taken is done.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn done_enrolled(&self, site: SiteId, ids: &[i64]) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM late_match_queue WHERE site_id = $1 AND id = ANY($2)";
        self.db.client().await?.execute(sql, &[&site.uuid(), &ids]).await?;
        Ok(())
    }

    /// What was taken is not done: it is taken again, after a rest.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn give_back_enrolled(&self, site: SiteId, ids: &[i64]) -> Result<(), DatabaseError> {
        let sql = "UPDATE late_match_queue SET taken_at = NULL, asked_at = now() + interval '30 seconds'
                   WHERE site_id = $1 AND id = ANY($2)";
        self.db.client().await?.execute(sql, &[&site.uuid(), &ids]).await?;
        Ok(())
    }

    /// Faces of a pack that were taken for nobody since a time, and that nobody has judged, the latest first; after one,
    /// those before it.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn unknown_faces(
        &self,
        site: SiteId,
        pack: PackDigest,
        since: Timestamp,
        after: Option<(Timestamp, SightingId)>,
        most: i64,
    ) -> Result<Vec<UnknownFace>, DatabaseError> {
        let sql = "SELECT id, listed_at, day, quality, liveness FROM sightings
                   WHERE site_id = $1 AND decision = 'unknown' AND verdict IS NULL AND pack_digest = $2
                       AND listed_at >= $3 AND (listed_at, id) < ($4, $5)
                   ORDER BY listed_at DESC, id DESC LIMIT $6";
        let (before, id) = after.map_or((Timestamp::MAX, Uuid::max()), |(at, id)| (at, id.uuid()));
        // The database's last moment is before jiff's.
        let before = before.min(crate::sightings::LATEST);
        let pack = pack.as_bytes().as_slice();
        let parameters: [&(dyn ToSql + Sync); 6] = [&site.uuid(), &pack, &since, &before, &id, &most];
        let rows = self.db.client().await?.query(sql, &parameters).await?;
        let read = |row: &Row| {
            let Json(quality) = row.try_get::<_, Json<Quality>>("quality")?;
            Ok(UnknownFace {
                sighting: row.try_get::<_, Uuid>("id")?.into(),
                listed_at: row.try_get("listed_at")?,
                day: row.try_get("day")?,
                quality,
                liveness: row.try_get("liveness")?,
            })
        };
        rows.iter().map(read).collect()
    }

    /// Notes what was found. What is known already stays as it is, and so does what was decided.
    ///
    /// # Errors
    /// `Unavailable`, `Erased`.
    pub async fn add_late_matches(&self, site: SiteId, found: &[FoundLate]) -> Result<u64, DatabaseError> {
        let batch = Batch::of(found)
            .column("site_id", |_| site.uuid())
            .column("sighting_id", |one| one.sighting.uuid())
            .column("student_id", |one| one.student.uuid())
            .column("similarity", |one| one.similarity.get())
            .column("threshold", |one| one.threshold);
        let (columns, values, source) = (batch.names(), batch.given(), batch.source());
        // Sightings and students may have gone meanwhile.
        let sql = format!(
            "INSERT INTO late_matches ({columns}) SELECT {values}
             FROM {source} JOIN sightings g ON g.site_id = given.site_id AND g.id = given.sighting_id
                 JOIN students s ON s.site_id = given.site_id AND s.id = given.student_id
             WHERE g.verdict IS NULL AND s.erased_at IS NULL
             ON CONFLICT (site_id, sighting_id, student_id) DO NOTHING"
        );
        Ok(self.db.client().await?.execute(&sql, &batch.parameters()).await?)
    }

    /// What was found and nobody has decided on, of sightings that nobody has reviewed since, the first found first.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn late_matches(
        &self,
        site: SiteId,
        student: Option<StudentId>,
        request: &PageRequest<LateMatchPosition>,
    ) -> Result<Page<LateMatch>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let student = student.map(StudentId::uuid);
        let mut chosen = Conditions::default();
        chosen.with("m.site_id = ?", &[(&site, Type::UUID)]);
        chosen.also("m.state = 'open' AND g.verdict IS NULL");
        chosen.with_value("m.student_id = ?", &student, Type::UUID);
        let from = "late_matches m JOIN sightings g ON g.site_id = m.site_id AND g.id = m.sighting_id
            JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
            JOIN devices d ON d.site_id = g.site_id AND d.id = g.device_id";
        let total = match request.with_total {
            true => Some(chosen.count(&client, from).await?),
            false => None,
        };
        if let Some(after) = &request.after {
            chosen.with(
                "(m.found_at, m.sighting_id, m.student_id) > (?, ?, ?)",
                &[
                    (&after.found_at, Type::TIMESTAMPTZ),
                    (&after.sighting, Type::UUID),
                    (&after.student, Type::UUID),
                ],
            );
        }
        let select = format!(
            "SELECT m.sighting_id, m.student_id, s.number, s.name, m.similarity, m.threshold, g.listed_at,
                 d.name AS device_name, g.classroom, m.found_at FROM {from}"
        );
        let order = "m.found_at, m.sighting_id, m.student_id";
        let rows = chosen.rows(&client, &select, order, request.fetch()).await?;
        let items = rows.iter().map(late_match).collect::<Result<_, _>>()?;
        let position = |found: &LateMatch| LateMatchPosition {
            found_at: found.found_at,
            sighting: found.sighting.uuid(),
            student: found.student.id.uuid(),
        };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Whether something was found of a sighting and a student, and is open.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn has_late_match(
        &self,
        site: SiteId,
        sighting: SightingId,
        student: StudentId,
    ) -> Result<bool, DatabaseError> {
        let sql =
            "SELECT FROM late_matches m JOIN sightings g ON g.site_id = m.site_id AND g.id = m.sighting_id
                   WHERE m.site_id = $1 AND m.sighting_id = $2 AND m.student_id = $3 AND m.state = 'open'
                       AND g.verdict IS NULL";
        let client = self.db.client().await?;
        Ok(client.query_opt(sql, &[&site.uuid(), &sighting.uuid(), &student.uuid()]).await?.is_some())
    }

    /// Notes what a person has decided; whether there was something to decide on.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn decide_late_match(
        &self,
        site: SiteId,
        (sighting, student): (SightingId, StudentId),
        accept: bool,
        by: UserId,
    ) -> Result<bool, DatabaseError> {
        let sql = "UPDATE late_matches SET state = $4, decided_at = now(), decided_by = $5
                   WHERE site_id = $1 AND sighting_id = $2 AND student_id = $3 AND state = 'open'";
        let state = if accept { "accepted" } else { "dismissed" };
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&site.uuid(), &sighting.uuid(), &student.uuid(), &state, &by.uuid()];
        Ok(self.db.client().await?.execute(sql, &parameters).await? > 0)
    }
}

fn late_match(row: &Row) -> Result<LateMatch, DatabaseError> {
    Ok(LateMatch {
        sighting: row.try_get::<_, Uuid>("sighting_id")?.into(),
        student: StudentRef {
            id: row.try_get::<_, Uuid>("student_id")?.into(),
            number: row.try_get("number")?,
            name: row.try_get("name")?,
        },
        similarity: Similarity::clamped(row.try_get("similarity")?),
        threshold: row.try_get("threshold")?,
        captured_at: row.try_get("listed_at")?,
        device_name: row.try_get("device_name")?,
        classroom: row.try_get("classroom")?,
        found_at: row.try_get("found_at")?,
    })
}
