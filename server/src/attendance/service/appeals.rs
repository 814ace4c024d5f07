use cavs_types::{AppealId, ClassSessionId, ErrorReason, Mark, SiteId, StudentId, UserId};
use jiff::{SignedDuration, Timestamp};
use tracing::info;

use super::{Sheets, keeping::renew_now, sheets::no_mark};
use crate::{
    attendance::{
        Appeal, AppealDecision, AppealState, AttendanceStore, LateProposal, MarkDetails, MarkPosition,
        NewAppeal,
    },
    error::ServiceError,
    page::{Page, PageRequest},
    schedule::ListPosition,
};

/// What people say against their marks, and what came to be known after they were final.
#[derive(Clone)]
pub struct Appeals {
    store: AttendanceStore,
    sheets: Sheets,
}

impl Appeals {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(store: &AttendanceStore, sheets: &Sheets) -> Self {
        Self { store: store.clone(), sheets: sheets.clone() }
    }

    /// Records an appeal, which is due as many days from now as the session's policy says.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`, `MARK_NOT_FOUND`; `APPEAL_EXISTS`: nobody has decided on the one before.
    pub async fn create(&self, site: SiteId, new: &NewAppeal, by: UserId) -> Result<Appeal, ServiceError> {
        let sheet = self.sheets.sheet(site, new.session).await?;
        let days = SignedDuration::from_hours(24 * i64::from(sheet.policy.appeal_days));
        let due_at = Timestamp::now().checked_add(days).unwrap_or(Timestamp::MAX);
        let recorded = self.store.create_appeal(site, new, due_at, by).await;
        let exists = || "nobody has decided on the appeal before".to_owned();
        let recorded =
            recorded.map_err(|error| ServiceError::taken(error, ErrorReason::AppealExists, exists))?;
        let appeal = recorded.ok_or_else(|| no_mark(new.session))?;
        info!(appeal = %appeal.id, %by, "recorded an appeal");
        Ok(appeal)
    }

    /// Appeals of a state, those that are due first before others.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        state: AppealState,
        student: Option<StudentId>,
        page: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<Appeal>, ServiceError> {
        Ok(self.store.appeals(site, state, student, page).await?)
    }

    /// Decides on an appeal. Accepted, the mark becomes what it should be.
    ///
    /// # Errors
    /// `APPEAL_NOT_FOUND`: there is none, or it was decided.
    pub async fn decide(
        &self,
        site: SiteId,
        decision: &AppealDecision,
        by: UserId,
    ) -> Result<Appeal, ServiceError> {
        if !self.store.decide_appeal(site, decision, by).await? {
            return Err(no_appeal(decision.appeal));
        }
        let appeal = self.store.appeal(site, decision.appeal).await?;
        let appeal = appeal.ok_or_else(|| no_appeal(decision.appeal))?;
        renew_now(&self.store, site, appeal.session.id).await?;
        info!(appeal = %appeal.id, state = %appeal.state, %by, "decided on an appeal");
        self.store.appeal(site, decision.appeal).await?.ok_or_else(|| no_appeal(decision.appeal))
    }

    /// Takes an appeal back.
    ///
    /// # Errors
    /// `APPEAL_NOT_FOUND`: there is none, or it was decided.
    pub async fn withdraw(&self, site: SiteId, id: AppealId, by: UserId) -> Result<Appeal, ServiceError> {
        if !self.store.withdraw_appeal(site, id, by).await? {
            return Err(no_appeal(id));
        }
        info!(appeal = %id, %by, "took an appeal back");
        self.store.appeal(site, id).await?.ok_or_else(|| no_appeal(id))
    }

    /// Proposals of other marks than the final ones that nobody has decided on, the oldest first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn proposals(
        &self,
        site: SiteId,
        page: &PageRequest<MarkPosition>,
    ) -> Result<Page<LateProposal>, ServiceError> {
        Ok(self.store.proposals(site, page).await?)
    }

    /// Decides on the proposal of a mark. Accepted, the mark becomes it.
    ///
    /// # Errors
    /// `PROPOSAL_NOT_FOUND`: there is none of this mark, or it was decided.
    pub async fn decide_proposal(
        &self,
        site: SiteId,
        (session, student): (ClassSessionId, StudentId),
        mark: Mark,
        accept: bool,
        by: UserId,
    ) -> Result<MarkDetails, ServiceError> {
        if !self.store.decide_proposal(site, (session, student), mark, accept, by).await? {
            let message =
                format!("nobody proposes the mark {mark} for them in session {session}, or it was decided");
            return Err(ServiceError::refused(ErrorReason::ProposalNotFound, message));
        }
        renew_now(&self.store, site, session).await?;
        info!(%session, %mark, accept, %by, "decided on a proposal of a mark");
        self.sheets.details(site, session, student).await
    }
}

fn no_appeal(id: AppealId) -> ServiceError {
    ServiceError::refused(
        ErrorReason::AppealNotFound,
        format!("there is no appeal {id} that waits for a decision"),
    )
}
