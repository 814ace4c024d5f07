//! People's verdicts on sightings: rows of `reviews`. The database's triggers number them and keep what is in
//! force on the sighting.

use cavs_types::{ReviewId, SightingId, SiteId, StudentId, UserId};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{SightingStore, queries::read_one};
use crate::{
    db::DatabaseError,
    sightings::{NewReview, NewWithdrawal, Sighting},
};

/// An approval or a rejection stands unless it is to be replaced, and nobody can approve where nobody is named.
/// Who waits for another's verdict judges by what that has left. What somebody has flagged wants another person. That
/// what somebody has claimed is theirs, the trigger of `reviews` sees to.
const REVIEW: &str = "
    INSERT INTO reviews (site_id, id, sighting_id, verdict, reviewer_id, notes, corrected_student_id, batch_id)
    SELECT s.site_id, $2::uuid, s.id, $3::text, $4::uuid, $5::text, $6::uuid, $10::uuid FROM sightings s
    WHERE s.site_id = $8 AND s.id = $1 AND ($7 OR s.verdict IS NULL OR s.verdict = 'flagged')
        AND ($3 <> 'approved' OR $6 IS NOT NULL OR s.decision <> 'unknown')
        AND NOT ($9 AND s.verdict IS NOT NULL)
        AND NOT ($3 <> 'flagged' AND s.verdict IS NOT DISTINCT FROM 'flagged' AND s.reviewer_id = $4)
    FOR NO KEY UPDATE OF s";

/// Somebody's own verdict, or with `$5` anybody's.
const WITHDRAW: &str = "
    INSERT INTO reviews (site_id, id, sighting_id, verdict, reviewer_id, notes)
    SELECT s.site_id, $2::uuid, s.id, 'withdrawn', $3::uuid, $4::text FROM sightings s
    WHERE s.site_id = $6 AND s.id = $1 AND s.verdict IS NOT NULL AND ($5 OR s.reviewer_id = $3)
        AND ($7::uuid IS NULL OR s.review_batch_id = $7)
    FOR NO KEY UPDATE";

impl SightingStore {
    /// Records a verdict: whether it was recorded, and the sighting as it is then, where there is one.
    ///
    /// # Errors
    /// `NotFound`: the corrected student.
    pub async fn review(
        &self,
        site: SiteId,
        review: &NewReview,
        reviewer: UserId,
    ) -> Result<(bool, Option<Sighting>), DatabaseError> {
        let NewReview { sighting, verdict, notes, corrected, replace, only_unreviewed, batch } = review;
        let (id, sighting_id) = (ReviewId::generate().uuid(), sighting.uuid());
        let corrected = corrected.map(StudentId::uuid);
        let batch = batch.map(ReviewId::uuid);
        let parameters: [&(dyn ToSql + Sync); 10] = [
            &sighting_id,
            &id,
            &verdict.as_str(),
            &reviewer.uuid(),
            notes,
            &corrected,
            replace,
            &site.uuid(),
            only_unreviewed,
            &batch,
        ];
        self.add_review(site, REVIEW, &parameters, *sighting).await
    }

    /// Takes back the verdict in force: whether there was one that the person may take back, and the sighting
    /// as it is then, where there is one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn withdraw_review(
        &self,
        site: SiteId,
        withdrawal: &NewWithdrawal,
        reviewer: UserId,
    ) -> Result<(bool, Option<Sighting>), DatabaseError> {
        let NewWithdrawal { sighting, notes, of_anybody, of_batch } = withdrawal;
        let (id, sighting_id) = (ReviewId::generate().uuid(), sighting.uuid());
        let batch = of_batch.map(ReviewId::uuid);
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&sighting_id, &id, &reviewer.uuid(), notes, of_anybody, &site.uuid(), &batch];
        self.add_review(site, WITHDRAW, &parameters, *sighting).await
    }

    /// The other sightings on which verdicts of the same reviewer are in force that were given together with the one
    /// in force on a sighting, and what they share.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn reviewed_with(
        &self,
        site: SiteId,
        sighting: SightingId,
    ) -> Result<Vec<(SightingId, ReviewId)>, DatabaseError> {
        let sql = "SELECT o.id, o.review_batch_id FROM sightings s
            JOIN sightings o ON o.site_id = s.site_id AND o.review_batch_id = s.review_batch_id
                AND o.reviewer_id = s.reviewer_id AND o.id <> s.id
            WHERE s.site_id = $1 AND s.id = $2";
        let rows = self.db.client().await?.query(sql, &[&site.uuid(), &sighting.uuid()]).await?;
        let id = |row: &Row, column| row.try_get::<_, Uuid>(column);
        rows.iter().map(|row| Ok((id(row, 0)?.into(), id(row, 1)?.into()))).collect()
    }

    /// The statements go out together, so that a reviewer waits for one answer of the database.
    async fn add_review(
        &self,
        site: SiteId,
        insert: &str,
        parameters: &[&(dyn ToSql + Sync)],
        sighting: SightingId,
    ) -> Result<(bool, Option<Sighting>), DatabaseError> {
        let client = self.db.client().await?;
        let insert = client.prepare_cached(insert).await?;
        // In this order on the connection: what is read is what the insert has left.
        let (inserted, read) =
            tokio::join!(client.execute(&insert, parameters), read_one(&client, site, sighting));
        Ok((inserted? > 0, read?))
    }
}
