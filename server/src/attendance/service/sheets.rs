use std::sync::Arc;

use cavs_types::{ClassSessionId, ErrorReason, SiteId, StudentId, UserId};
use jiff::Timestamp;
use tracing::info;

use crate::{
    attendance::{
        AttendanceStore, FalseMatches, MarkDetails, MarkFilter, MarkListed, MarkPosition, SessionSheet,
    },
    error::ServiceError,
    page::{Page, PageRequest},
    recognition::{ExpectedPeople, Galleries},
};

/// What sessions say of people.
#[derive(Clone)]
pub struct Sheets {
    store: AttendanceStore,
    galleries: Arc<Galleries>,
}

impl Sheets {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(store: &AttendanceStore, galleries: &Arc<Galleries>) -> Self {
        Self { store: store.clone(), galleries: Arc::clone(galleries) }
    }

    /// As [`Self::sheet`], with how many of the faces that were seen are expected to have been taken for somebody's
    /// whose they are not, by the thresholds in force now.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`.
    pub async fn sheet_with_false_matches(
        &self,
        site: SiteId,
        session: ClassSessionId,
    ) -> Result<SessionSheet, ServiceError> {
        let mut sheet = self.sheet(site, session).await?;
        let people: ExpectedPeople = sheet.marks.iter().map(|mark| mark.student.id).collect();
        // The gallery of a site that was archived is closed; its sheets are still there.
        let Ok(recognition) = self.galleries.of(site).await else { return Ok(sheet) };
        let (roster, of_site) = recognition.false_match_rates(&people);
        let faces = self.store.faces_seen(site, session).await?;
        let roster = (people.count() > 0).then_some(roster);
        sheet.false_matches = Some(FalseMatches { faces, roster, site: of_site });
        Ok(sheet)
    }

    /// All that a session says.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`.
    pub async fn sheet(&self, site: SiteId, session: ClassSessionId) -> Result<SessionSheet, ServiceError> {
        self.store.sheet(site, session).await?.ok_or_else(|| no_session(session))
    }

    /// Marks with their sessions, by the sessions' start.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        filter: &MarkFilter,
        page: &PageRequest<MarkPosition>,
    ) -> Result<Page<MarkListed>, ServiceError> {
        Ok(self.store.marks(site, filter, page).await?)
    }

    /// Why somebody has a mark.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`, `MARK_NOT_FOUND`.
    pub async fn details(
        &self,
        site: SiteId,
        session: ClassSessionId,
        student: StudentId,
    ) -> Result<MarkDetails, ServiceError> {
        match self.store.mark_details(site, session, student).await? {
            Some(details) => Ok(details),
            None => {
                self.sheet(site, session).await?;
                Err(no_mark(session))
            }
        }
    }

    /// Makes a session's marks final.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`; `CLASS_SESSION_STATE`: it is not over, is cancelled, or its marks are final.
    pub async fn finalise(
        &self,
        site: SiteId,
        session: ClassSessionId,
        by: UserId,
    ) -> Result<SessionSheet, ServiceError> {
        let is_final = self.store.finalise(site, session, Timestamp::now()).await?;
        let sheet = self.sheet(site, session).await?;
        if !is_final {
            let message = format!(
                "the session is {}: the marks of one that is over can be made final",
                sheet.session.state
            );
            return Err(ServiceError::refused(ErrorReason::ClassSessionState, message));
        }
        info!(%session, %by, "made the marks of a session final");
        Ok(sheet)
    }
}

pub(super) fn no_session(session: ClassSessionId) -> ServiceError {
    ServiceError::refused(ErrorReason::ClassSessionNotFound, format!("there is no session {session}"))
}

pub(super) fn no_mark(session: ClassSessionId) -> ServiceError {
    let message =
        format!("session {session} says nothing of them: they are not on its roster, or it has not begun");
    ServiceError::refused(ErrorReason::MarkNotFound, message)
}
