use std::sync::Arc;

use bytes::Bytes;
use cavs_types::{ErrorReason, ProtocolError, QueueOrder, SightingId, SiteId, UserId, Verdict};
use tracing::info;

use crate::{
    biometrics::{BiometricStore, Keys, Owner},
    db::{Database, DatabaseError},
    error::ServiceError,
    page::{Page, PageRequest},
    sightings::{
        BulkReview, BulkReviewed, NewReview, NewWithdrawal, QueueFilter, QueuePosition, Sighting,
        SightingFilter, SightingPosition, SightingStore,
    },
};

/// Verdicts of a reviewer that are listed.
const OWN: i64 = 20;

/// Sightings as people look at them, and what they say of them.
#[derive(Clone)]
pub struct Reviews {
    pub(super) store: SightingStore,
    biometrics: BiometricStore,
    keys: Arc<Keys>,
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
        filter: &QueueFilter,
        order: QueueOrder,
        page: &PageRequest<QueuePosition>,
    ) -> Result<Page<Sighting>, ServiceError> {
        Ok(self.store.review_queue(site, filter, order, page).await?)
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
        let queued = self.store.queued(site, filter, *limit).await?;
        let chosen = u32::try_from(queued.len()).unwrap_or(u32::MAX);
        let mut done = BulkReviewed { chosen, ..BulkReviewed::default() };
        if *dry_run {
            return Ok(done);
        }
        for (sighting, is_flagged) in queued {
            let review = NewReview {
                sighting,
                verdict: *verdict,
                notes: notes.clone(),
                corrected: None,
                replace: false,
                // Whoever flags one meanwhile wants it looked at.
                only_unreviewed: !is_flagged,
            };
            let recorded = match self.store.review(site, &review, reviewer).await {
                Ok((recorded, _)) => recorded,
                // Erased a moment ago.
                Err(DatabaseError::Erased) => false,
                Err(error) => return Err(error.into()),
            };
            if recorded {
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
        let evidence = match self.biometrics.evidence(site, id).await? {
            None => Bytes::new(),
            Some(sealed) => {
                let mut plain =
                    self.keys.unseal(&self.biometrics, site, Owner::Evidence(id), &sealed).await?;
                Bytes::from(std::mem::take(&mut *plain))
            }
        };
        Ok((sighting, evidence))
    }

    /// Records a person's verdict.
    ///
    /// # Errors
    /// `SIGHTING_NOT_FOUND`, `STUDENT_NOT_FOUND`, `STUDENT_ERASED`, `ALREADY_REVIEWED`; `INVALID_ARGUMENT` where
    /// there is nobody to approve.
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
        let standing = sighting.review.as_ref().map(|review| review.verdict);
        if matches!(standing, Some(Verdict::Approved | Verdict::Rejected)) && !review.replace {
            let message = "somebody has approved or rejected the sighting before; replace it explicitly";
            return Err(ServiceError::refused(ErrorReason::AlreadyReviewed, message));
        }
        let problem = "the machine named nobody: say who it is";
        Err(ProtocolError::invalid("corrected_student_id", problem).into())
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
