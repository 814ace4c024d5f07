//! A site's numbers.

use cavs_types::SiteId;
use deadpool_postgres::Object;
use jiff::Timestamp;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::SightingStore;
use crate::{
    db::{Conditions, DatabaseError},
    page::Total,
    sightings::{DeviceStats, Period, SightingCounts, Stats, StatsRequest},
};

/// Most rooms, and most devices, that are named.
const NAMED: i64 = 100;
/// How long ago a device was heard that is online: some heartbeats.
const ONLINE: &str = "5 minutes";

/// Of sightings `s`.
const COUNTS: &str = "count(*) AS sightings, count(*) FILTER (WHERE s.decision = 'accepted') AS accepted,
    count(*) FILTER (WHERE s.decision = 'pending') AS pending,
    count(*) FILTER (WHERE s.decision = 'unknown') AS unknown, count(DISTINCT s.student_id) AS students";

impl SightingStore {
    /// A site's numbers, as they are now.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn stats(&self, site: SiteId, request: &StatsRequest) -> Result<Stats, DatabaseError> {
        let StatsRequest { period, further } = request;
        let client = self.db.client().await?;
        let as_of = Timestamp::now();
        let hour = Period { from: as_of - jiff::SignedDuration::from_hours(1), until: as_of };
        let mut periods = vec![*period, hour];
        periods.extend(further);
        let mut counts = counts_of(&client, site, &periods).await?.into_iter();
        let (of_period, last_hour) = (counts.next().unwrap_or_default(), counts.next().unwrap_or_default());
        let rooms = rooms(&client, site, *period).await?;
        let by_device = by_device(&client, site, *period).await?;
        let (devices, devices_online) = devices(&client, site).await?;
        Ok(Stats {
            as_of,
            pending: queued(&client, site, "s.in_queue").await?,
            flagged: queued(&client, site, "s.in_queue AND s.verdict IS NOT NULL").await?,
            devices,
            devices_online,
            counts: of_period,
            last_hour,
            rooms,
            by_device,
            further: counts.collect(),
        })
    }
}

async fn queued(client: &Object, site: SiteId, which: &str) -> Result<Total, DatabaseError> {
    let site = site.uuid();
    let mut chosen = Conditions::default();
    chosen.with("s.site_id = ?", &[(&site, Type::UUID)]);
    chosen.also(which);
    chosen.count(client, "sightings s").await
}

/// Of each period, in their order.
async fn counts_of(
    client: &Object,
    site: SiteId,
    periods: &[Period],
) -> Result<Vec<SightingCounts>, DatabaseError> {
    let from: Vec<Timestamp> = periods.iter().map(|period| period.from).collect();
    let until: Vec<Timestamp> = periods.iter().map(|period| period.until).collect();
    let sql = format!(
        "SELECT counted.* FROM unnest($2::timestamptz[], $3::timestamptz[]) WITH ORDINALITY
             AS given (from_time, until_time, number),
             LATERAL (SELECT {COUNTS} FROM sightings s WHERE s.site_id = $1 AND s.listed_at >= given.from_time
                 AND s.listed_at < given.until_time) AS counted ORDER BY given.number"
    );
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&site.uuid(), &from, &until]).await?;
    rows.iter().map(counts).collect()
}

async fn rooms(
    client: &Object,
    site: SiteId,
    period: Period,
) -> Result<Vec<(String, SightingCounts)>, DatabaseError> {
    let sql = format!(
        "SELECT s.classroom, {COUNTS} FROM sightings s
         WHERE s.site_id = $1 AND s.listed_at >= $2 AND s.listed_at < $3
         GROUP BY s.classroom ORDER BY 2 DESC, 1 LIMIT {NAMED}"
    );
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&site.uuid(), &period.from, &period.until]).await?;
    rows.iter().map(|row| Ok((row.try_get("classroom")?, counts(row)?))).collect()
}

async fn by_device(client: &Object, site: SiteId, period: Period) -> Result<Vec<DeviceStats>, DatabaseError> {
    let sql = format!(
        "SELECT d.id, d.name, d.last_seen_at, counted.* FROM (
             SELECT s.device_id, {COUNTS} FROM sightings s
             WHERE s.site_id = $1 AND s.listed_at >= $2 AND s.listed_at < $3
             GROUP BY s.device_id ORDER BY 2 DESC, 1 LIMIT {NAMED}) AS counted
         JOIN devices d ON d.site_id = $1 AND d.id = counted.device_id
         ORDER BY counted.sightings DESC, d.name, d.id"
    );
    let statement = client.prepare_cached(&sql).await?;
    let rows = client.query(&statement, &[&site.uuid(), &period.from, &period.until]).await?;
    rows.iter()
        .map(|row| {
            Ok(DeviceStats {
                device: row.try_get::<_, Uuid>("id")?.into(),
                name: row.try_get("name")?,
                counts: counts(row)?,
                last_seen_at: row.try_get("last_seen_at")?,
            })
        })
        .collect()
}

/// Those that are not revoked, and of these those that are online.
async fn devices(client: &Object, site: SiteId) -> Result<(u64, u64), DatabaseError> {
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE d.last_seen_at > now() - interval '{ONLINE}') FROM devices d
         WHERE d.site_id = $1 AND d.status = 'active'"
    );
    let row = client.query_one(&client.prepare_cached(&sql).await?, &[&site.uuid()]).await?;
    let number = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    Ok((number(0)?, number(1)?))
}

fn counts(row: &Row) -> Result<SightingCounts, DatabaseError> {
    let number = |column| row.try_get::<_, i64>(column).map(i64::unsigned_abs);
    Ok(SightingCounts {
        sightings: number("sightings")?,
        accepted: number("accepted")?,
        pending: number("pending")?,
        unknown: number("unknown")?,
        students: number("students")?,
    })
}
