use cavs_attendance::{Policy, PolicyOverride};
use cavs_types::{ClassSessionId, GroupId, SiteId, UserId};
use jiff::Timestamp;
use tokio_postgres::{Row, types::Json};
use uuid::Uuid;

use super::AttendanceStore;
use crate::{
    attendance::{PolicyOf, PolicyVersion, StoredPolicy},
    db::{DatabaseError, read_json},
};

impl AttendanceStore {
    /// A policy; `None`: there is no such group or session.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub async fn policy(&self, site: SiteId, of: PolicyOf) -> Result<Option<StoredPolicy>, DatabaseError> {
        let client = self.db.client().await?;
        let found = match of {
            PolicyOf::Site => Some((None, None)),
            PolicyOf::Group(group) => {
                let sql = "SELECT id FROM groups WHERE site_id = $1 AND id = $2";
                let row = client.query_opt(sql, &[&site.uuid(), &group.uuid()]).await?;
                row.map(|row| row.try_get::<_, Uuid>(0)).transpose()?.map(|group| (Some(group), None))
            }
            PolicyOf::Session(session) => {
                let sql = "SELECT group_id FROM class_sessions WHERE site_id = $1 AND id = $2";
                let row = client.query_opt(sql, &[&site.uuid(), &session.uuid()]).await?;
                let group = row.map(|row| row.try_get::<_, Uuid>(0)).transpose()?;
                group.map(|group| (Some(group), Some(session.uuid())))
            }
        };
        let Some((group, session)) = found else { return Ok(None) };
        let sql = "SELECT p.group_id, p.session_id, p.settings, p.version, p.changed_at, u.username
            FROM attendance_policies p JOIN users u ON u.id = p.changed_by
            WHERE p.site_id = $1 AND (p.group_id IS NULL AND p.session_id IS NULL OR p.group_id = $2
                OR p.session_id = $3)
            ORDER BY p.session_id NULLS FIRST, p.group_id NULLS FIRST";
        let rows = client.query(sql, &[&site.uuid(), &group, &session]).await?;
        let mut policy = StoredPolicy {
            in_force: Policy::default(),
            set: PolicyOverride::default(),
            version: PolicyVersion(0),
            changed: None,
        };
        for row in &rows {
            let settings: PolicyOverride = read_json(row, "attendance_policies", "settings")?;
            policy.in_force = policy.in_force.with(&settings);
            if is_of(row, of)? {
                policy.set = settings;
                policy.version = PolicyVersion(row.try_get("version")?);
                policy.changed = Some((row.try_get::<_, Timestamp>("changed_at")?, row.try_get("username")?));
            }
        }
        Ok(Some(policy))
    }

    /// Sets what a site, a group or a session has otherwise; false where that is in another version.
    ///
    /// # Errors
    /// `NotFound`: there is no such group or session.
    pub async fn set_policy(
        &self,
        site: SiteId,
        of: PolicyOf,
        seen: PolicyVersion,
        settings: &PolicyOverride,
        by: UserId,
    ) -> Result<bool, DatabaseError> {
        let (group, session) = match of {
            PolicyOf::Site => (None, None),
            PolicyOf::Group(group) => (Some(GroupId::uuid(group)), None),
            PolicyOf::Session(session) => (None, Some(ClassSessionId::uuid(session))),
        };
        let (site, settings, by) = (site.uuid(), Json(settings), by.uuid());
        let client = self.db.client().await?;
        let changed = if seen == PolicyVersion(0) {
            let sql = "INSERT INTO attendance_policies (site_id, group_id, session_id, settings, changed_by)
                       VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING";
            client.execute(sql, &[&site, &group, &session, &settings, &by]).await?
        } else {
            let sql = "UPDATE attendance_policies
                       SET settings = $4, changed_by = $5, changed_at = now(), version = version + 1
                       WHERE site_id = $1 AND group_id IS NOT DISTINCT FROM $2
                           AND session_id IS NOT DISTINCT FROM $3 AND version = $6";
            client.execute(sql, &[&site, &group, &session, &settings, &by, &seen.0]).await?
        };
        Ok(changed == 1)
    }
}

fn is_of(row: &Row, of: PolicyOf) -> Result<bool, DatabaseError> {
    let group: Option<Uuid> = row.try_get("group_id")?;
    let session: Option<Uuid> = row.try_get("session_id")?;
    Ok(match of {
        PolicyOf::Site => group.is_none() && session.is_none(),
        PolicyOf::Group(of) => group == Some(of.uuid()),
        PolicyOf::Session(of) => session == Some(of.uuid()),
    })
}
