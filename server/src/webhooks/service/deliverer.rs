//! Tells webhooks what has happened. Every server has one; a webhook is told by one server at a time, which holds a lease
//! of it: where that server is gone, another one goes on when the lease is over. What was sent and not noted is sent again,
//! under the same id.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cavs_types::{WebhookDeliveryId, WebhookEvent};
use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use super::{
    client::{CALL_LIMIT, READ_LIMIT, ReceiverClient, Sent},
    webhooks::Secrets,
};
use crate::{
    biometrics::Keys,
    db::{Database, DatabaseError},
    error::ServiceError,
    fleet::ONLINE_FOR,
    monitoring::Metrics,
    webhooks::{Attempt, Claimed, DueDelivery, EventMessage, SigningSecret, WebhookStore, WebhookUrl},
};

/// How often is looked for what has happened: nothing announces it, as that would make commits wait for one another.
const LOOK: Duration = Duration::from_millis(500);
/// How long is waited after the database has failed.
const PAUSE: Duration = Duration::from_secs(5);
/// Webhooks that one server tells at a time.
const AT_ONCE: usize = 16;
/// Deliveries of one webhook that are under way at a time: one of each type, at least.
const SENDS: usize = 8;
const _: () = assert!(SENDS >= WebhookEvent::ALL.len());
/// Deliveries of one round of a webhook.
const ROUND: i64 = 64;
/// Rows of the outbox that become deliveries in one transaction, at most.
const NOTED: i64 = 200;
/// How long nothing more is begun in a round.
const ROUND_LIMIT: Duration = Duration::from_secs(15);
/// How long a webhook is this server's: a round, its last call, and writing it down.
const LEASE: Duration = Duration::from_secs(30);
const _: () = assert!(LEASE.as_secs() > ROUND_LIMIT.as_secs() + CALL_LIMIT.as_secs() + READ_LIMIT.as_secs());
/// How often is looked which devices are heard.
const DEVICE_LOOK: Duration = Duration::from_secs(10);
/// How long devices have to come back to a server that was started, or whose database is back, before they count as
/// silent.
const SETTLED: Duration = Duration::from_secs(60);
/// How often is looked for deliveries that are kept no longer.
const FORGET: Duration = Duration::from_secs(3600);

/// Tells webhooks what has happened.
#[derive(Clone)]
pub struct Deliverer {
    store: WebhookStore,
    secrets: Secrets,
    client: ReceiverClient,
    metrics: Arc<Metrics>,
}

impl Deliverer {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, keys: &Arc<Keys>, client: &ReceiverClient, metrics: &Arc<Metrics>) -> Self {
        Self {
            store: WebhookStore::new(db),
            secrets: Secrets::new(db, keys),
            client: client.clone(),
            metrics: Arc::clone(metrics),
        }
    }

    /// Works until `shutdown`; what is under way then comes to its end.
    pub async fn run(&self, shutdown: CancellationToken) {
        let begun = Instant::now();
        let (mut looked, mut forgot, mut steady) = (begun, begun, begun);
        let mut rounds = JoinSet::new();
        while !shutdown.is_cancelled() {
            let pause = match self.begin_rounds(&mut rounds, &shutdown).await {
                Ok(()) => LOOK,
                Err(cause) => {
                    warn!(%cause, "webhooks are not told what happens");
                    steady = Instant::now();
                    PAUSE
                }
            };
            if steady.elapsed() >= SETTLED && looked.elapsed() >= DEVICE_LOOK {
                looked = Instant::now();
                tell(
                    "webhooks are not told of silent devices",
                    self.store.note_connections(ONLINE_FOR).await,
                );
            }
            if forgot.elapsed() >= FORGET {
                forgot = Instant::now();
                tell("deliveries are kept for longer than they should be", self.store.delete_old().await);
                tell(
                    "old secrets are kept for longer than they should be",
                    self.store.forget_secrets().await,
                );
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
                // There may be more for the same webhook.
                Some(_) = rounds.join_next() => {}
            }
        }
        while rounds.join_next().await.is_some() {}
    }

    /// Makes deliveries of what has happened, and begins to send those that are due.
    async fn begin_rounds(
        &self,
        rounds: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) -> Result<(), DatabaseError> {
        // What was noted before is sent, also where nothing more can be.
        let noted = self.note_events().await;
        let free = AT_ONCE.saturating_sub(rounds.len());
        if free == 0 {
            return noted;
        }
        for claimed in self.store.claim(Uuid::new_v4(), LEASE, free).await? {
            let (deliverer, shutdown) = (self.clone(), shutdown.clone());
            rounds.spawn(async move {
                if let Err(error) = deliverer.round(&claimed, &shutdown).await {
                    warn!(webhook = %claimed.id, %error, "a webhook is not told what happens");
                    if let Err(cause) = deliverer.store.let_go(&claimed).await {
                        debug!(webhook = %claimed.id, %cause, "a webhook is held until its lease is over");
                    }
                }
            });
        }
        noted
    }

    /// Makes deliveries of what has happened: of less at a time where the database was not done with so much.
    async fn note_events(&self) -> Result<(), DatabaseError> {
        let mut most = NOTED;
        loop {
            match self.store.note_events(most).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(DatabaseError::TooSlow(_)) if most > 1 => most = (most / 4).max(1),
                Err(cause) => return Err(cause),
            }
        }
    }

    /// Sends what is due of a webhook that this server holds, and notes what came of it.
    pub(crate) async fn round(
        &self,
        claimed: &Claimed,
        shutdown: &CancellationToken,
    ) -> Result<(), ServiceError> {
        // A receiver that takes nothing is asked for one of each type: it may refuse one, and take the others.
        let of_each = if claimed.failures == 0 { ROUND } else { 1 };
        let due = self.store.due(claimed, of_each, ROUND).await?;
        let secrets = self.secrets.open(claimed.site, claimed.id, &claimed.secrets).await?;
        let Some(url) = WebhookUrl::stored(&claimed.url) else {
            return Err(ServiceError::Stopped("an address"));
        };
        let until = claimed.claimed_at + ROUND_LIMIT;
        let (mut attempts, mut obsolete): (Vec<Attempt>, Vec<WebhookDeliveryId>) = (Vec::new(), Vec::new());
        for some in due.chunks(SENDS) {
            let is_down =
                !attempts.is_empty() && !attempts.iter().any(|attempt| attempt.outcome.is_accepted());
            if is_down || Instant::now() >= until || shutdown.is_cancelled() {
                break;
            }
            // Just before they are sent: of who is erased in the middle of a round, no more is told.
            let messages = match self.store.messages(claimed, some).await {
                Ok(messages) => messages,
                // What was sent is written down; the next round begins with these, and says what is wrong.
                Err(_) if !attempts.is_empty() => break,
                Err(cause) => return Err(cause.into()),
            };
            let mut calls = Vec::with_capacity(some.len());
            for delivery in some {
                match messages.get(&delivery.id) {
                    Some(message) => calls.push(self.attempt(&url, &secrets, delivery, message)),
                    None => obsolete.push(delivery.id),
                }
            }
            attempts.extend(join_all(calls).await.into_iter().flatten());
        }
        if let Some(reason) = self.store.record(claimed, &attempts, &obsolete).await? {
            self.metrics.webhook_disabled();
            warn!(webhook = %claimed.id, %reason, "switched a webhook off");
        }
        Ok(())
    }

    async fn attempt(
        &self,
        url: &WebhookUrl,
        secrets: &[SigningSecret],
        delivery: &DueDelivery,
        message: &EventMessage,
    ) -> Option<Attempt> {
        // A message is text and numbers.
        let body = serde_json::to_vec(message).ok()?;
        let id = delivery.id.to_string();
        let outcome = self.client.send(Sent { url, id: &id, body: Bytes::from(body), secrets }).await;
        self.metrics.webhook_attempted(outcome.is_accepted());
        Some(Attempt {
            delivery: delivery.id,
            before: delivery.attempts,
            first_attempt_at: delivery.first_attempt_at,
            outcome,
        })
    }
}

fn tell(consequence: &str, done: Result<u64, DatabaseError>) {
    match done {
        Ok(0) => {}
        Ok(rows) => debug!(rows, "looked after webhooks"),
        Err(cause) => warn!(%cause, "{consequence}"),
    }
}
