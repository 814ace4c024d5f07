//! How a student's face is destroyed, and how far that is.

use std::collections::HashSet;

use cavs_types::{ErasureState, SiteId, StudentId, TemplateId, UserId};
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use tokio_postgres::{Client, Row, error::SqlState};
use tracing::info;
use uuid::Uuid;

use super::{
    BiometricStore,
    keys::{destroy_student_key, erased_keys_are_destroyed},
};
use crate::{
    biometrics::Erasure,
    db::{DatabaseError, read_text},
};

/// Held by the server that removes what erasures have left ("erase" in ASCII).
const PURGE_LOCK: i64 = 0x65_7261_7365;

/// Sightings that show the student, as far as anybody knows: those that are theirs, and those that wait for a
/// person while the machine thinks of them.
const FACES: &str = "SELECT day, id FROM sightings WHERE site_id = $1 AND student_id = $2
    UNION SELECT day, id FROM sightings WHERE site_id = $1 AND in_queue AND predicted_student_id = $2";

/// Columns of the row `e` of a student's erasure: NULL where there is none.
pub(crate) const ERASURE: &str = "e.id AS erasure_id, e.requested_at AS erasure_requested_at,
    e.state AS erasure_state, e.templates AS erasure_templates, e.sightings AS erasure_sightings,
    e.purged_at AS erasure_purged_at, e.waits_for AS erasure_waits_for";

/// Reads [`ERASURE`].
pub(crate) fn read_erasure(row: &Row) -> Result<Option<Erasure>, DatabaseError> {
    let Some(id) = row.try_get::<_, Option<Uuid>>("erasure_id")? else { return Ok(None) };
    let count = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(Some(Erasure {
        id,
        state: read_text(row, "erasures", "erasure_state")?,
        templates: count("erasure_templates")?,
        sightings: count("erasure_sightings")?,
        requested_at: row.try_get("erasure_requested_at")?,
        purged_at: row.try_get("erasure_purged_at")?,
        waits_for: row.try_get("erasure_waits_for")?,
    }))
}

/// Destroys a student's templates and portraits, and the probes and pictures of their sightings, with the commit,
/// and notes that it did: what is left in files is the matter of `purge_erased`. The caller holds the student's
/// row, and says that it is an erased student's.
pub(crate) async fn erase_faces(
    transaction: &Transaction<'_>,
    site: SiteId,
    student: StudentId,
    by: UserId,
) -> Result<Vec<TemplateId>, DatabaseError> {
    destroy_student_key(transaction, site, student).await?;
    let (site, student) = (site.uuid(), student.uuid());
    let mut sightings: HashSet<Uuid> = HashSet::new();
    for table in ["probes", "evidence"] {
        let sql = format!(
            "WITH shown AS ({FACES}) DELETE FROM {table} f USING shown
             WHERE f.site_id = $1 AND f.day = shown.day AND f.sighting_id = shown.id RETURNING f.sighting_id"
        );
        for row in transaction.query(&sql, &[&site, &student]).await? {
            sightings.insert(row.try_get(0)?);
        }
    }
    let sql = "DELETE FROM portraits WHERE site_id = $1 AND student_id = $2";
    transaction.execute(sql, &[&site, &student]).await?;
    // Last of the faces: from here to the commit, nobody else changes a template.
    let sql = "DELETE FROM templates WHERE site_id = $1 AND student_id = $2 RETURNING id";
    let templates: Vec<TemplateId> = transaction
        .query(sql, &[&site, &student])
        .await?
        .iter()
        .map(|row| row.try_get::<_, Uuid>(0).map(Into::into))
        .collect::<Result<_, _>>()?;
    // Nothing begins anew where there was nothing more to destroy. The time is of after the key's destruction, which
    // no rotation can overtake: no epoch that is made later has ever wrapped it.
    let sql = "INSERT INTO erasures AS e
                   (site_id, id, student_id, requested_by, requested_at, templates, sightings)
               VALUES ($1, $2, $3, $4, clock_timestamp(), $5, $6)
               ON CONFLICT (site_id, student_id) DO UPDATE SET templates = e.templates + excluded.templates,
                   sightings = e.sightings + excluded.sightings, requested_by = excluded.requested_by,
                   requested_at = excluded.requested_at, xid = excluded.xid, state = 'pending',
                   purged_at = NULL, waits_for = ''
               WHERE excluded.templates + excluded.sightings > 0";
    let (templates_gone, sightings_gone) = (templates.len() as i64, sightings.len() as i64);
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
        [&site, &Uuid::now_v7(), &student, &by.uuid(), &templates_gone, &sightings_gone];
    transaction.execute(sql, &parameters).await?;
    Ok(templates)
}

/// Who may still see what the erasure `$1`, which is not purged (`erasures_open` finds it), has destroyed: a snapshot, a transaction without one, or a replica.
/// Until they end, no rewriting of a table gets rid of it.
const READERS: &str = "
    WITH erased AS (SELECT age(xid::xid) AS age FROM erasures WHERE state <> 'purged' AND id = $1)
    SELECT coalesce(nullif(a.application_name, ''), a.backend_type) || ' (process ' || a.pid
            || coalesce(', reading since ' || to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
                || ' UTC', '') || ')'
        FROM erased, pg_stat_activity a
        WHERE a.pid <> pg_backend_pid() AND (a.datname = current_database() OR a.datname IS NULL)
            AND (age(a.backend_xmin) >= erased.age OR age(a.backend_xid) >= erased.age)
    UNION ALL SELECT 'the prepared transaction ' || p.gid FROM erased, pg_prepared_xacts p
        WHERE p.database = current_database() AND age(p.transaction) >= erased.age
    UNION ALL SELECT 'the replication slot ' || s.slot_name FROM erased, pg_replication_slots s
        WHERE age(s.xmin) >= erased.age
    LIMIT 1";

impl BiometricStore {
    /// The erasure of a student, where there is one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn erasure(&self, site: SiteId, student: StudentId) -> Result<Option<Erasure>, DatabaseError> {
        let client = self.db.client().await?;
        let sql = format!("SELECT {ERASURE} FROM erasures e WHERE e.site_id = $1 AND e.student_id = $2");
        let row = client.query_opt(&sql, &[&site.uuid(), &student.uuid()]).await?;
        row.as_ref().map_or(Ok(None), read_erasure)
    }

    /// Whether there is an erasure that is not done.
    pub(crate) async fn has_open_erasures(&self) -> Result<bool, DatabaseError> {
        let sql = "SELECT EXISTS (SELECT FROM erasures WHERE state <> 'purged')";
        Ok(self.db.client().await?.query_one(sql, &[]).await?.try_get(0)?)
    }

    /// Removes what erasures have left in the database's files, as far as nobody can see it any more. Whether no
    /// erasure is open then: one that waits, or that another server works on, is.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn purge_erased(&self) -> Result<bool, DatabaseError> {
        if !self.has_open_erasures().await? {
            return Ok(true);
        }
        let Some(owner) = self.db.owner_alone(PURGE_LOCK).await? else { return Ok(false) };
        let purged = purge(&owner).await;
        owner.end().await;
        Ok(purged? && !self.has_open_erasures().await?)
    }
}

/// Whether something was purged.
async fn purge(owner: &Client) -> Result<bool, DatabaseError> {
    let ready = ready_erasures(owner).await?;
    if ready.is_empty() {
        return Ok(false);
    }
    // What costs nothing first: nobody should find the tables locked again and again while it is awaited.
    if !erased_keys_are_destroyed(owner).await? {
        let rotation = "a rotation of the keyring (`cavs-server key rotate`), so that the student's keys are noise \
                        in backups";
        note_purging(owner, &ready, rotation).await?;
        return Ok(false);
    }
    for (table, of) in [("students", "students"), ("data_keys", "data keys")] {
        if !rewrite(owner, table).await? {
            note_purging(owner, &ready, &format!("somebody who uses the table of the {of}")).await?;
            return Ok(false);
        }
    }
    note_purged(owner, &ready).await?;
    info!(erasures = ready.len(), "nothing is left of erased students in the database's tables");
    Ok(true)
}

/// The erasures that are not done and wait for nobody: of those that wait, for whom is noted.
async fn ready_erasures(owner: &Client) -> Result<Vec<Uuid>, DatabaseError> {
    let mut ready = Vec::new();
    let open = "SELECT id FROM erasures WHERE state <> 'purged' ORDER BY requested_at";
    for row in owner.query(open, &[]).await? {
        let id: Uuid = row.try_get(0)?;
        let waits_for: Option<String> =
            owner.query_opt(READERS, &[&id]).await?.map(|row| row.try_get(0)).transpose()?;
        if waits_for.is_none() {
            ready.push(id);
        }
        note_purging(owner, &[id], &waits_for.unwrap_or_default()).await?;
    }
    Ok(ready)
}

/// Notes that erasures are being worked on, and what they wait for.
async fn note_purging(owner: &Client, erasures: &[Uuid], waits_for: &str) -> Result<(), DatabaseError> {
    let sql = "UPDATE erasures SET state = 'purging', waits_for = $2 WHERE state <> 'purged' AND id = ANY($1)
                   AND (state, waits_for) IS DISTINCT FROM ('purging', $2)";
    owner.execute(sql, &[&erasures, &waits_for]).await?;
    Ok(())
}

/// Rewrites a table with a short row for each student, so that its files hold nothing that was erased. Whether it
/// was done: not where somebody uses the table for long.
async fn rewrite(owner: &Client, table: &str) -> Result<bool, DatabaseError> {
    // Everybody waits behind whoever waits for a table of their own: not for long.
    owner.batch_execute("SET lock_timeout = '3s'; SET statement_timeout = 0").await?;
    // None of them may be part of a transaction.
    match owner.batch_execute(&format!("VACUUM FULL {table}")).await {
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

/// Notes that nothing is left of erasures.
async fn note_purged(owner: &Client, erasures: &[Uuid]) -> Result<(), DatabaseError> {
    let now = Timestamp::now();
    let state = ErasureState::Purged.as_str();
    let sql = "UPDATE erasures SET state = $2, purged_at = $3, waits_for = ''
               WHERE state <> 'purged' AND id = ANY($1)";
    owner.execute(sql, &[&erasures, &state, &now]).await?;
    Ok(())
}
