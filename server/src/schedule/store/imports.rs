//! What files of sessions and rosters are compared with, and how what follows from them is done.

use std::collections::HashMap;

use cavs_types::{CalendarId, RoomId, SiteId};
use deadpool_postgres::Transaction;
use jiff::{Timestamp, civil::Date};
use tokio_postgres::Row;
use uuid::Uuid;

use super::{
    ScheduleStore,
    sessions::{SELECT, insert_sessions, lock_plan, session, update_session},
};
use crate::{
    db::{Batch, DatabaseError},
    people::ImportOutcome,
    schedule::{Days, KnownGroup, KnownSchedule, KnownSession, SessionFile, SessionPlan},
};

impl ScheduleStore {
    /// What files of sessions name: groups and rooms of a site, and its time zone.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn known_schedule(&self, site: SiteId) -> Result<KnownSchedule, DatabaseError> {
        let zone = self.time_zone(site).await?;
        let client = self.db.client().await?;
        let sql = "SELECT g.id, g.name, t.starts_on, t.ends_on
                   FROM groups g LEFT JOIN terms t ON t.site_id = g.site_id AND t.id = g.term_id
                   WHERE g.site_id = $1 AND g.archived_at IS NULL ORDER BY g.name";
        let groups = client.query(sql, &[&site.uuid()]).await?;
        let sql = "SELECT id, name FROM rooms WHERE site_id = $1";
        let rooms = client.query(sql, &[&site.uuid()]).await?;
        let room = |row: &Row| Ok((row.try_get("name")?, row.try_get::<_, Uuid>("id")?.into()));
        Ok(KnownSchedule {
            zone,
            now: Timestamp::now(),
            groups: groups.iter().map(known_group).collect::<Result<_, _>>()?,
            rooms: rooms.iter().map(room).collect::<Result<HashMap<String, RoomId>, DatabaseError>>()?,
        })
    }

    /// Adds and changes sessions as `plan` says of those that a file is about: those of its calendar, or without one
    /// those of its groups that begin when it says and are not cancelled. Nothing is done where `plan` says so, or
    /// where somebody has changed one of them meanwhile.
    ///
    /// # Errors
    /// `NotFound`: a group or a room is not there any more.
    pub async fn import_sessions(
        &self,
        site: SiteId,
        calendar: Option<&str>,
        file: &SessionFile,
        plan: impl FnOnce(Vec<KnownSession>, Option<CalendarId>) -> (SessionPlan, bool),
    ) -> Result<(SessionPlan, ImportOutcome), DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        lock_plan(&transaction, site).await?;
        let calendar = match calendar {
            Some(name) => Some(note_calendar(&transaction, site, name).await?),
            None => None,
        };
        let there = match calendar {
            Some(calendar) => of_calendar(&transaction, site, calendar).await?,
            None => at_starts(&transaction, site, file).await?,
        };
        let (plan, is_wanted) = plan(there, calendar);
        if !is_wanted {
            return Ok((plan, ImportOutcome::NotWanted));
        }
        if !apply(&transaction, site, &plan).await? {
            return Ok((plan, ImportOutcome::Overtaken));
        }
        transaction.commit().await?;
        Ok((plan, ImportOutcome::Done))
    }
}

fn known_group(row: &Row) -> Result<KnownGroup, DatabaseError> {
    let days: (Option<Date>, Option<Date>) = (row.try_get("starts_on")?, row.try_get("ends_on")?);
    let term = days.0.zip(days.1).and_then(|(first, last)| Days::new(first, last).ok());
    Ok(KnownGroup { id: row.try_get::<_, Uuid>("id")?.into(), name: row.try_get("name")?, term })
}

/// The calendar of a name, which is added where there is none.
async fn note_calendar(
    transaction: &Transaction<'_>,
    site: SiteId,
    name: &str,
) -> Result<CalendarId, DatabaseError> {
    let sql = "INSERT INTO calendars (site_id, id, name, imported_at) VALUES ($1, $2, $3, now())
               ON CONFLICT (site_id, name) DO UPDATE SET imported_at = now() RETURNING id";
    let id = CalendarId::generate().uuid();
    Ok(transaction.query_one(sql, &[&site.uuid(), &id, &name]).await?.try_get::<_, Uuid>("id")?.into())
}

fn known_session(row: &Row) -> Result<KnownSession, DatabaseError> {
    Ok(KnownSession {
        session: session(row)?,
        is_cancelled_by_import: row.try_get("is_cancelled_by_import")?,
    })
}

async fn of_calendar(
    transaction: &Transaction<'_>,
    site: SiteId,
    calendar: CalendarId,
) -> Result<Vec<KnownSession>, DatabaseError> {
    let sql = format!("{SELECT} WHERE c.site_id = $1 AND c.calendar_id = $2");
    let rows = transaction.query(&sql, &[&site.uuid(), &calendar.uuid()]).await?;
    rows.iter().map(known_session).collect()
}

async fn at_starts(
    transaction: &Transaction<'_>,
    site: SiteId,
    file: &SessionFile,
) -> Result<Vec<KnownSession>, DatabaseError> {
    let starts: Vec<Timestamp> = file.wanted.iter().map(|wanted| wanted.times.starts_at()).collect();
    let groups: Vec<Uuid> = file.wanted.iter().map(|wanted| wanted.group.uuid()).collect();
    let sql = format!(
        "{SELECT} WHERE c.site_id = $1 AND c.state <> 'cancelled' AND (c.group_id, c.starts_at) IN
             (SELECT * FROM unnest($2::uuid[], $3::timestamptz[]))"
    );
    let rows = transaction.query(&sql, &[&site.uuid(), &groups, &starts]).await?;
    rows.iter().map(known_session).collect()
}

async fn apply(
    transaction: &Transaction<'_>,
    site: SiteId,
    plan: &SessionPlan,
) -> Result<bool, DatabaseError> {
    let rooms = Batch::of(&plan.new_rooms)
        .column("site_id", |_| site.uuid())
        .column("id", |room| room.0.uuid())
        .column("name", |room| room.1.as_str());
    let (columns, values, source) = (rooms.names(), rooms.given(), rooms.source());
    let sql = format!("INSERT INTO rooms ({columns}) SELECT {values} FROM {source}");
    transaction.execute(&sql, &rooms.parameters()).await?;
    for (to, seen, takes_place_again) in &plan.update {
        if !update_session(transaction, site, *seen, to, true).await? {
            return Ok(false);
        }
        if *takes_place_again {
            let sql = "UPDATE class_sessions SET state = 'planned', is_cancelled_by_import = false
                       WHERE site_id = $1 AND id = $2 AND state = 'cancelled'";
            transaction.execute(sql, &[&site.uuid(), &to.id.uuid()]).await?;
        }
    }
    let ids: Vec<Uuid> = plan.cancel.iter().map(|(id, _)| id.uuid()).collect();
    let versions: Vec<i64> = plan.cancel.iter().map(|(_, seen)| seen.0).collect();
    let sql = "UPDATE class_sessions c SET state = 'cancelled', is_cancelled_by_import = true,
                   version = c.version + 1, updated_at = now()
               FROM unnest($2::uuid[], $3::bigint[]) AS given (id, version)
               WHERE c.site_id = $1 AND c.id = given.id AND c.version = given.version AND c.state = 'planned'";
    if transaction.execute(sql, &[&site.uuid(), &ids, &versions]).await? != ids.len() as u64 {
        return Ok(false);
    }
    insert_sessions(transaction, site, &plan.create).await?;
    Ok(true)
}
