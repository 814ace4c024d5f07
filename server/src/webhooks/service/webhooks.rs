use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cavs_types::{DeliveryState, ErrorReason, SiteId, WebhookDeliveryId, WebhookId};
use jiff::Timestamp;
use tracing::info;
use zeroize::Zeroizing;

use crate::{
    biometrics::{BiometricStore, Keys, Owner},
    db::Database,
    error::ServiceError,
    page::{Page, PageRequest},
    schedule::ListPosition,
    webhooks::{
        Delivery, EventData, EventMessage, NewWebhook, ReceiverClient, ReceiverPolicy, SecretError, Sent,
        SigningSecret, TestData, Webhook, WebhookChange, WebhookStore, WebhookUrl, WebhookVersion,
    },
};

/// Most webhooks of a site: each is asked for whenever something happens.
const MOST: i64 = 50;

/// Programs that are told of what happens.
#[derive(Clone)]
pub struct Webhooks {
    store: WebhookStore,
    secrets: Secrets,
    client: ReceiverClient,
}

/// What came of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    /// Whether it was taken.
    pub delivered: bool,
    /// What the receiver answered.
    pub status: Option<u16>,
    /// Why it was not taken.
    pub error: String,
    /// From the call to the answer.
    pub took: Duration,
}

/// Seals what webhooks sign with.
#[derive(Clone)]
pub(super) struct Secrets {
    keys: Arc<Keys>,
    sealed: BiometricStore,
}

impl Secrets {
    pub(super) fn new(db: &Database, keys: &Arc<Keys>) -> Self {
        Self { keys: Arc::clone(keys), sealed: BiometricStore::new(db) }
    }

    async fn seal(
        &self,
        site: SiteId,
        id: WebhookId,
        secret: &SigningSecret,
    ) -> Result<Vec<u8>, ServiceError> {
        let owner = Owner::WebhookSecret(site, id);
        self.keys.seal_secret(&self.sealed, site, owner, secret.bytes()).await
    }

    /// What signs: the newest first.
    pub(super) async fn open(
        &self,
        site: SiteId,
        id: WebhookId,
        sealed: &[Vec<u8>],
    ) -> Result<Vec<SigningSecret>, ServiceError> {
        let mut secrets = Vec::with_capacity(sealed.len());
        for sealed in sealed {
            let owner = Owner::WebhookSecret(site, id);
            let bytes: Zeroizing<Vec<u8>> = self.keys.unseal(&self.sealed, site, owner, sealed).await?;
            secrets.push(SigningSecret::from_bytes(bytes).map_err(|_| ServiceError::Stopped("a secret"))?);
        }
        Ok(secrets)
    }
}

impl Webhooks {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, keys: &Arc<Keys>, client: &ReceiverClient) -> Self {
        Self { store: WebhookStore::new(db), secrets: Secrets::new(db, keys), client: client.clone() }
    }

    /// Which receivers are allowed.
    #[must_use]
    pub const fn policy(&self) -> ReceiverPolicy {
        self.client.policy()
    }

    /// Makes a webhook, and its secret, which is told this once.
    ///
    /// # Errors
    /// `IN_USE`: the site has as many as it may.
    pub async fn create(
        &self,
        site: SiteId,
        new: &NewWebhook,
    ) -> Result<(Webhook, SigningSecret), ServiceError> {
        let (id, secret) = (WebhookId::generate(), new_secret()?);
        let sealed = self.secrets.seal(site, id, &secret).await?;
        if !self.store.create(site, id, new, &sealed, MOST).await? {
            let message = format!("a site has at most {MOST} webhooks: delete one first");
            return Err(ServiceError::refused(ErrorReason::InUse, message));
        }
        info!(webhook = %id, "made a webhook");
        Ok((self.get(site, id).await?, secret))
    }

    /// One webhook.
    ///
    /// # Errors
    /// `WEBHOOK_NOT_FOUND`.
    pub async fn get(&self, site: SiteId, id: WebhookId) -> Result<Webhook, ServiceError> {
        self.store.webhook(site, id).await?.ok_or_else(|| none_of(id))
    }

    /// Webhooks, the oldest first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        page: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<Webhook>, ServiceError> {
        Ok(self.store.webhooks(site, page).await?)
    }

    /// Changes a webhook; with a version, only that one. Where it is active again, it goes on with what waits.
    ///
    /// # Errors
    /// `WEBHOOK_NOT_FOUND`, `WEBHOOK_CHANGED`.
    pub async fn update(
        &self,
        site: SiteId,
        id: WebhookId,
        seen: Option<WebhookVersion>,
        change: &WebhookChange,
    ) -> Result<Webhook, ServiceError> {
        if !self.store.update(site, id, seen, change).await? {
            // Names the one that is not there.
            self.get(site, id).await?;
            let message = "somebody has changed the webhook since";
            return Err(ServiceError::refused(ErrorReason::WebhookChanged, message));
        }
        info!(webhook = %id, "changed a webhook");
        self.get(site, id).await
    }

    /// Deletes a webhook with its deliveries.
    ///
    /// # Errors
    /// `WEBHOOK_NOT_FOUND`.
    pub async fn delete(&self, site: SiteId, id: WebhookId) -> Result<(), ServiceError> {
        if !self.store.delete(site, id).await? {
            return Err(none_of(id));
        }
        info!(webhook = %id, "deleted a webhook");
        Ok(())
    }

    /// Gives a webhook a new secret, which is told this once; the one before signs, too, for so long.
    ///
    /// # Errors
    /// `WEBHOOK_NOT_FOUND`.
    pub async fn rotate(
        &self,
        site: SiteId,
        id: WebhookId,
        overlap: Duration,
    ) -> Result<(Webhook, SigningSecret), ServiceError> {
        let secret = new_secret()?;
        let sealed = self.secrets.seal(site, id, &secret).await?;
        if !self.store.rotate(site, id, &sealed, overlap).await? {
            return Err(none_of(id));
        }
        info!(webhook = %id, "gave a webhook a new secret");
        Ok((self.get(site, id).await?, secret))
    }

    /// Sends an event that is none, now, also where the webhook is switched off.
    ///
    /// # Errors
    /// `WEBHOOK_NOT_FOUND`.
    pub async fn test(&self, site: SiteId, id: WebhookId) -> Result<TestResult, ServiceError> {
        let (webhook, sealed) = self.store.with_secrets(site, id).await?.ok_or_else(|| none_of(id))?;
        let secrets = self.secrets.open(site, id, &sealed).await?;
        let url = WebhookUrl::stored(&webhook.url).ok_or(ServiceError::Stopped("an address"))?;
        let data = EventData::Test(TestData { webhook_id: id.uuid() });
        let message = EventMessage { kind: "webhook.test", timestamp: Timestamp::now(), site_id: site, data };
        let body = serde_json::to_vec(&message).map_err(|_| ServiceError::Stopped("a message"))?;
        let begun = Instant::now();
        let message_id = WebhookDeliveryId::generate().to_string();
        let sent = Sent { url: &url, id: &message_id, body: Bytes::from(body), secrets: &secrets };
        let outcome = self.client.send(sent).await;
        Ok(TestResult {
            delivered: outcome.is_accepted(),
            status: outcome.status(),
            error: outcome.problem(),
            took: begun.elapsed(),
        })
    }

    /// Deliveries of a webhook, the newest first; all of them, or those of a state.
    ///
    /// # Errors
    /// `WEBHOOK_NOT_FOUND`.
    pub async fn deliveries(
        &self,
        site: SiteId,
        id: WebhookId,
        state: Option<DeliveryState>,
        page: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<Delivery>, ServiceError> {
        self.get(site, id).await?;
        Ok(self.store.deliveries(site, id, state, page).await?)
    }

    /// Sends deliveries again: these, or all that have failed; how many.
    ///
    /// # Errors
    /// `WEBHOOK_NOT_FOUND`. `DELIVERY_NOT_FOUND`: one of them is not the webhook's; none is sent then.
    pub async fn redeliver(
        &self,
        site: SiteId,
        id: WebhookId,
        deliveries: &[WebhookDeliveryId],
    ) -> Result<u64, ServiceError> {
        self.get(site, id).await?;
        let again = self.store.redeliver(site, id, deliveries).await?;
        again.ok_or_else(|| {
            let message = "the webhook has no such delivery, or its time is over";
            ServiceError::refused(ErrorReason::DeliveryNotFound, message)
        })
    }
}

fn new_secret() -> Result<SigningSecret, ServiceError> {
    SigningSecret::generate().map_err(|error| match error {
        SecretError::NoRandomness => crate::biometrics::SealError::NoRandomness.into(),
        SecretError::Malformed => ServiceError::Stopped("a secret"),
    })
}

fn none_of(id: WebhookId) -> ServiceError {
    ServiceError::refused(ErrorReason::WebhookNotFound, format!("no webhook has the id {id}"))
}
