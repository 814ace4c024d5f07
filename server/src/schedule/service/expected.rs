//! Who is expected where, for those who look faces up: known on every server, and read anew where it changes.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cavs_types::{DeviceId, SiteId};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::{
    db::{Database, DatabaseError, Heard},
    recognition::ExpectedPeople,
    schedule::{ExpectedAt, ScheduleStore},
};

const CHANNEL: &str = "cavs_rosters";
/// How long a reading is used though no change was announced.
const LONGEST: Duration = Duration::from_secs(60);
/// How long it is used all the same: a roster that is typed in is not read at each of its lines.
const SHORTEST: Duration = Duration::from_millis(500);
/// Days of a site that are held: sightings that come late are of several.
const DAYS: usize = 8;

/// Says who is expected in sight of a device at a time.
#[derive(Clone)]
pub struct Expected {
    db: Database,
    store: ScheduleStore,
    sites: Arc<Mutex<HashMap<SiteId, Arc<OfSite>>>>,
}

#[derive(Default)]
struct OfSite {
    /// Counts the changes that were heard of.
    changes: AtomicU64,
    /// Held while a day is read, so that nobody reads it beside.
    days: tokio::sync::Mutex<BTreeMap<Date, Reading>>,
}

#[derive(Clone)]
struct Reading {
    expected: Arc<ExpectedAt>,
    /// Counted before it was read: a change meanwhile has it read again.
    changes: u64,
    at: Instant,
    used: Instant,
}

impl Reading {
    fn is_of_use(&self, changes: u64, now: Instant) -> bool {
        let age = now.duration_since(self.at);
        age < SHORTEST || (self.changes == changes && age < LONGEST)
    }
}

impl Expected {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone(), store: ScheduleStore::new(db), sites: Arc::default() }
    }

    /// Hears of changes that any server commits, until `shutdown`.
    pub async fn follow(&self, shutdown: CancellationToken) {
        let hear = |heard: Heard<'_>| {
            let sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
            let count = |site: &Arc<OfSite>| site.changes.fetch_add(1, Ordering::Relaxed);
            match heard {
                Heard::Listening => sites.values().for_each(|site| {
                    count(site);
                }),
                Heard::Told { payload, .. } => {
                    payload.parse().ok().and_then(|site| sites.get(&site)).map(count);
                }
            }
        };
        let listening = self.db.listen_always(&[CHANNEL], "changes of rosters", hear);
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = listening => {}
        }
    }

    /// Those who are expected in sight of each device at each time, in their order: `None` where nobody is. Where the
    /// database doesn't say, nobody is: a face is looked up among everybody then.
    pub async fn at(
        &self,
        site: SiteId,
        asked: &[Option<(DeviceId, Timestamp)>],
    ) -> Vec<Option<Arc<ExpectedPeople>>> {
        let of_site = {
            let mut sites = self.sites.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(sites.entry(site).or_default())
        };
        let mut answers = Vec::new();
        let mut known: BTreeMap<Date, Option<Arc<ExpectedAt>>> = BTreeMap::new();
        for asked in asked {
            let Some((device, at)) = *asked else {
                answers.push(None);
                continue;
            };
            let day = at.to_zoned(TimeZone::UTC).date();
            if let Entry::Vacant(unknown) = known.entry(day) {
                let read = self.of_day(site, &of_site, day).await;
                let read = read.inspect_err(|cause| {
                    warn!(%cause, %site, "faces are looked up without rosters, which can't be read");
                });
                unknown.insert(read.ok());
            }
            answers.push(known.get(&day).and_then(|day| day.as_ref()?.by(device, at)));
        }
        answers
    }

    async fn of_day(
        &self,
        site: SiteId,
        of_site: &OfSite,
        day: Date,
    ) -> Result<Arc<ExpectedAt>, DatabaseError> {
        let mut days = of_site.days.lock().await;
        let (now, changes) = (Instant::now(), of_site.changes.load(Ordering::Relaxed));
        if let Some(reading) = days.get_mut(&day).filter(|reading| reading.is_of_use(changes, now)) {
            reading.used = now;
            return Ok(Arc::clone(&reading.expected));
        }
        let from = day.to_zoned(TimeZone::UTC).map_or(Timestamp::MIN, |start| start.timestamp());
        let until = from.checked_add(SignedDuration::from_hours(24)).unwrap_or(Timestamp::MAX);
        let expected = Arc::new(self.store.expected(site, (from, until)).await?);
        days.insert(day, Reading { expected: Arc::clone(&expected), changes, at: now, used: now });
        while days.len() > DAYS {
            let Some(oldest) = days.iter().min_by_key(|(_, reading)| reading.used).map(|(day, _)| *day)
            else {
                break;
            };
            days.remove(&oldest);
        }
        Ok(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_used_until_something_changes() {
        let now = Instant::now();
        let reading = Reading { expected: Arc::default(), changes: 7, at: now, used: now };
        let at = |millis| now + Duration::from_millis(millis);
        assert!(reading.is_of_use(7, at(59_000)));
        assert!(!reading.is_of_use(7, at(60_000)), "a change that nobody was told of");
        assert!(!reading.is_of_use(8, at(500)));
        assert!(reading.is_of_use(8, at(499)), "changes come one after another");
    }
}
