use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use cavs_types::SiteId;
use tokio::sync::Mutex;

use crate::{
    db::Database,
    error::ServiceError,
    sightings::{SightingStore, Stats, StatsRequest},
};

/// How long numbers are told again: many look at the same dashboard.
const FRESH: Duration = Duration::from_secs(10);
/// Most requests whose numbers are kept.
const KEPT: usize = 1000;

type Answers = HashMap<(SiteId, StatsRequest), (Instant, Arc<Stats>)>;

/// The numbers of sites.
#[derive(Clone)]
pub struct Statistics {
    store: SightingStore,
    answers: Arc<Mutex<Answers>>,
}

impl Statistics {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { store: SightingStore::new(db), answers: Arc::default() }
    }

    /// A site's numbers, no older than ten seconds.
    ///
    /// # Errors
    /// `Database`.
    pub async fn get(&self, site: SiteId, request: &StatsRequest) -> Result<Arc<Stats>, ServiceError> {
        let key = (site, request.clone());
        let kept = self.answers.lock().await.get(&key).cloned();
        if let Some((counted, stats)) = kept
            && counted.elapsed() < FRESH
        {
            return Ok(stats);
        }
        let stats = Arc::new(self.store.stats(site, request).await?);
        let mut answers = self.answers.lock().await;
        answers.retain(|_, (counted, _)| counted.elapsed() < FRESH);
        if answers.len() < KEPT {
            answers.insert(key, (Instant::now(), Arc::clone(&stats)));
        }
        Ok(stats)
    }
}
