use std::collections::BTreeSet;

use cavs_types::{
    ClassSessionId, CorrectionId, CorrectionSource, ErrorReason, ProtocolError, SessionState, SiteId, UserId,
};
use jiff::{SignedDuration, Timestamp};
use tracing::info;

use super::{Sheets, keeping::renew_now, sheets::no_mark};
use crate::{
    attendance::{AttendanceStore, MarkDetails, NewCheckIn, NewCorrection, SessionSheet},
    db::DatabaseError,
    error::ServiceError,
};

/// Most marks of one roll call.
const MOST: usize = 2000;
/// How far ahead of the server's clock a check-in may be.
const MOST_AHEAD: SignedDuration = SignedDuration::from_mins(5);

/// What people say of marks, and how people show that they are there.
#[derive(Clone)]
pub struct Corrections {
    store: AttendanceStore,
    sheets: Sheets,
}

impl Corrections {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(store: &AttendanceStore, sheets: &Sheets) -> Self {
        Self { store: store.clone(), sheets: sheets.clone() }
    }

    /// Says what a mark is; the mark as it is then. The machine's stays beside it, and so does what was said before.
    ///
    /// # Errors
    /// `CLASS_SESSION_NOT_FOUND`, `MARK_NOT_FOUND`.
    pub async fn correct(
        &self,
        site: SiteId,
        session: ClassSessionId,
        said: NewCorrection,
        reason: &str,
        by: UserId,
    ) -> Result<MarkDetails, ServiceError> {
        let source = CorrectionSource::Correction;
        if !self.store.correct(site, session, std::slice::from_ref(&said), source, reason, by).await? {
            self.sheets.sheet(site, session).await?;
            return Err(no_mark(session));
        }
        renew_now(&self.store, site, session).await?;
        info!(%session, mark = %said.mark, %by, "corrected a mark");
        self.sheets.details(site, session, said.student).await
    }

    /// Says what the marks of a session are, after its names were called: all or none.
    ///
    /// # Errors
    /// `Protocol`: nobody, too many, or somebody twice. `CLASS_SESSION_NOT_FOUND`, `MARK_NOT_FOUND`.
    pub async fn take_roll_call(
        &self,
        site: SiteId,
        session: ClassSessionId,
        said: &[NewCorrection],
        by: UserId,
    ) -> Result<SessionSheet, ServiceError> {
        if said.is_empty() || said.len() > MOST {
            return Err(ProtocolError::invalid("entries", format_args!("must be 1 to {MOST}")).into());
        }
        let people: BTreeSet<_> = said.iter().map(|entry| entry.student).collect();
        if people.len() != said.len() {
            return Err(ProtocolError::invalid("entries", "name somebody twice").into());
        }
        if !self.store.correct(site, session, said, CorrectionSource::RollCall, "", by).await? {
            self.sheets.sheet(site, session).await?;
            return Err(no_mark(session));
        }
        renew_now(&self.store, site, session).await?;
        info!(%session, marks = said.len(), %by, "took a roll call");
        self.sheets.sheet(site, session).await
    }

    /// Takes back what somebody said of a mark; the mark as it is then.
    ///
    /// # Errors
    /// `CORRECTION_NOT_FOUND`: there is none, or it was taken back.
    pub async fn withdraw(
        &self,
        site: SiteId,
        correction: CorrectionId,
        by: UserId,
    ) -> Result<MarkDetails, ServiceError> {
        let Some((session, student)) = self.store.withdraw_correction(site, correction, by).await? else {
            let message = format!("there is no correction {correction} that was not taken back");
            return Err(ServiceError::refused(ErrorReason::CorrectionNotFound, message));
        };
        renew_now(&self.store, site, session).await?;
        info!(%session, %correction, %by, "took a correction back");
        self.sheets.details(site, session, student).await
    }

    /// Records that somebody has shown that they are there, by whom, where it was not they themselves. Said again, it
    /// changes nothing.
    ///
    /// # Errors
    /// `Protocol`: the time is in the future. `CLASS_SESSION_NOT_FOUND`, `STUDENT_NOT_FOUND`; `CLASS_SESSION_STATE`: the
    /// session has not opened, is cancelled, or its marks are final.
    pub async fn check_in(
        &self,
        site: SiteId,
        new: &NewCheckIn,
        by: Option<UserId>,
    ) -> Result<SessionSheet, ServiceError> {
        if new.at.duration_since(Timestamp::now()) > MOST_AHEAD {
            return Err(ProtocolError::invalid("check_in_time", "is in the future").into());
        }
        self.sheets.sheet(site, new.session).await?;
        // What was planned may have opened since.
        renew_now(&self.store, site, new.session).await?;
        let sheet = self.sheets.sheet(site, new.session).await?;
        let state = sheet.session.state;
        if !matches!(state, SessionState::Open | SessionState::Closing) {
            let message = format!("the session is {state}: nobody can check in");
            return Err(ServiceError::refused(ErrorReason::ClassSessionState, message));
        }
        let opens_at =
            sheet.session.starts_at - SignedDuration::from_mins(sheet.policy.minutes_before.into());
        if !(opens_at..sheet.session.ends_at).contains(&new.at) {
            let problem =
                format_args!("must be from {opens_at} to {}, when coming counts", sheet.session.ends_at);
            return Err(ProtocolError::invalid("check_in_time", problem).into());
        }
        match self.store.check_in(site, new, by).await {
            Err(DatabaseError::NotFound) => {
                let message = format!("there is no student {}", new.student);
                return Err(ServiceError::refused(ErrorReason::StudentNotFound, message));
            }
            recorded => recorded?,
        }
        renew_now(&self.store, site, new.session).await?;
        self.sheets.sheet(site, new.session).await
    }
}
