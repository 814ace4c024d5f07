//! SQL of keys, templates, probes and evidence: nobody else names their tables.

mod changes;
mod erasure;
mod keys;
mod templates;

use crate::db::Database;

pub use changes::{CHANGES, GALLERY_CHANGES, GalleryChange, TemplateState};
pub(crate) use erasure::{ErasedFaces, erase_faces};
pub(crate) use keys::Epoch;
pub(crate) use keys::insert_key;
pub use keys::{KeyOf, NewDataKey, StoredKey};
pub use templates::{NewTemplate, StoredTemplate};

/// SQL of keys, templates, probes and evidence: nobody else names their tables.
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
}
