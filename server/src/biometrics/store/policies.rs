//! How long sites keep what, as they have set it; applying that is in `retention`.

use cavs_types::{SiteId, UserId};
use tokio_postgres::{Row, types::ToSql};

use super::BiometricStore;
use crate::{
    biometrics::{Deleted, OwnPolicy, PolicyChange, RetentionPolicy, RetentionReport, RetentionRun},
    db::{DatabaseError, read_json, read_text, to_integer},
};

/// Runs that are shown.
const REPORTED: i64 = 10;

impl BiometricStore {
    /// What a site has set, and its last runs.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn retention(
        &self,
        site: SiteId,
        common: RetentionPolicy,
    ) -> Result<RetentionReport, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let sql = "SELECT p.unknown_probes, p.reviewed_probes, p.evidence, p.portraits, p.sightings, p.set_at, u.username
                   FROM retention_policies p JOIN users u ON u.id = p.set_by WHERE p.site_id = $1";
        let (own, set) = match client.query_opt(sql, &[&site]).await? {
            None => (OwnPolicy::default(), None),
            Some(row) => (own_policy(&row)?, Some((row.try_get("username")?, row.try_get("set_at")?))),
        };
        let sql =
            "SELECT started_at, finished_at, state, policy, probes, evidence, portraits, sightings, problem
                   FROM retention_runs WHERE site_id = $1 ORDER BY started_at DESC, id DESC LIMIT $2";
        let runs = client.query(sql, &[&site, &REPORTED]).await?;
        let runs = runs.iter().map(run).collect::<Result<_, _>>()?;
        Ok(RetentionReport { own, set, in_force: common.overridden(&own), runs })
    }

    /// Changes what a site has set.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_retention(
        &self,
        site: SiteId,
        change: &PolicyChange,
        by: UserId,
    ) -> Result<(), DatabaseError> {
        let PolicyChange { unknown_probes, reviewed_probes, evidence, portraits, sightings } = *change;
        let changes = [unknown_probes, reviewed_probes, evidence, portraits, sightings];
        let is_changed: Vec<bool> = changes.iter().map(Option::is_some).collect();
        let [unknown, reviewed, evidence, portraits, sightings] =
            changes.map(|days| days.flatten().map(to_integer));
        // One statement: of two changes at once, neither undoes the other.
        let sql = "INSERT INTO retention_policies AS p
                       (site_id, unknown_probes, reviewed_probes, evidence, portraits, sightings, set_by)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)
                   ON CONFLICT (site_id) DO UPDATE SET
                       unknown_probes = CASE WHEN ($8::boolean[])[1] THEN excluded.unknown_probes ELSE p.unknown_probes END,
                       reviewed_probes = CASE WHEN ($8::boolean[])[2] THEN excluded.reviewed_probes ELSE p.reviewed_probes END,
                       evidence = CASE WHEN ($8::boolean[])[3] THEN excluded.evidence ELSE p.evidence END,
                       portraits = CASE WHEN ($8::boolean[])[4] THEN excluded.portraits ELSE p.portraits END,
                       sightings = CASE WHEN ($8::boolean[])[5] THEN excluded.sightings ELSE p.sightings END,
                       set_by = excluded.set_by, set_at = excluded.set_at";
        let parameters: [&(dyn ToSql + Sync); 8] =
            [&site.uuid(), &unknown, &reviewed, &evidence, &portraits, &sightings, &by.uuid(), &is_changed];
        self.db.client().await?.execute(sql, &parameters).await?;
        Ok(())
    }
}

/// Reads the columns of a site's policy; all are NULL where it has none.
pub(super) fn own_policy(row: &Row) -> Result<OwnPolicy, DatabaseError> {
    let days = |column| row.try_get::<_, Option<i32>>(column).map(|days| days.map(i32::unsigned_abs));
    Ok(OwnPolicy {
        unknown_probes: days("unknown_probes")?,
        reviewed_probes: days("reviewed_probes")?,
        evidence: days("evidence")?,
        portraits: days("portraits")?,
        sightings: days("sightings")?,
    })
}

fn run(row: &Row) -> Result<RetentionRun, DatabaseError> {
    const TABLE: &str = "retention_runs";
    let count = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(RetentionRun {
        started_at: row.try_get("started_at")?,
        finished_at: row.try_get("finished_at")?,
        state: read_text(row, TABLE, "state")?,
        policy: read_json(row, TABLE, "policy")?,
        deleted: Deleted {
            probes: count("probes")?,
            evidence: count("evidence")?,
            portraits: count("portraits")?,
            sightings: count("sightings")?,
        },
        problem: row.try_get("problem")?,
    })
}
