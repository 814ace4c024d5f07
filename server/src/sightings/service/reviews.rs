use std::sync::Arc;

use bytes::Bytes;
use cavs_types::{Decision, ErrorReason, ProtocolError, ReviewId, SightingId, SiteId, UserId, Verdict};
use tracing::info;

use crate::{
    biometrics::{BiometricStore, Keys, Portrait},
    db::{Database, DatabaseError},
    error::ServiceError,
    page::{Page, PageRequest},
    sightings::{
        BulkReview, BulkReviewed, NewClaim, NewReview, NewWithdrawal, QueuePosition, QueueRequest, Sighting,
        SightingFilter, SightingPosition, SightingStore,
    },
};

/// Verdicts of a reviewer that are listed.
const OWN: u32 = 20;

/// Sightings as people look at them, and what they say of them.
#[derive(Clone)]
pub struct Reviews {
    pub(super) store: SightingStore,
    pub(super) biometrics: BiometricStore,
    pub(super) keys: Arc<Keys>,
}

impl Reviews {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, keys: &Arc<Keys>) -> Self {
        Self { store: SightingStore::new(db), biometrics: BiometricStore::new(db), keys: Arc::clone(keys) }
    }

    /// Sightings, newest first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn sightings(
        &self,
        site: SiteId,
        filter: &SightingFilter,
        page: &PageRequest<SightingPosition>,
    ) -> Result<Page<Sighting>, ServiceError> {
        Ok(self.store.sightings(site, filter, page).await?)
    }

    /// Sightings that wait for a person.
    ///
    /// # Errors
    /// `Database`.
    pub async fn review_queue(
        &self,
        site: SiteId,
        queue: &QueueRequest,
        page: &PageRequest<QueuePosition>,
    ) -> Result<Page<Sighting>, ServiceError> {
        Ok(self.store.review_queue(site, queue, page).await?)
    }

    /// Claims the first sightings of the queue that a person may decide: nobody else decides them for a while.
    ///
    /// # Errors
    /// `Database`.
    pub async fn claim(
        &self,
        site: SiteId,
        claim: &NewClaim,
        reviewer: UserId,
    ) -> Result<Vec<Sighting>, ServiceError> {
        let NewClaim { queue, limit, lease_seconds } = claim;
        Ok(self.store.claim(site, queue, reviewer, *limit, *lease_seconds).await?)
    }

    /// Ends a person's claims of some sightings, or all that they have claimed themselves: how many there were.
    ///
    /// # Errors
    /// `Database`.
    pub async fn release_claims(
        &self,
        site: SiteId,
        sightings: Option<&[SightingId]>,
        reviewer: UserId,
    ) -> Result<u64, ServiceError> {
        Ok(self.store.release_claims(site, sightings, reviewer).await?)
    }

    /// Gives sightings of the queue to a reviewer until they are decided, or to nobody in particular: how many there
    /// were.
    ///
    /// # Errors
    /// `USER_NOT_FOUND`: no reviewer of the site has that name.
    pub async fn assign(
        &self,
        site: SiteId,
        sightings: &[SightingId],
        reviewer: Option<&str>,
        by: UserId,
    ) -> Result<u64, ServiceError> {
        let assigned = self.store.assign(site, sightings, reviewer, by).await?.ok_or_else(|| {
            let message = format!("no reviewer of the site is called {:?}", reviewer.unwrap_or_default());
            ServiceError::refused(ErrorReason::UserNotFound, message)
        })?;
        info!(assigned, %by, "assigned sightings");
        Ok(assigned)
    }

    /// Records one verdict on many sightings, each by itself: what was recorded before a failure stays.
    ///
    /// # Errors
    /// `Database`.
    pub async fn review_many(
        &self,
        site: SiteId,
        bulk: &BulkReview,
        reviewer: UserId,
    ) -> Result<BulkReviewed, ServiceError> {
        let BulkReview { filter, verdict, notes, limit, dry_run } = bulk;
        let queued = self.store.queued(site, filter, reviewer, *limit).await?;
        let chosen = u32::try_from(queued.len()).unwrap_or(u32::MAX);
        let mut done = BulkReviewed { chosen, ..BulkReviewed::default() };
        if *dry_run {
            return Ok(done);
        }
        let batch = Some(ReviewId::generate());
        for (sighting, is_flagged) in queued {
            let review = NewReview {
                sighting,
                verdict: *verdict,
                notes: notes.clone(),
                corrected: None,
                replace: false,
                // Whoever flags one meanwhile wants it looked at.
                only_unreviewed: !is_flagged,
                batch,
            };
            if self.record(site, &review, reviewer).await? {
                done.reviewed += 1;
            } else {
                done.passed_over += 1;
            }
        }
        info!(?verdict, reviewed = done.reviewed, passed_over = done.passed_over, %reviewer, "reviewed many");
        Ok(done)
    }

    /// One sighting with its reviews, and its evidence where some was kept.
    ///
    /// # Errors
    /// `SIGHTING_NOT_FOUND`, `DATA_DAMAGED`.
    pub async fn review_item(&self, site: SiteId, id: SightingId) -> Result<(Sighting, Bytes), ServiceError> {
        let sighting = self.sighting(site, id).await?;
        let evidence = self.evidence(site, id).await?;
        Ok((sighting, evidence))
    }

    /// The pictures that a sighting's candidates are known by, best candidate first; of those who have one.
    ///
    /// # Errors
    /// `SIGHTING_NOT_FOUND`.
    pub async fn candidate_portraits(
        &self,
        site: SiteId,
        id: SightingId,
    ) -> Result<Vec<Portrait>, ServiceError> {
        let prediction = self.sighting(site, id).await?.prediction;
        let students: Vec<_> = prediction.candidates.iter().map(|candidate| candidate.student.id).collect();
        self.keys.portraits(&self.biometrics, site, &students).await
    }

    /// Records a person's verdict.
    ///
    /// # Errors
    /// `SIGHTING_NOT_FOUND`, `STUDENT_NOT_FOUND`, `STUDENT_ERASED`, `ALREADY_REVIEWED`, `REVIEW_CLAIMED`,
    /// `SECOND_REVIEWER_REQUIRED`; `INVALID_ARGUMENT` where there is nobody to approve.
    pub async fn review(
        &self,
        site: SiteId,
        review: &NewReview,
        reviewer: UserId,
    ) -> Result<Sighting, ServiceError> {
        let (recorded, sighting) =
            self.store.review(site, review, reviewer).await.map_err(|error| {
                match (error, review.corrected) {
                    (DatabaseError::NotFound, Some(student)) => {
                        let message = format!("no student has the id {student}");
                        ServiceError::refused(ErrorReason::StudentNotFound, message)
                    }
                    (error, _) => error.into(),
                }
            })?;
        let sighting = sighting.ok_or_else(|| not_found(review.sighting))?;
        if recorded {
            info!(sighting = %review.sighting, verdict = ?review.verdict, %reviewer, "reviewed");
            return Ok(sighting);
        }
        if let Some(claim) = &sighting.claim
            && claim.reviewer_id != reviewer
        {
            let how = if claim.assigned_by.is_some() { "is assigned to" } else { "is being looked at by" };
            let message =
                format!("the sighting {how} {}; assign it to yourself to decide it", claim.reviewer);
            return Err(ServiceError::refused(ErrorReason::ReviewClaimed, message));
        }
        let standing = sighting.review.as_ref().map(|review| review.verdict);
        if matches!(standing, Some(Verdict::Approved | Verdict::Rejected)) && !review.replace {
            let message = "somebody has approved or rejected the sighting before; replace it explicitly";
            return Err(ServiceError::refused(ErrorReason::AlreadyReviewed, message));
        }
        if sighting.prediction.decision == Decision::Unknown
            && (review.verdict, review.corrected) == (Verdict::Approved, None)
        {
            let problem = "the machine named nobody: say who it is";
            return Err(ProtocolError::invalid("corrected_student_id", problem).into());
        }
        if standing == Some(Verdict::Flagged) {
            let message =
                "you have flagged the sighting: another person decides it, or you take the flag back first";
            return Err(ServiceError::refused(ErrorReason::SecondReviewerRequired, message));
        }
        let message = "somebody else was at the sighting at this moment: try again";
        Err(ServiceError::refused(ErrorReason::ReviewClaimed, message))
    }

    /// Records one verdict of several: whether it was. What is erased meanwhile is passed over.
    async fn record(&self, site: SiteId, review: &NewReview, reviewer: UserId) -> Result<bool, ServiceError> {
        match self.store.review(site, review, reviewer).await {
            Ok((recorded, _)) => Ok(recorded),
            Err(DatabaseError::Erased) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Records a person's verdict on a sighting, and on those of the queue of the same visit that nobody has reviewed
    /// and nobody else has claimed: how many those were.
    ///
    /// # Errors
    /// As [`Self::review`]; then nothing is recorded. `Database`: what was recorded before stays.
    pub async fn review_visit(
        &self,
        site: SiteId,
        review: &NewReview,
        reviewer: UserId,
    ) -> Result<(Sighting, u32), ServiceError> {
        let visit = self.store.visit(site, review.sighting).await?;
        let batch = Some(ReviewId::generate());
        let sighting = self.review(site, &NewReview { batch, ..review.clone() }, reviewer).await?;
        let mut others = 0;
        for other in visit.into_iter().filter(|id| *id != review.sighting) {
            let review = NewReview { sighting: other, only_unreviewed: true, batch, ..review.clone() };
            others += u32::from(self.record(site, &review, reviewer).await?);
        }
        Ok((sighting, others))
    }

    /// The latest sightings on which a reviewer's verdict is in force, newest first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn reviewed_by(&self, site: SiteId, reviewer: UserId) -> Result<Vec<Sighting>, ServiceError> {
        Ok(self.store.reviewed_by(site, reviewer, OWN).await?)
    }

    /// Takes back the verdict in force, so that the one before it is in force again. The verdict itself and who
    /// gave it stay on record.
    ///
    /// # Errors
    /// `SIGHTING_NOT_FOUND`, `NOT_REVIEWED`; `ROLE_INSUFFICIENT` where the verdict is somebody else's.
    pub async fn withdraw(
        &self,
        site: SiteId,
        withdrawal: &NewWithdrawal,
        by: UserId,
    ) -> Result<Sighting, ServiceError> {
        let (recorded, sighting) = self.store.withdraw_review(site, withdrawal, by).await?;
        let sighting = sighting.ok_or_else(|| not_found(withdrawal.sighting))?;
        if recorded {
            info!(sighting = %withdrawal.sighting, %by, "took a verdict back");
            return Ok(sighting);
        }
        Err(match sighting.review {
            None => ServiceError::refused(ErrorReason::NotReviewed, "no verdict on the sighting is in force"),
            Some(_) => ServiceError::refused(
                ErrorReason::RoleInsufficient,
                "somebody else gave the verdict: only they or an admin may take it back",
            ),
        })
    }

    /// Takes back the verdict in force, and those that the same person gave together with it and that are in force: how
    /// many those were.
    ///
    /// # Errors
    /// As [`Self::withdraw`]; then nothing is taken back. `Database`: what was taken back before stays so.
    pub async fn withdraw_together(
        &self,
        site: SiteId,
        withdrawal: &NewWithdrawal,
        by: UserId,
    ) -> Result<(Sighting, u32), ServiceError> {
        let together = self.store.reviewed_with(site, withdrawal.sighting).await?;
        let sighting = self.withdraw(site, withdrawal, by).await?;
        let mut others = 0;
        for (other, batch) in together {
            let withdrawal = NewWithdrawal { sighting: other, of_batch: Some(batch), ..withdrawal.clone() };
            others += u32::from(self.store.withdraw_review(site, &withdrawal, by).await?.0);
        }
        Ok((sighting, others))
    }

    /// One sighting with its reviews.
    ///
    /// # Errors
    /// `SIGHTING_NOT_FOUND`.
    pub async fn sighting(&self, site: SiteId, id: SightingId) -> Result<Sighting, ServiceError> {
        self.store.sighting(site, id).await?.ok_or_else(|| not_found(id))
    }
}

fn not_found(id: SightingId) -> ServiceError {
    ServiceError::refused(ErrorReason::SightingNotFound, format!("no sighting has the id {id}"))
}
