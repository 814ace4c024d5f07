//! Thresholds of model packs, in versions, and what they would have decided.

use cavs_embedding::{PackDigest, Similarity};
use cavs_types::UserId;
use tokio_postgres::{Row, types::ToSql};

use crate::{
    db::{Database, DatabaseError, to_integer},
    recognition::{ThresholdVersion, Thresholds},
};

const SELECT: &str = "
    SELECT t.version, t.accept, t.review, t.margin, t.set_at, u.username
    FROM thresholds t JOIN users u ON u.id = t.set_by WHERE t.pack_digest = $1";

/// Thresholds in the database.
#[derive(Clone)]
pub struct ThresholdStore {
    db: Database,
}

impl ThresholdStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// The versions of a pack, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn thresholds(
        &self,
        pack: PackDigest,
        most: u32,
    ) -> Result<Vec<ThresholdVersion>, DatabaseError> {
        let client = self.db.client().await?;
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
    ) -> Result<Option<ThresholdVersion>, DatabaseError> {
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
        let row = self.db.client().await?.query_opt(sql, &parameters).await.map_err(DatabaseError::from);
        match row {
            Ok(row) => row.as_ref().map(version).transpose(),
            // Two who saw the same version: the key lets one of them set the next.
            Err(DatabaseError::Taken) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn version(row: &Row) -> Result<ThresholdVersion, DatabaseError> {
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
