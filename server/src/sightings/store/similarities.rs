use cavs_embedding::PackDigest;
use cavs_types::{SiteId, StudentId};
use futures_util::TryStreamExt;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::SightingStore;
use crate::{db::DatabaseError, sightings::MonthSimilarity};

/// How long after one look at a site's similarities the next one is due.
const INTERVAL: &str = "23 hours";
/// Months that are remembered, and looked at: those of a school year.
const MONTHS: &str = "12 months";
/// Months that are computed again, as sightings come late and are corrected; all of them where none was computed.
const RECOMPUTED: &str = "1 month";

/// Sums up the months `$3` back: by the student who was seen, not where a person has said that it was somebody else.
const SUM_UP: &str = "
    INSERT INTO similarity_months (site_id, student_id, pack_digest, month, sightings, mean)
    SELECT s.site_id, s.student_id, s.pack_digest, date_trunc('month', s.captured_at AT TIME ZONE 'UTC')::date,
        count(*), avg(s.similarity)
    FROM sightings s JOIN students t ON t.site_id = s.site_id AND t.id = s.student_id AND t.erased_at IS NULL
    WHERE s.site_id = $1 AND s.pack_digest = $2 AND s.decision = 'accepted' AND NOT s.time_implausible
        AND s.student_id = s.predicted_student_id
        AND s.listed_at >= date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - $3::text::interval
    GROUP BY 1, 2, 3, 4
    ON CONFLICT (site_id, pack_digest, student_id, month) DO UPDATE
        SET sightings = excluded.sightings, mean = excluded.mean";

impl SightingStore {
    /// Has `wanted` say of each student of a site, by the months that are known of them, whether they should be enrolled
    /// anew, and notes it. Unless `at_once`, only where nobody did so for a day. Whether it was done.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn note_re_enrollments(
        &self,
        site: SiteId,
        pack: PackDigest,
        at_once: bool,
        wanted: impl Fn(StudentId, &[MonthSimilarity]) -> bool,
    ) -> Result<bool, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        transaction.batch_execute("SET LOCAL statement_timeout = '10min'").await?;
        let (site, pack) = (site.uuid(), pack.as_bytes().as_slice());
        // The row is held until the commit: servers take turns, and the next one finds that it is done.
        let sql = format!(
            "INSERT INTO similarity_runs AS r (site_id) VALUES ($1) ON CONFLICT (site_id) DO UPDATE
                 SET started_at = now() WHERE $2 OR r.started_at < now() - interval '{INTERVAL}'
             RETURNING true"
        );
        if transaction.query_opt(&sql, &[&site, &at_once]).await?.is_none() {
            return Ok(false);
        }
        let sql = "SELECT EXISTS (SELECT FROM similarity_months WHERE site_id = $1 AND pack_digest = $2)";
        let is_known: bool = transaction.query_one(sql, &[&site, &pack]).await?.try_get(0)?;
        let since = if is_known { RECOMPUTED } else { MONTHS };
        transaction.execute(SUM_UP, &[&site, &pack, &since]).await?;
        let sql = format!(
            "DELETE FROM similarity_months WHERE site_id = $1
             AND (month < now() - interval '{MONTHS}' - interval '1 month' OR pack_digest <> $2)"
        );
        transaction.execute(&sql, &[&site, &pack]).await?;
        let sql = "SELECT student_id, month, sightings, mean FROM similarity_months
                   WHERE site_id = $1 AND pack_digest = $2 ORDER BY student_id, month";
        let parameters: [&(dyn ToSql + Sync); 2] = [&site, &pack];
        let mut rows = std::pin::pin!(transaction.query_raw(sql, parameters).await?);
        let mut marked: Vec<Uuid> = Vec::new();
        let mut current: Option<(Uuid, Vec<MonthSimilarity>)> = None;
        while let Some(row) = rows.try_next().await? {
            let student: Uuid = row.try_get("student_id")?;
            let month = MonthSimilarity {
                month: row.try_get("month")?,
                sightings: row.try_get::<_, i64>("sightings")?.unsigned_abs(),
                mean: row.try_get("mean")?,
            };
            match &mut current {
                Some((of, months)) if *of == student => months.push(month),
                _ => {
                    let done = current.replace((student, vec![month]));
                    marked.extend(done.filter(|(of, months)| wanted((*of).into(), months)).map(|(of, _)| of));
                }
            }
        }
        marked.extend(current.filter(|(of, months)| wanted((*of).into(), months)).map(|(of, _)| of));
        let sql = "UPDATE students SET re_enroll = NOT re_enroll
                   WHERE site_id = $1 AND erased_at IS NULL AND (re_enroll OR id = ANY($2))
                       AND re_enroll <> (id = ANY($2))";
        transaction.execute(sql, &[&site, &marked]).await?;
        transaction.commit().await?;
        Ok(true)
    }
}
