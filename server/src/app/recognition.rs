mod calibrating;
mod loading;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use cavs_embedding::{PackDigest, Similarity, UnitEmbedding};
use cavs_gallery::{
    Change, Counters, Decisive, Follower, Gallery, Grouping, Mode, Options, Query, Stats, Step, StudentKey,
    TemplateId,
};
use cavs_proto::StudentId;
use tokio::sync::{Mutex, Notify};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use self::loading::{Opener, Quarantine};
use super::{AppError, Keys, blocking};
use crate::{
    domain::{CapturedSighting, Match, Policy, Prediction, ThresholdVersion, Thresholds},
    metrics::Metrics,
    store::{GALLERY_CHANGES, GalleryChange, Store},
};

pub use calibrating::Calibrated;

/// Candidates that are kept with a prediction.
const CANDIDATES: usize = 5;
/// How often the database is asked for changes though none was announced.
const POLL: Duration = Duration::from_secs(10);
/// How long to wait before listening again after the connection broke.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

/// Says who somebody is: the gallery of one model pack, and the policy that goes with it.
///
/// The database is the truth: gallery and thresholds are read from it, and follow its changes.
pub struct Recognition {
    setup: RecognitionSetup,
    store: Store,
    keys: Arc<Keys>,
    metrics: Arc<Metrics>,
    running: RwLock<Running>,
    quarantine: Arc<Quarantine>,
    /// How far the gallery is. Held while changes are applied.
    follower: Mutex<Follower>,
    /// The same, for those who don't wait.
    applied: AtomicI64,
    in_force: RwLock<ThresholdVersion>,
    calibrating: Mutex<()>,
    calibrated: RwLock<Option<Arc<Calibrated>>>,
}

/// What a gallery is opened for.
#[derive(Debug, Clone)]
pub struct RecognitionSetup {
    /// The pack whose embeddings are compared.
    pub pack: PackDigest,
    /// Number of components of its embeddings.
    pub dimension: usize,
    /// When a match is believed, where the database does not say.
    pub thresholds: Thresholds,
    /// Least unified quality score that is accepted without a person, 0 to 100.
    pub min_quality: u8,
    /// How the gallery searches.
    pub mode: Mode,
    /// How the similarities of a student's templates become one.
    pub grouping: Grouping,
    /// Limits of the gallery.
    pub options: Options,
}

impl RecognitionSetup {
    /// The thresholds as version 0.
    const fn configured(&self) -> ThresholdVersion {
        ThresholdVersion { version: 0, thresholds: self.thresholds, set: None }
    }
}

struct Running {
    gallery: Arc<dyn Gallery>,
    /// Searches of the galleries before this one.
    before: Counters,
}

/// What the running gallery is like.
#[derive(Debug, Clone)]
pub struct GalleryState {
    /// What it was opened for.
    pub setup: RecognitionSetup,
    /// Sizes; the counters are of all galleries since the start.
    pub stats: Stats,
    /// Changes applied since it was loaded.
    pub epoch: u64,
    /// Templates of the database that are left out.
    pub quarantined: usize,
}

impl Recognition {
    /// A gallery with all templates of the database. A template that does not open, or holds no
    /// unit embedding of the right length, is left out, counted, and named by its id.
    ///
    /// # Errors
    /// `Store`: the database does not answer. `Gallery`.
    pub async fn load(
        setup: RecognitionSetup,
        store: &Store,
        keys: Arc<Keys>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, AppError> {
        let gallery = cavs_gallery::open(setup.mode, setup.dimension, setup.options)?;
        let in_force = RwLock::new(setup.configured());
        let new = Self {
            setup,
            store: store.clone(),
            keys,
            metrics,
            running: RwLock::new(Running { gallery, before: Counters::default() }),
            quarantine: Arc::default(),
            follower: Mutex::default(),
            applied: AtomicI64::new(0),
            in_force,
            calibrating: Mutex::default(),
            calibrated: RwLock::default(),
        };
        new.refresh_thresholds().await?;
        let loaded = new.reload().await?;
        new.advance(&mut *new.follower.lock().await, loaded);
        Ok(new)
    }

    /// The pack whose embeddings are compared.
    #[must_use]
    pub const fn pack(&self) -> PackDigest {
        self.setup.pack
    }

    /// Number of components of its embeddings.
    #[must_use]
    pub const fn dimension(&self) -> usize {
        self.setup.dimension
    }

    /// The thresholds in force.
    #[must_use]
    pub fn thresholds(&self) -> ThresholdVersion {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the server's configuration and the model pack say: version 0.
    #[must_use]
    pub const fn configured_thresholds(&self) -> ThresholdVersion {
        self.setup.configured()
    }

    /// When a match is believed, by these thresholds.
    #[must_use]
    pub fn policy(&self, thresholds: &ThresholdVersion) -> Policy {
        let ThresholdVersion { version, thresholds, set: _ } = *thresholds;
        Policy { thresholds, version, min_quality: self.setup.min_quality }
    }

    /// What the gallery is like.
    #[must_use]
    pub fn state(&self) -> GalleryState {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let mut stats = running.gallery.stats();
        stats.counters += running.before;
        let epoch = running.gallery.epoch();
        GalleryState { setup: self.setup.clone(), stats, epoch, quarantined: self.quarantine.len() }
    }

    /// The number of the latest change that is surely in the gallery.
    #[must_use]
    pub fn sequence(&self) -> i64 {
        self.applied.load(Ordering::Relaxed)
    }

    fn advance(&self, follower: &mut Follower, sequence: i64) {
        follower.advance(sequence);
        self.applied.store(sequence, Ordering::Relaxed);
    }

    fn gallery(&self) -> Arc<dyn Gallery> {
        Arc::clone(&self.running.read().unwrap_or_else(PoisonError::into_inner).gallery)
    }

    /// Follows the database until `shutdown`: every change that any server commits.
    pub async fn follow(&self, shutdown: CancellationToken) {
        let changed = Notify::new();
        let listening = async {
            loop {
                if let Err(cause) = self.store.listen(GALLERY_CHANGES, &changed).await {
                    warn!(%cause, "does not hear of changes; they are polled");
                }
                tokio::time::sleep(LISTEN_AGAIN).await;
            }
        };
        let applying = async {
            loop {
                let _ = tokio::time::timeout(POLL, changed.notified()).await;
                // Thresholds first: they must not wait for a gallery that is loaded again.
                let followed = async {
                    self.refresh_thresholds().await?;
                    self.catch_up().await
                };
                if let Err(cause) = followed.await {
                    warn!(%cause, "can't follow the database's changes; trying again");
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

    /// Takes the thresholds that the database has: when this returns, those that were committed before are in
    /// force here.
    ///
    /// # Errors
    /// `Store`.
    pub async fn refresh_thresholds(&self) -> Result<(), AppError> {
        let Some(latest) = self.store.thresholds(self.pack(), 1).await?.pop() else { return Ok(()) };
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever read earlier may come later.
        if latest.version > in_force.version {
            let Thresholds { accept, review, margin } = latest.thresholds;
            let (accept, review) = (accept.get(), review.get());
            info!(
                version = latest.version,
                accept, review, margin, "thresholds of the database are in force"
            );
            *in_force = latest;
        }
        Ok(())
    }

    /// Applies what the database has and the gallery has not: when this returns, every change that
    /// was committed before is in force here.
    ///
    /// # Errors
    /// `Store`, `Gallery`; what was applied so far stays.
    pub async fn catch_up(&self) -> Result<(), AppError> {
        let mut follower = self.follower.lock().await;
        loop {
            let (latest, changes) = self.store.gallery_changes(follower.applied(), self.pack()).await?;
            match follower.step(latest, changes.iter().map(|change| change.sequence)) {
                Step::Done => return Ok(()),
                Step::Apply(last) => {
                    self.apply(changes).await?;
                    self.advance(&mut follower, last);
                }
                Step::Reload => {
                    let applied = follower.applied();
                    warn!(applied, latest, "gallery changes are missing; loading everything again");
                    let loaded = self.reload().await?;
                    self.advance(&mut follower, loaded);
                }
            }
        }
    }

    async fn apply(&self, changes: Vec<GalleryChange>) -> Result<(), AppError> {
        let (gallery, opener) = (self.gallery(), self.opener());
        blocking(move || {
            let mut change = Change::default();
            let mut last_key = None;
            for one in &changes {
                let id = TemplateId(one.template.uuid().as_u128());
                if one.stored.is_none() {
                    opener.forget(id);
                }
                change.set(id, one.stored.as_ref().and_then(|stored| opener.open(stored, &mut last_key)));
            }
            let done = gallery.apply(&change)?;
            // What was erased must not stay in the graph's memory either.
            if done.removed > 0 && changes.iter().any(|one| one.stored.is_none()) {
                gallery.compact();
            }
            Ok(())
        })
        .await?
    }

    /// Fills a new gallery from the database and puts it in place; the number of the latest change
    /// that is surely in it. Later ones may be in it, too: applying a change twice does no harm.
    async fn reload(&self) -> Result<i64, AppError> {
        let begun = Instant::now();
        let sequence = self.store.gallery_sequence().await?;
        let RecognitionSetup { mode, dimension, options, .. } = self.setup;
        let gallery = cavs_gallery::open(mode, dimension, options)?;
        self.opener().fill(&gallery, &self.store).await?;
        let (stats, damaged) = (gallery.stats(), self.quarantine.len());
        let seconds = begun.elapsed().as_secs_f32();
        info!(pack = %self.pack(), templates = stats.templates, students = stats.students, damaged, sequence, seconds, "loaded the gallery");
        let mut running = self.running.write().unwrap_or_else(PoisonError::into_inner);
        let before = running.gallery.stats().counters;
        running.before += before;
        running.gallery = gallery;
        Ok(sequence)
    }

    fn opener(&self) -> Opener {
        Opener {
            keys: Arc::clone(&self.keys),
            pack: self.pack(),
            dimension: self.dimension(),
            quarantine: Arc::clone(&self.quarantine),
        }
    }

    /// Predictions for the sightings of a batch, in their order. Probes of the wrong length are
    /// the caller's to refuse.
    ///
    /// # Errors
    /// `Gallery`.
    pub async fn predict(&self, sightings: &[CapturedSighting]) -> Result<Vec<Prediction>, AppError> {
        let comparable = |s: &&CapturedSighting| s.pack == self.pack();
        let probes: Vec<UnitEmbedding> =
            sightings.iter().filter(comparable).map(|s| s.probe.clone()).collect();
        let (gallery, count) = (self.gallery(), probes.len());
        // All of a batch is decided by the same thresholds, which are recorded with it.
        let policy = self.policy(&self.thresholds());
        let Thresholds { accept, margin, .. } = policy.thresholds;
        let query = Query::top(CANDIDATES)
            .grouped_by(self.setup.grouping)
            .unless_decisive(Decisive { accept, margin });
        let begun = Instant::now();
        let answers = blocking(move || gallery.search_batch(&probes, &query)).await??;
        self.metrics.matched(count, begun.elapsed());
        let mut answers = answers.into_iter();
        Ok(sightings
            .iter()
            .map(|sighting| {
                if !comparable(&sighting) {
                    return policy.not_comparable();
                }
                let found = answers.next().map(|answer| answer.candidates).unwrap_or_default();
                policy.decide(matches(&found), &sighting.quality)
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

fn matches(found: &[cavs_gallery::Candidate]) -> Vec<Match> {
    found
        .iter()
        .map(|c| Match { student: Uuid::from_u128(c.student.0).into(), similarity: c.similarity })
        .collect()
}

fn student_key(id: StudentId) -> StudentKey {
    StudentKey(id.uuid().as_u128())
}
