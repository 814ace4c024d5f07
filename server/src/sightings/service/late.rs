//! Late enrollment: what was taken for nobody is looked up again when somebody is enrolled, in sites that want it.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use cavs_embedding::UnitEmbedding;
use cavs_types::{ErrorReason, SightingId, SiteId, StudentId, UserId, Verdict};
use jiff::{SignedDuration, Timestamp, civil::Date};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Reviews;
use crate::{
    biometrics::{BiometricStore, Key, Keys, Owner},
    db::Database,
    error::ServiceError,
    page::{Page, PageRequest},
    recognition::{Galleries, Probe, Recognition, Sought},
    sightings::{
        LateMatch, LateMatchPosition, NewReview, SightingStore,
        store::{FoundLate, UnknownFace},
    },
};

/// How often is looked for who was enrolled.
const TURN: Duration = Duration::from_secs(2);
/// Faces that are looked up at a time: as many as a batch of a device.
const AT_A_TIME: i64 = 64;
/// Most faces that are looked through for those who were enrolled together, the latest first.
const MOST: usize = 200_000;

/// Looks up again what was taken for nobody.
#[derive(Clone)]
pub struct LateMatches {
    store: SightingStore,
    biometrics: BiometricStore,
    keys: Arc<Keys>,
    galleries: Arc<Galleries>,
    reviews: Reviews,
}

impl LateMatches {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, keys: &Arc<Keys>, galleries: &Arc<Galleries>, reviews: &Reviews) -> Self {
        Self {
            store: SightingStore::new(db),
            biometrics: BiometricStore::new(db),
            keys: Arc::clone(keys),
            galleries: Arc::clone(galleries),
            reviews: reviews.clone(),
        }
    }

    /// Looks for who was enrolled until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let working = async {
            loop {
                tokio::time::sleep(TURN).await;
                for gallery in self.galleries.all() {
                    let site = gallery.site();
                    if let Err(cause) = self.look(&gallery).await {
                        warn!(%site, %cause, "faces are not looked up for who was enrolled; it is tried again");
                    }
                }
            }
        };
        shutdown.run_until_cancelled(working).await;
    }

    /// Looks up what was taken for nobody for those of a site who were enrolled since; how much was found.
    ///
    /// # Errors
    /// `Database`, `Busy`, `Gallery`.
    pub async fn look(&self, gallery: &Recognition) -> Result<u64, ServiceError> {
        let site = gallery.site();
        let Some((students, ids)) = self.store.take_enrolled(site).await? else { return Ok(0) };
        let looked = self.look_for(gallery, &students.into_iter().collect()).await;
        match looked {
            Ok(_) => self.store.done_enrolled(site, &ids).await?,
            Err(_) => self.store.give_back_enrolled(site, &ids).await?,
        }
        looked
    }

    async fn look_for(
        &self,
        gallery: &Recognition,
        students: &BTreeSet<StudentId>,
    ) -> Result<u64, ServiceError> {
        let site = gallery.site();
        let mut found = 0;
        if let Some(days) = self.store.late_match_days(site).await? {
            let back = SignedDuration::from_hours(24 * i64::from(days));
            let since = Timestamp::now().checked_sub(back).unwrap_or(Timestamp::UNIX_EPOCH);
            let (mut after, mut keys, mut seen) = (None, HashMap::new(), 0);
            while seen < MOST {
                let faces = self.store.unknown_faces(site, gallery.pack(), since, after, AT_A_TIME).await?;
                let Some(oldest) = faces.last() else { break };
                after = Some((oldest.listed_at, oldest.sighting));
                seen += faces.len();
                found += self.look_up(gallery, &faces, students, &mut keys).await?;
            }
            if found > 0 {
                info!(%site, students = students.len(), faces = seen, found, "proposed who was taken for nobody");
            }
        }
        Ok(found)
    }

    async fn look_up(
        &self,
        gallery: &Recognition,
        faces: &[UnknownFace],
        students: &BTreeSet<StudentId>,
        keys: &mut HashMap<Date, Option<Key>>,
    ) -> Result<u64, ServiceError> {
        let site = gallery.site();
        let days: Vec<Date> = faces.iter().map(|face| face.day).collect();
        let ids: Vec<SightingId> = faces.iter().map(|face| face.sighting).collect();
        // Those that retention has taken are missing.
        let sealed = self.biometrics.probes(site, &days, &ids).await?;
        let mut probes = Vec::new();
        for face in faces {
            let Some(sealed) = sealed.get(&face.sighting) else { continue };
            if let Entry::Vacant(unknown) = keys.entry(face.day) {
                let key = self.biometrics.day_key(site, face.day).await?;
                unknown.insert(key.and_then(|stored| self.keys.open(&stored).ok()));
            }
            let Some(Some(key)) = keys.get(&face.day) else { continue };
            let Ok(plain) = key.open(Owner::Probe(face.sighting, gallery.pack()), sealed) else { continue };
            let Ok(embedding) = UnitEmbedding::from_le_bytes(&plain) else { continue };
            if embedding.dimension() == gallery.dimension() {
                let (quality, liveness) = (face.quality, face.liveness);
                probes.push((face.sighting, Probe { embedding, pack: gallery.pack(), quality, liveness }));
            }
        }
        let sought: Vec<Sought<'_>> =
            probes.iter().map(|(_, probe)| Sought { probe, expected: None }).collect();
        let predictions = gallery.predict(&sought).await?;
        let found: Vec<FoundLate> = probes
            .iter()
            .zip(&predictions)
            .filter_map(|((sighting, _), prediction)| {
                let best = prediction.predicted()?;
                students.contains(&best.student).then_some(FoundLate {
                    sighting: *sighting,
                    student: best.student,
                    similarity: best.similarity,
                    threshold: prediction.threshold,
                })
            })
            .collect();
        Ok(if found.is_empty() { 0 } else { self.store.add_late_matches(site, &found).await? })
    }

    /// How many days a site looks back; `None`: it doesn't.
    ///
    /// # Errors
    /// `Database`.
    pub async fn days(&self, site: SiteId) -> Result<Option<u32>, ServiceError> {
        Ok(self.store.late_match_days(site).await?)
    }

    /// Says how many days a site looks back, for who is enrolled from then on.
    ///
    /// # Errors
    /// `Database`.
    pub async fn set_days(&self, site: SiteId, days: Option<u32>, by: UserId) -> Result<(), ServiceError> {
        self.store.set_late_match_days(site, days).await?;
        info!(%site, days, %by, "set whether faces are looked up for who is enrolled late");
        Ok(())
    }

    /// What was found and nobody has decided on.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        student: Option<StudentId>,
        page: &PageRequest<LateMatchPosition>,
    ) -> Result<Page<LateMatch>, ServiceError> {
        Ok(self.store.late_matches(site, student, page).await?)
    }

    /// Decides on what was found. Accepted, the sighting is the student's by a reviewer's word, as any other.
    ///
    /// # Errors
    /// `PROPOSAL_NOT_FOUND`; those of [`Reviews::review`].
    pub async fn decide(
        &self,
        site: SiteId,
        (sighting, student): (SightingId, StudentId),
        accept: bool,
        by: UserId,
    ) -> Result<(), ServiceError> {
        let none = || {
            let message =
                "nothing is proposed of this sighting and this student, or somebody has reviewed it since";
            ServiceError::refused(ErrorReason::ProposalNotFound, message)
        };
        if !self.store.has_late_match(site, sighting, student).await? {
            return Err(none());
        }
        if accept {
            let notes = "enrolled after it was seen";
            let mut review = NewReview::new(sighting, Verdict::Approved, notes, Some(student), false)?;
            review.only_unreviewed = true;
            self.reviews.review(site, &review, by).await?;
        }
        if !self.store.decide_late_match(site, (sighting, student), accept, by).await? {
            return Err(none());
        }
        info!(%sighting, %student, accept, %by, "decided on a late match");
        Ok(())
    }
}
