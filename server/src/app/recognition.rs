use std::sync::Arc;

use cavs_embedding::{PackDigest, Similarity, UnitEmbedding};
use cavs_gallery::{Change, Decisive, Gallery, Mode, Options, Query, StudentKey, Template, TemplateId};
use cavs_proto::{StudentId, TemplateId as OurTemplateId};
use futures_util::TryStreamExt;
use tracing::{error, info};
use uuid::Uuid;

use super::{AppError, Keys, blocking};
use crate::{
    domain::{CapturedSighting, Match, Policy, Prediction},
    store::{Store, StoredTemplate},
    vault::{Key, Owner},
};

/// Candidates that are kept with a prediction.
const CANDIDATES: usize = 5;
/// Templates that go into the gallery at a time while it is loaded.
const LOAD_BATCH: usize = 1024;

/// Says who somebody is: the gallery of one model pack, and the policy that goes with it.
pub struct Recognition {
    pack: PackDigest,
    policy: Policy,
    gallery: Arc<dyn Gallery>,
}

impl Recognition {
    /// An empty gallery for embeddings of a pack.
    ///
    /// # Errors
    /// `Gallery`.
    pub fn new(
        pack: PackDigest,
        dimension: usize,
        policy: Policy,
        mode: Mode,
        options: Options,
    ) -> Result<Self, AppError> {
        Ok(Self { pack, policy, gallery: cavs_gallery::open(mode, dimension, options)? })
    }

    /// The pack whose embeddings are compared.
    #[must_use]
    pub const fn pack(&self) -> PackDigest {
        self.pack
    }

    /// Number of components of its embeddings.
    #[must_use]
    pub fn dimension(&self) -> usize {
        self.gallery.dimension()
    }

    /// When a match is believed.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Fills the gallery from the database. A template that does not open, or holds no unit
    /// embedding of the right length, is left out, counted, and named by its id.
    ///
    /// # Errors
    /// `Store`: the database does not answer.
    pub async fn load(&self, store: &Store, keys: &Keys) -> Result<(), AppError> {
        let mut stream = std::pin::pin!(store.templates(self.pack).await?);
        let mut batch = Vec::with_capacity(LOAD_BATCH);
        let mut damaged = 0u64;
        let mut last_key: Option<(StudentId, Key)> = None;
        while let Some(stored) = stream.try_next().await? {
            match self.open(&stored, keys, &mut last_key) {
                Ok(template) => batch.push(template),
                Err(cause) => {
                    damaged += 1;
                    error!(template = %stored.id, %cause, "a template is damaged and left out of the gallery");
                }
            }
            if batch.len() == LOAD_BATCH {
                self.insert(std::mem::take(&mut batch)).await?;
            }
        }
        self.insert(batch).await?;
        let stats = self.gallery.stats();
        info!(pack = %self.pack, templates = stats.templates, students = stats.students, damaged, "loaded the gallery");
        Ok(())
    }

    fn open(
        &self,
        stored: &StoredTemplate,
        keys: &Keys,
        last_key: &mut Option<(StudentId, Key)>,
    ) -> Result<Template, String> {
        // Templates come student by student: each data key is opened once.
        let key = match last_key {
            Some((student, key)) if *student == stored.student => key,
            _ => {
                let key =
                    keys.open_student_key(stored.student, &stored.wrapped_key).map_err(|e| e.to_string())?;
                &mut last_key.insert((stored.student, key)).1
            }
        };
        let owner = Owner::Template(stored.id, self.pack);
        let plain = key.open(owner, &stored.sealed).map_err(|e| e.to_string())?;
        let embedding = UnitEmbedding::from_le_bytes(&plain).map_err(|e| e.to_string())?;
        if embedding.dimension() != self.gallery.dimension() {
            return Err(format!("{} components", embedding.dimension()));
        }
        Ok(template(stored.id, stored.student, embedding))
    }

    async fn insert(&self, insert: Vec<Template>) -> Result<(), AppError> {
        let gallery = Arc::clone(&self.gallery);
        blocking(move || gallery.apply(&Change { insert, ..Change::default() })).await??;
        Ok(())
    }

    /// Takes a new template into the running gallery.
    ///
    /// # Errors
    /// `Gallery`: another dimension, or more templates than a student may have.
    pub async fn admit(
        &self,
        id: OurTemplateId,
        student: StudentId,
        embedding: UnitEmbedding,
    ) -> Result<(), AppError> {
        self.insert(vec![template(id, student, embedding)]).await
    }

    /// Predictions for the sightings of a batch, in their order. Probes of the wrong length are
    /// the caller's to refuse.
    ///
    /// # Errors
    /// `Gallery`.
    pub async fn predict(&self, sightings: &[CapturedSighting]) -> Result<Vec<Prediction>, AppError> {
        let comparable = |s: &&CapturedSighting| s.pack == self.pack;
        let probes: Vec<UnitEmbedding> =
            sightings.iter().filter(comparable).map(|s| s.probe.clone()).collect();
        let gallery = Arc::clone(&self.gallery);
        let rule = Decisive { accept: self.policy.accept, margin: self.policy.margin };
        let answers =
            blocking(move || gallery.search_batch(&probes, &Query::top(CANDIDATES).unless_decisive(rule)))
                .await??;
        let mut answers = answers.into_iter();
        Ok(sightings
            .iter()
            .map(|sighting| {
                if !comparable(&sighting) {
                    return self.policy.not_comparable();
                }
                let found = answers.next().map(|answer| answer.candidates).unwrap_or_default();
                let candidates = found
                    .iter()
                    .map(|c| Match { student: student_id(c.student), similarity: c.similarity })
                    .collect();
                self.policy.decide(candidates, &sighting.quality)
            })
            .collect())
    }

    /// The templates of others that are at least so similar, best first; always exact.
    ///
    /// # Errors
    /// `Gallery`.
    pub async fn others_like(
        &self,
        embedding: &UnitEmbedding,
        threshold: Similarity,
        except: StudentId,
    ) -> Result<Vec<Match>, AppError> {
        let (gallery, embedding) = (Arc::clone(&self.gallery), embedding.clone());
        let except = Some(student_key(except));
        let found = blocking(move || gallery.find_duplicates(&embedding, threshold, except)).await??;
        Ok(found.iter().map(|c| Match { student: student_id(c.student), similarity: c.similarity }).collect())
    }

    /// How similar a face is to a student's own templates; `None` where there are none.
    ///
    /// # Errors
    /// `Gallery`.
    pub async fn likeness(
        &self,
        embedding: &UnitEmbedding,
        student: StudentId,
    ) -> Result<Option<Similarity>, AppError> {
        let (gallery, embedding) = (Arc::clone(&self.gallery), embedding.clone());
        let roster = std::iter::once(student_key(student)).collect();
        let answer = blocking(move || gallery.search(&embedding, &Query::top(1).among(&roster))).await??;
        Ok(answer.candidates.first().map(|c| c.similarity))
    }
}

fn template(id: OurTemplateId, student: StudentId, embedding: UnitEmbedding) -> Template {
    Template { id: TemplateId(id.uuid().as_u128()), student: student_key(student), embedding }
}

fn student_key(id: StudentId) -> StudentKey {
    StudentKey(id.uuid().as_u128())
}

fn student_id(key: StudentKey) -> StudentId {
    Uuid::from_u128(key.0).into()
}
