//! Probes and evidence of sightings.

use std::collections::{HashMap, HashSet};

use cavs_types::{SightingId, SiteId};
use deadpool_postgres::{Object, Transaction};
use futures_util::future::try_join;
use jiff::civil::Date;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::BiometricStore;
use crate::db::DatabaseError;

/// What is sealed of a sighting.
#[derive(Debug)]
pub struct SealedFace {
    /// The day of the sighting's reception, in UTC: of the key that sealed, and of the partition.
    pub day: Date,
    /// The sealed probe.
    pub probe: Vec<u8>,
    /// The sealed picture, where it is kept.
    pub evidence: Option<Vec<u8>>,
}

/// Stores faces of sightings that the transaction has stored before, but for those of erased students: the
/// database leaves them out. Both statements go out together, however many faces there are.
pub(crate) async fn store_faces(
    transaction: &Transaction<'_>,
    site: SiteId,
    faces: &[(SightingId, &SealedFace)],
) -> Result<(), DatabaseError> {
    if faces.is_empty() {
        return Ok(());
    }
    let (mut probes, mut pictures) = (Columns::default(), Columns::default());
    for (id, face) in faces {
        probes.push(face.day, *id, &face.probe);
        if let Some(evidence) = &face.evidence {
            pictures.push(face.day, *id, evidence);
        }
    }
    try_join(probes.insert(transaction, site, "probes"), pictures.insert(transaction, site, "evidence"))
        .await?;
    Ok(())
}

/// Rows of `probes` or `evidence`, by column.
#[derive(Default)]
struct Columns<'a> {
    days: Vec<Date>,
    sightings: Vec<Uuid>,
    sealed: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, day: Date, sighting: SightingId, sealed: &'a [u8]) {
        self.days.push(day);
        self.sightings.push(sighting.uuid());
        self.sealed.push(sealed);
    }

    async fn insert(
        &self,
        transaction: &Transaction<'_>,
        site: SiteId,
        table: &str,
    ) -> Result<(), DatabaseError> {
        if self.days.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "INSERT INTO {table} (site_id, day, sighting_id, sealed)
             SELECT $4, * FROM unnest($1::date[], $2::uuid[], $3::bytea[])"
        );
        let statement = transaction.prepare_cached(&sql).await?;
        let parameters: [&(dyn ToSql + Sync); 4] = [&self.days, &self.sightings, &self.sealed, &site.uuid()];
        transaction.execute(&statement, &parameters).await?;
        Ok(())
    }
}

/// Which of some sightings of a site have a picture. The days choose the partitions.
pub(crate) async fn sightings_with_evidence(
    client: &Object,
    site: SiteId,
    days: &[Date],
    sightings: &[Uuid],
) -> Result<HashSet<Uuid>, DatabaseError> {
    let sql =
        "SELECT sighting_id FROM evidence WHERE site_id = $1 AND day = ANY($2) AND sighting_id = ANY($3)";
    let site = site.uuid();
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&site, Type::UUID), (&days, Type::DATE_ARRAY), (&sightings, Type::UUID_ARRAY)];
    let rows = client.query_typed(sql, &parameters).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Whether a sighting has a picture. Takes one answer of the database on a connection that was asked before.
pub(crate) async fn has_evidence(
    client: &Object,
    site: SiteId,
    sighting: SightingId,
) -> Result<bool, DatabaseError> {
    let sql = "SELECT FROM evidence WHERE site_id = $1 AND sighting_id = $2
                   AND day = (SELECT day FROM sightings WHERE site_id = $1 AND id = $2)";
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query_opt(&statement, &[&site.uuid(), &sighting.uuid()]).await?.is_some())
}

impl BiometricStore {
    /// The sealed picture of a sighting.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn evidence(&self, site: SiteId, id: SightingId) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.sealed_of("evidence", site, id).await
    }

    /// The sealed embedding of a sighting.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn probe(&self, site: SiteId, id: SightingId) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.sealed_of("probes", site, id).await
    }

    /// The sealed embeddings of some sightings of a site; the days choose the partitions.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn probes(
        &self,
        site: SiteId,
        days: &[Date],
        ids: &[SightingId],
    ) -> Result<HashMap<SightingId, Vec<u8>>, DatabaseError> {
        let sql = "SELECT sighting_id, sealed FROM probes
                   WHERE site_id = $1 AND day = ANY($2) AND sighting_id = ANY($3)";
        let ids: Vec<Uuid> = ids.iter().map(|id| id.uuid()).collect();
        let rows = self.db.client().await?.query(sql, &[&site.uuid(), &days, &ids]).await?;
        rows.iter().map(|row| Ok((row.try_get::<_, Uuid>(0)?.into(), row.try_get(1)?))).collect()
    }

    async fn sealed_of(
        &self,
        table: &str,
        site: SiteId,
        id: SightingId,
    ) -> Result<Option<Vec<u8>>, DatabaseError> {
        let sql = format!(
            "SELECT sealed FROM {table} WHERE site_id = $1 AND sighting_id = $2
                 AND day = (SELECT day FROM sightings WHERE site_id = $1 AND id = $2)"
        );
        let client = self.db.client().await?;
        let statement = client.prepare_cached(&sql).await?;
        let row = client.query_opt(&statement, &[&site.uuid(), &id.uuid()]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}
