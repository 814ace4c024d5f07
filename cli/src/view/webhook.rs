//! Webhooks and their deliveries.

use cavs_proto::v1;
use cavs_types::{DeliveryState, WebhookEvent};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    layout::{facts, moment},
    time, word,
};
use crate::{
    list::List,
    printer::{Report, Style},
};

/// A program that is told of what happens.
#[derive(Debug, Clone, Serialize)]
pub struct WebhookView {
    /// UUID.
    pub id: String,
    /// Where it is told.
    pub url: String,
    /// May be empty.
    pub description: String,
    /// As `sighting.recorded`.
    pub events: Vec<&'static str>,
    /// Whether it is told names of people.
    pub include_names: bool,
    /// Whether it is told anything.
    pub active: bool,
    /// When the server has switched it off; RFC 3339.
    pub disable_time: Option<Timestamp>,
    /// Why; empty where it has not.
    pub disable_reason: String,
    /// What waits.
    pub pending_count: u64,
    /// RFC 3339.
    pub last_success_time: Option<Timestamp>,
    /// RFC 3339.
    pub last_failure_time: Option<Timestamp>,
    /// Of the last failure.
    pub last_error: String,
    /// Since when nothing was taken; RFC 3339.
    pub failing_since_time: Option<Timestamp>,
    /// When it is tried again; RFC 3339.
    pub next_attempt_time: Option<Timestamp>,
    /// Until when the secret before signs, too; RFC 3339.
    pub previous_secret_expire_time: Option<Timestamp>,
    /// RFC 3339.
    pub create_time: Option<Timestamp>,
    /// Of this state of the webhook.
    pub etag: String,
}

/// A webhook with a secret that is shown once.
#[derive(Serialize)]
pub struct WebhookSecretView {
    /// Which.
    pub webhook: WebhookView,
    /// `whsec_` and base64.
    pub secret: String,
}

/// What came of a test.
#[derive(Debug, Serialize)]
pub struct WebhookTestView {
    /// Whether the receiver has taken it.
    pub delivered: bool,
    /// What it answered; 0 where it did not.
    pub status: u32,
    /// Why it was not taken.
    pub error: String,
    /// From the call to the answer.
    pub milliseconds: u32,
}

/// Deliveries that are sent again.
#[derive(Debug, Serialize)]
pub struct RedeliveredView {
    /// How many.
    pub redelivered: u32,
}

/// One event for one webhook.
#[derive(Debug, Clone, Serialize)]
pub struct DeliveryView {
    /// As the header `webhook-id` has it.
    pub id: String,
    /// As `sighting.recorded`.
    pub event: &'static str,
    /// UUID of the sighting, review, device or session.
    pub subject_id: String,
    /// UUID of whose mark; may be empty.
    pub student_id: String,
    /// As `delivered`.
    pub state: &'static str,
    /// When it happened; RFC 3339.
    pub event_time: Option<Timestamp>,
    /// How often it was sent.
    pub attempts: u32,
    /// RFC 3339.
    pub last_attempt_time: Option<Timestamp>,
    /// RFC 3339; of what is pending.
    pub next_attempt_time: Option<Timestamp>,
    /// RFC 3339.
    pub deliver_time: Option<Timestamp>,
    /// What the receiver answered last; 0 where it did not.
    pub last_status: u32,
    /// Why the last attempt failed.
    pub last_error: String,
}

/// Webhooks.
#[derive(Debug)]
pub struct WebhookList;

/// Deliveries of a webhook.
#[derive(Debug)]
pub struct DeliveryList;

impl From<v1::Webhook> for WebhookView {
    fn from(webhook: v1::Webhook) -> Self {
        let health = webhook.health.unwrap_or_default();
        let event = |event: i32| word(event, WebhookEvent::as_str);
        Self {
            id: webhook.id,
            url: webhook.url,
            description: webhook.description,
            events: webhook.events.into_iter().map(event).collect(),
            include_names: webhook.include_names,
            active: webhook.active,
            disable_time: time(webhook.disable_time.as_ref()),
            disable_reason: webhook.disable_reason,
            pending_count: health.pending_count,
            last_success_time: time(health.last_success_time.as_ref()),
            last_failure_time: time(health.last_failure_time.as_ref()),
            last_error: health.last_error,
            failing_since_time: time(health.failing_since_time.as_ref()),
            next_attempt_time: time(health.next_attempt_time.as_ref()),
            previous_secret_expire_time: time(webhook.previous_secret_expire_time.as_ref()),
            create_time: time(webhook.create_time.as_ref()),
            etag: webhook.etag,
        }
    }
}

impl From<v1::WebhookDelivery> for DeliveryView {
    fn from(delivery: v1::WebhookDelivery) -> Self {
        Self {
            id: delivery.id,
            event: word(delivery.event, WebhookEvent::as_str),
            subject_id: delivery.subject_id,
            student_id: delivery.student_id,
            state: word(delivery.state, DeliveryState::as_str),
            event_time: time(delivery.event_time.as_ref()),
            attempts: delivery.attempts,
            last_attempt_time: time(delivery.last_attempt_time.as_ref()),
            next_attempt_time: time(delivery.next_attempt_time.as_ref()),
            deliver_time: time(delivery.deliver_time.as_ref()),
            last_status: delivery.last_status,
            last_error: delivery.last_error,
        }
    }
}

impl From<v1::TestWebhookResponse> for WebhookTestView {
    fn from(result: v1::TestWebhookResponse) -> Self {
        let v1::TestWebhookResponse { delivered, status, error, milliseconds } = result;
        Self { delivered, status, error, milliseconds }
    }
}

impl WebhookView {
    /// How it goes, in few words.
    fn state(&self) -> &'static str {
        match (self.active, &self.disable_time, &self.failing_since_time) {
            (false, Some(_), _) => "switched off by the server",
            (false, None, _) => "switched off",
            (true, _, Some(_)) => "failing",
            (true, _, None) => "active",
        }
    }

    fn facts(&self, style: &Style) -> Vec<(&'static str, String)> {
        let waiting = if self.pending_count >= 10_000 {
            "10000 or more".to_owned()
        } else {
            self.pending_count.to_string()
        };
        vec![
            ("url", self.url.clone()),
            ("description", self.description.clone()),
            ("events", self.events.join(", ")),
            ("names of people", if self.include_names { "told" } else { "not told" }.to_owned()),
            ("state", self.state().to_owned()),
            ("switched off", moment(style, self.disable_time)),
            ("because", self.disable_reason.clone()),
            ("waiting", waiting),
            ("last success", moment(style, self.last_success_time)),
            ("last failure", moment(style, self.last_failure_time)),
            ("last error", self.last_error.clone()),
            ("failing since", moment(style, self.failing_since_time)),
            ("next attempt", moment(style, self.next_attempt_time)),
            ("old secret signs until", moment(style, self.previous_secret_expire_time)),
            ("added", moment(style, self.create_time)),
            ("id", self.id.clone()),
        ]
    }
}

impl Report for WebhookView {
    fn table(&self, style: &Style) -> String {
        facts(style, &self.facts(style))
    }
}

impl Report for WebhookSecretView {
    fn table(&self, style: &Style) -> String {
        let mut all = self.webhook.facts(style);
        all.push(("secret", self.secret.clone()));
        facts(style, &all)
    }
}

impl Report for WebhookTestView {
    fn table(&self, _style: &Style) -> String {
        let Self { delivered, status, error, milliseconds } = self;
        if *delivered {
            format!("taken: answered {status} after {milliseconds} ms")
        } else {
            format!("not taken after {milliseconds} ms: {}", crate::text::sanitised(error))
        }
    }
}

impl Report for RedeliveredView {
    fn table(&self, _style: &Style) -> String {
        match self.redelivered {
            1 => "1 delivery is sent again".to_owned(),
            redelivered => format!("{redelivered} deliveries are sent again"),
        }
    }
}

impl List for WebhookList {
    type Entry = WebhookView;
    const FIELD: &'static str = "webhooks";
    const NAME: &'static str = "webhooks";
    const HEADER: &'static [&'static str] = &["URL", "EVENTS", "STATE", "WAITING", "LAST SUCCESS", "ID"];

    fn cells(webhook: &WebhookView, style: &Style) -> Vec<String> {
        let events = match webhook.events.as_slice() {
            all if all.len() == WebhookEvent::ALL.len() => "all".to_owned(),
            some => some.join(", "),
        };
        vec![
            webhook.url.clone(),
            events,
            webhook.state().to_owned(),
            webhook.pending_count.to_string(),
            moment(style, webhook.last_success_time),
            webhook.id.clone(),
        ]
    }
}

impl List for DeliveryList {
    type Entry = DeliveryView;
    const FIELD: &'static str = "deliveries";
    const NAME: &'static str = "deliveries";
    const HEADER: &'static [&'static str] =
        &["HAPPENED", "EVENT", "STATE", "ATTEMPTS", "LAST ERROR", "NEXT ATTEMPT", "ID"];

    fn cells(delivery: &DeliveryView, style: &Style) -> Vec<String> {
        vec![
            moment(style, delivery.event_time),
            delivery.event.to_owned(),
            delivery.state.to_owned(),
            delivery.attempts.to_string(),
            delivery.last_error.clone(),
            moment(style, delivery.next_attempt_time),
            delivery.id.clone(),
        ]
    }
}
