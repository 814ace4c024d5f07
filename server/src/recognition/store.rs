//! Thresholds of sites and model packs, in versions; and which sites have a gallery.

use cavs_embedding::{PackDigest, Similarity};
use cavs_types::{SiteId, StudentId, UserId};
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    db::{Database, DatabaseError, read_text, to_integer},
    recognition::{ConfusablePairs, RateReason, ThresholdVersion, Thresholds},
};

const SELECT: &str = "
    SELECT t.version, t.accept, t.review, t.margin, t.liveness, t.wanted_rate, t.rate_basis, t.templates, t.set_at,
        u.username
    FROM thresholds t LEFT JOIN users u ON u.id = t.set_by WHERE t.site_id = $1 AND t.pack_digest = $2";

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

    /// The versions of a site and a pack, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn thresholds(
        &self,
        site: SiteId,
        pack: PackDigest,
        most: u32,
    ) -> Result<Vec<ThresholdVersion>, DatabaseError> {
        let client = self.db.client().await?;
        let sql = format!("{SELECT} ORDER BY t.version DESC LIMIT $3");
        let statement = client.prepare_cached(&sql).await?;
        let (pack, most) = (pack.as_bytes().as_slice(), i64::from(most));
        let rows = client.query(&statement, &[&site.uuid(), &pack, &most]).await?;
        rows.iter().map(version).collect()
    }

    /// The newest version that a person set.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_by_people(
        &self,
        site: SiteId,
        pack: PackDigest,
    ) -> Result<Option<ThresholdVersion>, DatabaseError> {
        let client = self.db.client().await?;
        let sql = format!("{SELECT} AND t.set_by IS NOT NULL ORDER BY t.version DESC LIMIT 1");
        let row = client.query_opt(&sql, &[&site.uuid(), &pack.as_bytes().as_slice()]).await?;
        row.as_ref().map(version).transpose()
    }

    /// Sets a site's thresholds of a pack, by a person or for a wanted rate, if `expected` is still the latest version (0 where there is none): the new
    /// version, or `None` where another one came first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_thresholds(
        &self,
        site: SiteId,
        pack: PackDigest,
        expected: u32,
        thresholds: &Thresholds,
        rate: Option<&RateReason>,
        by: Option<UserId>,
    ) -> Result<Option<ThresholdVersion>, DatabaseError> {
        let sql = "
            WITH t AS (
                INSERT INTO thresholds
                    (site_id, pack_digest, version, accept, review, margin, set_by, wanted_rate, rate_basis, templates,
                     liveness)
                SELECT $1, $2, $3 + 1, $4, $5, $6, $7, $8, $9, $10, $11 WHERE $3 = coalesce(
                    (SELECT max(version) FROM thresholds WHERE site_id = $1 AND pack_digest = $2), 0)
                RETURNING *)
            SELECT t.version, t.accept, t.review, t.margin, t.liveness, t.wanted_rate, t.rate_basis, t.templates, t.set_at,
                u.username
            FROM t LEFT JOIN users u ON u.id = t.set_by";
        let Thresholds { accept, review, margin, liveness } = thresholds;
        let wanted = rate.map(|rate| rate.wanted);
        let basis = rate.map(|rate| rate.basis.as_str());
        let templates = rate.map(|rate| to_integer(rate.templates));
        let parameters: [&(dyn ToSql + Sync); 11] = [
            &site.uuid(),
            &pack.as_bytes().as_slice(),
            &to_integer(expected),
            &accept.get(),
            &review.get(),
            margin,
            &by.map(UserId::uuid),
            &wanted,
            &basis,
            &templates,
            liveness,
        ];
        let row = self.db.client().await?.query_opt(sql, &parameters).await.map_err(DatabaseError::from);
        match row {
            Ok(row) => row.as_ref().map(version).transpose(),
            // Two who saw the same version: the key lets one of them set the next.
            Err(DatabaseError::Taken(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Confusable pairs in the database, as the policy needs them.
#[derive(Clone)]
pub(super) struct ConfusablePairStore {
    db: Database,
}

impl ConfusablePairStore {
    pub(super) fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// Those of a site.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn all(&self, site: SiteId) -> Result<ConfusablePairs, DatabaseError> {
        let client = self.db.client().await?;
        let sql = "SELECT first_id, second_id, kind FROM confusable_pairs WHERE site_id = $1";
        let statement = client.prepare_cached(sql).await?;
        let rows = client.query(&statement, &[&site.uuid()]).await?;
        let id = |row: &Row, column| row.try_get::<_, Uuid>(column).map(StudentId::from);
        let pair = |row: &Row| {
            Ok((id(row, "first_id")?, id(row, "second_id")?, read_text(row, "confusable_pairs", "kind")?))
        };
        rows.iter().map(pair).collect()
    }
}

/// The sites that have a gallery: those that are not archived.
pub(super) struct ServedSites {
    db: Database,
}

impl ServedSites {
    pub(super) fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// All of them.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn all(&self) -> Result<Vec<SiteId>, DatabaseError> {
        let sql = "SELECT id FROM sites WHERE archived_at IS NULL ORDER BY id";
        let rows = self.db.client().await?.query(sql, &[]).await?;
        rows.iter().map(|row| Ok(row.try_get::<_, Uuid>(0)?.into())).collect()
    }

    /// Whether a site is one of them.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn is_served(&self, site: SiteId) -> Result<bool, DatabaseError> {
        let sql = "SELECT FROM sites WHERE id = $1 AND archived_at IS NULL";
        Ok(self.db.client().await?.query_opt(sql, &[&site.uuid()]).await?.is_some())
    }
}

fn version(row: &Row) -> Result<ThresholdVersion, DatabaseError> {
    Ok(ThresholdVersion {
        version: row.try_get::<_, i32>("version")?.unsigned_abs(),
        thresholds: Thresholds {
            accept: Similarity::clamped(row.try_get("accept")?),
            review: Similarity::clamped(row.try_get("review")?),
            margin: row.try_get("margin")?,
            liveness: row.try_get("liveness")?,
        },
        rate: rate(row)?,
        set_at: row.try_get("set_at")?,
        set_by: row.try_get("username")?,
    })
}

fn rate(row: &Row) -> Result<Option<RateReason>, DatabaseError> {
    let Some(wanted) = row.try_get("wanted_rate")? else { return Ok(None) };
    let basis = read_text(row, "thresholds", "rate_basis")?;
    let templates = row.try_get::<_, i32>("templates")?.unsigned_abs();
    Ok(Some(RateReason { wanted, basis, templates }))
}
