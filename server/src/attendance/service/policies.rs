use cavs_attendance::PolicyOverride;
use cavs_types::{ErrorReason, ProtocolError, SiteId, UserId};
use tracing::info;

use super::sheets::no_session;
use crate::{
    attendance::{AttendanceStore, PolicyOf, PolicyVersion, StoredPolicy},
    error::ServiceError,
};

/// What somebody must do to be present, by site, group and session.
#[derive(Clone)]
pub struct Policies {
    store: AttendanceStore,
}

impl Policies {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(store: &AttendanceStore) -> Self {
        Self { store: store.clone() }
    }

    /// A policy, and what of it is set there.
    ///
    /// # Errors
    /// `GROUP_NOT_FOUND`, `CLASS_SESSION_NOT_FOUND`.
    pub async fn get(&self, site: SiteId, of: PolicyOf) -> Result<StoredPolicy, ServiceError> {
        self.store.policy(site, of).await?.ok_or_else(|| match of {
            PolicyOf::Session(session) => no_session(session),
            PolicyOf::Group(group) => {
                ServiceError::refused(ErrorReason::GroupNotFound, format!("there is no group {group}"))
            }
            PolicyOf::Site => ServiceError::refused(ErrorReason::SiteNotFound, "there is no such site"),
        })
    }

    /// Sets a policy: `change` gets what is set there, and says what is to be. Marks of sessions that are not final
    /// follow within seconds.
    ///
    /// # Errors
    /// As [`Self::get`]; `Protocol`: it can't be; `POLICY_CHANGED`: somebody has changed it since it was seen.
    pub async fn set(
        &self,
        site: SiteId,
        of: PolicyOf,
        seen: Option<PolicyVersion>,
        change: impl FnOnce(PolicyOverride) -> PolicyOverride,
        by: UserId,
    ) -> Result<StoredPolicy, ServiceError> {
        let changed = || {
            let message = "somebody has changed the policy since; look at it, and decide again";
            ServiceError::refused(ErrorReason::PolicyChanged, message)
        };
        let before = self.get(site, of).await?;
        if seen.is_some_and(|seen| seen != before.version) {
            return Err(changed());
        }
        let settings = change(before.set);
        before
            .in_force
            .with(&settings)
            .check()
            .map_err(|error| ProtocolError::invalid(error.setting, error.must))?;
        if !self.store.set_policy(site, of, before.version, &settings, by).await? {
            return Err(changed());
        }
        info!(?of, %by, "set a policy of attendance");
        self.get(site, of).await
    }
}
