//! What a webhook is, and its rules. No I/O.

mod address;
mod message;
mod pace;
mod signing;
mod webhook;

pub use address::{AddressRefused, ReceiverPolicy, WebhookUrl};
pub use message::{
    ClassSessionData, DeviceConnectionData, DeviceStatusData, EventData, EventMessage, FinalMarks, MarkData,
    NamedData, PersonData, ReviewData, SightingData, TestData,
};
pub use pace::{Attempt, AttemptOutcome};
pub(crate) use pace::{disables_after, is_outage, next_due, rest_after};
pub use signing::{SecretError, SigningSecret};
pub use webhook::{Delivery, NewWebhook, Webhook, WebhookChange, WebhookHealth, WebhookVersion};
