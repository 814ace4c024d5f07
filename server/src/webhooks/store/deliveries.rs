//! Deliveries as people ask for them.

use cavs_types::{DeliveryState, SiteId, WebhookDeliveryId, WebhookId};
use jiff::Timestamp;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{WebhookStore, sending::lock};
use crate::{
    db::{Conditions, DatabaseError, read_text},
    page::{Page, PageRequest},
    schedule::ListPosition,
    webhooks::Delivery,
};

const SELECT: &str = "SELECT d.* FROM webhook_deliveries d";

impl WebhookStore {
    /// Deliveries of a webhook, the newest first; all of them, or those of a state.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn deliveries(
        &self,
        site: SiteId,
        webhook: WebhookId,
        state: Option<DeliveryState>,
        request: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<Delivery>, DatabaseError> {
        let (client, site, webhook) = (self.db.client().await?, site.uuid(), webhook.uuid());
        let state = state.map(DeliveryState::as_str);
        let mut chosen = Conditions::default();
        chosen.with("d.site_id = ? AND d.webhook_id = ?", &[(&site, Type::UUID), (&webhook, Type::UUID)]);
        chosen.with_value("d.state = ?", &state, Type::TEXT);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "webhook_deliveries d").await?),
            false => None,
        };
        if let Some(after) = &request.after {
            let follows = "(d.created_at, d.id) < (?, ?)";
            chosen.with(follows, &[(&after.key, Type::TIMESTAMPTZ), (&after.id, Type::UUID)]);
        }
        let rows = chosen.rows(&client, SELECT, "d.created_at DESC, d.id DESC", request.fetch()).await?;
        let items = rows.iter().map(delivery).collect::<Result<_, _>>()?;
        let position = |found: &Delivery| ListPosition { key: found.created_at, id: found.id.uuid() };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Has deliveries sent again, now: these, or all that have failed. How many; `None`, and none of them, where one is
    /// not the webhook's.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn redeliver(
        &self,
        site: SiteId,
        webhook: WebhookId,
        deliveries: &[WebhookDeliveryId],
    ) -> Result<Option<u64>, DatabaseError> {
        let mut ids: Vec<Uuid> = deliveries.iter().map(|id| id.uuid()).collect();
        ids.sort_unstable();
        ids.dedup();
        let set = "UPDATE webhook_deliveries SET state = 'pending', due_at = now(), attempts = 0,
                       first_attempt_at = NULL, delivered_at = NULL WHERE site_id = $1 AND webhook_id = $2";
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        lock(&transaction, site.uuid(), webhook.uuid()).await?;
        let again = if ids.is_empty() {
            let sql = format!("{set} AND state = 'failed'");
            transaction.execute(&sql, &[&site.uuid(), &webhook.uuid()]).await?
        } else {
            let sql = format!("{set} AND id = ANY($3)");
            let again = transaction.execute(&sql, &[&site.uuid(), &webhook.uuid(), &ids]).await?;
            if again != ids.len() as u64 {
                return Ok(None);
            }
            again
        };
        // Who asks for it wants it now.
        let sql = "UPDATE webhooks SET rests_until = NULL WHERE site_id = $1 AND id = $2";
        transaction.execute(sql, &[&site.uuid(), &webhook.uuid()]).await?;
        transaction.commit().await?;
        Ok(Some(again))
    }
}

fn delivery(row: &Row) -> Result<Delivery, DatabaseError> {
    let state = read_text(row, "webhook_deliveries", "state")?;
    let due_at: Timestamp = row.try_get("due_at")?;
    Ok(Delivery {
        id: row.try_get::<_, Uuid>("id")?.into(),
        event: read_text(row, "webhook_deliveries", "event")?,
        subject: row.try_get("subject_id")?,
        student: row.try_get::<_, Option<Uuid>>("student_id")?.map(Into::into),
        state,
        happened_at: row.try_get("happened_at")?,
        created_at: row.try_get("created_at")?,
        attempts: row.try_get::<_, i32>("attempts")?.unsigned_abs(),
        last_attempt_at: row.try_get("last_attempt_at")?,
        due_at: (state == DeliveryState::Pending).then_some(due_at),
        delivered_at: row.try_get("delivered_at")?,
        last_status: row.try_get::<_, Option<i32>>("last_status")?.and_then(|status| status.try_into().ok()),
        last_error: row.try_get("last_error")?,
    })
}
