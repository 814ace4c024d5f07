//! A site's numbers.

use cavs_types::SiteId;
use deadpool_postgres::Object;
use jiff::{SignedDuration, Timestamp};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{SightingStore, audits};
use crate::{
    db::{Conditions, DatabaseError},
    page::Total,
    sightings::{DeviceStats, Period, SightingCounts, Stats, StatsRequest},
};

/// Most rooms, and most devices, that are named.
const NAMED: usize = 100;
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
        let Grouped { all, rooms, by_device } = grouped(&client, site, *period).await?;
        let hour = Period { from: as_of - SignedDuration::from_hours(1), until: as_of };
        // Mostly the period is the last of the days.
        let others: Vec<Period> = further.iter().copied().filter(|other| other != period).collect();
        let counted = counts_of(&client, site, &[&[hour], &others[..]].concat()).await?;
        let mut counted = counted.into_iter();
        let last_hour = counted.next().unwrap_or_default();
        let further = further.iter().map(|other| match other == period {
            true => all,
            false => counted.next().unwrap_or_default(),
        });
        let further = further.collect();
        let (devices, devices_online) = devices(&client, site).await?;
        Ok(Stats {
            as_of,
            pending: queued(&client, site, "s.in_queue").await?,
            flagged: queued(&client, site, "s.in_queue AND s.verdict IS NOT NULL").await?,
            devices,
            devices_online,
            counts: all,
            last_hour,
            rooms,
            by_device,
            further,
            audits: audits::counts(&client, site, request.whole()).await?,
        })
    }
}

/// The numbers of a period.
#[derive(Default)]
struct Grouped {
    all: SightingCounts,
    rooms: Vec<(String, SightingCounts)>,
    by_device: Vec<DeviceStats>,
}

/// All, by room and by device, in one reading.
async fn grouped(client: &Object, site: SiteId, period: Period) -> Result<Grouped, DatabaseError> {
    let sql = format!(
        "SELECT counted.*, d.name, d.last_seen_at FROM (
             SELECT s.classroom, s.device_id, {COUNTS} FROM sightings s
             WHERE s.site_id = $1 AND s.listed_at >= $2 AND s.listed_at < $3
             GROUP BY GROUPING SETS ((), (s.classroom), (s.device_id))) AS counted
         LEFT JOIN devices d ON d.site_id = $1 AND d.id = counted.device_id
         ORDER BY counted.sightings DESC, counted.classroom, d.name, d.id"
    );
    let statement = client.prepare_cached(&sql).await?;
    let mut found = Grouped::default();
    for row in client.query(&statement, &[&site.uuid(), &period.from, &period.until]).await? {
        let counts = counts(&row)?;
        match (row.try_get::<_, Option<String>>("classroom")?, row.try_get::<_, Option<Uuid>>("device_id")?) {
            (Some(classroom), _) if found.rooms.len() < NAMED => found.rooms.push((classroom, counts)),
            (None, Some(device)) if found.by_device.len() < NAMED => found.by_device.push(DeviceStats {
                device: device.into(),
                name: row.try_get("name")?,
                counts,
                last_seen_at: row.try_get("last_seen_at")?,
            }),
            (None, None) => found.all = counts,
            (Some(_), _) | (None, Some(_)) => {}
        }
    }
    Ok(found)
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

/// Those that are not revoked, and of these those that are online.
async fn devices(client: &Object, site: SiteId) -> Result<(u64, u64), DatabaseError> {
    let sql = format!(
        "SELECT count(*), count(*) FILTER (WHERE d.last_seen_at > now() - interval '{ONLINE}') FROM devices d
         WHERE d.site_id = $1 AND d.status IN ('active', 'maintenance')"
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
