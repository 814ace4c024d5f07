//! Sightings as they come in, told to those who watch.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cavs_types::{SightingId, SiteId};
use jiff::Timestamp;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::CancellationToken;
use tracing::warn;
use uuid::Uuid;

use crate::{
    db::{Database, Heard},
    error::ServiceError,
    sightings::{Sighting, SightingFilter, SightingStore},
};

const CHANNEL: &str = "cavs_sightings";
/// Most who watch at a time, of all sites.
const WATCHERS: usize = 64;
/// When it is worth while to try again where there are so many.
const RETRY: Duration = Duration::from_secs(30);
/// Batches of devices come one after another: how long those of a moment are waited for.
const GATHERED: Duration = Duration::from_millis(200);
/// How much later than another a sighting may be committed whose id was made before: the longest wait for a connection
/// and statement of an ingest, and what the clocks of several servers differ.
const LATE: Duration = Duration::from_secs(90);
/// Sightings that are told at once.
const TOLD: usize = 200;
/// Wakes that a slow watcher may be behind. What it missed it finds in the database.
const BEHIND: usize = 16;

/// Tells of sightings as they are committed, by whichever server.
#[derive(Clone)]
pub struct SightingFeed {
    db: Database,
    store: SightingStore,
    /// Of this site, or perhaps of all.
    added: broadcast::Sender<Option<SiteId>>,
    /// Sites of which the other servers are to be told.
    untold: Arc<Mutex<HashSet<SiteId>>>,
    has_untold: Arc<Notify>,
    watchers: Arc<Semaphore>,
}

impl SightingFeed {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self {
            db: db.clone(),
            store: SightingStore::new(db),
            added: broadcast::channel(BEHIND).0,
            untold: Arc::default(),
            has_untold: Arc::default(),
            watchers: Arc::new(Semaphore::new(WATCHERS)),
        }
    }

    /// Sightings of a site were committed here.
    pub(super) fn tell(&self, site: SiteId) {
        // Nobody has to be there.
        let _ = self.added.send(Some(site));
        self.untold.lock().unwrap_or_else(PoisonError::into_inner).insert(site);
        self.has_untold.notify_one();
    }

    /// Follows the database until `shutdown`, and tells the other servers of what is committed here. That is not a part
    /// of the commit, which would make commits wait for one another.
    pub async fn follow(&self, shutdown: CancellationToken) {
        let hear = |heard: Heard<'_>| {
            let site = match heard {
                Heard::Listening => None,
                Heard::Told { payload, .. } => payload.parse().ok(),
            };
            let _ = self.added.send(site);
        };
        let listening = self.db.listen_always(&[CHANNEL], "new sightings", hear);
        let telling = async {
            loop {
                self.has_untold.notified().await;
                tokio::time::sleep(GATHERED).await;
                let sites = std::mem::take(&mut *self.untold.lock().unwrap_or_else(PoisonError::into_inner));
                let sites: Vec<SiteId> = sites.into_iter().collect();
                if let Err(cause) = self.store.announce(CHANNEL, &sites).await {
                    // Their watchers are told with the next sighting.
                    warn!(%cause, "other servers are not told of new sightings");
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async { tokio::join!(listening, telling); } => {}
        }
    }

    /// Watches what comes in of a site from now on, or what came after a sighting, and perhaps some of what came
    /// shortly before it: whoever goes on knows what they were told.
    ///
    /// # Errors
    /// `OVERLOADED`: too many watch.
    pub fn watch(
        &self,
        site: SiteId,
        filter: SightingFilter,
        after: Option<SightingId>,
    ) -> Result<SightingWatch, ServiceError> {
        let busy = |_| ServiceError::Busy { what: "watching", retry_in: RETRY };
        let place = Arc::clone(&self.watchers).try_acquire_owned().map_err(busy)?;
        let from = after.map_or_else(|| first_of(Timestamp::now()), |after| late_before(after.uuid()));
        Ok(SightingWatch {
            store: self.store.clone(),
            added: self.added.subscribe(),
            site,
            filter,
            window: Window::new(from),
            is_behind: true,
            _place: place,
        })
    }
}

/// One watching.
pub struct SightingWatch {
    store: SightingStore,
    added: broadcast::Receiver<Option<SiteId>>,
    site: SiteId,
    filter: SightingFilter,
    window: Window,
    /// There may be more than was told.
    is_behind: bool,
    _place: OwnedSemaphorePermit,
}

impl SightingWatch {
    /// Waits for sightings: at least one, in the order of their ids, each told once.
    ///
    /// # Errors
    /// `Database`.
    pub async fn next(&mut self) -> Result<Vec<Sighting>, ServiceError> {
        loop {
            if !self.is_behind {
                self.heard().await;
                tokio::time::sleep(GATHERED).await;
            }
            // No more can be old than were told.
            let most = self.window.told.len() + TOLD;
            let ids = self.store.ids_after(self.site, self.window.from, most).await?;
            let new = self.window.new_of(&ids, TOLD);
            self.is_behind = new.len() == TOLD;
            if new.is_empty() {
                continue;
            }
            let found = self.store.sightings_of(self.site, &self.filter, &new).await?;
            self.window.told(&new);
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }

    /// Waits until something of the site may have come.
    async fn heard(&mut self) {
        loop {
            match self.added.recv().await {
                Ok(Some(site)) if site != self.site => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                // The feed lives as long as the server.
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

/// Which of the latest sightings were told. Ids are made in the order of time (UUID version 7), but committed in
/// another: those of the last seconds are looked through again.
#[derive(Debug)]
struct Window {
    /// Nothing that is at or before it is looked for.
    from: Uuid,
    told: HashSet<Uuid>,
}

impl Window {
    fn new(from: Uuid) -> Self {
        Self { from, told: HashSet::new() }
    }

    /// The first of these that were not told.
    fn new_of(&self, ids: &[Uuid], most: usize) -> Vec<Uuid> {
        ids.iter().filter(|id| !self.told.contains(id)).take(most).copied().collect()
    }

    fn told(&mut self, ids: &[Uuid]) {
        self.told.extend(ids);
        let Some(newest) = ids.iter().max() else { return };
        let from = late_before(*newest);
        if from > self.from {
            self.from = from;
            self.told.retain(|id| *id > from);
        }
    }
}

/// Before all that may be committed later than a sighting.
fn late_before(id: Uuid) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_sub(LATE.as_millis() << 80))
}

/// Before all ids of a moment.
fn first_of(time: Timestamp) -> Uuid {
    Uuid::from_u128(u128::try_from(time.as_millisecond()).unwrap_or(0) << 80)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(ms: u64, n: u64) -> Uuid {
        Uuid::from_u128(u128::from(ms) << 80 | u128::from(n))
    }

    proptest! {
        /// Whatever the order of commits, each sighting is told once, if it is no later than may be.
        #[test]
        fn each_sighting_is_told_once(
            made in prop::collection::vec((0_u64..30_000, 0_u64..89_000), 1..60),
            most in 1_usize..5,
        ) {
            // Made every so many milliseconds, and committed so much later.
            let mut at = 1_000_000;
            let mut all: Vec<(u64, Uuid)> = made.iter().zip(1..).map(|((gap, late), n)| {
                at += gap;
                (at + late, id(at, n))
            }).collect();
            all.sort_unstable();
            let mut window = Window::new(first_of(Timestamp::from_millisecond(1_000_000).unwrap()));
            let (mut committed, mut told) = (Vec::<Uuid>::new(), Vec::new());
            for (_, id) in &all {
                committed.push(*id);
                loop {
                    let mut seen: Vec<Uuid> = committed.iter().filter(|id| **id > window.from).copied().collect();
                    seen.sort_unstable();
                    let new = window.new_of(&seen, most);
                    if new.is_empty() {
                        break;
                    }
                    window.told(&new);
                    told.extend(new);
                }
            }
            let mut expected: Vec<Uuid> = all.iter().map(|(_, id)| *id).collect();
            expected.sort_unstable();
            told.sort_unstable();
            prop_assert_eq!(told, expected);
        }
    }

    #[test]
    fn what_was_told_is_forgotten_when_it_is_old() {
        let mut window = Window::new(id(0, 0));
        for second in 0..200 {
            window.told(&[id(second * 1000, second)]);
        }
        assert_eq!(window.told.len(), 90);
    }
}
