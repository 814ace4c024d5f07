use cavs_attendance::{Policy, PolicyOverride};
use cavs_types::{ClassSessionId, GroupId, ProtocolError};
use jiff::Timestamp;

/// Whose policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PolicyOf {
    /// Of all sessions of the site.
    Site,
    /// Of a group's.
    Group(GroupId),
    /// Of one.
    Session(ClassSessionId),
}

/// Which state of a policy somebody has seen: 0 where nothing was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyVersion(pub i64);

impl PolicyVersion {
    /// As an etag.
    #[must_use]
    pub fn etag(self) -> String {
        self.0.to_string()
    }

    /// Reads an etag; empty is none.
    ///
    /// # Errors
    /// `Invalid`: it is no etag.
    pub fn from_etag(etag: &str) -> Result<Option<Self>, ProtocolError> {
        if etag.is_empty() {
            return Ok(None);
        }
        let version = etag.parse().map_err(|_| ProtocolError::invalid("etag", "is none of a policy's"))?;
        Ok(Some(Self(version)))
    }
}

/// A policy, and what of it is set where it was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPolicy {
    /// What is in force there.
    pub in_force: Policy,
    /// What is set there.
    pub set: PolicyOverride,
    /// One more with each change.
    pub version: PolicyVersion,
    /// When it was changed last, and by whom, where it was.
    pub changed: Option<(Timestamp, String)>,
}
