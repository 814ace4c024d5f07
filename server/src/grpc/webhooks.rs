use std::time::Duration;

use cavs_proto::{enum_from_wire, enum_to_wire, status_of, to_timestamp, v1};
use cavs_types::{ProtocolError, WebhookDeliveryId, WebhookEvent};
use tonic::{Request, Response, Status};

use super::convert::{caller, masked, page_request, required_id, total_to_wire};
use crate::{
    page::ListName,
    webhooks::{
        Delivery, NewWebhook, TestResult, Webhook, WebhookChange, WebhookHealth, WebhookUrl, WebhookVersion,
        Webhooks,
    },
};

/// For how long the secret before signs, too, unless somebody says it, in hours; and at most.
const OVERLAP_HOURS: (u32, u32) = (24, 168);
/// Most deliveries that are named at once.
const REDELIVERED: usize = 1000;

pub(super) struct WebhookApi(Webhooks);

impl WebhookApi {
    pub(super) fn new(webhooks: Webhooks) -> Self {
        Self(webhooks)
    }
}

#[tonic::async_trait]
impl v1::webhook_service_server::WebhookService for WebhookApi {
    async fn create_webhook(
        &self,
        request: Request<v1::CreateWebhookRequest>,
    ) -> Result<Response<v1::CreateWebhookResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::CreateWebhookRequest { url, description, events, include_names } = request.into_inner();
        let new = NewWebhook {
            url: WebhookUrl::new("url", &url, self.0.policy()).map_err(status_of)?,
            description: NewWebhook::description("description", &description).map_err(status_of)?,
            events: events_from_wire("events", &events).map_err(status_of)?,
            include_names,
        };
        let (webhook, secret) = self.0.create(site, &new).await?;
        let secret = secret.text().to_string();
        Ok(Response::new(v1::CreateWebhookResponse { webhook: Some(webhook.into()), secret }))
    }

    async fn get_webhook(
        &self,
        request: Request<v1::GetWebhookRequest>,
    ) -> Result<Response<v1::GetWebhookResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("webhook_id", &request.into_inner().webhook_id).map_err(status_of)?;
        Ok(Response::new(v1::Webhook::from(self.0.get(site, id).await?).into()))
    }

    async fn list_webhooks(
        &self,
        request: Request<v1::ListWebhooksRequest>,
    ) -> Result<Response<v1::ListWebhooksResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListWebhooksRequest { page_size, page_token, with_total_size } = request.into_inner();
        let page = page_request(page_size, &page_token, with_total_size, ListName::new("webhooks"))?;
        let found = self.0.list(site, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListWebhooksResponse {
            webhooks: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn update_webhook(
        &self,
        request: Request<v1::UpdateWebhookRequest>,
    ) -> Result<Response<v1::UpdateWebhookResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::UpdateWebhookRequest { webhook, update_mask } = request.into_inner();
        let webhook = webhook.ok_or(ProtocolError::Missing { field: "webhook" }).map_err(status_of)?;
        let id = required_id("webhook.id", &webhook.id).map_err(status_of)?;
        let seen = WebhookVersion::from_etag(&webhook.etag).map_err(status_of)?;
        let change = self.change(&webhook, update_mask).map_err(status_of)?;
        Ok(Response::new(v1::Webhook::from(self.0.update(site, id, seen, &change).await?).into()))
    }

    async fn delete_webhook(
        &self,
        request: Request<v1::DeleteWebhookRequest>,
    ) -> Result<Response<v1::DeleteWebhookResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("webhook_id", &request.into_inner().webhook_id).map_err(status_of)?;
        self.0.delete(site, id).await?;
        Ok(Response::new(v1::DeleteWebhookResponse {}))
    }

    async fn rotate_webhook_secret(
        &self,
        request: Request<v1::RotateWebhookSecretRequest>,
    ) -> Result<Response<v1::RotateWebhookSecretResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::RotateWebhookSecretRequest { webhook_id, overlap_hours } = request.into_inner();
        let id = required_id("webhook_id", &webhook_id).map_err(status_of)?;
        let (usual, most) = OVERLAP_HOURS;
        let hours = overlap_hours.unwrap_or(usual);
        if hours > most {
            return Err(status_of(ProtocolError::invalid("overlap_hours", "must be 0 to 168")));
        }
        let overlap = Duration::from_secs(u64::from(hours) * 3600);
        let (webhook, secret) = self.0.rotate(site, id, overlap).await?;
        let secret = secret.text().to_string();
        Ok(Response::new(v1::RotateWebhookSecretResponse { webhook: Some(webhook.into()), secret }))
    }

    async fn test_webhook(
        &self,
        request: Request<v1::TestWebhookRequest>,
    ) -> Result<Response<v1::TestWebhookResponse>, Status> {
        let site = caller(&request)?.site;
        let id = required_id("webhook_id", &request.into_inner().webhook_id).map_err(status_of)?;
        let TestResult { delivered, status, error, took } = self.0.test(site, id).await?;
        Ok(Response::new(v1::TestWebhookResponse {
            delivered,
            status: status.unwrap_or_default().into(),
            error,
            milliseconds: took.as_millis().try_into().unwrap_or(u32::MAX),
        }))
    }

    async fn list_webhook_deliveries(
        &self,
        request: Request<v1::ListWebhookDeliveriesRequest>,
    ) -> Result<Response<v1::ListWebhookDeliveriesResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::ListWebhookDeliveriesRequest { webhook_id, state, page_size, page_token, with_total_size } =
            request.into_inner();
        let id = required_id("webhook_id", &webhook_id).map_err(status_of)?;
        let state = match state {
            0 => None,
            state => Some(enum_from_wire("state", state).map_err(status_of)?),
        };
        let list = ListName::new("webhook deliveries")
            .with("webhook", Some(&webhook_id))
            .with("state", state.map(cavs_types::DeliveryState::as_str));
        let page = page_request(page_size, &page_token, with_total_size, list)?;
        let found = self.0.deliveries(site, id, state, &page).await?;
        let (total_size, total_size_exact) = total_to_wire(found.total);
        Ok(Response::new(v1::ListWebhookDeliveriesResponse {
            deliveries: found.items.into_iter().map(Into::into).collect(),
            next_page_token: found.next,
            total_size,
            total_size_exact,
        }))
    }

    async fn redeliver_webhook(
        &self,
        request: Request<v1::RedeliverWebhookRequest>,
    ) -> Result<Response<v1::RedeliverWebhookResponse>, Status> {
        let site = caller(&request)?.site;
        let v1::RedeliverWebhookRequest { webhook_id, delivery_ids } = request.into_inner();
        let id = required_id("webhook_id", &webhook_id).map_err(status_of)?;
        if delivery_ids.len() > REDELIVERED {
            return Err(status_of(ProtocolError::invalid("delivery_ids", "are more than 1000")));
        }
        let delivery = |id: &String| required_id("delivery_ids", id);
        let deliveries: Result<Vec<WebhookDeliveryId>, _> = delivery_ids.iter().map(delivery).collect();
        let again = self.0.redeliver(site, id, &deliveries.map_err(status_of)?).await?;
        let redelivered = again.try_into().unwrap_or(u32::MAX);
        Ok(Response::new(v1::RedeliverWebhookResponse { redelivered }))
    }
}

impl WebhookApi {
    fn change(
        &self,
        webhook: &v1::Webhook,
        mask: Option<prost_types::FieldMask>,
    ) -> Result<WebhookChange, ProtocolError> {
        let v1::Webhook { url, description, events, include_names, active, .. } = webhook;
        let fields = [
            ("url", !url.is_empty()),
            ("description", !description.is_empty()),
            ("events", !events.is_empty()),
            ("include_names", *include_names),
            ("active", *active),
        ];
        let mut change = WebhookChange::default();
        for field in masked(mask, &fields)? {
            match field {
                "url" => change.url = Some(WebhookUrl::new("webhook.url", url, self.0.policy())?),
                "description" => {
                    change.description = Some(NewWebhook::description("webhook.description", description)?);
                }
                // None stands for all where a webhook is made; here it would tell it more than before.
                "events" if events.is_empty() => {
                    return Err(ProtocolError::invalid("webhook.events", "must name one, at least"));
                }
                "events" => change.events = Some(events_from_wire("webhook.events", events)?),
                "include_names" => change.include_names = Some(*include_names),
                _ => change.is_active = Some(*active),
            }
        }
        Ok(change)
    }
}

fn events_from_wire(field: &'static str, events: &[i32]) -> Result<Vec<WebhookEvent>, ProtocolError> {
    let events: Result<Vec<WebhookEvent>, _> =
        events.iter().map(|event| enum_from_wire(field, *event)).collect();
    Ok(NewWebhook::events(events?))
}

impl From<Webhook> for v1::Webhook {
    fn from(webhook: Webhook) -> Self {
        let Webhook {
            id,
            url,
            description,
            events,
            include_names,
            is_active,
            disabled,
            created_at,
            updated_at,
            previous_secret_until,
            health,
            version,
        } = webhook;
        let (disable_time, disable_reason) = disabled.unzip();
        Self {
            id: id.to_string(),
            url,
            description,
            events: events.into_iter().map(enum_to_wire).collect(),
            include_names,
            active: is_active,
            disable_time: disable_time.map(to_timestamp),
            disable_reason: disable_reason.unwrap_or_default(),
            create_time: Some(to_timestamp(created_at)),
            update_time: Some(to_timestamp(updated_at)),
            previous_secret_expire_time: previous_secret_until.map(to_timestamp),
            health: Some(health.into()),
            etag: version.etag(),
        }
    }
}

impl From<WebhookHealth> for v1::WebhookHealth {
    fn from(health: WebhookHealth) -> Self {
        let WebhookHealth {
            last_success_at,
            last_failure_at,
            last_error,
            failing_since,
            rests_until,
            pending,
        } = health;
        Self {
            last_success_time: last_success_at.map(to_timestamp),
            last_failure_time: last_failure_at.map(to_timestamp),
            last_error,
            failing_since_time: failing_since.map(to_timestamp),
            next_attempt_time: rests_until.map(to_timestamp),
            pending_count: pending,
        }
    }
}

impl From<Delivery> for v1::WebhookDelivery {
    fn from(delivery: Delivery) -> Self {
        let Delivery {
            id,
            event,
            subject,
            student,
            state,
            happened_at,
            created_at,
            attempts,
            last_attempt_at,
            due_at,
            delivered_at,
            last_status,
            last_error,
        } = delivery;
        Self {
            id: id.to_string(),
            event: enum_to_wire(event),
            subject_id: subject.to_string(),
            student_id: student.map(|student| student.to_string()).unwrap_or_default(),
            state: enum_to_wire(state),
            event_time: Some(to_timestamp(happened_at)),
            create_time: Some(to_timestamp(created_at)),
            attempts,
            last_attempt_time: last_attempt_at.map(to_timestamp),
            next_attempt_time: due_at.map(to_timestamp),
            deliver_time: delivered_at.map(to_timestamp),
            last_status: last_status.unwrap_or_default().into(),
            last_error,
        }
    }
}
