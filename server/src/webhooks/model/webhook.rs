use cavs_types::{DeliveryState, ProtocolError, StudentId, WebhookDeliveryId, WebhookEvent, WebhookId};
use jiff::Timestamp;
use uuid::Uuid;

use super::WebhookUrl;
use crate::text;

/// Longest description, in characters.
const LONGEST_DESCRIPTION: usize = 200;

/// Which state of a webhook somebody has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WebhookVersion(pub i64);

impl WebhookVersion {
    /// As an etag.
    #[must_use]
    pub fn etag(self) -> String {
        self.0.to_string()
    }

    /// Reads an etag; empty is none.
    ///
    /// # Errors
    /// `Invalid`: it is no etag.
    pub fn from_etag(etag: &str) -> Result<Option<Self>, ProtocolError> {
        if etag.is_empty() {
            return Ok(None);
        }
        etag.parse().map(Self).map(Some).map_err(|_| ProtocolError::invalid("etag", "is no webhook's"))
    }
}

/// A program that is told of what happens.
#[derive(Debug, Clone)]
pub struct Webhook {
    /// Made by the server.
    pub id: WebhookId,
    /// Where it is told.
    pub url: String,
    /// What people note of it; may be empty.
    pub description: String,
    /// Which it is told of.
    pub events: Vec<WebhookEvent>,
    /// Whether it is told names of people.
    pub include_names: bool,
    /// Whether it is told anything.
    pub is_active: bool,
    /// When and why the server has switched it off.
    pub disabled: Option<(Timestamp, String)>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody has changed it last.
    pub updated_at: Timestamp,
    /// Until when the secret before signs, too.
    pub previous_secret_until: Option<Timestamp>,
    /// How it goes.
    pub health: WebhookHealth,
    /// Counts what people change.
    pub version: WebhookVersion,
}

/// How it goes with a webhook.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebhookHealth {
    /// When something was taken last.
    pub last_success_at: Option<Timestamp>,
    /// When something was not.
    pub last_failure_at: Option<Timestamp>,
    /// Why.
    pub last_error: String,
    /// Since when nothing was taken.
    pub failing_since: Option<Timestamp>,
    /// When it is tried again.
    pub rests_until: Option<Timestamp>,
    /// What waits, to 10,000.
    pub pending: u64,
}

/// A webhook to be made.
#[derive(Debug, Clone)]
pub struct NewWebhook {
    /// Where it is told.
    pub url: WebhookUrl,
    /// At most 200 characters.
    pub description: String,
    /// Not empty, each once.
    pub events: Vec<WebhookEvent>,
    /// Whether it is told names of people.
    pub include_names: bool,
}

/// What is changed of a webhook.
#[derive(Debug, Clone, Default)]
pub struct WebhookChange {
    /// Where it is told.
    pub url: Option<WebhookUrl>,
    /// At most 200 characters.
    pub description: Option<String>,
    /// Not empty, each once.
    pub events: Option<Vec<WebhookEvent>>,
    /// Whether it is told names of people.
    pub include_names: Option<bool>,
    /// Whether it is told anything.
    pub is_active: Option<bool>,
}

impl NewWebhook {
    /// A description as it is stored.
    ///
    /// # Errors
    /// `Invalid`.
    pub fn description(field: &'static str, typed: &str) -> Result<String, ProtocolError> {
        text::name(field, typed, LONGEST_DESCRIPTION)
    }

    /// Events as they are stored: each once, in their order; none stands for all.
    #[must_use]
    pub fn events(mut said: Vec<WebhookEvent>) -> Vec<WebhookEvent> {
        if said.is_empty() {
            return WebhookEvent::ALL.to_vec();
        }
        said.sort_unstable();
        said.dedup();
        said
    }
}

/// One event for one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What receivers know it by.
    pub id: WebhookDeliveryId,
    /// What has happened.
    pub event: WebhookEvent,
    /// The sighting, review, device or session.
    pub subject: Uuid,
    /// Whose mark.
    pub student: Option<StudentId>,
    /// How far it is.
    pub state: DeliveryState,
    /// When it happened.
    pub happened_at: Timestamp,
    /// When it was noticed.
    pub created_at: Timestamp,
    /// How often it was sent.
    pub attempts: u32,
    /// When it was sent last.
    pub last_attempt_at: Option<Timestamp>,
    /// When it is sent next, while it is pending.
    pub due_at: Option<Timestamp>,
    /// When it was taken.
    pub delivered_at: Option<Timestamp>,
    /// What the receiver answered last.
    pub last_status: Option<u16>,
    /// Why the last attempt failed.
    pub last_error: String,
}
