//! What has to be done about faces while nobody asks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{
    biometrics::{BiometricStore, Keys, RetentionPolicy, RotationDue},
    db::{Database, DatabaseError},
    error::ServiceError,
};

/// How long after a try to finish an erasure the next one follows, at first and at most.
const PURGE_PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How often is looked whether other servers have left something to do.
const INTERVAL: Duration = Duration::from_secs(60);
/// How often partitions are made, of which there are some for days ahead, and is looked whether the retention
/// policy has to be applied, which is so once a day.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// Makes partitions ahead, finishes erasures and deletes what is kept no longer. Every server has one; each job is done by one at a time.
pub struct Maintenance {
    store: BiometricStore,
    keys: Arc<Keys>,
    retention: RetentionPolicy,
    /// A site's policy has changed here.
    policy_changed: AtomicBool,
    wake: Notify,
}

impl Maintenance {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database, keys: &Arc<Keys>, retention: RetentionPolicy) -> Self {
        Self {
            store: BiometricStore::new(db),
            keys: Arc::clone(keys),
            retention,
            policy_changed: AtomicBool::new(false),
            wake: Notify::new(),
        }
    }

    /// What sites keep that have set nothing.
    pub(crate) const fn common_policy(&self) -> RetentionPolicy {
        self.retention
    }

    /// Says that a site keeps something for another time from now on.
    pub(crate) fn policy_changed(&self) {
        self.policy_changed.store(true, Ordering::Release);
        self.wake();
    }

    /// Says that there is something to do now.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Works until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.work()).await;
    }

    async fn work(&self) {
        let mut kept_up: Option<Instant> = None;
        let mut pause = PURGE_PAUSES.0;
        loop {
            let policy_changed = self.policy_changed.swap(false, Ordering::AcqRel);
            if policy_changed || kept_up.is_none_or(|at| at.elapsed() >= UPKEEP_INTERVAL) {
                tell("faces have no partitions of their own days", self.make_partitions().await);
                let retention = self.store.apply_retention(self.retention, Timestamp::now()).await;
                tell("faces are kept for longer than the policy says", retention);
                kept_up = Some(Instant::now());
            }
            tell("keys of erased students are still in the keyring", self.forget_erased_keys().await);
            let purged =
                tell("what was erased is still in the database's files", self.store.purge_erased().await);
            if purged == Some(false) {
                // Whoever waits for an erasure has its answer soon, whatever else wakes this.
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(PURGE_PAUSES.1);
            } else {
                pause = PURGE_PAUSES.0;
                let _woken = tokio::time::timeout(INTERVAL, self.wake.notified()).await;
            }
        }
    }

    /// Rotates the keyring where an erasure waits for that, and the server can.
    async fn forget_erased_keys(&self) -> Result<(), ServiceError> {
        if self.keys.can_rotate() {
            self.keys.rotate_if(&self.store, RotationDue::ErasuresWait).await?;
        }
        Ok(())
    }

    async fn make_partitions(&self) -> Result<(), DatabaseError> {
        let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
        if let Some(made @ 1..) = self.store.make_partitions(today).await? {
            info!(made, "made partitions for faces");
        }
        Ok(())
    }
}

/// Tells the log of a failure; what was not done is tried again.
fn tell<T>(consequence: &str, done: Result<T, impl std::fmt::Display>) -> Option<T> {
    done.map_err(|cause| warn!(%cause, "{consequence}")).ok()
}
