//! How what nobody needs any more is deleted.

use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};
use tokio_postgres::{Client, types::Json};
use tracing::info;
use uuid::Uuid;

use super::{
    BiometricStore, PARTITION_LOCK,
    partitions::{FaceTable, Partition, partitions},
};
use crate::{
    biometrics::{Kept, RetentionPolicy, Standing},
    db::{DatabaseError, read_json},
};

/// Rows that one statement deletes: far below a second of work, so that nobody waits long for their locks.
const BATCH: i64 = 2000;
/// How long after a run the next one is due, unless the policy is another one.
const INTERVAL: SignedDuration = SignedDuration::from_hours(23);

/// What a sighting `s` is, as [`Standing`] says.
const STANDING: &str = "CASE WHEN s.in_queue THEN 'waiting'
    WHEN s.verdict IS NULL AND s.decision = 'unknown' THEN 'unknown' ELSE 'decided' END";

/// What a run has deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    /// Probes that were deleted one by one.
    pub(crate) probes: u64,
    /// Pictures that were deleted one by one.
    pub(crate) evidence: u64,
    /// Portraits that were deleted one by one.
    pub(crate) portraits: u64,
    /// Sightings.
    pub(crate) sightings: u64,
    /// Partitions that went with all that was in them.
    pub(crate) partitions: u64,
}

impl BiometricStore {
    /// Applies the policy, `common` with what the site has set for itself, if that is due and no other server is at
    /// it; `None` where it was not done.
    ///
    /// # Errors
    /// `Unavailable`; the run is noted as failed then, where it can be.
    pub(crate) async fn apply_retention(
        &self,
        common: RetentionPolicy,
        now: Timestamp,
    ) -> Result<Option<Deleted>, DatabaseError> {
        let Some(mut owner) = self.db.owner_alone(PARTITION_LOCK).await? else { return Ok(None) };
        let policy = common.overridden(own_policy(&owner).await?);
        if !is_due(&owner, &policy, now).await? {
            return Ok(None);
        }
        let run = Uuid::now_v7();
        let sql = "UPDATE retention_runs SET state = 'failed', finished_at = now(), problem = 'interrupted'
                   WHERE state = 'running'";
        owner.execute(sql, &[]).await?;
        let sql = "INSERT INTO retention_runs (id, started_at, policy) VALUES ($1, $2, $3)";
        owner.execute(sql, &[&run, &now, &Json(policy)]).await?;
        let mut deleted = Deleted::default();
        let today = now.to_zoned(TimeZone::UTC).date();
        let done = delete(&mut owner, &policy, today, &mut deleted).await;
        let (state, problem) = match &done {
            Ok(()) => ("done", String::new()),
            Err(cause) => ("failed", cause.to_string()),
        };
        let counts =
            [deleted.probes, deleted.evidence, deleted.portraits, deleted.sightings, deleted.partitions]
                .map(crate::db::to_bigint);
        let sql = "UPDATE retention_runs SET state = $2, problem = $3, finished_at = now(), probes = $4,
                   evidence = $5, portraits = $6, sightings = $7, partitions = $8 WHERE id = $1";
        let [probes, evidence, portraits, sightings, partitions] = &counts;
        owner
            .execute(sql, &[&run, &state, &problem, probes, evidence, portraits, sightings, partitions])
            .await?;
        done?;
        info!(?policy, ?deleted, "deleted what is kept no longer");
        Ok(Some(deleted))
    }
}

/// What the site has set for itself: days, 0 for ever.
async fn own_policy(owner: &Client) -> Result<[Option<u32>; 5], DatabaseError> {
    let sql =
        "SELECT unknown_probes, reviewed_probes, evidence, portraits, sightings FROM retention_policies";
    let Some(row) = owner.query_opt(sql, &[]).await? else { return Ok([None; 5]) };
    let mut own = [None; 5];
    for (column, days) in own.iter_mut().enumerate() {
        *days = row.try_get::<_, Option<i32>>(column)?.map(i32::unsigned_abs);
    }
    Ok(own)
}

/// Whether the policy was not applied for a day, or another one was.
async fn is_due(owner: &Client, policy: &RetentionPolicy, now: Timestamp) -> Result<bool, DatabaseError> {
    let sql = "SELECT started_at, policy FROM retention_runs WHERE state = 'done'
               ORDER BY started_at DESC LIMIT 1";
    let Some(last) = owner.query_opt(sql, &[]).await? else { return Ok(true) };
    let started_at: Timestamp = last.try_get("started_at")?;
    let applied: RetentionPolicy = read_json(&last, "retention_runs", "policy")?;
    Ok(applied != *policy || now.duration_since(started_at) >= INTERVAL)
}

async fn delete(
    owner: &mut Client,
    policy: &RetentionPolicy,
    today: Date,
    deleted: &mut Deleted,
) -> Result<(), DatabaseError> {
    for partition in partitions(owner, FaceTable::Probes).await? {
        delete_faces(
            owner,
            policy,
            Kept::Probe,
            &partition,
            today,
            &mut deleted.probes,
            &mut deleted.partitions,
        )
        .await?;
    }
    for partition in partitions(owner, FaceTable::Evidence).await? {
        let (rows, whole) = (&mut deleted.evidence, &mut deleted.partitions);
        delete_faces(owner, policy, Kept::Evidence, &partition, today, rows, whole).await?;
    }
    // A key that nothing lives under goes; sightings of today and yesterday may still come under theirs.
    let sql = "DELETE FROM data_keys k WHERE k.day < $1
                   AND NOT EXISTS (SELECT FROM probes p WHERE p.day = k.day)
                   AND NOT EXISTS (SELECT FROM evidence e WHERE e.day = k.day)";
    owner.execute(sql, &[&today.saturating_sub(2.days())]).await?;
    if let Some(days) = policy.portraits {
        let until = today.saturating_sub(i64::from(days).days());
        for partition in partitions(owner, FaceTable::Portraits).await? {
            if partition.until <= until {
                partition.drop(owner).await?;
                deleted.partitions += 1;
            }
        }
        let sql = "DELETE FROM portraits WHERE (day, template_id) IN (
                       SELECT day, template_id FROM portraits WHERE day < $1 LIMIT $2)";
        deleted.portraits += in_batches(owner, sql, &[&until, &BATCH]).await?;
    }
    if let Some(days) = policy.days(Kept::Sighting, Standing::Decided) {
        let until = today.saturating_sub(i64::from(days).days()).to_zoned(TimeZone::UTC);
        let until = until.map_or(Timestamp::UNIX_EPOCH, |until| until.timestamp());
        // Those that wait for a person stay. Their faces go along, where they are not gone yet.
        let sql = "DELETE FROM sightings WHERE id IN (
                       SELECT id FROM sightings WHERE received_at < $1 AND NOT in_queue LIMIT $2)";
        deleted.sightings += in_batches(owner, sql, &[&until, &BATCH]).await?;
    }
    Ok(())
}

/// Deletes what goes of the probes or pictures of a day: all at once, where nobody needs any of them.
async fn delete_faces(
    owner: &mut Client,
    policy: &RetentionPolicy,
    kept: Kept,
    partition: &Partition,
    today: Date,
    rows: &mut u64,
    whole: &mut u64,
) -> Result<(), DatabaseError> {
    let day = partition.from;
    let age = today.duration_since(day).as_hours() / 24;
    let Ok(age) = u32::try_from(age) else { return Ok(()) };
    let (going, staying): (Vec<_>, Vec<_>) =
        Standing::ALL.into_iter().partition(|standing| policy.goes(kept, *standing, age));
    if going.is_empty() {
        return Ok(());
    }
    let names = |standings: &[Standing]| standings.iter().map(|s| s.as_str()).collect::<Vec<_>>();
    let (going, staying) = (names(&going), names(&staying));
    let table = partition.table.name();
    let chosen = format!(
        "SELECT f.sighting_id FROM {table} f LEFT JOIN sightings s ON s.id = f.sighting_id
         WHERE f.day = $1 AND {STANDING} = ANY($2)"
    );
    let is_needed = !staying.is_empty() && {
        let sql = format!("SELECT EXISTS ({chosen})");
        owner.query_one(&sql, &[&day, &staying]).await?.try_get(0)?
    };
    if !is_needed {
        // Who is sent back to the queue at this very moment has lost the face: it was due.
        partition.drop(owner).await?;
        *whole += 1;
        return Ok(());
    }
    let sql = format!("DELETE FROM {table} WHERE day = $1 AND sighting_id IN ({chosen} LIMIT $3)");
    *rows += in_batches(owner, &sql, &[&day, &going, &BATCH]).await?;
    Ok(())
}

/// Repeats a statement until it finds nothing more; how many rows it has changed in all.
async fn in_batches(
    owner: &Client,
    sql: &str,
    parameters: &[&(dyn tokio_postgres::types::ToSql + Sync)],
) -> Result<u64, DatabaseError> {
    let statement = owner.prepare(sql).await?;
    let mut changed = 0;
    loop {
        match owner.execute(&statement, parameters).await? {
            0 => return Ok(changed),
            more => changed += more,
        }
    }
}
