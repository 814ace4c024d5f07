//! Data keys, wrapped; and the epochs of the keyring that wrap them.

use std::time::Duration;

use cavs_types::{DataKeyId, SiteId, StudentId};
use deadpool_postgres::{Object, Transaction};
use jiff::civil::Date;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::BiometricStore;
use crate::{
    biometrics::Owner,
    db::{Batch, DatabaseError, to_integer},
};

/// Held by the server that rotates the keyring ("keys" in ASCII).
const ROTATION_LOCK: i64 = 0x6b65_7973;

/// What a data key seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOf {
    /// A student's templates and portraits.
    Student(StudentId),
    /// Probes and evidence of a site's sightings that came on a day (UTC).
    Day(Date),
    /// What a site has to keep to itself, and needs again: secrets that it signs with.
    Secrets,
}

impl KeyOf {
    pub(crate) const fn owner(self, site: SiteId) -> Owner {
        match self {
            Self::Student(id) => Owner::StudentKey(site, id),
            Self::Day(day) => Owner::DayKey(site, day),
            Self::Secrets => Owner::SecretsKey(site),
        }
    }
}

/// A data key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Whose faces it seals.
    pub site: SiteId,
    /// In the header of all that it seals.
    pub id: DataKeyId,
    /// What it seals.
    pub of: KeyOf,
    /// The epoch of the keyring that wraps it.
    pub epoch: u32,
    /// Its bytes, sealed.
    pub wrapped: Vec<u8>,
}

/// A data key to be stored.
pub type NewDataKey = StoredKey;

/// An epoch of the keyring, as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// Its number.
    pub epoch: u32,
    /// Sealed by its key.
    pub proof: Vec<u8>,
}

/// The columns that [`stored_key`] reads, of `data_keys k`.
pub(crate) const KEY_COLUMNS: &str = "k.site_id AS key_site_id, k.id AS key_id, k.student_id AS key_student_id, k.day AS key_day, k.is_for_secrets AS key_is_for_secrets, k.epoch, k.wrapped";

/// Reads a data key.
pub(crate) fn stored_key(row: &Row) -> Result<StoredKey, DatabaseError> {
    let of = match (row.try_get::<_, Option<Uuid>>("key_student_id")?, row.try_get("key_day")?) {
        (Some(student), _) => KeyOf::Student(student.into()),
        (None, Some(day)) => KeyOf::Day(day),
        (None, None) if row.try_get("key_is_for_secrets")? => KeyOf::Secrets,
        (None, None) => {
            return Err(DatabaseError::Damaged { table: "data_keys", column: "day", value: String::new() });
        }
    };
    Ok(StoredKey {
        site: row.try_get::<_, Uuid>("key_site_id")?.into(),
        id: row.try_get::<_, Uuid>("key_id")?.into(),
        of,
        epoch: row.try_get::<_, i32>("epoch")?.unsigned_abs(),
        wrapped: row.try_get("wrapped")?,
    })
}

/// Stores the data keys of new students with the transaction that adds these.
pub(crate) async fn insert_student_keys(
    transaction: &Transaction<'_>,
    new: &[NewDataKey],
) -> Result<(), DatabaseError> {
    let student = |key: &NewDataKey| match key.of {
        KeyOf::Student(id) => Some(id.uuid()),
        KeyOf::Day(_) | KeyOf::Secrets => None,
    };
    let batch = Batch::of(new)
        .column("site_id", |key| key.site.uuid())
        .column("id", |key| key.id.uuid())
        .column("student_id", student)
        .column("epoch", |key| to_integer(key.epoch))
        .column("wrapped", |key| key.wrapped.as_slice());
    let (columns, source) = (batch.names(), batch.source());
    let sql = format!("INSERT INTO data_keys ({columns}) SELECT * FROM {source}");
    transaction.execute(&sql, &batch.parameters()).await?;
    Ok(())
}

/// The turn of a server that rotates the keyring; over when dropped.
pub(crate) struct RotationTurn(
    #[expect(dead_code, reason = "the lock goes with the session")] deadpool_postgres::ClientWrapper,
);

impl BiometricStore {
    /// The epochs that something may be wrapped by, in order: not one that is retired and has nothing under it, as
    /// a rotation that was cut off may have taken it from the keyring.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn live_epochs(&self) -> Result<Vec<Epoch>, DatabaseError> {
        let sql =
            "SELECT e.epoch, e.proof FROM key_epochs e WHERE e.destroyed_at IS NULL AND (e.retired_at IS NULL
                       OR EXISTS (SELECT FROM data_keys k WHERE k.epoch = e.epoch)) ORDER BY e.epoch";
        let rows = self.db.client().await?.query(sql, &[]).await?;
        let epoch = |row: &Row| {
            Ok(Epoch { epoch: row.try_get::<_, i32>("epoch")?.unsigned_abs(), proof: row.try_get("proof")? })
        };
        rows.iter().map(epoch).collect()
    }

    /// Makes an epoch known; the first caller's proof is kept.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn register_epoch(&self, new: &Epoch) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO key_epochs (epoch, proof) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.db.client().await?.execute(sql, &[&to_integer(new.epoch), &new.proof]).await?;
        Ok(())
    }

    /// From the commit on, nothing can be wrapped by an epoch before this one. Waits for who is about to.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn retire_epochs_before(&self, epoch: u32) -> Result<(), DatabaseError> {
        let sql = "UPDATE key_epochs SET retired_at = now() WHERE epoch < $1 AND retired_at IS NULL";
        self.db.client().await?.execute(sql, &[&to_integer(epoch)]).await?;
        Ok(())
    }

    /// Notes that the epochs before this one are gone from the keyring.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn note_destroyed_epochs(&self, before: u32) -> Result<(), DatabaseError> {
        let sql = "UPDATE key_epochs SET destroyed_at = now() WHERE epoch < $1 AND destroyed_at IS NULL";
        self.db.client().await?.execute(sql, &[&to_integer(before)]).await?;
        Ok(())
    }

    /// For how long the newest epoch has been in use.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn newest_epoch_age(&self) -> Result<Option<Duration>, DatabaseError> {
        let sql = "SELECT greatest(extract(epoch FROM now() - created_at), 0)::float8 FROM key_epochs
                   ORDER BY epoch DESC LIMIT 1";
        let row = self.db.client().await?.query_opt(sql, &[]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.map(Duration::from_secs_f64))
    }

    /// Whether the keyring has to be rotated, so that erasures under way come to their end.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn erasures_need_rotation(&self) -> Result<bool, DatabaseError> {
        let client = self.db.client().await?;
        Ok(!erased_keys_are_destroyed(&client).await?)
    }

    /// Waits for the turn to rotate the keyring.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn rotation_turn(&self) -> Result<RotationTurn, DatabaseError> {
        // A session of its own: the lock is the session's, and goes with it however the rotation ends.
        let client = Object::take(self.db.client().await?);
        client.batch_execute("SET statement_timeout = '10min'").await?;
        client.execute("SELECT pg_advisory_lock($1)", &[&ROTATION_LOCK]).await?;
        Ok(RotationTurn(client))
    }

    /// Data keys that are wrapped by epochs before this one, by site and id, after one of them.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn data_keys_before(
        &self,
        epoch: u32,
        after: Option<(SiteId, DataKeyId)>,
        most: i64,
    ) -> Result<Vec<StoredKey>, DatabaseError> {
        let sql = format!(
            "SELECT {KEY_COLUMNS} FROM data_keys k WHERE k.epoch < $1 AND (k.site_id, k.id) > ($2, $3)
             ORDER BY k.site_id, k.id LIMIT $4"
        );
        let (site, id) = after.map_or_else(Default::default, |(site, id)| (site.uuid(), id.uuid()));
        let rows = self.db.client().await?.query(&sql, &[&to_integer(epoch), &site, &id, &most]).await?;
        rows.iter().map(stored_key).collect()
    }

    /// Stores data keys as they are wrapped now; those that were destroyed meanwhile stay so. How many.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn rewrap(&self, keys: &[StoredKey]) -> Result<u64, DatabaseError> {
        let sites: Vec<Uuid> = keys.iter().map(|key| key.site.uuid()).collect();
        let ids: Vec<Uuid> = keys.iter().map(|key| key.id.uuid()).collect();
        let epochs: Vec<i32> = keys.iter().map(|key| to_integer(key.epoch)).collect();
        let wrapped: Vec<&[u8]> = keys.iter().map(|key| key.wrapped.as_slice()).collect();
        let sql = "UPDATE data_keys k SET epoch = n.epoch, wrapped = n.wrapped
                   FROM unnest($1::uuid[], $2::uuid[], $3::integer[], $4::bytea[]) AS n (site_id, id, epoch, wrapped)
                   WHERE k.site_id = n.site_id AND k.id = n.id AND k.epoch < n.epoch";
        Ok(self.db.client().await?.execute(sql, &[&sites, &ids, &epochs, &wrapped]).await?)
    }

    /// A data key of a site.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn data_key(&self, site: SiteId, id: DataKeyId) -> Result<Option<StoredKey>, DatabaseError> {
        let sql = format!("SELECT {KEY_COLUMNS} FROM data_keys k WHERE k.site_id = $1 AND k.id = $2");
        let client = self.db.client().await?;
        let statement = client.prepare_cached(&sql).await?;
        client.query_opt(&statement, &[&site.uuid(), &id.uuid()]).await?.as_ref().map(stored_key).transpose()
    }

    /// A student's data key.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn student_key(&self, site: SiteId, id: StudentId) -> Result<Option<StoredKey>, DatabaseError> {
        let sql = format!("SELECT {KEY_COLUMNS} FROM data_keys k WHERE k.site_id = $1 AND k.student_id = $2");
        let row = self.db.client().await?.query_opt(&sql, &[&site.uuid(), &id.uuid()]).await?;
        row.as_ref().map(stored_key).transpose()
    }

    /// A site's data key of a day.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn day_key(&self, site: SiteId, day: Date) -> Result<Option<StoredKey>, DatabaseError> {
        let sql = format!("SELECT {KEY_COLUMNS} FROM data_keys k WHERE k.site_id = $1 AND k.day = $2");
        let row = self.db.client().await?.query_opt(&sql, &[&site.uuid(), &day]).await?;
        row.as_ref().map(stored_key).transpose()
    }

    /// A site's data key for its secrets.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn secrets_key(&self, site: SiteId) -> Result<Option<StoredKey>, DatabaseError> {
        let sql = format!("SELECT {KEY_COLUMNS} FROM data_keys k WHERE k.site_id = $1 AND k.is_for_secrets");
        let row = self.db.client().await?.query_opt(&sql, &[&site.uuid()]).await?;
        row.as_ref().map(stored_key).transpose()
    }

    /// Stores a site's data key for its secrets, unless somebody else has; the one that is stored.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn make_secrets_key(&self, new: &NewDataKey) -> Result<StoredKey, DatabaseError> {
        let sql = "INSERT INTO data_keys (site_id, id, is_for_secrets, epoch, wrapped) VALUES ($1, $2, true, $3, $4)
                   ON CONFLICT (site_id) WHERE is_for_secrets DO NOTHING";
        let (site, id, epoch) = (new.site.uuid(), new.id.uuid(), to_integer(new.epoch));
        self.db.client().await?.execute(sql, &[&site, &id, &epoch, &new.wrapped]).await?;
        self.secrets_key(new.site).await?.ok_or(DatabaseError::NotFound)
    }

    /// Stores a site's data key of a day, unless somebody else has; the one that is stored.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn make_day_key(&self, new: &NewDataKey) -> Result<StoredKey, DatabaseError> {
        let KeyOf::Day(day) = new.of else { return Err(DatabaseError::NotFound) };
        let sql = "INSERT INTO data_keys (site_id, id, day, epoch, wrapped) VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (site_id, day) DO NOTHING";
        let (site, id, epoch) = (new.site.uuid(), new.id.uuid(), to_integer(new.epoch));
        let client = self.db.client().await?;
        client.execute(sql, &[&site, &id, &day, &epoch, &new.wrapped]).await?;
        drop(client);
        self.day_key(new.site, day).await?.ok_or(DatabaseError::NotFound)
    }
}

/// Destroys the data key of a student's templates and portraits, with the commit.
pub(super) async fn destroy_student_key(
    transaction: &Transaction<'_>,
    site: SiteId,
    student: StudentId,
) -> Result<(), DatabaseError> {
    let sql = "DELETE FROM data_keys WHERE site_id = $1 AND student_id = $2";
    transaction.execute(sql, &[&site.uuid(), &student.uuid()]).await?;
    Ok(())
}

/// Whether no epoch of the keyring is left that has wrapped keys of students whose erasure is under way: whatever
/// copy of their rows there is, in backups or in what the database has left on its disk, it opens no more.
pub(super) async fn erased_keys_are_destroyed(client: &Client) -> Result<bool, DatabaseError> {
    let sql = "SELECT NOT EXISTS (SELECT FROM erasures e JOIN key_epochs k ON k.created_at <= e.requested_at
                   WHERE e.state <> 'purged' AND k.destroyed_at IS NULL)";
    Ok(client.query_one(sql, &[]).await?.try_get(0)?)
}
