//! Audits of accepted sightings by people who are not told whom the machine meant.

use bytes::Bytes;
use cavs_types::{ErrorReason, SightingId, SiteId, UserId, Verdict};
use tracing::info;

use super::Reviews;
use crate::{
    biometrics::Owner,
    error::ServiceError,
    sightings::{Audit, AuditAnswer, NewReview},
};

/// Audits whose pictures are gone, and that are given up, in one call.
const TRIED: usize = 200;

impl Reviews {
    /// An audit that waits and whose picture is still there; none where there is no such.
    ///
    /// # Errors
    /// `DATA_DAMAGED`.
    pub async fn next_audit(&self, site: SiteId, auditor: UserId) -> Result<Option<Audit>, ServiceError> {
        for _ in 0..TRIED {
            let Some((sighting, captured_at)) = self.store.next_audit(site, auditor).await? else { break };
            let evidence = self.evidence(site, sighting).await?;
            if evidence.is_empty() {
                self.store.drop_audit(site, sighting).await?;
                continue;
            }
            let choices = self.store.audit_choices(site, sighting).await?;
            return Ok(Some(Audit { sighting, captured_at, evidence, choices }));
        }
        Ok(None)
    }

    /// Records what a person says of an audit. Where that is not what the machine said, the sighting is rejected, and
    /// corrected where they named somebody.
    ///
    /// # Errors
    /// `AUDIT_NOT_FOUND`, `STUDENT_NOT_FOUND`.
    pub async fn answer_audit(
        &self,
        site: SiteId,
        sighting: SightingId,
        auditor: UserId,
        answer: AuditAnswer,
    ) -> Result<(), ServiceError> {
        if let AuditAnswer::Student(student) = answer {
            let choices = self.store.audit_choices(site, sighting).await?;
            if !choices.iter().any(|choice| choice.id == student) {
                let message = format!("{student} is none of those whom it may be");
                return Err(ServiceError::refused(ErrorReason::StudentNotFound, message));
            }
        }
        let said = match answer {
            AuditAnswer::Student(student) => Some(Some(student)),
            AuditAnswer::NoneOfThem => Some(None),
            AuditAnswer::CannotTell => None,
        };
        let wrong = self.store.answer_audit(site, sighting, auditor, said).await?.ok_or_else(|| {
            let message = format!("no audit of the sighting {sighting} waits for an answer");
            ServiceError::refused(ErrorReason::AuditNotFound, message)
        })?;
        info!(%sighting, wrong, %auditor, "audited");
        if wrong {
            let notes = "found by an audit";
            let review = NewReview::new(sighting, Verdict::Rejected, notes, said.flatten(), false)?;
            let reviewed = self.review(site, &review, auditor).await;
            // What somebody else has decided, or is about to, stands.
            let is_anothers = |error: &ServiceError| {
                matches!(
                    error.reason(),
                    ErrorReason::AlreadyReviewed
                        | ErrorReason::ReviewClaimed
                        | ErrorReason::SecondReviewerRequired
                )
            };
            if !reviewed.as_ref().is_err_and(is_anothers) {
                reviewed?;
            }
        }
        Ok(())
    }

    /// The picture of a face; empty where none was kept.
    pub(super) async fn evidence(&self, site: SiteId, id: SightingId) -> Result<Bytes, ServiceError> {
        let Some(sealed) = self.biometrics.evidence(site, id).await? else { return Ok(Bytes::new()) };
        let mut plain = self.keys.unseal(&self.biometrics, site, Owner::Evidence(id), &sealed).await?;
        Ok(Bytes::from(std::mem::take(&mut *plain)))
    }
}
