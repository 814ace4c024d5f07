use std::time::Duration;

use cavs_types::{SiteId, WebhookEvent, WebhookId};
use jiff::Timestamp;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{WebhookStore, outbox::DELETED};
use crate::{
    db::{Conditions, DatabaseError},
    page::{Page, PageRequest},
    schedule::ListPosition,
    webhooks::{NewWebhook, Webhook, WebhookChange, WebhookHealth, WebhookVersion},
};

const SELECT: &str = "SELECT w.id, w.url, w.description, w.events, w.include_names, w.is_active, w.disabled_at,
        w.disabled_reason, w.created_at, w.updated_at, w.version, w.failing_since, w.last_success_at,
        w.last_failure_at, w.last_error, CASE WHEN w.rests_until > now() THEN w.rests_until END AS rests_until,
        CASE WHEN w.previous_until > now() THEN w.previous_until END AS previous_until,
        (SELECT count(*) FROM (SELECT FROM webhook_deliveries d WHERE d.site_id = w.site_id
            AND d.webhook_id = w.id AND d.state = 'pending' LIMIT 10000) AS waiting) AS pending
    FROM webhooks w";

impl WebhookStore {
    /// Makes a webhook; false where the site has so many.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn create(
        &self,
        site: SiteId,
        id: WebhookId,
        new: &NewWebhook,
        secret: &[u8],
        most: i64,
    ) -> Result<bool, DatabaseError> {
        let sql = "INSERT INTO webhooks (site_id, id, url, description, events, include_names, secret)
                   SELECT $1, $2, $3, $4, $5, $6, $7
                   WHERE (SELECT count(*) FROM webhooks WHERE site_id = $1) < $8";
        let NewWebhook { url, description, events, include_names } = new;
        let client = self.db.client().await?;
        let made = client
            .execute(
                sql,
                &[
                    &site.uuid(),
                    &id.uuid(),
                    &url.as_str(),
                    description,
                    &words(events),
                    include_names,
                    &secret,
                    &most,
                ],
            )
            .await?;
        Ok(made == 1)
    }

    /// One webhook.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn webhook(&self, site: SiteId, id: WebhookId) -> Result<Option<Webhook>, DatabaseError> {
        let sql = format!("{SELECT} WHERE w.site_id = $1 AND w.id = $2");
        let row = self.db.client().await?.query_opt(&sql, &[&site.uuid(), &id.uuid()]).await?;
        row.as_ref().map(webhook).transpose()
    }

    /// One webhook, and what signs for it, sealed, the newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn with_secrets(
        &self,
        site: SiteId,
        id: WebhookId,
    ) -> Result<Option<(Webhook, Vec<Vec<u8>>)>, DatabaseError> {
        let sql =
            "SELECT secret, CASE WHEN previous_until > now() THEN previous_secret END AS previous_secret
                   FROM webhooks WHERE site_id = $1 AND id = $2";
        let row = self.db.client().await?.query_opt(sql, &[&site.uuid(), &id.uuid()]).await?;
        let (Some(row), Some(webhook)) = (row, self.webhook(site, id).await?) else { return Ok(None) };
        let previous: Option<Vec<u8>> = row.try_get("previous_secret")?;
        let secrets = std::iter::once(row.try_get("secret")?).chain(previous).collect();
        Ok(Some((webhook, secrets)))
    }

    /// Webhooks, the oldest first.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn webhooks(
        &self,
        site: SiteId,
        request: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<Webhook>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let mut chosen = Conditions::default();
        chosen.with("w.site_id = ?", &[(&site, Type::UUID)]);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "webhooks w").await?),
            false => None,
        };
        if let Some(after) = &request.after {
            let follows = "(w.created_at, w.id) > (?, ?)";
            chosen.with(follows, &[(&after.key, Type::TIMESTAMPTZ), (&after.id, Type::UUID)]);
        }
        let rows = chosen.rows(&client, SELECT, "w.created_at, w.id", request.fetch()).await?;
        let items = rows.iter().map(webhook).collect::<Result<_, _>>()?;
        let position = |found: &Webhook| ListPosition { key: found.created_at, id: found.id.uuid() };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Changes a webhook, if it is in the version that was seen; false where it is not, or is not there.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn update(
        &self,
        site: SiteId,
        id: WebhookId,
        seen: Option<WebhookVersion>,
        change: &WebhookChange,
    ) -> Result<bool, DatabaseError> {
        // Active, or somewhere else: what was before says nothing any more, and neither does a round that is under way.
        let sql = "UPDATE webhooks SET url = coalesce($4, url), description = coalesce($5, description),
                       events = coalesce($6, events), include_names = coalesce($7, include_names),
                       is_active = coalesce($8, is_active),
                       disabled_at = CASE WHEN $8 THEN NULL ELSE disabled_at END,
                       disabled_reason = CASE WHEN $8 THEN '' ELSE disabled_reason END,
                       failures = CASE WHEN $8 OR $4 IS NOT NULL THEN 0 ELSE failures END,
                       failing_since = CASE WHEN $8 OR $4 IS NOT NULL THEN NULL ELSE failing_since END,
                       rests_until = CASE WHEN $8 OR $4 IS NOT NULL THEN NULL ELSE rests_until END,
                       lease = CASE WHEN $8 IS NULL AND $4 IS NULL THEN lease END,
                       leased_until = CASE WHEN $8 IS NULL AND $4 IS NULL THEN leased_until END,
                       version = version + 1, updated_at = now()
                   WHERE site_id = $1 AND id = $2 AND ($3::bigint IS NULL OR version = $3)";
        let WebhookChange { url, description, events, include_names, is_active } = change;
        let (seen, url) = (seen.map(|version| version.0), url.as_ref().map(|url| url.as_str()));
        let events = events.as_deref().map(words);
        let client = self.db.client().await?;
        let changed = client
            .execute(
                sql,
                &[&site.uuid(), &id.uuid(), &seen, &url, description, &events, include_names, is_active],
            )
            .await?;
        Ok(changed == 1)
    }

    /// Deletes a webhook with its deliveries; false where it is not there.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn delete(&self, site: SiteId, id: WebhookId) -> Result<bool, DatabaseError> {
        // There may be more than one statement has the time for. Those that a round holds go with the webhook.
        let sql = "WITH batch AS MATERIALIZED (
                SELECT site_id, id FROM webhook_deliveries WHERE site_id = $1 AND webhook_id = $2
                LIMIT $3 FOR UPDATE SKIP LOCKED
            ) DELETE FROM webhook_deliveries d USING batch WHERE d.site_id = batch.site_id AND d.id = batch.id";
        loop {
            let client = self.db.client().await?;
            let deleted = client.execute(sql, &[&site.uuid(), &id.uuid(), &DELETED]).await?;
            if deleted < DELETED.unsigned_abs() {
                break;
            }
        }
        let sql = "DELETE FROM webhooks WHERE site_id = $1 AND id = $2";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &id.uuid()]).await? == 1)
    }

    /// Forgets secrets that sign no longer; how many.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn forget_secrets(&self) -> Result<u64, DatabaseError> {
        let sql =
            "UPDATE webhooks SET previous_secret = NULL, previous_until = NULL WHERE previous_until <= now()";
        Ok(self.db.client().await?.execute(sql, &[]).await?)
    }

    /// Gives a webhook another secret; the one before signs, too, for so long. False where it is not there.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn rotate(
        &self,
        site: SiteId,
        id: WebhookId,
        secret: &[u8],
        overlap: Duration,
    ) -> Result<bool, DatabaseError> {
        let sql = "UPDATE webhooks SET secret = $3,
                       previous_secret = CASE WHEN $4::float8 > 0 THEN secret END,
                       previous_until = CASE WHEN $4::float8 > 0 THEN now() + make_interval(secs => $4) END,
                       version = version + 1, updated_at = now()
                   WHERE site_id = $1 AND id = $2";
        let client = self.db.client().await?;
        Ok(client.execute(sql, &[&site.uuid(), &id.uuid(), &secret, &overlap.as_secs_f64()]).await? == 1)
    }
}

fn words(events: &[WebhookEvent]) -> Vec<&'static str> {
    events.iter().map(|event| event.as_str()).collect()
}

fn webhook(row: &Row) -> Result<Webhook, DatabaseError> {
    let events: Vec<&str> = row.try_get("events")?;
    let event = |text: &&str| {
        text.parse().map_err(|_| DatabaseError::Damaged {
            table: "webhooks",
            column: "events",
            value: (*text).to_owned(),
        })
    };
    let disabled_at: Option<Timestamp> = row.try_get("disabled_at")?;
    let disabled_reason: String = row.try_get("disabled_reason")?;
    Ok(Webhook {
        id: row.try_get::<_, Uuid>("id")?.into(),
        url: row.try_get("url")?,
        description: row.try_get("description")?,
        events: events.iter().map(event).collect::<Result<_, _>>()?,
        include_names: row.try_get("include_names")?,
        is_active: row.try_get("is_active")?,
        disabled: disabled_at.map(|at| (at, disabled_reason)),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        previous_secret_until: row.try_get("previous_until")?,
        health: WebhookHealth {
            last_success_at: row.try_get("last_success_at")?,
            last_failure_at: row.try_get("last_failure_at")?,
            last_error: row.try_get("last_error")?,
            failing_since: row.try_get("failing_since")?,
            rests_until: row.try_get("rests_until")?,
            pending: row.try_get::<_, i64>("pending")?.unsigned_abs(),
        },
        version: WebhookVersion(row.try_get("version")?),
    })
}
