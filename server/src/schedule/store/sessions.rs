use cavs_types::{ClassSessionId, GroupId, RoomId, SessionState, SiteId};
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::ScheduleStore;
use crate::{
    db::{Batch, Conditions, DatabaseError, read_text},
    page::{Page, PageRequest},
    schedule::{
        ClassSession, ListPosition, NewClassSession, ScheduleRef, ScheduleVersion, SessionFilter,
        SessionTimes, check_transition,
    },
};

/// A session, with its group and its rooms by name.
pub(super) const SELECT: &str = "
    SELECT c.id, c.group_id, g.name AS group_name, c.name, c.starts_at, c.ends_at, c.state, c.source, c.external_id,
        c.calendar_id, c.is_cancelled_by_import, c.version, c.created_at, c.updated_at, rooms.ids AS room_ids, rooms.names AS room_names
    FROM class_sessions c JOIN groups g ON g.site_id = c.site_id AND g.id = c.group_id
    CROSS JOIN LATERAL (
        SELECT array_agg(r.id ORDER BY r.name) AS ids, array_agg(r.name ORDER BY r.name) AS names
        FROM class_session_rooms x JOIN rooms r ON r.site_id = x.site_id AND r.id = x.room_id
        WHERE x.site_id = c.site_id AND x.session_id = c.id) AS rooms";

/// Held by whoever plans many sessions of a site at once: two take turns ("cses" in ASCII).
const PLAN_LOCK: i32 = 0x6373_6573;
/// Sessions that one statement adds.
const BATCH: usize = 5000;

impl ScheduleStore {
    /// Adds sessions, all or none.
    ///
    /// # Errors
    /// `NotFound`: the group or a room. `Taken`: the calendar has one of that external id.
    pub async fn create_sessions(&self, site: SiteId, new: &[NewClassSession]) -> Result<(), DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        insert_sessions(&transaction, site, new).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Adds those sessions of a group that begin when none of its does that is not cancelled; gives those that were
    /// added, or would be where nothing is to be changed.
    ///
    /// # Errors
    /// `NotFound`: the group or a room.
    pub async fn create_missing_sessions(
        &self,
        site: SiteId,
        group: GroupId,
        mut new: Vec<NewClassSession>,
        dry_run: bool,
    ) -> Result<Vec<NewClassSession>, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        lock_plan(&transaction, site).await?;
        let sql = "SELECT starts_at FROM class_sessions
                   WHERE site_id = $1 AND group_id = $2 AND starts_at = ANY($3) AND state <> 'cancelled'";
        let starts: Vec<Timestamp> = new.iter().map(|session| session.times.starts_at()).collect();
        let rows = transaction.query(sql, &[&site.uuid(), &group.uuid(), &starts]).await?;
        let there = rows.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Timestamp>, _>>()?;
        new.retain(|session| !there.contains(&session.times.starts_at()));
        if !dry_run {
            insert_sessions(&transaction, site, &new).await?;
            transaction.commit().await?;
        }
        Ok(new)
    }

    /// One session.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn session(
        &self,
        site: SiteId,
        id: ClassSessionId,
    ) -> Result<Option<ClassSession>, DatabaseError> {
        let sql = format!("{SELECT} WHERE c.site_id = $1 AND c.id = $2");
        let row = self.db.client().await?.query_opt(&sql, &[&site.uuid(), &id.uuid()]).await?;
        row.as_ref().map(session).transpose()
    }

    /// Sessions by start, those of a filter.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn sessions(
        &self,
        site: SiteId,
        filter: &SessionFilter,
        request: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<ClassSession>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let SessionFilter { from, until, room, group, state } = filter;
        let (room, group) = (room.map(RoomId::uuid), group.map(GroupId::uuid));
        let state = state.map(SessionState::as_str);
        let mut chosen = Conditions::default();
        chosen.with("c.site_id = ?", &[(&site, Type::UUID)]);
        chosen.with_value("c.group_id = ?", &group, Type::UUID);
        chosen.with_value("c.starts_at >= ?", from, Type::TIMESTAMPTZ);
        chosen.with_value("c.starts_at < ?", until, Type::TIMESTAMPTZ);
        chosen.with_value("c.state = ?", &state, Type::TEXT);
        let in_room = "EXISTS (SELECT FROM class_session_rooms x
            WHERE x.site_id = c.site_id AND x.session_id = c.id AND x.room_id = ?)";
        chosen.with_value(in_room, &room, Type::UUID);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "class_sessions c").await?),
            false => None,
        };
        if let Some(after) = &request.after {
            let follows = "(c.starts_at, c.id) > (?, ?)";
            chosen.with(follows, &[(&after.key, Type::TIMESTAMPTZ), (&after.id, Type::UUID)]);
        }
        let rows = chosen.rows(&client, SELECT, "c.starts_at, c.id", request.fetch()).await?;
        let items = rows.iter().map(session).collect::<Result<_, _>>()?;
        let position =
            |found: &ClassSession| ListPosition { key: found.times.starts_at(), id: found.id.uuid() };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Gives a session that is in a version another group, name and times, and other rooms where they are given;
    /// false where it is not.
    ///
    /// # Errors
    /// `NotFound`: the group or a room.
    pub async fn update_session(
        &self,
        site: SiteId,
        seen: ScheduleVersion,
        to: &NewClassSession,
        with_rooms: bool,
    ) -> Result<bool, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let changed = update_session(&transaction, site, seen, to, with_rooms).await?;
        if changed {
            transaction.commit().await?;
        }
        Ok(changed)
    }

    /// Takes a session from one state to another; false where it is not in the first one any more, and with a version,
    /// not in that one.
    ///
    /// # Errors
    /// `Damaged`: no session goes from the one to the other, which is a fault of the caller's.
    pub async fn set_state(
        &self,
        site: SiteId,
        id: ClassSessionId,
        (from, to): (SessionState, SessionState),
        seen: Option<ScheduleVersion>,
    ) -> Result<bool, DatabaseError> {
        check_transition(from, to).map_err(|problem| DatabaseError::Damaged {
            table: "class_sessions",
            column: "state",
            value: problem.to_string(),
        })?;
        let sql = "UPDATE class_sessions SET state = $4, is_cancelled_by_import = false, version = version + 1, updated_at = now()
                   WHERE site_id = $1 AND id = $2 AND state = $3 AND ($5::bigint IS NULL OR version = $5)";
        let (from, to, seen) = (from.as_str(), to.as_str(), seen.map(|seen| seen.0));
        let client = self.db.client().await?;
        Ok(client.execute(sql, &[&site.uuid(), &id.uuid(), &from, &to, &seen]).await? == 1)
    }

    /// Deletes a session that has not begun or was cancelled; false where there is none such.
    ///
    /// # Errors
    /// `NotFound`: something depends on it.
    pub async fn delete_session(&self, site: SiteId, id: ClassSessionId) -> Result<bool, DatabaseError> {
        let sql = "DELETE FROM class_sessions
                   WHERE site_id = $1 AND id = $2 AND state IN ('planned', 'cancelled')";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &id.uuid()]).await? == 1)
    }
}

/// Has whoever plans many sessions of the site at once wait until the transaction ends.
pub(super) async fn lock_plan(transaction: &Transaction<'_>, site: SiteId) -> Result<(), DatabaseError> {
    let lock = "SELECT pg_advisory_xact_lock($1, hashtext($2))";
    transaction.execute(lock, &[&PLAN_LOCK, &site.to_string()]).await?;
    Ok(())
}

/// Adds sessions with their rooms.
pub(super) async fn insert_sessions(
    transaction: &Transaction<'_>,
    site: SiteId,
    new: &[NewClassSession],
) -> Result<(), DatabaseError> {
    for part in new.chunks(BATCH) {
        let batch = Batch::of(part)
            .column("site_id", |_| site.uuid())
            .column("id", |s| s.id.uuid())
            .column("group_id", |s| s.group.uuid())
            .column("name", |s| s.name.as_str())
            .column("starts_at", |s| s.times.starts_at())
            .column("ends_at", |s| s.times.ends_at())
            .column("source", |s| s.source.as_str())
            .column("external_id", |s| s.external_id.as_str())
            .column("calendar_id", |s| s.calendar.map(cavs_types::CalendarId::uuid));
        let (columns, values, source) = (batch.names(), batch.given(), batch.source());
        let sql = format!("INSERT INTO class_sessions ({columns}) SELECT {values} FROM {source}");
        transaction.execute(&sql, &batch.parameters()).await?;
        insert_rooms(transaction, site, part).await?;
    }
    Ok(())
}

async fn insert_rooms(
    transaction: &Transaction<'_>,
    site: SiteId,
    sessions: &[NewClassSession],
) -> Result<(), DatabaseError> {
    let pairs: Vec<(Uuid, Uuid)> = sessions
        .iter()
        .flat_map(|session| session.rooms.iter().map(|room| (session.id.uuid(), room.uuid())))
        .collect();
    let batch = Batch::of(&pairs)
        .column("site_id", |_| site.uuid())
        .column("session_id", |pair| pair.0)
        .column("room_id", |pair| pair.1);
    let (columns, values, source) = (batch.names(), batch.given(), batch.source());
    let sql = format!(
        "INSERT INTO class_session_rooms ({columns}) SELECT {values} FROM {source} ON CONFLICT DO NOTHING"
    );
    transaction.execute(&sql, &batch.parameters()).await?;
    Ok(())
}

/// Changes a session that is in a version; false where it is not.
pub(super) async fn update_session(
    transaction: &Transaction<'_>,
    site: SiteId,
    seen: ScheduleVersion,
    to: &NewClassSession,
    with_rooms: bool,
) -> Result<bool, DatabaseError> {
    let (of_site, id, group) = (site.uuid(), to.id.uuid(), to.group.uuid());
    let (starts_at, ends_at) = (to.times.starts_at(), to.times.ends_at());
    let sql = "UPDATE class_sessions SET group_id = $4, name = $5, starts_at = $6, ends_at = $7,
               version = version + 1, updated_at = now() WHERE site_id = $1 AND id = $2 AND version = $3";
    let changed =
        transaction.execute(sql, &[&of_site, &id, &seen.0, &group, &to.name, &starts_at, &ends_at]).await?;
    if changed == 1 && with_rooms {
        let rooms: Vec<Uuid> = to.rooms.iter().map(|room| room.uuid()).collect();
        let sql = "DELETE FROM class_session_rooms
                   WHERE site_id = $1 AND session_id = $2 AND room_id <> ALL($3)";
        transaction.execute(sql, &[&of_site, &id, &rooms]).await?;
        insert_rooms(transaction, site, std::slice::from_ref(to)).await?;
    }
    Ok(changed == 1)
}

pub(super) fn session(row: &Row) -> Result<ClassSession, DatabaseError> {
    const TABLE: &str = "class_sessions";
    let (starts_at, ends_at): (Timestamp, Timestamp) = (row.try_get("starts_at")?, row.try_get("ends_at")?);
    let damaged = |_| DatabaseError::Damaged { table: TABLE, column: "ends_at", value: ends_at.to_string() };
    let ids: Vec<Uuid> = row.try_get::<_, Option<_>>("room_ids")?.unwrap_or_default();
    let names: Vec<String> = row.try_get::<_, Option<_>>("room_names")?.unwrap_or_default();
    Ok(ClassSession {
        id: row.try_get::<_, Uuid>("id")?.into(),
        group: ScheduleRef {
            id: row.try_get::<_, Uuid>("group_id")?.into(),
            name: row.try_get("group_name")?,
        },
        name: row.try_get("name")?,
        times: SessionTimes::new(starts_at, ends_at).map_err(damaged)?,
        state: read_text(row, TABLE, "state")?,
        source: read_text(row, TABLE, "source")?,
        external_id: row.try_get("external_id")?,
        calendar: row.try_get::<_, Option<Uuid>>("calendar_id")?.map(Into::into),
        rooms: ids.into_iter().zip(names).map(|(id, name)| ScheduleRef { id: id.into(), name }).collect(),
        version: ScheduleVersion(row.try_get("version")?),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
