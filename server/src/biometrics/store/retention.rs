//! How what nobody needs any more is deleted: site by site, and a day as a whole that no site needs.

use std::collections::BTreeMap;

use cavs_types::SiteId;
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};
use tokio_postgres::{
    Client, Row, Statement,
    error::SqlState,
    types::{Json, ToSql},
};
use tracing::{info, warn};
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
/// How long a batch waits for others' locks: for less than a deadlock takes to be noticed, so that it is never
/// somebody else who has to give way; and how often it is tried again.
const LOCK_LIMIT: &str = "300ms";
const TRIES: u32 = 20;
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

impl BiometricStore {
    /// Applies each site's policy, `common` with what it has set for itself, if that is due for any and no other
    /// server is at it: what was deleted of each; `None` where it was not done.
    ///
    /// # Errors
    /// `Unavailable`: of the first site or day that went wrong; the others were done.
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
    owner.batch_execute(&format!("SET lock_timeout = '{LOCK_LIMIT}'")).await?;
    begin(owner, &policies, now).await?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let mut retention = Retention { owner, policies, today, deleted: BTreeMap::new() };
    let applied = retention.apply().await;
    info!(deleted = ?retention.deleted, "deleted what is kept no longer");
    applied?;
    Ok(Some(retention.deleted))
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

/// Notes how a site's run has ended.
async fn end(
    owner: &Client,
    site: SiteId,
    deleted: Deleted,
    done: &Result<(), DatabaseError>,
) -> Result<(), DatabaseError> {
    let (state, problem) = match done {
        Ok(()) => ("done", String::new()),
        Err(cause) => ("failed", cause.to_string()),
    };
    let Deleted { probes, evidence, portraits, sightings } = deleted;
    let [probes, evidence, portraits, sightings] = [probes, evidence, portraits, sightings].map(to_bigint);
    let sql = "UPDATE retention_runs SET state = $2, problem = $3, finished_at = now(), probes = $4,
               evidence = $5, portraits = $6, sightings = $7 WHERE site_id = $1 AND state = 'running'";
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&site.uuid(), &state, &problem, &probes, &evidence, &portraits, &sightings];
    owner.execute(sql, &parameters).await?;
    Ok(())
}

/// Asks again where others hold what is wanted.
async fn query(
    owner: &Client,
    statement: &Statement,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, DatabaseError> {
    let mut tries = 1;
    loop {
        match owner.query(statement, parameters).await {
            Err(error)
                if tries < TRIES
                    && [Some(&SqlState::LOCK_NOT_AVAILABLE), Some(&SqlState::T_R_DEADLOCK_DETECTED)]
                        .contains(&error.code()) =>
            {
                tries += 1;
            }
            done => return Ok(done?),
        }
    }
}

/// What is retained: the policy of each site, on a day.
struct Retention<'a> {
    owner: &'a mut Client,
    policies: BTreeMap<SiteId, RetentionPolicy>,
    today: Date,
    deleted: BTreeMap<SiteId, Deleted>,
}

impl Retention<'_> {
    /// Goes through the days that go as a whole, and then through the sites, however others end.
    async fn apply(&mut self) -> Result<(), DatabaseError> {
        let dropped = self.drop_days().await;
        if let Err(cause) = &dropped {
            warn!(%cause, "days that no site needs are still there");
        }
        let mut applied = Ok(());
        for (site, policy) in self.policies.clone() {
            let done = self.apply_to(site, &policy).await;
            let deleted = self.deleted.get(&site).copied().unwrap_or_default();
            // What is left of a day that could not be dropped is of any site.
            let ended = if dropped.is_err() && done.is_ok() { &dropped } else { &done };
            if let Err(cause) = end(self.owner, site, deleted, ended).await {
                warn!(%cause, %site, "how retention has ended is not noted");
            }
            applied = applied.and(done);
        }
        dropped.and(applied)
    }

    /// Drops the partitions that no site needs.
    async fn drop_days(&mut self) -> Result<(), DatabaseError> {
        let mut dropped = Ok(());
        for table in FaceTable::ALL {
            for partition in partitions(self.owner, table).await? {
                let done = match self.is_needed(&partition).await {
                    Ok(false) => self.drop(&partition).await,
                    Ok(true) => Ok(()),
                    Err(cause) => Err(cause),
                };
                dropped = dropped.and(done);
            }
        }
        dropped
    }

    async fn apply_to(&mut self, site: SiteId, policy: &RetentionPolicy) -> Result<(), DatabaseError> {
        for (table, kept) in [(FaceTable::Probes, Kept::Probe), (FaceTable::Evidence, Kept::Evidence)] {
            for partition in partitions(self.owner, table).await? {
                self.delete_faces(site, policy, kept, &partition).await?;
            }
        }
        if let Some(days) = policy.portraits {
            self.delete_portraits(site, self.days_ago(days)).await?;
        }
        if let Some(days) = policy.days(Kept::Sighting, Standing::Decided) {
            self.delete_sightings(site, self.days_ago(days)).await?;
        }
        self.delete_keys(site).await
    }

    fn days_ago(&self, days: u32) -> Date {
        self.today.saturating_sub(i64::from(days).days())
    }

    /// How many days ago; `None` for a day to come.
    fn age(&self, day: Date) -> Option<u32> {
        u32::try_from(self.today.duration_since(day).as_hours() / 24).ok()
    }

    /// Whether anything of a partition stays, of whichever site.
    async fn is_needed(&self, partition: &Partition) -> Result<bool, DatabaseError> {
        // A day's grace, for a clock that is behind, and for whoever is about to commit.
        if partition.until >= self.today {
            return Ok(true);
        }
        for (site, policy) in &self.policies {
            if self.is_needed_by(*site, policy, partition).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn is_needed_by(
        &self,
        site: SiteId,
        policy: &RetentionPolicy,
        partition: &Partition,
    ) -> Result<bool, DatabaseError> {
        let kept = match partition.table {
            FaceTable::Probes => Kept::Probe,
            FaceTable::Evidence => Kept::Evidence,
            FaceTable::Portraits => {
                let since =
                    policy.portraits.map_or(Date::MIN, |days| self.days_ago(days)).max(partition.from);
                let sql =
                    "SELECT EXISTS (SELECT FROM portraits WHERE site_id = $1 AND day >= $2 AND day < $3)";
                let row = self.owner.query_one(sql, &[&site.uuid(), &since, &partition.until]).await?;
                return Ok(row.try_get(0)?);
            }
        };
        let Some(age) = self.age(partition.from) else { return Ok(true) };
        let staying: Vec<&str> = Standing::ALL
            .into_iter()
            .filter(|standing| !policy.goes(kept, *standing, age))
            .map(Standing::as_str)
            .collect();
        if staying.is_empty() {
            return Ok(false);
        }
        let sql = format!("SELECT EXISTS ({})", chosen(partition.table, "true"));
        let row = self.owner.query_one(&sql, &[&site.uuid(), &partition.from, &staying]).await?;
        Ok(row.try_get(0)?)
    }

    /// Drops a partition, with all that is in it.
    async fn drop(&mut self, partition: &Partition) -> Result<(), DatabaseError> {
        let sql = format!("SELECT site_id, count(*) FROM {} GROUP BY site_id", partition.name());
        let rows = self.owner.query(&sql, &[]).await?;
        // Who is sent back to the queue at this very moment has lost the face: it was due.
        partition.drop(self.owner).await?;
        for row in &rows {
            let site = SiteId::from(row.try_get::<_, Uuid>(0)?);
            let count = row.try_get::<_, i64>(1)?.unsigned_abs();
            *self.deleted.entry(site).or_default().of(partition.table) += count;
        }
        Ok(())
    }

    /// Deletes what goes of a site's probes or pictures of a day, in the order of their sightings.
    async fn delete_faces(
        &mut self,
        site: SiteId,
        policy: &RetentionPolicy,
        kept: Kept,
        partition: &Partition,
    ) -> Result<(), DatabaseError> {
        let (day, table) = (partition.from, partition.table);
        let Some(age) = self.age(day) else { return Ok(()) };
        let going: Vec<&str> = Standing::ALL
            .into_iter()
            .filter(|standing| policy.goes(kept, *standing, age))
            .map(Standing::as_str)
            .collect();
        if going.is_empty() {
            return Ok(());
        }
        let sql = format!(
            "WITH chosen AS ({} ORDER BY f.sighting_id LIMIT {BATCH}),
                 gone AS (DELETE FROM {} f USING chosen c
                     WHERE f.site_id = $1 AND f.day = $2 AND f.sighting_id = c.sighting_id RETURNING 1)
             SELECT sighting_id, (SELECT count(*) FROM gone) FROM chosen ORDER BY 1 DESC LIMIT 1",
            chosen(table, "f.sighting_id > $4"),
            table.name(),
        );
        let statement = self.owner.prepare(&sql).await?;
        let (site_id, mut last) = (site.uuid(), Uuid::nil());
        while let Some(row) = query(self.owner, &statement, &[&site_id, &day, &going, &last]).await?.first() {
            last = row.try_get(0)?;
            *self.deleted.entry(site).or_default().of(table) += row.try_get::<_, i64>(1)?.unsigned_abs();
        }
        Ok(())
    }

    /// Deletes a site's portraits of before a day.
    async fn delete_portraits(&mut self, site: SiteId, until: Date) -> Result<(), DatabaseError> {
        let sql = format!(
            "DELETE FROM portraits WHERE site_id = $1 AND (day, template_id) IN (
                 SELECT day, template_id FROM portraits WHERE site_id = $1 AND day < $2 LIMIT {BATCH})
             RETURNING 1"
        );
        let statement = self.owner.prepare(&sql).await?;
        loop {
            let gone = query(self.owner, &statement, &[&site.uuid(), &until]).await?.len();
            self.deleted.entry(site).or_default().portraits += gone as u64;
            if gone == 0 {
                return Ok(());
            }
        }
    }

    /// Deletes sightings of a site that came before a day, but for those that wait for a person. Their faces go along,
    /// where they are not gone yet.
    async fn delete_sightings(&mut self, site: SiteId, until: Date) -> Result<(), DatabaseError> {
        let until = until.to_zoned(TimeZone::UTC).map_or(Timestamp::UNIX_EPOCH, |until| until.timestamp());
        // In the order of the lists, which is nearly that of their reception, each batch from where the last one ended.
        // Whatever was received by then is listed soon after at the latest: see `CapturedSighting::time_is_plausible`.
        // Locked as they are chosen, so that none is sent back to the queue between that and its end.
        let sql = format!(
            "WITH chosen AS (
                 SELECT id, listed_at FROM sightings WHERE site_id = $1 AND (listed_at, id) > ($2, $3)
                     AND listed_at < $4::timestamptz + interval '1 day' AND received_at < $4 AND NOT in_queue
                 ORDER BY listed_at, id LIMIT {BATCH} FOR UPDATE
             ), gone AS (DELETE FROM sightings s USING chosen c WHERE s.site_id = $1 AND s.id = c.id RETURNING 1)
             SELECT listed_at, id, (SELECT count(*) FROM gone) FROM chosen ORDER BY 1 DESC, 2 DESC LIMIT 1"
        );
        let statement = self.owner.prepare(&sql).await?;
        let (site_id, mut listed_at, mut id) = (site.uuid(), Timestamp::UNIX_EPOCH, Uuid::nil());
        while let Some(row) =
            query(self.owner, &statement, &[&site_id, &listed_at, &id, &until]).await?.first()
        {
            (listed_at, id) = (row.try_get(0)?, row.try_get(1)?);
            self.deleted.entry(site).or_default().sightings += row.try_get::<_, i64>(2)?.unsigned_abs();
        }
        Ok(())
    }

    /// Deletes a site's keys of days that nothing lives under; sightings of today and yesterday may still come under
    /// theirs.
    async fn delete_keys(&self, site: SiteId) -> Result<(), DatabaseError> {
        let sql = "SELECT day FROM data_keys WHERE site_id = $1 AND day < $2";
        let days = self.owner.query(sql, &[&site.uuid(), &self.today.saturating_sub(2.days())]).await?;
        // A day at a time: the database looks at one partition only.
        let sql = "DELETE FROM data_keys WHERE site_id = $1 AND day = $2
                       AND NOT EXISTS (SELECT FROM probes WHERE site_id = $1 AND day = $2)
                       AND NOT EXISTS (SELECT FROM evidence WHERE site_id = $1 AND day = $2)";
        let statement = self.owner.prepare(sql).await?;
        for row in &days {
            query(self.owner, &statement, &[&site.uuid(), &row.try_get::<_, Date>(0)?]).await?;
        }
        Ok(())
    }
}

/// Faces of the site `$1` and the day `$2` whose sightings stand as one of `$3`. One without its sighting is nobody's:
/// it counts as decided.
fn chosen(table: FaceTable, also: &str) -> String {
    format!(
        "SELECT f.sighting_id FROM {} f LEFT JOIN sightings s ON s.site_id = f.site_id AND s.id = f.sighting_id
         WHERE f.site_id = $1 AND f.day = $2 AND {also} AND {STANDING} = ANY($3)",
        table.name()
    )
}
