//! Wrapped data keys, and what they seal of a sighting.

use cavs_types::{SightingId, StudentId};
use jiff::civil::Date;

use super::BiometricStore;
use crate::db::DatabaseError;

impl BiometricStore {
    /// The proof of the key-encryption key; the first caller's is kept.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn vault_proof(&self, fresh: &[u8]) -> Result<Vec<u8>, DatabaseError> {
        let client = self.db.client().await?;
        client.execute("INSERT INTO vault (proof) VALUES ($1) ON CONFLICT DO NOTHING", &[&fresh]).await?;
        Ok(client.query_one("SELECT proof FROM vault", &[]).await?.try_get(0)?)
    }

    /// The wrapped data key of a month; the first caller's is kept.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn sighting_key(&self, month: Date, fresh: &[u8]) -> Result<Vec<u8>, DatabaseError> {
        let client = self.db.client().await?;
        let sql = "INSERT INTO sighting_keys (month, wrapped) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        client.execute(sql, &[&month, &fresh]).await?;
        let sql = "SELECT wrapped FROM sighting_keys WHERE month = $1";
        Ok(client.query_one(sql, &[&month]).await?.try_get(0)?)
    }

    /// The wrapped data key of a student's templates.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn student_key(&self, id: StudentId) -> Result<Option<Vec<u8>>, DatabaseError> {
        let sql = "SELECT wrapped FROM student_keys WHERE student_id = $1";
        let row = self.db.client().await?.query_opt(sql, &[&id.uuid()]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }

    /// The sealed evidence of a sighting, with the month and the wrapped key that opens it.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn evidence(&self, id: SightingId) -> Result<Option<(Date, Vec<u8>, Vec<u8>)>, DatabaseError> {
        let sql = "SELECT s.key_month, k.wrapped, e.image FROM evidence e
                   JOIN sightings s ON s.id = e.sighting_id JOIN sighting_keys k ON k.month = s.key_month
                   WHERE e.sighting_id = $1";
        let client = self.db.client().await?;
        let statement = client.prepare_cached(sql).await?;
        let row = client.query_opt(&statement, &[&id.uuid()]).await?;
        row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).transpose()
    }
}
