//! Audits of accepted sightings by people who are not told whom the machine meant.

use bytes::Bytes;
use cavs_types::{ErrorReason, SightingId, SiteId, StudentId, UserId, Verdict};
use tracing::info;

use super::Reviews;
use crate::{
    biometrics::Owner,
    error::ServiceError,
    sightings::{Audit, AuditAnswer, AuditOutcome, NewReview},
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
        let not_found = || {
            let message = format!("no audit of the sighting {sighting} waits for an answer");
            ServiceError::refused(ErrorReason::AuditNotFound, message)
        };
        let predicted = self.store.waiting_audit(site, sighting).await?.ok_or_else(not_found)?;
        let named = match answer {
            AuditAnswer::Student(student) => Some(student),
            AuditAnswer::NoneOfThem | AuditAnswer::CannotTell => None,
        };
        if let Some(student) = named {
            let choices = self.store.audit_choices(site, sighting).await?;
            if !choices.iter().any(|choice| choice.id == student) {
                let message = format!("{student} is none of those whom it may be");
                return Err(ServiceError::refused(ErrorReason::StudentNotFound, message));
            }
        }
        let outcome = answer.outcome(predicted);
        if outcome == AuditOutcome::Wrong {
            // Before the answer is recorded: whoever has to answer again finds it done.
            self.reject_audited(site, sighting, auditor, named).await?;
        }
        if !self.store.answer_audit(site, sighting, auditor, outcome).await? {
            return Err(not_found());
        }
        info!(%sighting, ?outcome, %auditor, "audited");
        Ok(())
    }

    /// Rejects, or corrects, what the machine had wrong; what somebody else has decided, or is about to, stands.
    async fn reject_audited(
        &self,
        site: SiteId,
        sighting: SightingId,
        auditor: UserId,
        corrected: Option<StudentId>,
    ) -> Result<(), ServiceError> {
        let review = NewReview::new(sighting, Verdict::Rejected, "found by an audit", corrected, false)?;
        let is_anothers = |error: &ServiceError| {
            matches!(
                error.reason(),
                ErrorReason::AlreadyReviewed
                    | ErrorReason::ReviewClaimed
                    | ErrorReason::SecondReviewerRequired
            )
        };
        match self.review(site, &review, auditor).await {
            Err(error) if !is_anothers(&error) => Err(error),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// The picture of a face; empty where none was kept.
    pub(super) async fn evidence(&self, site: SiteId, id: SightingId) -> Result<Bytes, ServiceError> {
        let Some(sealed) = self.biometrics.evidence(site, id).await? else { return Ok(Bytes::new()) };
        let mut plain = self.keys.unseal(&self.biometrics, site, Owner::Evidence(id), &sealed).await?;
        Ok(Bytes::from(std::mem::take(&mut *plain)))
    }
}
