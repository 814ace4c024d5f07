//! How the running gallery follows the changes that any server commits.

use std::{
    pin::pin,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use cavs_gallery::{Change, Follower, Gallery, Step, TemplateId};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::loading::{Opener, Quarantine};
use crate::{
    biometrics::TemplateState,
    error::{ServiceError, blocking},
    recognition::{Recognition, RecognitionSetup},
};

/// How often the database is asked for changes though none was announced.
const POLL: Duration = Duration::from_secs(10);
/// How long to wait before trying again.
const TRY_AGAIN: Duration = Duration::from_millis(500);

/// A gallery, and what of the database is left out of it.
#[derive(Clone)]
pub(super) struct Replica {
    pub(super) gallery: Arc<dyn Gallery>,
    pub(super) quarantine: Arc<Quarantine>,
}

/// What remains to be done after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// Nothing: every change that was committed before the step is in the gallery.
    UpToDate,
    /// There are further changes.
    Behind,
    /// Changes are missing: everything must be loaded.
    Lost,
}

impl Recognition {
    /// Has the task that follows look for changes.
    pub(super) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Follows the site in the database until `shutdown`: every change that any server commits.
    pub(super) async fn follow(&self, shutdown: CancellationToken) {
        let applying = async {
            loop {
                let _ = tokio::time::timeout(POLL, self.changed.notified()).await;
                // Thresholds first: they must not wait for a great many changes.
                let followed = async {
                    self.refresh_thresholds().await?;
                    self.refresh_pairs().await?;
                    self.catch_up().await
                };
                if let Err(cause) = followed.await {
                    warn!(%cause, site = %self.site, "can't follow the database's changes; trying again");
                    tokio::time::sleep(TRY_AGAIN).await;
                    self.changed.notify_one();
                }
            }
        };
        shutdown.run_until_cancelled(applying).await;
    }

    /// Brings committed changes of some templates into force: when this returns, they are. It never waits
    /// for a gallery that is loaded again, nor for a great many changes of others.
    ///
    /// # Errors
    /// `Database`, `Gallery`; the changes are in force within seconds then.
    pub async fn bring_into_force(&self, templates: &[cavs_types::TemplateId]) -> Result<(), ServiceError> {
        let mut follower = self.follower.lock().await;
        let replica = self.replica();
        if self.step_running(&replica, &mut follower).await? == Progress::UpToDate {
            return Ok(());
        }
        // The rest is for the task that follows, which comes to these templates again: a change that is
        // applied twice does no harm. While the lock is held, no older state of them can come later.
        let states = self.templates.template_states(self.site, templates, self.pack()).await?;
        let applied = self.apply(&replica, states).await;
        self.changed.notify_one();
        applied
    }

    /// Applies what the database has and the gallery has not.
    async fn catch_up(&self) -> Result<(), ServiceError> {
        loop {
            // Between steps, others have their turn.
            let progress = {
                let mut follower = self.follower.lock().await;
                self.step_running(&self.replica(), &mut follower).await?
            };
            match progress {
                Progress::UpToDate => return Ok(()),
                Progress::Behind => {}
                Progress::Lost => {
                    warn!(site = %self.site, applied = self.sequence(), "gallery changes are missing; loading everything again");
                    self.reload_and_refresh_thresholds().await?;
                }
            }
        }
    }

    /// Loads everything again; thresholds that are set meanwhile don't wait for it.
    async fn reload_and_refresh_thresholds(&self) -> Result<(), ServiceError> {
        let mut reloading = pin!(self.reload());
        loop {
            tokio::select! {
                done = &mut reloading => return done,
                () = self.changed.notified() => {
                    if let Err(cause) = self.refresh_thresholds().await {
                        warn!(%cause, "can't read the thresholds; they are read again after the load");
                    }
                }
            }
        }
    }

    /// A step of the running gallery.
    async fn step_running(
        &self,
        replica: &Replica,
        follower: &mut Follower,
    ) -> Result<Progress, ServiceError> {
        let progress = self.step(replica, follower).await;
        self.applied.store(follower.applied(), Ordering::Relaxed);
        progress
    }

    /// Reads the next changes, and applies them.
    async fn step(&self, replica: &Replica, follower: &mut Follower) -> Result<Progress, ServiceError> {
        let (latest, changes) =
            self.templates.gallery_changes(self.site, follower.applied(), self.pack()).await?;
        match follower.step(latest, changes.iter().map(|change| change.sequence)) {
            Step::Done => Ok(Progress::UpToDate),
            Step::Reload => Ok(Progress::Lost),
            Step::Apply(last) => {
                self.apply(replica, changes.into_iter().map(|change| change.state).collect()).await?;
                follower.advance(last);
                Ok(if last >= latest { Progress::UpToDate } else { Progress::Behind })
            }
        }
    }

    async fn apply(&self, replica: &Replica, states: Vec<TemplateState>) -> Result<(), ServiceError> {
        let (gallery, opener) = (Arc::clone(&replica.gallery), self.opener(replica));
        blocking(move || {
            let mut change = Change::default();
            let mut last_key = None;
            for TemplateState { template, stored } in &states {
                let id = TemplateId(template.uuid().as_u128());
                if stored.is_none() {
                    opener.forget(id);
                }
                change.set(id, stored.as_ref().and_then(|stored| opener.open(stored, &mut last_key)));
            }
            gallery.apply(&change)?;
            Ok(())
        })
        .await?
    }

    /// Fills a new gallery from the database, and puts it in place of the running one, which goes on answering
    /// and taking in changes meanwhile.
    pub(super) async fn reload(&self) -> Result<(), ServiceError> {
        let begun = Instant::now();
        self.templates.delete_old_gallery_changes(self.site).await?;
        // Later changes may be in what is read, too: applying a change twice does no harm.
        let mut loaded = Follower::default();
        loaded.advance(self.templates.gallery_sequence(self.site).await?);
        let RecognitionSetup { mode, dimension, options, .. } = self.shared.setup;
        let gallery = cavs_gallery::open(mode, dimension, options)?;
        let replica = Replica { gallery, quarantine: Arc::default() };
        self.opener(&replica).fill(&replica.gallery, &self.templates).await?;
        // Most of what was committed meanwhile is applied before the running gallery's changes have to wait.
        while self.step(&replica, &mut loaded).await? == Progress::Behind {}
        let mut follower = self.follower.lock().await;
        while self.step(&replica, &mut loaded).await? == Progress::Behind {}
        let (stats, damaged) = (replica.gallery.stats(), replica.quarantine.len());
        let (seconds, sequence) = (begun.elapsed().as_secs_f32(), loaded.applied());
        info!(site = %self.site, pack = %self.pack(), templates = stats.templates, students = stats.students, damaged, sequence, seconds, "loaded the gallery");
        let replaced = {
            let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
            let before = running.replica.gallery.stats().counters;
            running.before += before;
            running.loads += 1;
            std::mem::replace(&mut running.replica, replica)
        };
        self.applied.store(sequence, Ordering::Relaxed);
        *follower = loaded;
        drop(follower);
        // Erasing a large gallery takes a while.
        blocking(move || drop(replaced)).await
    }

    fn opener(&self, replica: &Replica) -> Opener {
        Opener {
            site: self.site,
            keys: Arc::clone(&self.shared.keys),
            pack: self.pack(),
            dimension: self.dimension(),
            quarantine: Arc::clone(&replica.quarantine),
        }
    }
}
