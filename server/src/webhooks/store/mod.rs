//! Webhooks in the database.

mod deliveries;
mod messages;
mod outbox;
mod sending;
mod webhooks;

pub use sending::{Claimed, DueDelivery, SealedSecrets};

use crate::db::Database;

/// Webhooks in the database.
#[derive(Clone)]
pub struct WebhookStore {
    db: Database,
}

impl WebhookStore {
    /// Over these connections.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}
