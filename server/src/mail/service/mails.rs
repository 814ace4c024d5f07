use cavs_types::{ErrorReason, MailState, SiteId, UserId};
use tracing::info;
use uuid::Uuid;

use crate::{
    db::Database,
    error::ServiceError,
    mail::{MailStore, NewWarningPolicy, WarningMail, WarningPolicy},
    page::{Page, PageRequest},
    schedule::ListPosition,
};

/// A site's policy of warning mails, and what became of them.
#[derive(Clone)]
pub struct WarningMails {
    store: MailStore,
    /// Whether this server can send any.
    can_send: bool,
}

impl WarningMails {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, can_send: bool) -> Self {
        Self { store: MailStore::new(db), can_send }
    }

    /// The policy, and whether this server can send mail.
    ///
    /// # Errors
    /// `Database`.
    pub async fn policy(&self, site: SiteId) -> Result<(WarningPolicy, bool), ServiceError> {
        Ok((self.store.policy(site).await?, self.can_send))
    }

    /// Sets the policy.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT`: it is out of bounds.
    pub async fn set_policy(
        &self,
        site: SiteId,
        new: NewWarningPolicy,
        by: UserId,
    ) -> Result<(WarningPolicy, bool), ServiceError> {
        let new = new.checked()?;
        self.store.set_policy(site, &new, by).await?;
        info!(%site, %by, enabled = new.is_enabled, "changed who is written to of seldom attendance");
        self.policy(site).await
    }

    /// Mails, the newest first.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(
        &self,
        site: SiteId,
        state: Option<MailState>,
        page: &PageRequest<ListPosition<jiff::Timestamp>>,
    ) -> Result<Page<WarningMail>, ServiceError> {
        Ok(self.store.mails(site, state, page).await?)
    }

    /// Sends a mail again that has failed, or of which nobody knows whether it came.
    ///
    /// # Errors
    /// `NOT_FOUND`: there is none that can be sent again.
    pub async fn resend(&self, site: SiteId, id: Uuid, by: UserId) -> Result<WarningMail, ServiceError> {
        let Some(mail) = self.store.resend(site, id).await? else {
            let message = format!("no mail {id} has failed or is unsure");
            return Err(ServiceError::refused(ErrorReason::NotFound, message));
        };
        info!(%site, mail = %id, %by, "has a mail sent again");
        Ok(mail)
    }
}
