//! How what nobody needs any more is deleted: site by site, and a day as a whole that no site needs.

use std::collections::BTreeMap;

use cavs_types::SiteId;
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};
use tokio_postgres::{
    Client,
    types::{Json, ToSql},
};
use tracing::info;
use uuid::Uuid;

use super::{
    BiometricStore, PARTITION_LOCK,
    partitions::{FaceTable, Partition, partitions},
};
use crate::{
    biometrics::{Kept, RetentionPolicy, Standing},
    db::{DatabaseError, read_json, to_bigint},
};

/// Rows that one statement deletes: far below a second of work, so that nobody waits long for their locks.
const BATCH: i64 = 2000;
/// How long after a run the next one is due, unless the policy is another one.
const INTERVAL: SignedDuration = SignedDuration::from_hours(23);

/// How long runs are remembered: who asks what became of a school year's faces asks in the next one.
const REMEMBERED: &str = "2 years";

/// What a sighting `s` is, as [`Standing`] says.
const STANDING: &str = "CASE WHEN s.in_queue THEN 'waiting'
    WHEN s.verdict IS NULL AND s.decision = 'unknown' THEN 'unknown' ELSE 'decided' END";

/// What was deleted of a site.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Deleted {
    pub(crate) probes: u64,
    pub(crate) evidence: u64,
    pub(crate) portraits: u64,
    pub(crate) sightings: u64,
}

impl Deleted {
    fn of(&mut self, table: FaceTable) -> &mut u64 {
        match table {
            FaceTable::Probes => &mut self.probes,
            FaceTable::Evidence => &mut self.evidence,
            FaceTable::Portraits => &mut self.portraits,
        }
    }
}

/// What goes: the policy of each site, on a day.
struct Retention<'a> {
    owner: &'a mut Client,
    policies: BTreeMap<SiteId, RetentionPolicy>,
    today: Date,
    deleted: BTreeMap<SiteId, Deleted>,
}

impl BiometricStore {
    /// Applies each site's policy, `common` with what it has set for itself, if that is due for any and no other
    /// server is at it: what was deleted of each; `None` where it was not done.
    ///
    /// # Errors
    /// `Unavailable`; the run is noted as failed then, where it can be.
    pub(crate) async fn apply_retention(
        &self,
        common: RetentionPolicy,
        now: Timestamp,
    ) -> Result<Option<BTreeMap<SiteId, Deleted>>, DatabaseError> {
        let Some(mut owner) = self.db.owner_alone(PARTITION_LOCK).await? else { return Ok(None) };
        let applied = apply_where_due(&mut owner, common, now).await;
        owner.end().await;
        applied
    }
}

async fn apply_where_due(
    owner: &mut Client,
    common: RetentionPolicy,
    now: Timestamp,
) -> Result<Option<BTreeMap<SiteId, Deleted>>, DatabaseError> {
    let policies = policies(owner, common).await?;
    if !is_due(owner, &policies, now).await? {
        return Ok(None);
    }
    begin(owner, &policies, now).await?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let mut retention = Retention { owner, policies, today, deleted: BTreeMap::new() };
    let done = retention.apply().await;
    let Retention { owner, policies, deleted, .. } = retention;
    end(owner, &policies, &deleted, &done).await?;
    done?;
    info!(?deleted, "deleted what is kept no longer");
    Ok(Some(deleted))
}

/// The policy of each site: days that it has set for itself, 0 for ever, before those of all.
async fn policies(
    owner: &Client,
    common: RetentionPolicy,
) -> Result<BTreeMap<SiteId, RetentionPolicy>, DatabaseError> {
    let sql = "SELECT s.id, p.unknown_probes, p.reviewed_probes, p.evidence, p.portraits, p.sightings
               FROM sites s LEFT JOIN retention_policies p ON p.site_id = s.id";
    let rows = owner.query(sql, &[]).await?;
    rows.iter()
        .map(|row| {
            let mut own = [None; 5];
            for (column, days) in own.iter_mut().enumerate() {
                *days = row.try_get::<_, Option<i32>>(column + 1)?.map(i32::unsigned_abs);
            }
            Ok((row.try_get::<_, Uuid>("id")?.into(), common.overridden(own)))
        })
        .collect()
}

/// Whether a site's policy was not applied for a day, or another one was.
async fn is_due(
    owner: &Client,
    policies: &BTreeMap<SiteId, RetentionPolicy>,
    now: Timestamp,
) -> Result<bool, DatabaseError> {
    let sql =
        "SELECT DISTINCT ON (site_id) site_id, started_at, policy FROM retention_runs WHERE state = 'done'
               ORDER BY site_id, started_at DESC";
    let mut applied = BTreeMap::new();
    for row in &owner.query(sql, &[]).await? {
        let policy: RetentionPolicy = read_json(row, "retention_runs", "policy")?;
        let started_at: Timestamp = row.try_get("started_at")?;
        applied.insert(SiteId::from(row.try_get::<_, Uuid>("site_id")?), (policy, started_at));
    }
    Ok(policies.iter().any(|(site, policy)| {
        applied.get(site).is_none_or(|(applied, at)| applied != policy || now.duration_since(*at) >= INTERVAL)
    }))
}

/// Notes a run for each site.
async fn begin(
    owner: &Client,
    policies: &BTreeMap<SiteId, RetentionPolicy>,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let sql = "UPDATE retention_runs SET state = 'failed', finished_at = now(), problem = 'interrupted'
               WHERE state = 'running'";
    owner.execute(sql, &[]).await?;
    let sql =
        format!("DELETE FROM retention_runs WHERE started_at < $1::timestamptz - interval '{REMEMBERED}'");
    owner.execute(&sql, &[&now]).await?;
    for (site, policy) in policies {
        let sql = "INSERT INTO retention_runs (site_id, id, started_at, policy) VALUES ($1, $2, $3, $4)";
        owner.execute(sql, &[&site.uuid(), &Uuid::now_v7(), &now, &Json(policy)]).await?;
    }
    Ok(())
}

/// Notes how the runs have ended.
async fn end(
    owner: &Client,
    policies: &BTreeMap<SiteId, RetentionPolicy>,
    deleted: &BTreeMap<SiteId, Deleted>,
    done: &Result<(), DatabaseError>,
) -> Result<(), DatabaseError> {
    let (state, problem) = match done {
        Ok(()) => ("done", String::new()),
        Err(cause) => ("failed", cause.to_string()),
    };
    for site in policies.keys() {
        let Deleted { probes, evidence, portraits, sightings } =
            deleted.get(site).copied().unwrap_or_default();
        let [probes, evidence, portraits, sightings] =
            [probes, evidence, portraits, sightings].map(to_bigint);
        let sql = "UPDATE retention_runs SET state = $2, problem = $3, finished_at = now(), probes = $4,
                   evidence = $5, portraits = $6, sightings = $7 WHERE site_id = $1 AND state = 'running'";
        let parameters: [&(dyn ToSql + Sync); 7] =
            [&site.uuid(), &state, &problem, &probes, &evidence, &portraits, &sightings];
        owner.execute(sql, &parameters).await?;
    }
    Ok(())
}

impl Retention<'_> {
    async fn apply(&mut self) -> Result<(), DatabaseError> {
        for (table, kept) in [(FaceTable::Probes, Kept::Probe), (FaceTable::Evidence, Kept::Evidence)] {
            for partition in partitions(self.owner, table).await? {
                self.delete_faces(kept, &partition).await?;
            }
        }
        for partition in partitions(self.owner, FaceTable::Portraits).await? {
            self.delete_portraits(&partition).await?;
        }
        for (site, policy) in self.policies.clone() {
            if let Some(days) = policy.days(Kept::Sighting, Standing::Decided) {
                self.delete_sightings(site, self.days_ago(days)).await?;
            }
        }
        // A key that nothing lives under goes; sightings of today and yesterday may still come under theirs.
        let sql = "DELETE FROM data_keys k WHERE k.day < $1
                       AND NOT EXISTS (SELECT FROM probes p WHERE p.site_id = k.site_id AND p.day = k.day)
                       AND NOT EXISTS (SELECT FROM evidence e WHERE e.site_id = k.site_id AND e.day = k.day)";
        self.owner.execute(sql, &[&self.today.saturating_sub(2.days())]).await?;
        Ok(())
    }

    fn days_ago(&self, days: u32) -> Date {
        self.today.saturating_sub(i64::from(days).days())
    }

    /// Deletes what goes of the probes or pictures of a day: all at once, where no site needs any of them.
    async fn delete_faces(&mut self, kept: Kept, partition: &Partition) -> Result<(), DatabaseError> {
        let day = partition.from;
        let Ok(age) = u32::try_from(self.today.duration_since(day).as_hours() / 24) else { return Ok(()) };
        // Sites, and beside them the standings.
        let (mut going, mut staying) = ((Vec::new(), Vec::new()), (Vec::new(), Vec::new()));
        for (site, policy) in &self.policies {
            for standing in Standing::ALL {
                let chosen = if policy.goes(kept, standing, age) { &mut going } else { &mut staying };
                chosen.0.push(site.uuid());
                chosen.1.push(standing.as_str());
            }
        }
        if going.0.is_empty() {
            return Ok(());
        }
        let table = partition.table.name();
        // A face without its sighting is nobody's: it counts as decided.
        let chosen = format!(
            "SELECT f.site_id, f.sighting_id FROM {table} f
                 LEFT JOIN sightings s ON s.site_id = f.site_id AND s.id = f.sighting_id
             WHERE f.day = $1 AND (f.site_id, {STANDING}) IN (SELECT * FROM unnest($2::uuid[], $3::text[]))"
        );
        let sql = format!("SELECT EXISTS ({chosen})");
        let is_needed: bool = match staying.0.is_empty() {
            true => false,
            false => self.owner.query_one(&sql, &[&day, &staying.0, &staying.1]).await?.try_get(0)?,
        };
        if !is_needed {
            // Who is sent back to the queue at this very moment has lost the face: it was due.
            return self.drop(partition).await;
        }
        let sql = format!(
            "DELETE FROM {table} WHERE day = $1 AND (site_id, sighting_id) IN ({chosen} LIMIT {BATCH})
             RETURNING site_id"
        );
        self.in_batches(partition.table, &sql, &[&day, &going.0, &going.1]).await
    }

    /// Deletes the portraits of a month that go, or all of it.
    async fn delete_portraits(&mut self, partition: &Partition) -> Result<(), DatabaseError> {
        let (mut sites, mut untils) = (Vec::new(), Vec::new());
        for (site, policy) in &self.policies {
            if let Some(days) = policy.portraits {
                sites.push(site.uuid());
                untils.push(self.days_ago(days));
            }
        }
        if sites.is_empty() {
            return Ok(());
        }
        let Partition { table, from, until } = partition;
        let goes = "EXISTS (SELECT FROM unnest($3::uuid[], $4::date[]) AS kept (site, since)
                        WHERE kept.site = p.site_id AND p.day < kept.since)";
        let within = "p.day >= $1 AND p.day < $2";
        let parameters: [&(dyn ToSql + Sync); 4] = [from, until, &sites, &untils];
        // Months that are not over are still needed by who is enrolled next.
        if *until <= self.today {
            let sql = format!("SELECT EXISTS (SELECT FROM portraits p WHERE {within} AND NOT {goes})");
            let is_needed: bool = self.owner.query_one(&sql, &parameters).await?.try_get(0)?;
            if !is_needed {
                return self.drop(partition).await;
            }
        }
        let sql = format!(
            "DELETE FROM portraits WHERE day >= $1 AND day < $2 AND (site_id, day, template_id) IN (
                 SELECT p.site_id, p.day, p.template_id FROM portraits p WHERE {within} AND {goes} LIMIT {BATCH})
             RETURNING site_id"
        );
        self.in_batches(*table, &sql, &parameters).await
    }

    /// Deletes sightings of a site that came before a day, but for those that wait for a person. Their faces go along,
    /// where they are not gone yet.
    async fn delete_sightings(&mut self, site: SiteId, until: Date) -> Result<(), DatabaseError> {
        let until = until.to_zoned(TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |until| until.timestamp());
        // In the order of the lists, which is nearly that of their reception, each batch from where the last one ended.
        // Whatever was received by then is listed soon after at the latest: see `CapturedSighting::time_is_plausible`.
        let sql = format!(
            "WITH chosen AS (
                 SELECT id, listed_at FROM sightings WHERE site_id = $1 AND (listed_at, id) > ($2, $3)
                     AND listed_at < $4::timestamptz + interval '1 day' AND received_at < $4 AND NOT in_queue
                 ORDER BY listed_at, id LIMIT {BATCH}
             ), gone AS (DELETE FROM sightings s USING chosen c WHERE s.site_id = $1 AND s.id = c.id)
             SELECT listed_at, id, (SELECT count(*) FROM chosen) FROM chosen ORDER BY listed_at DESC, id DESC LIMIT 1"
        );
        let statement = self.owner.prepare(&sql).await?;
        let mut last = (Timestamp::UNIX_EPOCH, Uuid::nil());
        let site_id = site.uuid();
        while let Some(row) = self.owner.query_opt(&statement, &[&site_id, &last.0, &last.1, &until]).await? {
            last = (row.try_get(0)?, row.try_get(1)?);
            self.deleted.entry(site).or_default().sightings += row.try_get::<_, i64>(2)?.unsigned_abs();
        }
        Ok(())
    }

    /// Drops a partition, with all that is in it.
    async fn drop(&mut self, partition: &Partition) -> Result<(), DatabaseError> {
        let sql = format!("SELECT site_id, count(*) FROM {} GROUP BY site_id", partition.name());
        let rows = self.owner.query(&sql, &[]).await?;
        partition.drop(self.owner).await?;
        for row in &rows {
            let site = SiteId::from(row.try_get::<_, Uuid>(0)?);
            let count = row.try_get::<_, i64>(1)?.unsigned_abs();
            *self.deleted.entry(site).or_default().of(partition.table) += count;
        }
        Ok(())
    }

    /// Repeats a statement that deletes, and returns the site of each row, until it finds nothing more.
    async fn in_batches(
        &mut self,
        table: FaceTable,
        sql: &str,
        parameters: &[&(dyn ToSql + Sync)],
    ) -> Result<(), DatabaseError> {
        let statement = self.owner.prepare(sql).await?;
        loop {
            let rows = self.owner.query(&statement, parameters).await?;
            if rows.is_empty() {
                return Ok(());
            }
            for row in &rows {
                let site = SiteId::from(row.try_get::<_, Uuid>(0)?);
                *self.deleted.entry(site).or_default().of(table) += 1;
            }
        }
    }
}
