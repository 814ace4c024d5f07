//! Thresholds of model packs, in versions, and what they would have decided.

use cavs_embedding::{PackDigest, Similarity};
use cavs_proto::UserId;
use tokio_postgres::{
    Row,
    types::{Json, ToSql},
};

use super::{Store, StoreError, enums::to_integer};
use crate::domain::{Judged, Quality, ThresholdVersion, Thresholds};

const SELECT: &str = "
    SELECT t.version, t.accept, t.review, t.margin, t.set_at, u.username
    FROM thresholds t JOIN users u ON u.id = t.set_by WHERE t.pack_digest = $1";

/// Of a pack's latest sightings.
pub(super) const LATEST_JUDGED: &str = "
    SELECT similarity, margin, quality FROM sightings
    WHERE pack_digest = $1 AND reason <> 'PACK_NOT_SERVED' ORDER BY listed_at DESC LIMIT $2";

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

    /// Sets a pack's thresholds, if `expected` is still the latest version (0 where there is none): the new
    /// version, or `None` where another one came first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_thresholds(
        &self,
        pack: PackDigest,
        expected: u32,
        thresholds: &Thresholds,
        by: UserId,
    ) -> Result<Option<ThresholdVersion>, StoreError> {
        let sql = "
            WITH t AS (
                INSERT INTO thresholds (pack_digest, version, accept, review, margin, set_by)
                SELECT $1, $2 + 1, $3, $4, $5, $6 WHERE $2 =
                    coalesce((SELECT max(version) FROM thresholds WHERE pack_digest = $1), 0)
                RETURNING *)
            SELECT t.version, t.accept, t.review, t.margin, t.set_at, u.username
            FROM t JOIN users u ON u.id = t.set_by";
        let Thresholds { accept, review, margin } = thresholds;
        let parameters: [&(dyn ToSql + Sync); 6] = [
            &pack.as_bytes().as_slice(),
            &to_integer(expected),
            &accept.get(),
            &review.get(),
            margin,
            &by.uuid(),
        ];
        let row = self.client().await?.query_opt(sql, &parameters).await.map_err(StoreError::from);
        match row {
            Ok(row) => row.as_ref().map(version).transpose(),
            // Two who saw the same version: the key lets one of them set the next.
            Err(StoreError::Taken) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What decisions on the latest sightings of a pack depended on.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn latest_judged(&self, pack: PackDigest, most: u32) -> Result<Vec<Judged>, StoreError> {
        let client = self.client().await?;
        let rows = client.query(LATEST_JUDGED, &[&pack.as_bytes().as_slice(), &i64::from(most)]).await?;
        rows.iter()
            .map(|row| {
                let Json(quality) = row.try_get::<_, Json<Quality>>("quality")?;
                Ok(Judged {
                    similarity: row.try_get::<_, Option<f32>>("similarity")?.map(Similarity::clamped),
                    margin: row.try_get("margin")?,
                    quality: quality.unified_score,
                    upright: quality.is_upright(),
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
