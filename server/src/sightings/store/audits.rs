//! Audits: what was drawn, and what people said of it.

use cavs_types::{SightingId, SiteId, StudentId, UserId};
use deadpool_postgres::{Object, Transaction};
use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::SightingStore;
use crate::{
    db::DatabaseError,
    people::StudentRef,
    sightings::{AuditCounts, AuditOutcome, Period},
};

/// Students that a person may choose from.
const CHOICES: i64 = 6;

/// One that waits: of the oldest hundred that nobody has given a verdict on and whose student is not erased, so that
/// several people get different ones.
const NEXT: &str = "
    SELECT waiting.id, waiting.captured_at FROM (
        SELECT s.id, s.captured_at FROM audits a
            JOIN sightings s ON s.site_id = a.site_id AND s.id = a.sighting_id AND s.verdict IS NULL
            JOIN students p ON p.site_id = s.site_id AND p.id = s.predicted_student_id AND p.erased_at IS NULL
        WHERE a.site_id = $1 AND a.outcome IS NULL
        ORDER BY a.drawn_at, a.sighting_id LIMIT 100) AS waiting
    ORDER BY md5($2::text || waiting.id::text) LIMIT 1";

/// The candidates first, then others who were enrolled about when they were; in an order that depends on the sighting
/// alone.
const CHOICES_OF: &str = "
    SELECT chosen.id, chosen.number, chosen.name FROM (
        SELECT p.id, p.number, p.name, c.place FROM sightings s,
            jsonb_array_elements(s.candidates) WITH ORDINALITY AS c (candidate, place)
            JOIN students p ON p.site_id = $1 AND p.id = (c.candidate->>'student_id')::uuid AND p.erased_at IS NULL
        WHERE s.site_id = $1 AND s.id = $2
        UNION ALL
        (SELECT p.id, p.number, p.name, 1000 FROM sightings s JOIN students p ON p.site_id = s.site_id
            AND p.id > s.predicted_student_id AND p.erased_at IS NULL
            AND NOT s.candidates @> jsonb_build_array(jsonb_build_object('student_id', p.id))
        WHERE s.site_id = $1 AND s.id = $2 ORDER BY p.id LIMIT $3)
        UNION ALL
        (SELECT p.id, p.number, p.name, 1000 FROM sightings s JOIN students p ON p.site_id = s.site_id
            AND p.id < s.predicted_student_id AND p.erased_at IS NULL
            AND NOT s.candidates @> jsonb_build_array(jsonb_build_object('student_id', p.id))
        WHERE s.site_id = $1 AND s.id = $2 ORDER BY p.id DESC LIMIT $3)
        ORDER BY 4 LIMIT $3) AS chosen
    ORDER BY md5($2::text || chosen.id::text)";

/// Whom the machine meant, while nobody has answered.
const WAITING: &str = "
    SELECT s.predicted_student_id FROM audits a JOIN sightings s ON s.site_id = a.site_id AND s.id = a.sighting_id
    WHERE a.site_id = $1 AND a.sighting_id = $2 AND a.outcome IS NULL";

/// Nobody answers twice.
const ANSWER: &str = "
    UPDATE audits SET auditor_id = $3, audited_at = now(), outcome = $4
    WHERE site_id = $1 AND sighting_id = $2 AND outcome IS NULL";

impl SightingStore {
    /// An audit that waits: the sighting and its time.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn next_audit(
        &self,
        site: SiteId,
        auditor: UserId,
    ) -> Result<Option<(SightingId, Timestamp)>, DatabaseError> {
        let client = self.db.client().await?;
        let statement = client.prepare_cached(NEXT).await?;
        let row = client.query_opt(&statement, &[&site.uuid(), &auditor.to_string()]).await?;
        row.map(|row| Ok((row.try_get::<_, Uuid>(0)?.into(), row.try_get(1)?))).transpose()
    }

    /// Gives up an audit that nobody can answer any more.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn drop_audit(&self, site: SiteId, sighting: SightingId) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM audits WHERE site_id = $1 AND sighting_id = $2 AND outcome IS NULL";
        self.db.client().await?.execute(sql, &[&site.uuid(), &sighting.uuid()]).await?;
        Ok(())
    }

    /// Whom an audited sighting may be.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn audit_choices(
        &self,
        site: SiteId,
        sighting: SightingId,
    ) -> Result<Vec<StudentRef>, DatabaseError> {
        let client = self.db.client().await?;
        let statement = client.prepare_cached(CHOICES_OF).await?;
        let rows = client.query(&statement, &[&site.uuid(), &sighting.uuid(), &CHOICES]).await?;
        rows.iter()
            .map(|row| {
                let id = row.try_get::<_, Uuid>("id")?.into();
                Ok(StudentRef { id, number: row.try_get("number")?, name: row.try_get("name")? })
            })
            .collect()
    }

    /// Whom the machine meant by a sighting whose audit waits; `None` where no such audit waits.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn waiting_audit(
        &self,
        site: SiteId,
        sighting: SightingId,
    ) -> Result<Option<StudentId>, DatabaseError> {
        let client = self.db.client().await?;
        let row = client.query_opt(WAITING, &[&site.uuid(), &sighting.uuid()]).await?;
        row.map(|row| Ok(row.try_get::<_, Uuid>(0)?.into())).transpose()
    }

    /// Records an answer: whether the audit still waited for one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn answer_audit(
        &self,
        site: SiteId,
        sighting: SightingId,
        auditor: UserId,
        outcome: AuditOutcome,
    ) -> Result<bool, DatabaseError> {
        let client = self.db.client().await?;
        let outcome = outcome.as_str();
        let parameters: [&(dyn ToSql + Sync); 4] =
            [&site.uuid(), &sighting.uuid(), &auditor.uuid(), &outcome];
        Ok(client.execute(ANSWER, &parameters).await? > 0)
    }
}

/// Draws stored sightings to be audited.
pub(super) async fn draw(
    transaction: &Transaction<'_>,
    site: SiteId,
    sightings: &[Uuid],
) -> Result<(), DatabaseError> {
    if !sightings.is_empty() {
        let sql = "INSERT INTO audits (site_id, sighting_id) SELECT $1, unnest($2::uuid[])";
        let statement = transaction.prepare_cached(sql).await?;
        transaction.execute(&statement, &[&site.uuid(), &sightings]).await?;
    }
    Ok(())
}

/// Of those that were drawn in a period.
pub(super) async fn counts(
    client: &Object,
    site: SiteId,
    period: Period,
) -> Result<AuditCounts, DatabaseError> {
    let sql = "SELECT count(*) FILTER (WHERE outcome = 'right'), count(*) FILTER (WHERE outcome = 'wrong'),
            count(*) FILTER (WHERE outcome = 'unclear'), count(*) FILTER (WHERE outcome IS NULL)
        FROM audits WHERE site_id = $1 AND drawn_at >= $2 AND drawn_at < $3";
    let statement = client.prepare_cached(sql).await?;
    let row = client.query_one(&statement, &[&site.uuid(), &period.from, &period.until]).await?;
    let number = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(AuditCounts { right: number(0)?, wrong: number(1)?, unclear: number(2)?, waiting: number(3)? })
}
