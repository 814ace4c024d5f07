//! What devices watched.

use std::collections::{BTreeMap, HashMap};

use cavs_types::{DeviceId, SiteId};
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use uuid::Uuid;

use super::{DeviceStore, cameras::lock_standings};
use crate::{
    db::{Batch, DatabaseError, read_text},
    fleet::{CameraStanding, DeviceWatch, NotAdmitted, WatchReport, WatchedPeriod, longest, merge},
};

/// Periods that ended longer ago are not kept: a school year and a month.
const KEPT_DAYS: i32 = 400;

impl DeviceStore {
    /// Commits what a device says of its watch, if it may speak; of cameras that it does not speak for, nothing. Saying
    /// it again changes nothing. `Ok(Err(_))`: nothing was stored.
    ///
    /// # Errors
    /// `Unavailable`; nothing was stored then, or all of it.
    pub async fn record_watch(
        &self,
        site: SiteId,
        device: DeviceId,
        report: &WatchReport,
    ) -> Result<Result<(), NotAdmitted>, DatabaseError> {
        let mut said: BTreeMap<DeviceId, Vec<WatchedPeriod>> = BTreeMap::new();
        for reported in &report.periods {
            said.entry(reported.camera.unwrap_or(device)).or_default().push(reported.period);
        }
        let cameras: Vec<Uuid> = said.keys().filter(|id| **id != device).map(|id| id.uuid()).collect();
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let (admitted, standings) = lock_standings(&transaction, site, device, &cameras).await?;
        if let Err(refused) = admitted {
            return Ok(Err(refused));
        }
        said.retain(|id, _| {
            *id == device || CameraStanding::judge(standings.get(id).copied(), device).is_ok()
        });
        for (id, periods) in &said {
            lay_over(&transaction, site, *id, periods).await?;
        }
        // `least` passes over what is not said: that would be as if all had been delivered.
        let sql =
            "UPDATE devices SET last_seen_at = now(), delivered_until = CASE WHEN $3::timestamptz IS NULL
                       THEN delivered_until ELSE greatest(delivered_until, least($3, now())) END
                   WHERE site_id = $1 AND (id = $2 OR (proxy_id = $2 AND id = ANY($4)))";
        let delivered = report.delivered_until;
        transaction.execute(sql, &[&site.uuid(), &device.uuid(), &delivered, &cameras]).await?;
        transaction.commit().await?;
        Ok(Ok(()))
    }

    /// What is known of the watches of devices of the site, of those periods that meet a window of time. Devices that
    /// are not there are left out.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn watches(
        &self,
        site: SiteId,
        devices: &[DeviceId],
        (start, end): (Timestamp, Timestamp),
    ) -> Result<HashMap<DeviceId, DeviceWatch>, DatabaseError> {
        let (client, site_id) = (self.db.client().await?, site.uuid());
        let ids: Vec<Uuid> = devices.iter().map(|id| id.uuid()).collect();
        let sql = "SELECT id, delivered_until FROM devices WHERE site_id = $1 AND id = ANY($2)";
        let mut watches = HashMap::new();
        for row in client.query(sql, &[&site_id, &ids]).await? {
            let id = DeviceId::from(row.try_get::<_, Uuid>(0)?);
            watches.insert(id, DeviceWatch { delivered_until: row.try_get(1)?, periods: Vec::new() });
        }
        let sql = "SELECT device_id, started_at, ended_at, state FROM watched_periods
                   WHERE site_id = $1 AND device_id = ANY($2) AND ended_at > $3 AND started_at < $4
                   ORDER BY device_id, started_at";
        for row in client.query(sql, &[&site_id, &ids, &start, &end]).await? {
            let id = DeviceId::from(row.try_get::<_, Uuid>("device_id")?);
            if let Some(watch) = watches.get_mut(&id) {
                watch.periods.push(period(&row)?);
            }
        }
        // What was watched meanwhile proves nothing.
        let maintenance = self.maintenance(site, devices, (start, end)).await?;
        for (id, watch) in &mut watches {
            let meanwhile: Vec<WatchedPeriod> =
                maintenance.iter().filter(|m| m.0 == *id).map(|m| m.1).collect();
            if !meanwhile.is_empty() {
                watch.periods = merge(&watch.periods, &meanwhile);
            }
        }
        Ok(watches)
    }

    /// When devices of the site were in maintenance, within a window of time.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn maintenance(
        &self,
        site: SiteId,
        devices: &[DeviceId],
        (start, end): (Timestamp, Timestamp),
    ) -> Result<Vec<(DeviceId, WatchedPeriod)>, DatabaseError> {
        let client = self.db.client().await?;
        let sql = "SELECT device_id, greatest(started_at, $3) AS started_at,
                       least(coalesce(ended_at, $4), $4) AS ended_at, 'maintenance' AS state
                   FROM device_maintenance WHERE site_id = $1 AND device_id = ANY($2)
                       AND coalesce(ended_at > $3, true) AND started_at < $4";
        let ids: Vec<Uuid> = devices.iter().map(|id| id.uuid()).collect();
        let statement = client.prepare_cached(sql).await?;
        let rows = client.query(&statement, &[&site.uuid(), &ids, &start, &end]).await?;
        rows.iter()
            .map(|row| Ok((DeviceId::from(row.try_get::<_, Uuid>("device_id")?), period(row)?)))
            .collect()
    }
}

/// Lays periods over what is known of a device, whose row is locked.
async fn lay_over(
    transaction: &Transaction<'_>,
    site: SiteId,
    device: DeviceId,
    said: &[WatchedPeriod],
) -> Result<(), DatabaseError> {
    let (Some(start), Some(end)) =
        (said.iter().map(|period| period.start).min(), said.iter().map(|period| period.end).max())
    else {
        return Ok(());
    };
    let (site, device) = (site.uuid(), device.uuid());
    // Neighbours, too: those of one state become one.
    let sql = "DELETE FROM watched_periods
               WHERE site_id = $1 AND device_id = $2 AND ended_at >= $3 AND started_at <= $4
               RETURNING started_at, ended_at, state";
    let known = transaction.query(sql, &[&site, &device, &start, &end]).await?;
    let known: Vec<WatchedPeriod> = known.iter().map(period).collect::<Result<_, _>>()?;
    let merged = longest(merge(&known, said));
    let batch = Batch::of(&merged)
        .column("site_id", |_| site)
        .column("device_id", |_| device)
        .column("started_at", |period| period.start)
        .column("ended_at", |period| period.end)
        .column("state", |period| period.state.as_str());
    let sql = format!(
        "INSERT INTO watched_periods ({}) SELECT {} FROM {}",
        batch.names(),
        batch.given(),
        batch.source()
    );
    transaction.execute(&sql, &batch.parameters()).await?;
    let sql = "DELETE FROM watched_periods
               WHERE site_id = $1 AND device_id = $2 AND ended_at < now() - make_interval(days => $3)";
    transaction.execute(sql, &[&site, &device, &KEPT_DAYS]).await?;
    Ok(())
}

fn period(row: &tokio_postgres::Row) -> Result<WatchedPeriod, DatabaseError> {
    Ok(WatchedPeriod {
        start: row.try_get("started_at")?,
        end: row.try_get("ended_at")?,
        state: read_text(row, "watched_periods", "state")?,
    })
}
