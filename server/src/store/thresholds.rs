//! Thresholds of model packs, in versions, and what they would have decided.

use cavs_embedding::{PackDigest, Similarity};
use cavs_proto::UserId;
use tokio_postgres::Row;

use super::{Store, StoreError};
use crate::domain::{Judged, ThresholdVersion, Thresholds};

const SELECT: &str = "
    SELECT t.version, t.accept, t.review, t.margin, t.set_at, u.username
    FROM thresholds t JOIN users u ON u.id = t.set_by WHERE t.pack_digest = $1";

impl Store {
    /// The versions of a pack, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn thresholds(&self, pack: PackDigest, most: u32) -> Result<Vec<ThresholdVersion>, StoreError> {
        let client = self.client().await?;
        let sql = format!("{SELECT} ORDER BY t.version DESC LIMIT $2");
        let statement = client.prepare_cached(&sql).await?;
        let rows = client.query(&statement, &[&pack.as_bytes().as_slice(), &i64::from(most)]).await?;
        rows.iter().map(version).collect()
    }

    /// Sets a pack's thresholds: the new version.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_thresholds(
        &self,
        pack: PackDigest,
        thresholds: &Thresholds,
        by: UserId,
    ) -> Result<ThresholdVersion, StoreError> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await?;
        // Two people who set them at a time get a version each.
        transaction.batch_execute("LOCK TABLE thresholds IN SHARE ROW EXCLUSIVE MODE").await?;
        let pack = pack.as_bytes().as_slice();
        let Thresholds { accept, review, margin } = thresholds;
        transaction
            .execute(
                "INSERT INTO thresholds (pack_digest, version, accept, review, margin, set_by)
                 SELECT $1, coalesce(max(version), 0) + 1, $2, $3, $4, $5 FROM thresholds
                 WHERE pack_digest = $1",
                &[&pack, &accept.get(), &review.get(), margin, &by.uuid()],
            )
            .await?;
        let row =
            transaction.query_one(&format!("{SELECT} ORDER BY t.version DESC LIMIT 1"), &[&pack]).await?;
        let set = version(&row)?;
        transaction.commit().await?;
        Ok(set)
    }

    /// What decisions on the latest sightings of a pack depended on.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn latest_judged(&self, pack: PackDigest, most: u32) -> Result<Vec<Judged>, StoreError> {
        let sql = "SELECT similarity, margin, (quality->>'unified_score')::int AS quality FROM sightings
                   WHERE pack_digest = $1 AND reason <> 'PACK_NOT_SERVED'
                   ORDER BY captured_at DESC LIMIT $2";
        let client = self.client().await?;
        let rows = client.query(sql, &[&pack.as_bytes().as_slice(), &i64::from(most)]).await?;
        rows.iter()
            .map(|row| {
                Ok(Judged {
                    similarity: row.try_get::<_, Option<f32>>("similarity")?.map(Similarity::clamped),
                    margin: row.try_get("margin")?,
                    quality: u8::try_from(row.try_get::<_, i32>("quality")?).unwrap_or(u8::MAX),
                })
            })
            .collect()
    }
}

fn version(row: &Row) -> Result<ThresholdVersion, StoreError> {
    Ok(ThresholdVersion {
        version: row.try_get::<_, i32>("version")?.unsigned_abs(),
        thresholds: Thresholds {
            accept: Similarity::clamped(row.try_get("accept")?),
            review: Similarity::clamped(row.try_get("review")?),
            margin: row.try_get("margin")?,
        },
        set: Some((row.try_get("username")?, row.try_get("set_at")?)),
    })
}
