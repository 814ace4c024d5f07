//! The galleries of all sites that a server serves.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use cavs_embedding::PackDigest;
use cavs_gallery::Counters;
use cavs_types::{ErrorReason, SiteId, TemplateId};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Mutex, Notify};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::warn;

use super::{Recognition, RecognitionSetup, executor::Executor};
use crate::{
    biometrics::Keys,
    db::{Connections, Database, DatabaseError, Heard},
    error::ServiceError,
    monitoring::Metrics,
    recognition::store::ServedSites,
};

/// The channel that tells of sites that came or were archived.
const SITES: &str = "cavs_sites";
/// What a server hears of: sites, and what changes in one of them; the payload of the latter is the site.
const CHANNELS: &[&str] = &[SITES, "cavs_gallery", "cavs_thresholds", "cavs_confusable_pairs"];
/// How often the database is asked for sites though no change was announced.
const POLL: Duration = Duration::from_secs(10);
/// How often it is looked whether a gallery has changed so much that it has to be calibrated anew.
const CALIBRATION: Duration = Duration::from_secs(60);
/// Galleries that are loaded at a time at the start: each decrypts on several threads.
const LOADS: usize = 2;

/// What the galleries of a server share. Whoever keeps one site's gallery busy takes the places of no more
/// searches than the queues have, for all sites together.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) setup: RecognitionSetup,
    pub(super) db: Database,
    pub(super) keys: Arc<Keys>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) executor: Arc<Executor>,
}

/// A gallery for each site that is not archived. A probe is compared in one of them, and meets nobody of another.
pub struct Galleries {
    shared: Shared,
    served: ServedSites,
    open: RwLock<HashMap<SiteId, Arc<Recognition>>>,
    /// Held while a gallery is opened or closed, so that none is opened twice.
    turn: Mutex<()>,
    /// Tells the task that follows of galleries that were opened or closed here, and of sites that have changed.
    changed: Notify,
}

impl Galleries {
    /// Opens the galleries of all sites that are not archived, with all their templates.
    ///
    /// # Errors
    /// `Database`: it does not answer. `Gallery`.
    pub async fn open(
        setup: RecognitionSetup,
        db: &Database,
        keys: Arc<Keys>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ServiceError> {
        let executor = Arc::new(Executor::new());
        let shared = Shared { setup, db: db.clone(), keys, metrics, executor };
        let served = ServedSites::new(db);
        let open = stream::iter(served.all().await?)
            .map(|site| {
                let shared = &shared;
                async move { Ok::<_, ServiceError>((site, Arc::new(Recognition::load(site, shared).await?))) }
            })
            .buffer_unordered(LOADS)
            .try_collect()
            .await?;
        Ok(Self { shared, served, open: RwLock::new(open), turn: Mutex::default(), changed: Notify::new() })
    }

    /// The pack whose embeddings are compared, in all sites.
    #[must_use]
    pub const fn pack(&self) -> PackDigest {
        self.shared.setup.pack
    }

    /// Number of components of its embeddings.
    #[must_use]
    pub const fn dimension(&self) -> usize {
        self.shared.setup.dimension
    }

    /// The gallery of a site; opened where another server has added the site a moment ago.
    ///
    /// # Errors
    /// `SITE_ARCHIVED`: its gallery is closed.
    pub async fn of(&self, site: SiteId) -> Result<Arc<Recognition>, ServiceError> {
        if let Some(gallery) = self.find(site) {
            return Ok(gallery);
        }
        let _turn = self.turn.lock().await;
        if let Some(gallery) = self.find(site) {
            return Ok(gallery);
        }
        if !self.served.is_served(site).await? {
            let message = "the site was archived: its gallery is closed";
            return Err(ServiceError::refused(ErrorReason::SiteArchived, message));
        }
        let gallery = Arc::new(Recognition::load(site, &self.shared).await?);
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(site, Arc::clone(&gallery));
        self.changed.notify_one();
        Ok(gallery)
    }

    /// Closes the gallery of a site that was archived, where it is open.
    pub async fn close(&self, site: SiteId) {
        let _turn = self.turn.lock().await;
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&site);
        self.changed.notify_one();
    }

    /// As [`Recognition::bring_into_force`]. A gallery that is closed finds nobody, and needs no change.
    ///
    /// # Errors
    /// `Database`, `Gallery`.
    pub async fn bring_into_force(&self, site: SiteId, templates: &[TemplateId]) -> Result<(), ServiceError> {
        let gallery = match self.find(site) {
            None => {
                // Somebody may be opening it, with what was there before.
                let _turn = self.turn.lock().await;
                self.find(site)
            }
            open => open,
        };
        match gallery {
            Some(gallery) => gallery.bring_into_force(templates).await,
            None => Ok(()),
        }
    }

    /// As [`Recognition::refresh_pairs`]; a gallery that is closed reads them when it is opened.
    ///
    /// # Errors
    /// `Database`.
    pub async fn refresh_pairs(&self, site: SiteId) -> Result<(), ServiceError> {
        match self.find(site) {
            Some(gallery) => gallery.refresh_pairs().await,
            None => Ok(()),
        }
    }

    /// The galleries that are open.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Recognition>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// How searches were answered, in all galleries together.
    #[must_use]
    pub fn searches(&self) -> Counters {
        let mut searches = Counters::default();
        for gallery in self.all() {
            searches += gallery.state().stats.counters;
        }
        searches
    }

    /// How their connections to the database are used.
    #[must_use]
    pub fn connections(&self) -> Connections {
        self.shared.db.connections()
    }

    fn find(&self, site: SiteId) -> Option<Arc<Recognition>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).get(&site).cloned()
    }

    /// Follows the database until `shutdown`: sites that any server adds or archives, and every change that any
    /// server commits to the templates and thresholds of each. One connection hears of all; each gallery is followed
    /// by a task of its own, so that none waits for another that is loaded again.
    pub async fn follow(&self, shutdown: CancellationToken) {
        let listening = self.shared.db.listen_always(CHANNELS, "galleries", |heard| self.tell(heard));
        let (tasks, ended) = (TaskTracker::new(), CancellationToken::new());
        let keeping = async {
            let mut followed: HashMap<SiteId, CancellationToken> = HashMap::new();
            loop {
                if let Err(cause) = self.keep_to_sites().await {
                    warn!(%cause, "can't open or close galleries as sites came or went; trying again");
                }
                let open = self.open.read().unwrap_or_else(PoisonError::into_inner).clone();
                followed.retain(|site, until| {
                    let is_open = open.contains_key(site);
                    if !is_open {
                        until.cancel();
                    }
                    is_open
                });
                for (site, gallery) in open {
                    followed.entry(site).or_insert_with(|| {
                        let until = ended.child_token();
                        let following = until.clone();
                        tasks.spawn(async move { gallery.follow(following).await });
                        until
                    });
                }
                let _ = tokio::time::timeout(POLL, self.changed.notified()).await;
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async { tokio::join!(listening, keeping); } => {}
        }
        ended.cancel();
        tasks.close();
        tasks.wait().await;
    }

    /// Wakes those whom it concerns.
    fn tell(&self, heard: Heard<'_>) {
        match heard {
            Heard::Listening => {
                self.changed.notify_one();
                self.all().iter().for_each(|gallery| gallery.wake());
            }
            Heard::Told { channel: SITES, .. } => self.changed.notify_one(),
            Heard::Told { payload, .. } => {
                if let Some(gallery) = payload.parse().ok().and_then(|site| self.find(site)) {
                    gallery.wake();
                }
            }
        }
    }

    /// Opens and closes galleries as the sites are now.
    async fn keep_to_sites(&self) -> Result<(), DatabaseError> {
        let served = self.served.all().await?;
        for gallery in self.all().iter().filter(|gallery| !served.contains(&gallery.site())) {
            self.close(gallery.site()).await;
        }
        for site in served {
            if let Err(cause) = self.of(site).await {
                warn!(%cause, %site, "the gallery of a site was not opened");
            }
        }
        Ok(())
    }

    /// Calibrates the galleries until `shutdown`, so that monitoring knows the rates of false matches and thresholds
    /// follow those that are wanted.
    pub async fn calibrate_regularly(&self, shutdown: CancellationToken) {
        let calibrating = async {
            loop {
                for gallery in self.all() {
                    gallery.calibrate_and_tell().await;
                }
                tokio::time::sleep(CALIBRATION).await;
            }
        };
        shutdown.run_until_cancelled(calibrating).await;
    }
}
