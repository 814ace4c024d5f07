use std::time::Duration;

use cavs_embedding::Similarity;
use cavs_types::SiteId;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{MatchPosition, MatchRecord, NewMatch};
use crate::{
    db::{Conditions, Database, DatabaseError, read_text},
    page::{Page, PageRequest},
    people::StudentRef,
    recognition::Candidate,
};

/// Rows that one statement deletes.
const BATCH: i64 = 2000;

const SELECT: &str =
    "SELECT m.id, m.kind, u.username, m.asked_at, m.by_image, m.decision, m.reason, m.similarity,
        a.id AS asked_id, a.number AS asked_number, a.name AS asked_name,
        s.id AS student_id, s.number AS student_number, s.name AS student_name
    FROM matches m JOIN users u ON u.id = m.asked_by
        LEFT JOIN students a ON a.site_id = m.site_id AND a.id = m.asked_student_id
        LEFT JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id";

/// Records of who asked, in the database.
#[derive(Clone)]
pub struct MatchStore {
    db: Database,
}

impl MatchStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// Records that somebody asked.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn record(&self, site: SiteId, new: &NewMatch) -> Result<(), DatabaseError> {
        let NewMatch { kind, by, by_image, asked, face, best } = new;
        let sql =
            "INSERT INTO matches (site_id, id, kind, asked_by, by_image, asked_student_id, decision, reason,
                       student_id, similarity, threshold, threshold_version)
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
        let (asked, student) = (asked.map(|id| id.uuid()), best.as_ref().map(|best| best.student.uuid()));
        let similarity = best.as_ref().map(|best| best.similarity.get());
        let version = i32::try_from(face.threshold_version).unwrap_or(i32::MAX);
        self.db
            .client()
            .await?
            .execute(
                sql,
                &[
                    &site.uuid(),
                    &face.id,
                    &kind.as_str(),
                    &by.uuid(),
                    by_image,
                    &asked,
                    &face.decision.as_str(),
                    &face.reason,
                    &student,
                    &similarity,
                    &face.threshold,
                    &version,
                ],
            )
            .await?;
        Ok(())
    }

    /// Who asked what in a site, newest first.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn list(
        &self,
        site: SiteId,
        request: &PageRequest<MatchPosition>,
    ) -> Result<Page<MatchRecord>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let mut chosen = Conditions::default();
        chosen.with("m.site_id = ?", &[(&site, Type::UUID)]);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "matches m").await?),
            false => None,
        };
        let after = request.after.map(|MatchPosition(id)| id);
        chosen.with_value("m.id < ?", &after, Type::UUID);
        let rows = chosen.rows(&client, SELECT, "m.id DESC", request.fetch()).await?;
        let items = rows.iter().map(record).collect::<Result<_, _>>()?;
        Ok(Page { total, ..request.page(items, |record: &MatchRecord| MatchPosition(record.id)) })
    }

    /// Deletes the records of all sites that are older; how many.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn delete_older(&self, than: Duration) -> Result<u64, DatabaseError> {
        let seconds = than.as_secs_f64();
        let sql = "DELETE FROM matches WHERE (site_id, id) IN (
                       SELECT site_id, id FROM matches WHERE asked_at < now() - $1 * interval '1 second' LIMIT $2)";
        let (client, mut deleted) = (self.db.client().await?, 0);
        loop {
            match client.execute(sql, &[&seconds, &BATCH]).await? {
                0 => return Ok(deleted),
                some => deleted += some,
            }
        }
    }
}

fn record(row: &Row) -> Result<MatchRecord, DatabaseError> {
    let student = |id, number, name| {
        let Some(id) = row.try_get::<_, Option<Uuid>>(id)? else { return Ok(None) };
        let (number, name) = (row.try_get(number)?, row.try_get(name)?);
        Ok::<_, DatabaseError>(Some(StudentRef { id: id.into(), number, name }))
    };
    let similarity: Option<f32> = row.try_get("similarity")?;
    let best = student("student_id", "student_number", "student_name")?.zip(similarity);
    Ok(MatchRecord {
        id: row.try_get("id")?,
        kind: read_text(row, "matches", "kind")?,
        asked_by: row.try_get("username")?,
        asked_at: row.try_get("asked_at")?,
        by_image: row.try_get("by_image")?,
        asked: student("asked_id", "asked_number", "asked_name")?,
        decision: read_text(row, "matches", "decision")?,
        reason: row.try_get("reason")?,
        best: best
            .map(|(student, similarity)| Candidate { student, similarity: Similarity::clamped(similarity) }),
    })
}
