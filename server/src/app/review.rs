use bytes::Bytes;
use cavs_proto::{ErrorReason, ProtocolError, SightingId, UserId};
use tracing::info;

use super::{App, AppError};
use crate::{
    domain::{
        Decision, NewReview, Page, PageRequest, Sighting, SightingFilter, SightingPosition, StudentKey,
        Verdict,
    },
    store::StoreError,
    vault::Owner,
};

impl App {
    /// Sightings, newest first.
    ///
    /// # Errors
    /// `Store`.
    pub async fn sightings(
        &self,
        filter: &SightingFilter,
        page: &PageRequest<SightingPosition>,
    ) -> Result<Page<Sighting>, AppError> {
        Ok(self.store.sightings(filter, page).await?)
    }

    /// Sightings that wait for a person, oldest first.
    ///
    /// # Errors
    /// `Store`.
    pub async fn review_queue(
        &self,
        filter: &SightingFilter,
        page: &PageRequest<SightingPosition>,
    ) -> Result<Page<Sighting>, AppError> {
        Ok(self.store.review_queue(filter, page).await?)
    }

    /// One sighting, with its evidence where some was kept.
    ///
    /// # Errors
    /// `SIGHTING_NOT_FOUND`, `DATA_DAMAGED`.
    pub async fn review_item(&self, id: SightingId) -> Result<(Sighting, Bytes), AppError> {
        let sighting = self.sighting(id).await?;
        let evidence = match self.store.evidence(id).await? {
            None => Bytes::new(),
            Some((month, wrapped, sealed)) => {
                let key = self.keys.open_month_key(month, &wrapped)?;
                let mut plain = key.open(Owner::Evidence(id), &sealed)?;
                Bytes::from(std::mem::take(&mut *plain))
            }
        };
        Ok((sighting, evidence))
    }

    /// Records a person's verdict.
    ///
    /// # Errors
    /// `SIGHTING_NOT_FOUND`, `STUDENT_NOT_FOUND`, `ALREADY_REVIEWED`; `INVALID_ARGUMENT` where
    /// there is nobody to approve.
    pub async fn review(&self, review: &NewReview, reviewer: UserId) -> Result<Sighting, AppError> {
        let sighting = self.sighting(review.sighting).await?;
        if let Some(corrected) = review.corrected {
            self.student(&StudentKey::Id(corrected)).await?;
        } else if review.verdict == Verdict::Approved && sighting.prediction.decision == Decision::Unknown {
            let problem = "the machine named nobody: say who it is";
            return Err(ProtocolError::invalid("corrected_student_id", problem).into());
        }
        match self.store.review(review, reviewer).await {
            Ok(true) => {
                info!(sighting = %review.sighting, verdict = ?review.verdict, %reviewer, "reviewed");
                self.sighting(review.sighting).await
            }
            Ok(false) => {
                let message = "somebody has approved or rejected the sighting before; replace it explicitly";
                Err(AppError::refused(ErrorReason::AlreadyReviewed, message))
            }
            Err(StoreError::NotFound) => Err(not_found(review.sighting)),
            Err(error) => Err(error.into()),
        }
    }

    /// One sighting.
    ///
    /// # Errors
    /// `SIGHTING_NOT_FOUND`.
    pub async fn sighting(&self, id: SightingId) -> Result<Sighting, AppError> {
        self.store.sighting(id).await?.ok_or_else(|| not_found(id))
    }
}

fn not_found(id: SightingId) -> AppError {
    AppError::refused(ErrorReason::SightingNotFound, format!("no sighting has the id {id}"))
}
