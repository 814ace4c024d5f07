use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use cavs_embedding::{PackDigest, Similarity, UnitEmbedding};
use cavs_gallery::{
    Change, Counters, Decisive, Gallery, Mode, Options, Query, StudentKey, Template, TemplateId,
};
use cavs_proto::StudentId;
use futures_util::TryStreamExt;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::{AppError, Keys, blocking};
use crate::{
    domain::{CapturedSighting, Match, Policy, Prediction},
    store::{GalleryChange, Store, StoredTemplate},
    vault::{Key, Owner},
};

/// Candidates that are kept with a prediction.
const CANDIDATES: usize = 5;
/// Templates that are decrypted together while a gallery is loaded.
const LOAD_BATCH: usize = 1024;
/// Batches that are decrypted at a time, while the database sends the next ones.
const LOAD_AHEAD: usize = 4;
/// How often the database is asked for changes though none was announced.
const POLL: Duration = Duration::from_secs(10);
/// How long to wait before listening again after the connection broke.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

/// Says who somebody is: the gallery of one model pack, and the policy that goes with it.
///
/// The database is the truth: the gallery is filled from it, and follows its changes in order.
pub struct Recognition {
    pack: PackDigest,
    dimension: usize,
    policy: Policy,
    mode: Mode,
    options: Options,
    store: Store,
    keys: Arc<Keys>,
    gallery: RwLock<Arc<dyn Gallery>>,
    /// Number of the latest change in the gallery. Held while changes are applied.
    applied: Mutex<i64>,
}

/// What a gallery is opened for.
pub struct RecognitionSetup {
    /// The pack whose embeddings are compared.
    pub pack: PackDigest,
    /// Number of components of its embeddings.
    pub dimension: usize,
    /// When a match is believed.
    pub policy: Policy,
    /// How the gallery searches.
    pub mode: Mode,
    /// Limits of the gallery.
    pub options: Options,
}

impl Recognition {
    /// A gallery with all templates of the database. A template that does not open, or holds no
    /// unit embedding of the right length, is left out, counted, and named by its id.
    ///
    /// # Errors
    /// `Store`: the database does not answer. `Gallery`.
    pub async fn load(setup: RecognitionSetup, store: &Store, keys: Arc<Keys>) -> Result<Self, AppError> {
        let RecognitionSetup { pack, dimension, policy, mode, options } = setup;
        let gallery = RwLock::new(cavs_gallery::open(mode, dimension, options)?);
        let (store, applied) = (store.clone(), Mutex::new(0));
        let new = Self { pack, dimension, policy, mode, options, store, keys, gallery, applied };
        let mut applied = new.applied.lock().await;
        *applied = new.reload().await?;
        drop(applied);
        Ok(new)
    }

    /// The pack whose embeddings are compared.
    #[must_use]
    pub const fn pack(&self) -> PackDigest {
        self.pack
    }

    /// Number of components of its embeddings.
    #[must_use]
    pub const fn dimension(&self) -> usize {
        self.dimension
    }

    /// When a match is believed.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How searches were answered since the gallery was loaded.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.gallery().stats().counters
    }

    fn gallery(&self) -> Arc<dyn Gallery> {
        Arc::clone(&self.gallery.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Follows the database until `shutdown`: every change that any server commits.
    pub async fn follow(&self, shutdown: CancellationToken) {
        let changed = Notify::new();
        let listening = async {
            loop {
                if let Err(cause) = self.store.listen_for_gallery_changes(&changed).await {
                    warn!(%cause, "does not hear of gallery changes; they are polled");
                }
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
        };
        let applying = async {
            loop {
                let _ = tokio::time::timeout(POLL, changed.notified()).await;
                if let Err(cause) = self.catch_up().await {
                    warn!(%cause, "can't follow the gallery's changes; trying again");
                    tokio::time::sleep(LISTEN_AGAIN).await;
                    changed.notify_one();
                }
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async { tokio::join!(listening, applying); } => {}
        }
    }

    /// Applies what the database has and the gallery has not: when this returns, every change that
    /// was committed before is in force here.
    ///
    /// # Errors
    /// `Store`, `Gallery`; what was applied so far stays.
    pub async fn catch_up(&self) -> Result<(), AppError> {
        let mut applied = self.applied.lock().await;
        loop {
            let changes = self.store.gallery_changes(*applied, self.pack).await?;
            let Some(last) = changes.last().map(|change| change.sequence) else { return Ok(()) };
            let expected = (*applied + 1)..=last;
            if !expected.eq(changes.iter().map(|change| change.sequence)) {
                warn!(applied = *applied, last, "gallery changes are missing; loading everything again");
                *applied = self.reload().await?;
                continue;
            }
            self.apply(changes).await?;
            *applied = last;
        }
    }

    async fn apply(&self, changes: Vec<GalleryChange>) -> Result<(), AppError> {
        let (gallery, opener) = (self.gallery(), self.opener());
        blocking(move || {
            let mut change = Change::default();
            let mut last_key = None;
            for one in &changes {
                // Removed first: a template that was changed twice is there once at the end.
                change.remove.push(TemplateId(one.template.uuid().as_u128()));
                let template = one.stored.as_ref().and_then(|stored| opener.open(stored, &mut last_key));
                change.insert.retain(|t: &Template| t.id.0 != one.template.uuid().as_u128());
                change.insert.extend(template);
            }
            let erased = changes.iter().any(|one| one.stored.is_none());
            let done = gallery.apply(&change);
            // What was erased must not stay in the graph's memory either.
            if erased {
                gallery.compact();
            }
            done
        })
        .await??;
        Ok(())
    }

    /// Fills a new gallery from the database and puts it in place; the number of the latest change
    /// that is surely in it. Later ones may be in it, too: applying a change twice does no harm.
    async fn reload(&self) -> Result<i64, AppError> {
        let sequence = self.store.gallery_sequence().await?;
        let gallery = cavs_gallery::open(self.mode, self.dimension, self.options)?;
        let stored = self.store.templates(self.pack).await?;
        let read = stored
            .map_err(AppError::from)
            .try_chunks(LOAD_BATCH)
            .map_err(|error| error.1)
            .map_ok(|chunk| {
                let opener = self.opener();
                async move {
                    blocking(move || {
                        let mut last_key = None;
                        let opened: Vec<Template> =
                            chunk.iter().filter_map(|stored| opener.open(stored, &mut last_key)).collect();
                        (chunk.len() - opened.len(), opened)
                    })
                    .await
                }
            })
            .try_buffered(LOAD_AHEAD);
        let mut read = std::pin::pin!(read);
        let mut damaged = 0;
        while let Some((left_out, insert)) = read.try_next().await? {
            damaged += left_out;
            let gallery = Arc::clone(&gallery);
            blocking(move || gallery.apply(&Change { insert, ..Change::default() })).await??;
        }
        let stats = gallery.stats();
        info!(pack = %self.pack, templates = stats.templates, students = stats.students, damaged, sequence, "loaded the gallery");
        *self.gallery.write().unwrap_or_else(PoisonError::into_inner) = gallery;
        Ok(sequence)
    }

    fn opener(&self) -> Opener {
        Opener { keys: Arc::clone(&self.keys), pack: self.pack, dimension: self.dimension }
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
        let gallery = self.gallery();
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
                self.policy.decide(matches(&found), &sighting.quality)
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
        let (gallery, embedding) = (self.gallery(), embedding.clone());
        let except = Some(student_key(except));
        let found = blocking(move || gallery.find_duplicates(&embedding, threshold, except)).await??;
        Ok(matches(&found))
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
        let (gallery, embedding) = (self.gallery(), embedding.clone());
        let roster = std::iter::once(student_key(student)).collect();
        let answer = blocking(move || gallery.search(&embedding, &Query::top(1).among(&roster))).await??;
        Ok(answer.candidates.first().map(|c| c.similarity))
    }
}

/// Opens sealed templates of one pack.
struct Opener {
    keys: Arc<Keys>,
    pack: PackDigest,
    dimension: usize,
}

impl Opener {
    /// `None`, with the id logged, where a template is damaged. `last_key` keeps the data key of
    /// the last student: templates come student by student.
    fn open(&self, stored: &StoredTemplate, last_key: &mut Option<(StudentId, Key)>) -> Option<Template> {
        self.try_open(stored, last_key)
            .inspect_err(|cause| {
                error!(template = %stored.id, cause, "a template is damaged and left out of the gallery");
            })
            .ok()
    }

    fn try_open(
        &self,
        stored: &StoredTemplate,
        last_key: &mut Option<(StudentId, Key)>,
    ) -> Result<Template, String> {
        let key = match last_key {
            Some((student, key)) if *student == stored.student => key,
            _ => {
                let key = self.keys.open_student_key(stored.student, &stored.wrapped_key);
                &mut last_key.insert((stored.student, key.map_err(|e| e.to_string())?)).1
            }
        };
        let owner = Owner::Template(stored.id, self.pack);
        let plain = key.open(owner, &stored.sealed).map_err(|e| e.to_string())?;
        let embedding = UnitEmbedding::from_le_bytes(&plain).map_err(|e| e.to_string())?;
        if embedding.dimension() != self.dimension {
            return Err(format!("{} components", embedding.dimension()));
        }
        let id = TemplateId(stored.id.uuid().as_u128());
        Ok(Template { id, student: student_key(stored.student), embedding })
    }
}

fn matches(found: &[cavs_gallery::Candidate]) -> Vec<Match> {
    found
        .iter()
        .map(|c| Match { student: Uuid::from_u128(c.student.0).into(), similarity: c.similarity })
        .collect()
}

fn student_key(id: StudentId) -> StudentKey {
    StudentKey(id.uuid().as_u128())
}
