mod calibrating;
mod executor;
mod following;
mod galleries;
mod loading;
mod reports;
#[cfg(test)]
mod tests;
mod vision;

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use cavs_embedding::{PackDigest, Similarity, UnitEmbedding};
use cavs_gallery::{
    Counters, Decisive, Follower, Gallery, GalleryError, GalleryMode, Grouping, Options, Query, Stats,
    StudentKey,
};
use cavs_types::{MatchScope, RateBasis, SiteId, StudentId};
use tokio::sync::{Mutex, Notify};
use tracing::info;
use uuid::Uuid;

use self::{executor::Lane, following::Replica, galleries::Shared};
use crate::{
    biometrics::BiometricStore,
    error::ServiceError,
    recognition::{
        ConfusablePairs, ExpectedPeople, Match, Policy, Prediction, Probe, RateReason, RosterFirst,
        ThresholdStore, ThresholdVersion, Thresholds, store::ConfusablePairStore,
    },
};

pub use calibrating::Calibrated;
pub use galleries::Galleries;
pub use reports::{GalleryReport, Suggestion};
pub use vision::{Looked, Vision, VisionFailure};

/// Candidates that are kept with a prediction, of everybody, and of those who are expected where they are not among
/// these.
const CANDIDATES: usize = 5;
const EXPECTED: usize = 2;

/// A face to be looked up, and who is expected where it was captured, where anybody is.
#[derive(Debug, Clone, Copy)]
pub struct Sought<'a> {
    /// The face.
    pub probe: &'a Probe,
    /// In the sessions of its room at its time.
    pub expected: Option<&'a Arc<ExpectedPeople>>,
}

/// Says who of a site somebody is: the site's gallery of one model pack, and the policy that goes with it.
///
/// The database is the truth: gallery and thresholds are read from it, and follow its changes.
pub struct Recognition {
    site: SiteId,
    shared: Shared,
    templates: BiometricStore,
    threshold_store: ThresholdStore,
    running: RwLock<Running>,
    /// How far the running gallery is. Held while some changes are applied to it, never while all is loaded.
    follower: Mutex<Follower>,
    /// Tells the task that follows of changes.
    changed: Notify,
    /// The same, for those who don't wait.
    applied: AtomicI64,
    in_force: RwLock<ThresholdVersion>,
    pair_store: ConfusablePairStore,
    /// Held while pairs are read, so that an older state never comes later.
    reading_pairs: Mutex<()>,
    pairs: RwLock<Arc<ConfusablePairs>>,
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
    /// When a match is believed, where the database does not say. A wanted rate never leads to a lower accept
    /// threshold.
    pub thresholds: Thresholds,
    /// Strangers, of 1,000, that may be accepted: the accept threshold follows, where the database does not say.
    pub wanted_rate: Option<f64>,
    /// What the pack's makers know of its errors.
    pub calibration: Option<cavs_models::Calibration>,
    /// Least unified quality score that is accepted without a person, 0 to 100.
    pub min_quality: u8,
    /// How the gallery searches.
    pub mode: GalleryMode,
    /// How the similarities of a student's templates become one.
    pub grouping: Grouping,
    /// Limits of the gallery.
    pub options: Options,
}

impl RecognitionSetup {
    /// The thresholds as version 0.
    fn configured(&self) -> ThresholdVersion {
        let follows = |wanted| RateReason { wanted, basis: RateBasis::Floor, templates: 0 };
        ThresholdVersion::unset(self.thresholds, self.wanted_rate.map(follows))
    }
}

struct Running {
    replica: Replica,
    /// Times that everything was loaded.
    loads: u64,
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
    /// A gallery with all templates of a site. A template that does not open, or holds no
    /// unit embedding of the right length, is left out, counted, and named by its id.
    ///
    /// # Errors
    /// `Database`: the database does not answer. `Gallery`.
    async fn load(site: SiteId, shared: &Shared) -> Result<Self, ServiceError> {
        let Shared { setup, db, .. } = shared;
        let gallery = cavs_gallery::open(setup.mode, setup.dimension, setup.options)?;
        let in_force = RwLock::new(setup.configured());
        let new = Self {
            site,
            shared: shared.clone(),
            templates: BiometricStore::new(db),
            threshold_store: ThresholdStore::new(db),
            running: RwLock::new(Running {
                replica: Replica { gallery, quarantine: Arc::default() },
                loads: 0,
                before: Counters::default(),
            }),
            follower: Mutex::default(),
            changed: Notify::new(),
            applied: AtomicI64::new(0),
            in_force,
            pair_store: ConfusablePairStore::new(db),
            reading_pairs: Mutex::default(),
            pairs: RwLock::default(),
            calibrating: Mutex::default(),
            calibrated: RwLock::default(),
        };
        new.refresh_thresholds().await?;
        new.refresh_pairs().await?;
        new.reload().await?;
        Ok(new)
    }

    /// The site whose people it knows.
    #[must_use]
    pub const fn site(&self) -> SiteId {
        self.site
    }

    /// The pack whose embeddings are compared.
    #[must_use]
    pub const fn pack(&self) -> PackDigest {
        self.shared.setup.pack
    }

    /// Number of components of its embeddings.
    #[must_use]
    pub const fn dimension(&self) -> usize {
        self.shared.setup.dimension
    }

    /// The thresholds in force.
    #[must_use]
    pub fn thresholds(&self) -> ThresholdVersion {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the server's configuration and the model pack say: version 0.
    #[must_use]
    pub fn configured_thresholds(&self) -> ThresholdVersion {
        self.shared.setup.configured()
    }

    /// When a match is believed, by these thresholds.
    #[must_use]
    pub fn policy(&self, thresholds: &ThresholdVersion) -> Policy {
        let ThresholdVersion { version, thresholds, .. } = *thresholds;
        let scope_templates = Some(u32::try_from(self.gallery().len()).unwrap_or(u32::MAX));
        let min_quality = self.shared.setup.min_quality;
        Policy { thresholds, version, min_quality, scope: MatchScope::Site, scope_templates }
    }

    /// As [`Self::policy`], for those who are expected somewhere, with so many of the gallery's templates. Where the
    /// accept threshold follows a wanted rate, theirs follows it, too; where somebody has said it, it holds for all.
    #[must_use]
    pub fn policy_among(&self, thresholds: &ThresholdVersion, templates: u32) -> Policy {
        let Thresholds { accept, review, .. } = thresholds.thresholds;
        let accept = match thresholds.rate {
            None => accept,
            Some(RateReason { wanted, .. }) => {
                let calibrated = self.last_calibration();
                let evidence = self.rate_evidence(calibrated.as_deref());
                evidence.threshold_among(templates as usize, wanted, accept, review)
            }
        };
        self.policy(thresholds).among_expected(accept, templates)
    }

    /// What the gallery is like.
    #[must_use]
    pub fn state(&self) -> GalleryState {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let Replica { gallery, quarantine } = &running.replica;
        let mut stats = gallery.stats();
        stats.counters += running.before;
        let (epoch, quarantined) = (gallery.epoch(), quarantine.len());
        GalleryState { setup: self.shared.setup.clone(), stats, epoch, quarantined }
    }

    /// The number of the latest change that is surely in the gallery.
    #[must_use]
    pub fn sequence(&self) -> i64 {
        self.applied.load(Ordering::Relaxed)
    }

    fn replica(&self) -> Replica {
        self.running.read().unwrap_or_else(PoisonError::into_inner).replica.clone()
    }

    fn gallery(&self) -> Arc<dyn Gallery> {
        self.replica().gallery
    }

    /// Takes the thresholds that the database has: when this returns, those that were committed before are in
    /// force here.
    ///
    /// # Errors
    /// `Database`.
    pub async fn refresh_thresholds(&self) -> Result<(), ServiceError> {
        let Some(latest) = self.threshold_store.thresholds(self.site, self.pack(), 1).await?.pop() else {
            return Ok(());
        };
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever read earlier may come later.
        if latest.version > in_force.version {
            let Thresholds { accept, review, margin, liveness } = latest.thresholds;
            let (accept, review) = (accept.get(), review.get());
            info!(
                site = %self.site,
                version = latest.version,
                accept, review, margin, liveness, "thresholds of the database are in force"
            );
            *in_force = latest;
        }
        Ok(())
    }

    /// The students who are taken for one another.
    #[must_use]
    pub fn confusable_pairs(&self) -> Arc<ConfusablePairs> {
        Arc::clone(&self.pairs.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the confusable pairs that the database has: when this returns, those that were committed before are
    /// in force here.
    ///
    /// # Errors
    /// `Database`.
    pub async fn refresh_pairs(&self) -> Result<(), ServiceError> {
        let _turn = self.reading_pairs.lock().await;
        let pairs = Arc::new(self.pair_store.all(self.site).await?);
        *self.pairs.write().unwrap_or_else(PoisonError::into_inner) = pairs;
        Ok(())
    }

    /// Predictions for the probes of a batch, in their order, each with those who are expected where it was captured.
    /// Probes of the wrong length are the caller's to refuse.
    ///
    /// # Errors
    /// `Busy`, `Gallery`.
    pub async fn predict(&self, probes: &[Sought<'_>]) -> Result<Vec<Prediction>, ServiceError> {
        self.predict_in(Lane::Devices, probes).await
    }

    /// As [`Self::predict`], of one face that a person asks about.
    ///
    /// # Errors
    /// `Busy`, `Gallery`.
    pub async fn identify(&self, probe: &Probe) -> Result<Prediction, ServiceError> {
        let predicted = self.predict_in(Lane::People, &[Sought { probe, expected: None }]).await?.pop();
        predicted.ok_or(ServiceError::Stopped("matching"))
    }

    /// Whether a face is a student's: what the policy would say if the student were the best candidate, however similar
    /// others are. `None` where nobody is recognised as them.
    ///
    /// # Errors
    /// `Busy`, `Gallery`.
    pub async fn verify(
        &self,
        probe: &Probe,
        student: StudentId,
    ) -> Result<Option<Prediction>, ServiceError> {
        let (gallery, embedding) = (self.gallery(), probe.embedding.clone());
        let roster = std::iter::once(student_key(student)).collect();
        let grouping = self.shared.setup.grouping;
        let search = move || gallery.search(&embedding, &Query::top(1).grouped_by(grouping).among(&roster));
        let own = matches(&self.compute(Lane::People, search).await??.candidates);
        if own.is_empty() {
            return Ok(None);
        }
        let found = self.identify(probe).await?;
        let others = found.candidates.into_iter().filter(|other| other.student != student);
        let candidates = own.into_iter().chain(others).collect();
        let policy = self.policy(&self.thresholds());
        Ok(Some(policy.decide(candidates, &probe.quality, probe.liveness, &self.confusable_pairs())))
    }

    async fn predict_in(&self, lane: Lane, sought: &[Sought<'_>]) -> Result<Vec<Prediction>, ServiceError> {
        let comparable: Vec<&Sought<'_>> =
            sought.iter().filter(|sought| sought.probe.pack == self.pack()).collect();
        let embeddings: Vec<UnitEmbedding> =
            comparable.iter().map(|sought| sought.probe.embedding.clone()).collect();
        // Most of a batch are captured where and when the same people are expected.
        let mut rosters: Vec<Arc<ExpectedPeople>> = Vec::new();
        let mut roster_of: Vec<Option<usize>> = Vec::with_capacity(comparable.len());
        for sought in &comparable {
            roster_of.push(sought.expected.map(|people| {
                rosters.iter().position(|known| Arc::ptr_eq(known, people)).unwrap_or_else(|| {
                    rosters.push(Arc::clone(people));
                    rosters.len() - 1
                })
            }));
        }
        let (gallery, count) = (self.gallery(), embeddings.len());
        // All of a batch is decided by the same thresholds, which are recorded with it.
        let in_force = self.thresholds();
        let policy = self.policy(&in_force);
        let among: Vec<Policy> = rosters
            .iter()
            .map(|people| {
                let templates = u32::try_from(gallery.templates_of(people.roster())).unwrap_or(u32::MAX);
                self.policy_among(&in_force, templates)
            })
            .collect();
        let pairs = self.confusable_pairs();
        let Thresholds { accept, margin, .. } = policy.thresholds;
        let top = Query::top(CANDIDATES).grouped_by(self.shared.setup.grouping);
        let (searched, searched_among) = (rosters.clone(), roster_of.clone());
        let work = move || {
            let begun = Instant::now();
            let mut expected: Vec<Vec<Match>> = vec![Vec::new(); embeddings.len()];
            for (number, people) in searched.iter().enumerate() {
                let there = |index: &usize| searched_among.get(*index) == Some(&Some(number));
                let indexes: Vec<usize> = (0..embeddings.len()).filter(there).collect();
                let probes: Vec<UnitEmbedding> =
                    indexes.iter().filter_map(|index| embeddings.get(*index).cloned()).collect();
                let query = Query { k: EXPECTED, ..top.among(people.roster()) };
                for (index, answer) in indexes.into_iter().zip(gallery.search_batch(&probes, &query)?) {
                    if let Some(place) = expected.get_mut(index) {
                        *place = matches(&answer.candidates);
                    }
                }
            }
            let answers =
                gallery.search_batch(&embeddings, &top.unless_decisive(Decisive { accept, margin }))?;
            Ok::<_, GalleryError>((answers, expected, begun.elapsed()))
        };
        let (answers, expected, time) = self.compute(lane, work).await??;
        self.shared.metrics.matched(count, time);
        let mut found = answers.into_iter().zip(expected).zip(roster_of);
        let decide = |sought: &Sought<'_>| {
            let probe = sought.probe;
            if probe.pack != self.pack() {
                return policy.not_comparable();
            }
            let (candidates, expected, roster) = found
                .next()
                .map(|((answer, expected), roster)| (matches(&answer.candidates), expected, roster))
                .unwrap_or_default();
            let judged = roster.and_then(|number| Some((*among.get(number)?, rosters.get(number)?.as_ref())));
            let rule = RosterFirst { site: policy, expected: judged };
            rule.decide(candidates, expected, &probe.quality, probe.liveness, &pairs)
        };
        Ok(sought.iter().map(decide).collect())
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
    ) -> Result<Vec<Match>, ServiceError> {
        let (gallery, embedding) = (self.gallery(), embedding.clone());
        let except = Some(student_key(except));
        let search = move || gallery.find_duplicates(&embedding, threshold, except);
        let found = self.compute(Lane::People, search).await??;
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
    ) -> Result<Option<Similarity>, ServiceError> {
        let (gallery, embedding) = (self.gallery(), embedding.clone());
        let roster = std::iter::once(student_key(student)).collect();
        let search = move || gallery.search(&embedding, &Query::top(1).among(&roster));
        let answer = self.compute(Lane::People, search).await??;
        Ok(answer.candidates.first().map(|c| c.similarity))
    }

    /// Computes where there is room for it; what is turned away is counted.
    async fn compute<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        self.shared.executor.run(lane, work).await.inspect_err(|error| {
            if matches!(error, ServiceError::Busy { .. }) {
                self.shared.metrics.turned_away();
            }
        })
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
