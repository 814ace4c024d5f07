//! Programs of others that are told of what happens in a site, in the form of Standard Webhooks
//! (<https://www.standardwebhooks.com>): signed, again and again until they have taken it, and never with anything of a
//! face.
//!
//! What happens is noted by the commit in which it happens (`webhook_outbox`), becomes deliveries afterwards, and what is
//! told of it is read when it is sent. docs/WEBHOOKS.md is for those who receive.

mod model;
mod service;
mod store;

pub use model::{
    AddressRefused, Attempt, AttemptOutcome, ClassSessionData, Delivery, DeviceConnectionData,
    DeviceStatusData, EventData, EventMessage, FinalMarks, MarkData, NamedData, NewWebhook, PersonData,
    ReceiverPolicy, ReviewData, SecretError, SightingData, SigningSecret, TestData, Webhook, WebhookChange,
    WebhookHealth, WebhookUrl, WebhookVersion,
};
pub use service::{Deliverer, ReceiverClient, ReceiverError, Sent, TestResult, Webhooks};
pub use store::{Claimed, DueDelivery, SealedSecrets, WebhookStore};
