//! SQL of sightings and reviews.

mod audits;
mod ingest;
mod late;
pub(crate) mod queries;
mod queue;
mod reviews;
mod similarities;
mod statistics;

use crate::db::Database;

pub use ingest::{SightingToStore, StoreOutcome};
pub(super) use late::{FoundLate, UnknownFace};

/// SQL of sightings and reviews.
#[derive(Clone)]
pub struct SightingStore {
    db: Database,
}

impl SightingStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}
