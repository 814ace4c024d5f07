//! How a gallery is filled, and what of the database does not get into it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use cavs_embedding::{PackDigest, UnitEmbedding};
use cavs_gallery::{Change, Gallery, Template, TemplateId};
use cavs_types::{SiteId, StudentId};
use futures_util::TryStreamExt;
use tracing::error;

use super::student_key;
use crate::{
    biometrics::{BiometricStore, Key, Keys, Owner, StoredTemplate},
    error::{ServiceError, blocking},
};

/// Templates that are decrypted together.
const BATCH: usize = 1024;
/// Batches that are worked on at a time, while the database sends the next ones.
const AHEAD: usize = 4;

/// Opens sealed templates of one site and pack.
#[derive(Clone)]
pub(super) struct Opener {
    pub(super) site: SiteId,
    pub(super) keys: Arc<Keys>,
    pub(super) pack: PackDigest,
    pub(super) dimension: usize,
    pub(super) quarantine: Arc<Quarantine>,
}

/// Templates that don't open, or hold no unit embedding of the right length.
#[derive(Default)]
pub(super) struct Quarantine(Mutex<HashSet<TemplateId>>);

impl Quarantine {
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn note(&self, id: TemplateId, is_damaged: bool) {
        let mut damaged = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_damaged {
            damaged.insert(id);
        } else {
            damaged.remove(&id);
        }
    }
}

impl Opener {
    /// Fills an empty gallery with all templates of the site. The graph begins afterwards, so that the
    /// scan answers as soon as may be.
    pub(super) async fn fill(
        &self,
        gallery: &Arc<dyn Gallery>,
        store: &BiometricStore,
    ) -> Result<(), ServiceError> {
        gallery.pause_background();
        let stored = store.templates(self.site, self.pack).await?;
        let filled = stored
            .map_err(ServiceError::from)
            .try_chunks(BATCH)
            .map_err(|error| error.1)
            .map_ok(|chunk| {
                let (opener, gallery) = (self.clone(), Arc::clone(gallery));
                async move {
                    blocking(move || {
                        let mut last_key = None;
                        let insert =
                            chunk.iter().filter_map(|stored| opener.open(stored, &mut last_key)).collect();
                        gallery.apply(&Change { insert, ..Change::default() })
                    })
                    .await?
                    .map(drop)
                    .map_err(ServiceError::from)
                }
            })
            .try_buffer_unordered(AHEAD)
            .try_collect::<()>()
            .await;
        gallery.resume_background();
        filled
    }

    /// `None`, with the id logged, where a template is damaged. `last_key` keeps the data key of the last
    /// student: most templates of a student come together.
    pub(super) fn open(
        &self,
        stored: &StoredTemplate,
        last_key: &mut Option<(StudentId, Key)>,
    ) -> Option<Template> {
        let id = TemplateId(stored.id.uuid().as_u128());
        let opened = self.try_open(stored, last_key).inspect_err(|cause| {
            error!(template = %stored.id, cause, "a template is damaged and left out of the gallery");
        });
        self.quarantine.note(id, opened.is_err());
        Some(Template { id, student: student_key(stored.student), embedding: opened.ok()? })
    }

    /// Forgets that a template was damaged: it is gone.
    pub(super) fn forget(&self, id: TemplateId) {
        self.quarantine.note(id, false);
    }

    fn try_open(
        &self,
        stored: &StoredTemplate,
        last_key: &mut Option<(StudentId, Key)>,
    ) -> Result<UnitEmbedding, String> {
        let key = match last_key {
            Some((student, key)) if *student == stored.student => key,
            _ => {
                let key = self.keys.open(&stored.key);
                &mut last_key.insert((stored.student, key.map_err(|e| e.to_string())?)).1
            }
        };
        let owner = Owner::Template(stored.id, self.pack);
        let plain = key.open(owner, &stored.sealed).map_err(|e| e.to_string())?;
        let embedding = UnitEmbedding::from_le_bytes(&plain).map_err(|e| e.to_string())?;
        if embedding.dimension() != self.dimension {
            return Err(format!("{} components", embedding.dimension()));
        }
        Ok(embedding)
    }
}
