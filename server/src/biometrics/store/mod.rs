//! SQL of keys, templates, probes, evidence and portraits: nobody else names their tables.

mod changes;
mod erasure;
mod faces;
mod keys;
mod partitions;
mod policies;
mod portraits;
mod retention;
mod templates;

use jiff::civil::Date;

use crate::db::{Database, DatabaseError};

pub use changes::{CHANGES, GalleryChange, TemplateState};
pub(crate) use erasure::{ERASURE, erase_faces, read_erasure};
pub use faces::SealedFace;
pub(crate) use faces::{has_evidence, sightings_with_evidence, store_faces};
pub(crate) use keys::{Epoch, insert_student_keys};
pub use keys::{KeyOf, NewDataKey, StoredKey};
pub use portraits::SealedPortrait;
pub(crate) use templates::{IS_ENROLLED, TEMPLATE_COUNT};
pub use templates::{NewTemplate, StoredTemplate, TemplateOutcome, TemplateSource};

/// Held by the server that makes and drops partitions ("parts" in ASCII).
const PARTITION_LOCK: i64 = 0x70_6172_7473;

/// SQL of keys, templates, probes, evidence and portraits: nobody else names their tables.
#[derive(Clone)]
pub struct BiometricStore {
    db: Database,
}

impl BiometricStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// Makes the partitions of faces of the days ahead, and of what came on days that have none; how many. `None`
    /// where another server does that.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(crate) async fn make_partitions(&self, today: Date) -> Result<Option<usize>, DatabaseError> {
        match self.db.owner_alone(PARTITION_LOCK).await? {
            None => Ok(None),
            Some(mut owner) => {
                let made = partitions::make_partitions(&mut owner, today).await;
                owner.end().await;
                made.map(Some)
            }
        }
    }
}
