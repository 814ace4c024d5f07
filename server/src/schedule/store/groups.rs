use cavs_types::{GroupId, SiteId, TermId};
use jiff::civil::Date;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::ScheduleStore;
use crate::{
    db::{Conditions, DatabaseError},
    page::{Page, PageRequest},
    schedule::{Group, GroupFilter, ListPosition, NewGroup, ScheduleKey, ScheduleRef, ScheduleVersion},
};

/// A group, with its term and how many members it has on the day that `$n` is: a literal, as it comes first.
fn select(today: Date) -> String {
    format!(
        "SELECT g.*, t.name AS term_name,
             (SELECT count(*) FROM group_members m WHERE m.site_id = g.site_id AND m.group_id = g.id
                 AND m.starts_on <= '{today}' AND (m.ends_on IS NULL OR m.ends_on >= '{today}')) AS members
         FROM groups g LEFT JOIN terms t ON t.site_id = g.site_id AND t.id = g.term_id"
    )
}

impl ScheduleStore {
    /// Adds a group.
    ///
    /// # Errors
    /// `Taken`: the name or the external id. `NotFound`: the term.
    pub async fn create_group(&self, site: SiteId, new: &NewGroup) -> Result<GroupId, DatabaseError> {
        let id = GroupId::generate();
        let sql = "INSERT INTO groups (site_id, id, name, term_id, external_id) VALUES ($1, $2, $3, $4, $5)";
        let NewGroup { name, term, external_id } = new;
        let term = term.map(TermId::uuid);
        let client = self.db.client().await?;
        client.execute(sql, &[&site.uuid(), &id.uuid(), name, &term, external_id]).await?;
        Ok(id)
    }

    /// One group; by name only one that is not archived.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn group(
        &self,
        site: SiteId,
        key: &ScheduleKey<GroupId>,
        today: Date,
    ) -> Result<Option<Group>, DatabaseError> {
        let (client, site, select) = (self.db.client().await?, site.uuid(), select(today));
        let row = match key {
            ScheduleKey::Id(id) => {
                let sql = format!("{select} WHERE g.site_id = $1 AND g.id = $2");
                client.query_opt(&sql, &[&site, &id.uuid()]).await?
            }
            ScheduleKey::Name(name) => {
                let sql = format!("{select} WHERE g.site_id = $1 AND g.name = $2 AND g.archived_at IS NULL");
                client.query_opt(&sql, &[&site, name]).await?
            }
        };
        row.as_ref().map(group).transpose()
    }

    /// Groups by name, those of a filter.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn groups(
        &self,
        site: SiteId,
        filter: &GroupFilter,
        today: Date,
        request: &PageRequest<ListPosition<String>>,
    ) -> Result<Page<Group>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let term = filter.term.map(TermId::uuid);
        let mut chosen = Conditions::default();
        chosen.with("g.site_id = ?", &[(&site, Type::UUID)]);
        chosen.also(if filter.archived { "g.archived_at IS NOT NULL" } else { "g.archived_at IS NULL" });
        chosen.with_value("g.term_id = ?", &term, Type::UUID);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "groups g").await?),
            false => None,
        };
        if let Some(after) = &request.after {
            let follows = "(g.name, g.id) > (?, ?)";
            chosen.with(follows, &[(&after.key, Type::TEXT), (&after.id, Type::UUID)]);
        }
        let rows = chosen.rows(&client, &select(today), "g.name, g.id", request.fetch()).await?;
        let items = rows.iter().map(group).collect::<Result<_, _>>()?;
        let position = |group: &Group| ListPosition { key: group.name.clone(), id: group.id.uuid() };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Changes a group that is in a version; false where it is not.
    ///
    /// # Errors
    /// `Taken`: the name or the external id. `NotFound`: the term.
    pub async fn update_group(
        &self,
        site: SiteId,
        id: GroupId,
        seen: ScheduleVersion,
        new: &NewGroup,
    ) -> Result<bool, DatabaseError> {
        let sql = "UPDATE groups SET name = $4, term_id = $5, external_id = $6, version = version + 1,
                   updated_at = now() WHERE site_id = $1 AND id = $2 AND version = $3";
        let NewGroup { name, term, external_id } = new;
        let term = term.map(TermId::uuid);
        let client = self.db.client().await?;
        let changed =
            client.execute(sql, &[&site.uuid(), &id.uuid(), &seen.0, name, &term, external_id]).await?;
        Ok(changed == 1)
    }

    /// Has a group be in no list, from now on or from before; false where there is none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn archive_group(&self, site: SiteId, id: GroupId) -> Result<bool, DatabaseError> {
        let sql = "UPDATE groups SET archived_at = now(), version = version + 1, updated_at = now()
                   WHERE site_id = $1 AND id = $2 AND archived_at IS NULL";
        let client = self.db.client().await?;
        if client.execute(sql, &[&site.uuid(), &id.uuid()]).await? == 1 {
            return Ok(true);
        }
        let sql = "SELECT FROM groups WHERE site_id = $1 AND id = $2";
        Ok(client.query_opt(sql, &[&site.uuid(), &id.uuid()]).await?.is_some())
    }

    /// Deletes a group with its roster; false where there is none.
    ///
    /// # Errors
    /// `NotFound`: the group has sessions, or something else depends on it.
    pub async fn delete_group(&self, site: SiteId, id: GroupId) -> Result<bool, DatabaseError> {
        let sql = "DELETE FROM groups WHERE site_id = $1 AND id = $2";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &id.uuid()]).await? == 1)
    }
}

fn group(row: &Row) -> Result<Group, DatabaseError> {
    let term = match (row.try_get::<_, Option<Uuid>>("term_id")?, row.try_get("term_name")?) {
        (Some(id), Some(name)) => Some(ScheduleRef { id: id.into(), name }),
        _ => None,
    };
    Ok(Group {
        id: row.try_get::<_, Uuid>("id")?.into(),
        name: row.try_get("name")?,
        term,
        external_id: row.try_get("external_id")?,
        member_count: row.try_get::<_, i64>("members")?.unsigned_abs(),
        archived_at: row.try_get("archived_at")?,
        version: ScheduleVersion(row.try_get("version")?),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
