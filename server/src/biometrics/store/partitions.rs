//! The partitions of probes, evidence and portraits.

use jiff::{ToSpan, civil::Date};
use tokio_postgres::Client;

use crate::{biometrics::Kept, db::DatabaseError};

/// How many days ahead there are partitions: a server that is away for as long needs none on its return, and
/// where none was there in time, the default partition takes what comes.
const DAYS_AHEAD: i32 = 3;

/// A table in partitions by the day of reception.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FaceTable {
    /// A partition a day.
    Probes,
    /// A partition a day.
    Evidence,
    /// A partition a month, as portraits are kept for years, and there are few of them.
    Portraits,
}

impl FaceTable {
    pub(crate) const ALL: [Self; 3] = [Self::Probes, Self::Evidence, Self::Portraits];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Probes => "probes",
            Self::Evidence => "evidence",
            Self::Portraits => "portraits",
        }
    }

    /// What a row of it is of a sighting; `None` of a student's.
    pub(super) const fn kept(self) -> Option<Kept> {
        match self {
            Self::Probes => Some(Kept::Probe),
            Self::Evidence => Some(Kept::Evidence),
            Self::Portraits => None,
        }
    }

    /// The partition that a day belongs to.
    pub(crate) fn partition(self, day: Date) -> Partition {
        match self {
            Self::Probes | Self::Evidence => {
                Partition { table: self, from: day, until: day.saturating_add(1.day()) }
            }
            Self::Portraits => {
                let from = day.first_of_month();
                Partition { table: self, from, until: from.saturating_add(1.month()) }
            }
        }
    }
}

/// The days `from` (inclusive) to `until` (exclusive) of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Partition {
    pub(crate) table: FaceTable,
    pub(crate) from: Date,
    pub(crate) until: Date,
}

impl Partition {
    /// The name of its table, which tells its first day.
    pub(crate) fn name(&self) -> String {
        format!("{}_{}", self.table.name(), self.from.strftime("%Y%m%d"))
    }

    /// Makes it. What the default partition holds of its days moves into it.
    async fn create(&self, owner: &mut Client) -> Result<(), DatabaseError> {
        let (table, name) = (self.table.name(), self.name());
        let (from, until) = (self.from, self.until);
        let transaction = owner.transaction().await?;
        // Whoever writes faces waits for this, and this must not wait long. An erasure under way is through before
        // rows move, or it could miss them in both places.
        transaction
            .batch_execute(&format!(
                "SET LOCAL lock_timeout = '3s';
                 LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE;
                 CREATE TABLE {name} (LIKE {table} INCLUDING ALL);
                 WITH moved AS (
                     DELETE FROM {table}_default WHERE day >= '{from}' AND day < '{until}' RETURNING *
                 ) INSERT INTO {name} SELECT * FROM moved;
                 ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{until}')"
            ))
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Drops it, with all that is in it.
    pub(crate) async fn drop(&self, owner: &mut Client) -> Result<(), DatabaseError> {
        let transaction = owner.transaction().await?;
        let name = self.name();
        transaction.batch_execute(&format!("SET LOCAL lock_timeout = '3s'; DROP TABLE {name}")).await?;
        Ok(transaction.commit().await?)
    }
}

/// The partitions that a table has, by their days, without the default one.
pub(crate) async fn partitions(owner: &Client, table: FaceTable) -> Result<Vec<Partition>, DatabaseError> {
    let sql = "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
               WHERE i.inhparent = to_regclass($1) ORDER BY c.relname";
    let rows = owner.query(sql, &[&table.name()]).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let name: &str = row.try_get(0)?;
        let day = name.rsplit_once('_').and_then(|(_, day)| Date::strptime("%Y%m%d", day).ok());
        found.extend(day.map(|day| table.partition(day)));
    }
    Ok(found)
}

/// Makes the partitions of the days ahead, and of what fell into the default ones.
pub(crate) async fn make_partitions(owner: &mut Client, today: Date) -> Result<usize, DatabaseError> {
    let mut made = 0;
    for table in FaceTable::ALL {
        let existing = partitions(owner, table).await?;
        let stray = format!("SELECT DISTINCT day FROM {}_default ORDER BY day", table.name());
        let mut days: Vec<Date> =
            owner.query(&stray, &[]).await?.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        days.extend((0..=DAYS_AHEAD).map(|ahead| today.saturating_add(ahead.days())));
        let mut wanted: Vec<Partition> = days.into_iter().map(|day| table.partition(day)).collect();
        wanted.sort_by_key(|partition| partition.from);
        wanted.dedup();
        for partition in wanted {
            if !existing.contains(&partition) {
                partition.create(owner).await?;
                made += 1;
            }
        }
    }
    Ok(made)
}
