use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use cavs_models::Face;
use cavs_types::{Decision, EnrollmentGate, MatchKind, Quality, SiteId, UserId};
use uuid::Uuid;

use super::{
    FaceToMatch, Identified, MatchPosition, MatchRecord, MatchStore, MatchedFace, NewMatch, Quota, Verified,
};
use crate::{
    db::Database,
    error::ServiceError,
    page::{Page, PageRequest},
    people::{StudentKey, StudentRef, Students, portrait},
    recognition::{Candidate, Galleries, Looked, Match, Probe, Recognition, Vision},
};

/// How long it is recorded who asked: as long as sightings are usually kept.
const RECORDED: Duration = Duration::from_secs(400 * 24 * 3600);
/// What is said of a student who has no template, or is not to be recognised.
const NOT_ENROLLED: &str = "NOT_ENROLLED";

/// Says whose face it is.
#[derive(Clone)]
pub struct Matching {
    store: MatchStore,
    students: Students,
    galleries: Arc<Galleries>,
    vision: Vision,
    quota: Arc<Quota>,
}

/// What was found out about a face before it is compared: or else a stable reason.
struct Seen {
    probe: Result<Probe, &'static str>,
    quality: Option<Quality>,
    by_image: bool,
}

impl Matching {
    /// Over these connections to the database; each user may ask so many times a minute.
    #[must_use]
    pub fn new(
        db: &Database,
        students: &Students,
        galleries: &Arc<Galleries>,
        vision: &Vision,
        calls_a_minute: NonZeroU32,
    ) -> Self {
        Self {
            store: MatchStore::new(db),
            students: students.clone(),
            galleries: Arc::clone(galleries),
            vision: vision.clone(),
            quota: Arc::new(Quota::new(calls_a_minute)),
        }
    }

    /// Which student of a site a face shows.
    ///
    /// # Errors
    /// `RATE_LIMITED`, `Busy`, `VISION_UNAVAILABLE`, `Database`.
    pub async fn identify(
        &self,
        site: SiteId,
        by: UserId,
        face: FaceToMatch,
    ) -> Result<Identified, ServiceError> {
        let gallery = self.begin(site, by).await?;
        let Seen { probe, quality, by_image } = self.look(&gallery, face).await?;
        let review = gallery.thresholds().thresholds.review;
        let (face, found, margin) = match probe {
            Ok(probe) => {
                let decided = gallery.identify(&probe).await?;
                let (decision, reason) = (decided.decision, decided.reason.as_str());
                let face = MatchedFace {
                    id: Uuid::now_v7(),
                    decision,
                    reason,
                    threshold: decided.threshold,
                    threshold_version: decided.threshold_version,
                    quality,
                };
                // Whom it surely is not, nobody has to be told.
                let shown: Vec<Match> =
                    decided.candidates.into_iter().filter(|found| found.similarity >= review).collect();
                let margin = decided.margin.filter(|_| shown.len() > 1);
                (face, shown, margin)
            }
            Err(reason) => (refused(&gallery, reason, quality), Vec::new(), None),
        };
        let new = NewMatch {
            kind: MatchKind::Identify,
            by,
            by_image,
            asked: None,
            face: face.clone(),
            best: found.first().cloned(),
        };
        self.store.record(site, &new).await?;
        let mut candidates = Vec::with_capacity(found.len());
        for Candidate { student, similarity } in found {
            // Somebody may have been erased since.
            if let Some(known) = self.students.find(site, &StudentKey::Id(student)).await? {
                let profile = known.state.profile;
                let student = StudentRef { id: student, number: profile.number, name: profile.name };
                candidates.push(Candidate { student, similarity });
            }
        }
        Ok(Identified { face, candidates, margin })
    }

    /// Whether a face shows a student of a site.
    ///
    /// # Errors
    /// `STUDENT_NOT_FOUND`; as of [`Self::identify`].
    pub async fn verify(
        &self,
        site: SiteId,
        by: UserId,
        face: FaceToMatch,
        student: &StudentKey,
    ) -> Result<Verified, ServiceError> {
        let gallery = self.begin(site, by).await?;
        let asked = self.students.get(site, student).await?.state.id;
        let Seen { probe, quality, by_image } = self.look(&gallery, face).await?;
        let (face, similarity) = match probe {
            Ok(probe) => match gallery.verify(&probe, asked).await? {
                Some(decided) => {
                    let similarity = decided.candidates.first().map(|own| own.similarity);
                    let face = MatchedFace {
                        id: Uuid::now_v7(),
                        decision: decided.decision,
                        reason: decided.reason.as_str(),
                        threshold: decided.threshold,
                        threshold_version: decided.threshold_version,
                        quality,
                    };
                    (face, similarity)
                }
                None => (refused(&gallery, NOT_ENROLLED, quality), None),
            },
            Err(reason) => (refused(&gallery, reason, quality), None),
        };
        let best = similarity.map(|similarity| Candidate { student: asked, similarity });
        let kind = MatchKind::Verify;
        let new = NewMatch { kind, by, by_image, asked: Some(asked), face: face.clone(), best };
        self.store.record(site, &new).await?;
        Ok(Verified { face, similarity })
    }

    /// Who asked what, newest first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        page: &PageRequest<MatchPosition>,
    ) -> Result<Page<MatchRecord>, ServiceError> {
        Ok(self.store.list(site, page).await?)
    }

    /// Forgets who asked long ago; how many records went.
    ///
    /// # Errors
    /// `Database`.
    pub async fn forget_old(&self) -> Result<u64, ServiceError> {
        Ok(self.store.delete_older(RECORDED).await?)
    }

    /// The gallery, where the user may ask again.
    async fn begin(&self, site: SiteId, by: UserId) -> Result<Arc<Recognition>, ServiceError> {
        self.quota
            .take(by, Instant::now())
            .map_err(|retry_in| ServiceError::Limited { what: "matching", retry_in })?;
        self.galleries.of(site).await
    }

    async fn look(&self, gallery: &Recognition, face: FaceToMatch) -> Result<Seen, ServiceError> {
        let (probe, by_image) = match face {
            FaceToMatch::Image(data) => {
                let found = match self.vision.look(data, false).await? {
                    Ok(Looked { upright, .. }) => portrait(upright, EnrollmentGate::Off, 0)
                        .map_err(|refusal| (refusal.reason, refusal.quality)),
                    Err(failure) => Err((failure.reason(), None)),
                };
                let Face { embedding, quality, liveness, .. } = match found {
                    Ok(face) => face,
                    Err((reason, quality)) => {
                        return Ok(Seen { probe: Err(reason), quality, by_image: true });
                    }
                };
                (Probe { embedding, pack: gallery.pack(), quality, liveness }, true)
            }
            FaceToMatch::Embedding { embedding, pack, quality, liveness } => {
                (Probe { embedding, pack, quality, liveness }, false)
            }
        };
        let quality = Some(probe.quality);
        let is_comparable =
            probe.pack == gallery.pack() && probe.embedding.dimension() == gallery.dimension();
        let probe = if is_comparable { Ok(probe) } else { Err("PACK_NOT_SERVED") };
        Ok(Seen { probe, quality, by_image })
    }
}

/// What is said of a face that was not compared.
fn refused(gallery: &Recognition, reason: &'static str, quality: Option<Quality>) -> MatchedFace {
    let in_force = gallery.thresholds();
    MatchedFace {
        id: Uuid::now_v7(),
        decision: Decision::Unknown,
        reason,
        threshold: in_force.thresholds.accept.get(),
        threshold_version: in_force.version,
        quality,
    }
}
