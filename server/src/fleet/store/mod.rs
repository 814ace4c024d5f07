//! SQL of devices, cameras, and starts of agents.

mod cameras;
mod devices;
mod runs;
mod watch;

use crate::db::Database;

pub(crate) use cameras::{lock_standings, note_refusals};

/// SQL of devices, cameras, and starts of agents.
#[derive(Clone)]
pub struct DeviceStore {
    db: Database,
}

impl DeviceStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }
}
