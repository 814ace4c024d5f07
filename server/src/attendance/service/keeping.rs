//! Marks follow what is known: sessions whose marks are to be made anew are taken from the queue, which the database
//! fills with each commit that matters.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use cavs_types::{ClassSessionId, SiteId};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    attendance::{
        AttendanceStore,
        store::{Keeping, Renewed},
    },
    db::DatabaseError,
    error::ServiceError,
};

/// How often the queue is looked at.
const TURN: Duration = Duration::from_millis(250);
/// How often it is looked for sessions that time takes on.
const DUE_TURN: Duration = Duration::from_secs(5);
/// Sessions that are made anew at a time: the background has four connections to the database.
const AT_A_TIME: usize = 2;
/// How long a session is left alone after it was made anew, in times of what that took: while a room is being filled,
/// sightings come all the time. At most so long: what is seen is in the marks soon, also of a large session.
const REST: u32 = 8;
const LONGEST_REST: Duration = Duration::from_secs(1);
/// How long a session is left alone that can't be made anew.
const REST_AFTER_FAILURE: Duration = Duration::from_secs(30);
/// How often, and how long after each other, somebody tries who wants the marks now while another is at them.
const TRIES: u32 = 40;
const TRY_AGAIN: Duration = Duration::from_millis(50);

type Key = (SiteId, ClassSessionId);

/// Keeps marks up to date.
#[derive(Clone)]
pub struct MarksKeeper {
    store: AttendanceStore,
    keeping: Arc<Keeping>,
}

impl MarksKeeper {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(store: &AttendanceStore) -> Self {
        Self { store: store.clone(), keeping: Arc::default() }
    }

    /// Keeps marks up to date until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.keep()).await;
    }

    async fn keep(&self) {
        let mut rests: HashMap<Key, Instant> = HashMap::new();
        let mut next_due = Instant::now();
        let mut is_well = true;
        loop {
            tokio::time::sleep(TURN).await;
            let look = Instant::now() >= next_due;
            let found = self.find(look).await;
            match found {
                Ok(sessions) => {
                    is_well = true;
                    if look {
                        next_due = Instant::now() + DUE_TURN;
                    }
                    rests.retain(|_, until| *until > Instant::now());
                    let ready = sessions.into_iter().filter(|key| !rests.contains_key(key));
                    let renewed: Vec<(Key, Duration)> = stream::iter(ready)
                        .map(|key| self.renew_one(key))
                        .buffer_unordered(AT_A_TIME)
                        .collect()
                        .await;
                    rests.extend(renewed.into_iter().map(|(key, rest)| (key, Instant::now() + rest)));
                }
                Err(cause) => {
                    // Once, not at each turn.
                    if std::mem::replace(&mut is_well, false) {
                        warn!(%cause, "marks are not kept up to date until the database is back");
                    }
                }
            }
        }
    }

    /// Looks after all that is to be done now, once.
    #[cfg(test)]
    pub(crate) async fn keep_once(&self) {
        for key in self.find(true).await.unwrap_or_default() {
            self.renew_one(key).await;
        }
    }

    async fn find(&self, due: bool) -> Result<BTreeSet<Key>, DatabaseError> {
        let mut sessions: BTreeSet<Key> =
            self.store.queued(Some(self.keeping.keeper)).await?.into_iter().collect();
        if due {
            sessions.extend(self.store.due(Timestamp::now()).await?);
        }
        Ok(sessions)
    }

    /// Makes a session anew; how long to leave it alone then.
    async fn renew_one(&self, (site, session): Key) -> (Key, Duration) {
        let begun = Instant::now();
        let rest = match self.store.renew_kept((site, session), Timestamp::now(), Some(&self.keeping)).await {
            Ok(_) => (begun.elapsed() * REST).min(LONGEST_REST),
            Err(cause) => {
                warn!(%site, %session, %cause, "the marks of a session can't be made; they are tried again");
                REST_AFTER_FAILURE
            }
        };
        debug!(%session, took = ?begun.elapsed(), "made marks");
        ((site, session), rest)
    }
}

/// Makes a session's marks anew before somebody is told of them.
pub(super) async fn renew_now(
    store: &AttendanceStore,
    site: SiteId,
    session: ClassSessionId,
) -> Result<(), ServiceError> {
    for _ in 0..TRIES {
        if store.renew(site, session, Timestamp::now()).await? == Renewed::Done {
            return Ok(());
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
    // Another server is at it; what was committed is in its queue.
    Ok(())
}
