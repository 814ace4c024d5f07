//! How what nobody needs any more is deleted: site by site, and a day as a whole that no site needs.

use std::collections::{BTreeMap, BTreeSet};

use cavs_types::{RetentionState, SiteId};
use jiff::{SignedDuration, Timestamp, ToSpan, civil::Date, tz::TimeZone};
use tokio_postgres::{
    Client, Row,
    error::SqlState,
    types::{Json, ToSql},
};
use tracing::info;
use uuid::Uuid;

use super::{
    BiometricStore, PARTITION_LOCK,
    partitions::{FaceTable, Partition, partitions},
    policies::own_policy,
};
use crate::{
    biometrics::{Deleted, Kept, RetentionPolicy, Standing},
    db::{DatabaseError, read_json, to_bigint},
};

/// Rows that one statement deletes: far below a second of work, so that nobody waits long for their locks.
const BATCH: i64 = 2000;
/// How long a statement waits for others' locks before it gives way and is tried again: for less than a deadlock takes
/// to be noticed, so that it is seldom somebody else who fails.
const LOCK_LIMIT: &str = "300ms";
/// How often a statement is tried: six seconds in all, twice as long as an erasure waits for a table.
const TRIES: u32 = 20;
/// How long after a run the next one is due, unless the policy is another one.
const INTERVAL: SignedDuration = SignedDuration::from_hours(23);

/// How long runs are remembered: who asks what became of a school year's faces asks in the next one.
const REMEMBERED: &str = "2 years";

/// What a sighting `s` is, as [`Standing`] says.
const STANDING: &str = "CASE WHEN s.in_queue THEN 'waiting'
    WHEN s.verdict IS NULL AND s.decision = 'unknown' THEN 'unknown' ELSE 'decided' END";

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
    let due = due(owner, &policies, now).await?;
    if due.is_empty() {
        return Ok(None);
    }
    owner.batch_execute(&format!("SET lock_timeout = '{LOCK_LIMIT}'")).await?;
    begin(owner, &due, &policies, now).await?;
    let today = now.to_zoned(TimeZone::UTC).date();
    let mut run = Run { owner, policies, today, deleted: BTreeMap::new(), undropped: None };
    let applied = run.apply(&due).await;
    info!(deleted = ?run.deleted, "deleted what is kept no longer, as far as it went");
    applied?;
    Ok(Some(run.deleted))
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
        .map(|row| Ok((row.try_get::<_, Uuid>("id")?.into(), common.overridden(&own_policy(row)?))))
        .collect()
}

/// The sites whose policy was not applied for a day, or that have another one.
async fn due(
    owner: &Client,
    policies: &BTreeMap<SiteId, RetentionPolicy>,
    now: Timestamp,
) -> Result<BTreeSet<SiteId>, DatabaseError> {
    let sql = "SELECT s.id AS site_id, r.started_at, r.policy FROM sites s, LATERAL (
                   SELECT started_at, policy FROM retention_runs r WHERE r.site_id = s.id AND state = 'done'
                   ORDER BY started_at DESC LIMIT 1) r";
    let mut due: BTreeSet<SiteId> = policies.keys().copied().collect();
    for row in &owner.query(sql, &[]).await? {
        let site = SiteId::from(row.try_get::<_, Uuid>("site_id")?);
        let applied: RetentionPolicy = read_json(row, "retention_runs", "policy")?;
        let started_at: Timestamp = row.try_get("started_at")?;
        if policies.get(&site) == Some(&applied) && now.duration_since(started_at) < INTERVAL {
            due.remove(&site);
        }
    }
    Ok(due)
}

/// Notes a run for each of some sites.
async fn begin(
    owner: &Client,
    due: &BTreeSet<SiteId>,
    policies: &BTreeMap<SiteId, RetentionPolicy>,
    now: Timestamp,
) -> Result<(), DatabaseError> {
    let sql = "UPDATE retention_runs SET state = 'failed', finished_at = now(), problem = 'interrupted'
               WHERE state = 'running'";
    owner.execute(sql, &[]).await?;
    let sql =
        format!("DELETE FROM retention_runs WHERE started_at < $1::timestamptz - interval '{REMEMBERED}'");
    owner.execute(&sql, &[&now]).await?;
    for (site, policy) in policies.iter().filter(|(site, _)| due.contains(site)) {
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
    problem: Option<String>,
) -> Result<(), DatabaseError> {
    let state = if problem.is_some() { RetentionState::Failed } else { RetentionState::Done };
    let (state, problem) = (state.as_str(), problem.unwrap_or_default());
    let Deleted { probes, evidence, portraits, sightings } = deleted;
    let [probes, evidence, portraits, sightings] = [probes, evidence, portraits, sightings].map(to_bigint);
    let sql = "UPDATE retention_runs SET state = $2, problem = $3, finished_at = now(), probes = $4,
               evidence = $5, portraits = $6, sightings = $7 WHERE site_id = $1 AND state = 'running'";
    let parameters: [&(dyn ToSql + Sync); 7] =
        [&site.uuid(), &state, &problem, &probes, &evidence, &portraits, &sightings];
    owner.execute(sql, &parameters).await?;
    Ok(())
}

/// Runs a statement, and again where others hold what it wants.
async fn repeated(
    owner: &Client,
    sql: &str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, DatabaseError> {
    const GIVEN_WAY: [Option<&SqlState>; 2] =
        [Some(&SqlState::LOCK_NOT_AVAILABLE), Some(&SqlState::T_R_DEADLOCK_DETECTED)];
    for _ in 1..TRIES {
        match owner.query(sql, parameters).await {
            Err(error) if GIVEN_WAY.contains(&error.code()) => {}
            done => return Ok(done?),
        }
    }
    Ok(owner.query(sql, parameters).await?)
}

/// Applying the policies of sites, on a day.
struct Run<'a> {
    owner: &'a mut Client,
    /// Of all sites.
    policies: BTreeMap<SiteId, RetentionPolicy>,
    today: Date,
    deleted: BTreeMap<SiteId, Deleted>,
    /// Why a partition that no site needs is still there.
    undropped: Option<DatabaseError>,
}

/// A partition that stays, and whose faces are in it.
struct Held {
    partition: Partition,
    sites: BTreeSet<SiteId>,
    /// Why it is still there, where no site needs it. It is left alone until it can be dropped.
    problem: Option<String>,
}

impl Run<'_> {
    /// Drops the partitions that no site needs, and deletes what else goes of the sites that are due, however others
    /// end.
    async fn apply(&mut self, due: &BTreeSet<SiteId>) -> Result<(), DatabaseError> {
        let mut held = Vec::new();
        let mut looked = Ok(());
        for table in FaceTable::ALL {
            looked = looked.and(self.drop_partitions(table, &mut held).await);
        }
        // What could not be looked at may be of any site.
        let unknown = looked.as_ref().err().map(ToString::to_string);
        let mut applied = looked.and(self.undropped.take().map_or(Ok(()), Err));
        for site in due {
            let done = self.apply_to(*site, &held).await;
            let mut undropped = held.iter().filter(|held| held.sites.contains(site));
            let problem = done.as_ref().err().map(ToString::to_string);
            let problem = problem.or_else(|| undropped.find_map(|held| held.problem.clone()));
            let problem = problem.or_else(|| unknown.clone());
            let deleted = self.deleted.get(site).copied().unwrap_or_default();
            let noted = end(self.owner, *site, deleted, problem).await;
            applied = applied.and(done).and(noted);
        }
        applied
    }

    /// Drops the partitions of a table that no site needs; the others are added to `held`. Everybody who writes to the
    /// table waits behind a drop: after one that finds no room, none is tried.
    async fn drop_partitions(&mut self, table: FaceTable, held: &mut Vec<Held>) -> Result<(), DatabaseError> {
        let mut problem: Option<String> = None;
        for partition in partitions(self.owner, table).await? {
            let sql = format!("SELECT site_id, count(*) FROM {} GROUP BY site_id", partition.name());
            let mut counts = BTreeMap::new();
            for row in &repeated(self.owner, &sql, &[]).await? {
                let site = SiteId::from(row.try_get::<_, Uuid>(0)?);
                counts.insert(site, row.try_get::<_, i64>(1)?.unsigned_abs());
            }
            let sites: BTreeSet<SiteId> = counts.keys().copied().collect();
            if self.is_needed(&partition, &sites).await? {
                held.push(Held { partition, sites, problem: None });
                continue;
            }
            if problem.is_none() {
                // Who is sent back to the queue at this very moment has lost the face: it was due.
                match partition.drop(self.owner).await {
                    Ok(()) => {
                        for (site, count) in counts {
                            *self.deleted.entry(site).or_default().of(table) += count;
                        }
                        continue;
                    }
                    Err(cause) => {
                        problem = Some(cause.to_string());
                        self.undropped.get_or_insert(cause);
                    }
                }
            }
            held.push(Held { partition, sites, problem: problem.clone() });
        }
        Ok(())
    }

    async fn apply_to(&mut self, site: SiteId, held: &[Held]) -> Result<(), DatabaseError> {
        let Some(policy) = self.policies.get(&site).copied() else { return Ok(()) };
        for Held { partition, sites, problem } in held {
            if sites.contains(&site) && problem.is_none() {
                self.delete_faces(site, &policy, partition).await?;
            }
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

    /// Whether anything of a partition stays, of the sites that have something in it.
    async fn is_needed(
        &self,
        partition: &Partition,
        sites: &BTreeSet<SiteId>,
    ) -> Result<bool, DatabaseError> {
        // A day's grace, for a clock that is behind, and for whoever is about to commit.
        if partition.until >= self.today {
            return Ok(true);
        }
        for site in sites {
            let Some(policy) = self.policies.get(site) else { return Ok(true) };
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
        let rows = match partition.table.kept() {
            Some(kept) => {
                let Some(age) = self.age(partition.from) else { return Ok(true) };
                let staying = standings(|standing| !policy.goes(kept, standing, age));
                let sql = format!("{} LIMIT 1", chosen(partition.table, "true"));
                repeated(self.owner, &sql, &[&site.uuid(), &partition.from, &staying]).await?
            }
            None => {
                let since =
                    policy.portraits.map_or(partition.from, |days| self.days_ago(days).max(partition.from));
                let sql = "SELECT FROM portraits WHERE site_id = $1 AND day >= $2 AND day < $3 LIMIT 1";
                repeated(self.owner, sql, &[&site.uuid(), &since, &partition.until]).await?
            }
        };
        Ok(!rows.is_empty())
    }

    /// Deletes what goes of a site's faces in a partition that stays.
    async fn delete_faces(
        &mut self,
        site: SiteId,
        policy: &RetentionPolicy,
        partition: &Partition,
    ) -> Result<(), DatabaseError> {
        match (partition.table.kept(), policy.portraits) {
            (Some(kept), _) => {
                let Some(age) = self.age(partition.from) else { return Ok(()) };
                let going = standings(|standing| policy.goes(kept, standing, age));
                if !going.is_empty() {
                    self.delete_of_sightings(site, partition, &going).await?;
                }
                Ok(())
            }
            (None, Some(days)) => self.delete_portraits(site, partition, self.days_ago(days)).await,
            (None, None) => Ok(()),
        }
    }

    /// Deletes a site's probes or pictures of a day whose sightings stand so, batch after batch in the order of the
    /// sightings. Who is sent back to the queue at this very moment has lost the face: it was due.
    async fn delete_of_sightings(
        &mut self,
        site: SiteId,
        partition: &Partition,
        going: &[&str],
    ) -> Result<(), DatabaseError> {
        let Partition { table, from: day, .. } = partition;
        let sql = format!(
            "WITH chosen AS ({} ORDER BY f.sighting_id LIMIT {BATCH}),
                 gone AS (DELETE FROM {} f USING chosen c
                     WHERE f.site_id = $1 AND f.day = $2 AND f.sighting_id = c.sighting_id RETURNING 1)
             SELECT sighting_id, (SELECT count(*) FROM gone) FROM chosen ORDER BY 1 DESC LIMIT 1",
            chosen(*table, "f.sighting_id > $4"),
            table.name(),
        );
        let (site_id, mut last) = (site.uuid(), Uuid::nil());
        while let Some(row) = repeated(self.owner, &sql, &[&site_id, day, &going, &last]).await?.first() {
            last = row.try_get(0)?;
            *self.deleted.entry(site).or_default().of(*table) += row.try_get::<_, i64>(1)?.unsigned_abs();
        }
        Ok(())
    }

    /// Deletes a site's portraits of a month that are of before a day.
    async fn delete_portraits(
        &mut self,
        site: SiteId,
        partition: &Partition,
        until: Date,
    ) -> Result<(), DatabaseError> {
        let sql = format!(
            "DELETE FROM portraits WHERE site_id = $1 AND (day, template_id) IN (
                 SELECT day, template_id FROM portraits WHERE site_id = $1 AND day >= $2 AND day < $3 LIMIT {BATCH})
             RETURNING 1"
        );
        let until = until.min(partition.until);
        loop {
            let gone = repeated(self.owner, &sql, &[&site.uuid(), &partition.from, &until]).await?.len();
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
        let (site_id, mut listed_at, mut id) = (site.uuid(), Timestamp::UNIX_EPOCH, Uuid::nil());
        while let Some(row) = repeated(self.owner, &sql, &[&site_id, &listed_at, &id, &until]).await?.first()
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
        let days = repeated(self.owner, sql, &[&site.uuid(), &self.today.saturating_sub(2.days())]).await?;
        // A day at a time: the database looks at one partition only.
        let sql = "DELETE FROM data_keys WHERE site_id = $1 AND day = $2
                       AND NOT EXISTS (SELECT FROM probes WHERE site_id = $1 AND day = $2)
                       AND NOT EXISTS (SELECT FROM evidence WHERE site_id = $1 AND day = $2)";
        for row in &days {
            repeated(self.owner, sql, &[&site.uuid(), &row.try_get::<_, Date>(0)?]).await?;
        }
        Ok(())
    }
}

/// Those of which this is true, as the database's queries call them.
fn standings(are: impl Fn(Standing) -> bool) -> Vec<&'static str> {
    Standing::ALL.into_iter().filter(|standing| are(*standing)).map(Standing::as_str).collect()
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
