//! Makes the marks of one session anew, in one transaction that holds the session.

use std::collections::{BTreeMap, BTreeSet};

use cavs_attendance::{Neighbour, Policy, PolicyOverride, Session, evaluate};
use cavs_types::{ClassSessionId, DeviceId, SessionState, SiteId};
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{
    AttendanceStore,
    keeping::{Keeping, KnownSession, only_sightings},
    marks::{correct_marks, propose, unlist_marks, write_marks, write_sheet},
    records::{corrections, load_records},
};
use crate::{
    attendance::{SessionHead, SessionPlan},
    db::{DatabaseError, read_json, read_text, read_zone},
};

/// Sessions that time takes on are looked for so many at a time.
const LOOKED_AT: i64 = 500;

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The marks are those of what was committed before.
    Done,
    /// Another server is at it, or there is no such session.
    PassedOver,
}

impl AttendanceStore {
    /// Sessions in the queue, of sites that are not archived; for a keeper, but for those that another one looks after.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn queued(&self, keeper: Option<Uuid>) -> Result<Vec<(SiteId, ClassSessionId)>, DatabaseError> {
        let sql = "SELECT q.site_id, q.session_id
                   FROM (SELECT DISTINCT site_id, session_id FROM attendance_queue) AS q
                       JOIN sites s ON s.id = q.site_id
                       LEFT JOIN attendance_sheets e ON e.site_id = q.site_id AND e.session_id = q.session_id
                   WHERE s.archived_at IS NULL
                       AND ($2::uuid IS NULL OR e.kept_by IS NULL OR e.kept_by = $2 OR e.kept_until < now())
                   LIMIT $1";
        let client = self.db.client().await?;
        let statement = client.prepare_cached(sql).await?;
        let rows = client.query(&statement, &[&LOOKED_AT, &keeper]).await?;
        rows.iter().map(ids).collect()
    }

    /// Sessions that time may take on: those that begin soon, or are over.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn due(&self, now: Timestamp) -> Result<Vec<(SiteId, ClassSessionId)>, DatabaseError> {
        let before = i32::from(Policy::default().minutes_before);
        let sql = "SELECT c.site_id, c.id AS session_id
                   FROM class_sessions c JOIN sites s ON s.id = c.site_id
                   LEFT JOIN attendance_sheets e ON e.site_id = c.site_id AND e.session_id = c.id
                   WHERE s.archived_at IS NULL AND (
                       c.state = 'planned' AND c.starts_at <= $1::timestamptz + make_interval(mins => greatest($3, (
                           SELECT max((p.settings ->> 'minutes_before')::integer) FROM attendance_policies p
                           WHERE p.site_id = c.site_id)))
                       OR c.state = 'open' AND c.ends_at <= $1
                       OR c.state = 'closing' AND e.final_at <= $1)
                   ORDER BY c.starts_at LIMIT $2";
        let rows = self.db.client().await?.query(sql, &[&now, &LOOKED_AT, &before]).await?;
        rows.iter().map(ids).collect()
    }

    /// Makes the marks of a session anew of what is committed, and takes its state on.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`, `Damaged`.
    pub async fn renew(
        &self,
        site: SiteId,
        id: ClassSessionId,
        now: Timestamp,
    ) -> Result<Renewed, DatabaseError> {
        self.renew_kept((site, id), now, None).await
    }

    /// As [`Self::renew`], for a keeper: what it knows of the session since the last time is used, where nothing has
    /// happened but that people were seen.
    ///
    /// # Errors
    /// As [`Self::renew`].
    pub(in crate::attendance) async fn renew_kept(
        &self,
        (site, id): (SiteId, ClassSessionId),
        now: Timestamp,
        keeping: Option<&Keeping>,
    ) -> Result<Renewed, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let lock = "SELECT FROM class_sessions WHERE site_id = $1 AND id = $2 FOR NO KEY UPDATE SKIP LOCKED";
        let lock = transaction.prepare_cached(lock).await?;
        if transaction.query_opt(&lock, &[&site.uuid(), &id.uuid()]).await?.is_none() {
            return Ok(Renewed::PassedOver);
        }
        // It is known again when the transaction is committed.
        let known = keeping.and_then(|keeping| keeping.take(site, id));
        let causes = take_from_queue(&transaction, site, id).await?;
        if let (Some(known), Some(keeping), Some(seen)) = (known, keeping, only_sightings(causes))
            && known.holds(&transaction, now).await?
        {
            let known = known.add(&transaction, &seen, now, keeping.keeper).await?;
            transaction.commit().await?;
            keeping.put(known);
            return Ok(Renewed::Done);
        }
        let head = self.head(&transaction, site, id).await?;
        let plan = head.plan(now);
        let mut known = None;
        match plan.state {
            // Its times were changed after it had opened.
            SessionState::Planned => forget(&transaction, &head).await?,
            SessionState::Cancelled => {}
            SessionState::Open | SessionState::Closing | SessionState::Finalised => {
                let keeper = keeping.map(|keeping| keeping.keeper);
                known = renew_marks(&transaction, &head, &plan, now, keeper).await?;
            }
        }
        if plan.state != head.state {
            let sql = "UPDATE class_sessions SET state = $3, version = version + 1, updated_at = now()
                       WHERE site_id = $1 AND id = $2";
            transaction.execute(sql, &[&site.uuid(), &id.uuid(), &plan.state.as_str()]).await?;
        }
        transaction.commit().await?;
        if let (Some(keeping), Some(known)) = (keeping, known) {
            keeping.put(known);
        }
        Ok(Renewed::Done)
    }

    /// Makes a session's marks final now: whether it was over, and not final or cancelled. The marks are those of what
    /// is committed.
    ///
    /// # Errors
    /// As [`Self::renew`].
    pub async fn finalise(
        &self,
        site: SiteId,
        id: ClassSessionId,
        now: Timestamp,
    ) -> Result<bool, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let lock = "SELECT FROM class_sessions WHERE site_id = $1 AND id = $2 FOR NO KEY UPDATE";
        if transaction.query_opt(lock, &[&site.uuid(), &id.uuid()]).await?.is_none() {
            return Ok(false);
        }
        take_from_queue(&transaction, site, id).await?;
        let head = self.head(&transaction, site, id).await?;
        let plan = head.plan(now);
        if !matches!(plan.state, SessionState::Closing | SessionState::Finalised)
            || head.state == SessionState::Finalised
        {
            return Ok(false);
        }
        renew_marks(&transaction, &head, &plan, now, None).await?;
        let sql = "UPDATE class_sessions SET state = 'finalised', version = version + 1, updated_at = now()
                   WHERE site_id = $1 AND id = $2";
        transaction.execute(sql, &[&site.uuid(), &id.uuid()]).await?;
        transaction.commit().await?;
        Ok(true)
    }
}

fn ids(row: &Row) -> Result<(SiteId, ClassSessionId), DatabaseError> {
    Ok((row.try_get::<_, Uuid>("site_id")?.into(), row.try_get::<_, Uuid>("session_id")?.into()))
}

const HEAD: &str = "SELECT c.group_id, c.starts_at, c.ends_at, c.state, s.time_zone,
        p.site_id IS NOT NULL AS keeps_otherwise, p.sightings AS kept,
        coalesce(CASE c.state WHEN 'finalised' THEN e.policy END, 'null') AS policy
    FROM class_sessions c JOIN sites s ON s.id = c.site_id LEFT JOIN retention_policies p ON p.site_id = c.site_id
        LEFT JOIN attendance_sheets e ON e.site_id = c.site_id AND e.session_id = c.id
    WHERE c.site_id = $1 AND c.id = $2";

impl AttendanceStore {
    /// What is to be known of a session that the transaction holds.
    async fn head(
        &self,
        transaction: &Transaction<'_>,
        site: SiteId,
        id: ClassSessionId,
    ) -> Result<SessionHead, DatabaseError> {
        let key: [&(dyn ToSql + Sync); 2] = [&site.uuid(), &id.uuid()];
        let row = transaction.query_one(HEAD, &key).await?;
        let group: Uuid = row.try_get("group_id")?;
        let sql = "SELECT settings FROM attendance_policies
                   WHERE site_id = $1 AND coalesce(group_id, $2) = $2 AND coalesce(session_id, $3) = $3
                   ORDER BY session_id NULLS FIRST, group_id NULLS FIRST";
        let overrides = transaction.query(sql, &[&site.uuid(), &group, &id.uuid()]).await?;
        let overrides = overrides
            .iter()
            .map(|row| read_json(row, "attendance_policies", "settings"))
            .collect::<Result<Vec<PolicyOverride>, _>>()?;
        let kept: Option<i32> = row.try_get("kept")?;
        let kept = kept.map(|days| u32::try_from(days).unwrap_or(0));
        Ok(SessionHead {
            site,
            id,
            group: group.into(),
            starts_at: row.try_get("starts_at")?,
            ends_at: row.try_get("ends_at")?,
            state: read_text(&row, "class_sessions", "state")?,
            zone: read_zone(&row)?,
            sightings_kept: if row.try_get("keeps_otherwise")? { kept } else { self.sightings_kept },
            overrides,
            final_policy: read_json(&row, "attendance_sheets", "policy")?,
        })
    }
}

/// Takes a session that the transaction holds out of the queue: why it is there, each of which may be the sightings that
/// were stored. What is committed later leaves a row of its own; what is read from here on was committed before.
async fn take_from_queue(
    transaction: &Transaction<'_>,
    site: SiteId,
    id: ClassSessionId,
) -> Result<Vec<Option<Vec<Uuid>>>, DatabaseError> {
    let sql = "DELETE FROM attendance_queue WHERE site_id = $1 AND session_id = $2 RETURNING sighting_ids";
    let statement = transaction.prepare_cached(sql).await?;
    let rows = transaction.query(&statement, &[&site.uuid(), &id.uuid()]).await?;
    rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
}

/// Makes all marks of a session anew; what is known of it then, where it can be of use.
async fn renew_marks(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    plan: &SessionPlan,
    now: Timestamp,
    keeper: Option<Uuid>,
) -> Result<Option<KnownSession>, DatabaseError> {
    let is_final = head.state == SessionState::Finalised;
    if is_final || !plan.is_evaluated {
        let said = corrections(transaction, head).await?;
        correct_marks(transaction, head, &said).await?;
        if !plan.is_evaluated {
            let sql = "UPDATE attendance_sheets SET final_at = $3 WHERE site_id = $1 AND session_id = $2";
            transaction.execute(sql, &[&head.site.uuid(), &head.id.uuid(), &plan.final_at]).await?;
            return Ok(None);
        }
    }
    let devices = write_windows(transaction, head, plan, now).await?;
    let neighbours = neighbours(transaction, head, plan).await?;
    let session = Session { starts_at: head.starts_at, ends_at: head.ends_at, devices, neighbours };
    let records = load_records(transaction, head, plan, &session).await?;
    let attendance = evaluate(&session, &plan.policy, &records, now);
    if is_final {
        propose(transaction, head, &attendance).await?;
        return Ok(None);
    }
    let roster: BTreeSet<Uuid> = records.roster.iter().map(|student| student.uuid()).collect();
    write_marks(transaction, head, &attendance.marks).await?;
    unlist_marks(transaction, head, &roster).await?;
    let renewal = write_sheet(transaction, head, plan, &attendance, now, keeper).await?;
    Ok(keeper.map(|_| KnownSession::new(head, plan, session, records, attendance, renewal)))
}

/// The sessions before and after this one in its rooms, within half a day.
async fn neighbours(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    plan: &SessionPlan,
) -> Result<Vec<Neighbour>, DatabaseError> {
    let sql = "SELECT c.starts_at, c.ends_at,
            ARRAY(SELECT w.device_id FROM attendance_windows w JOIN class_session_rooms x
                ON x.site_id = w.site_id AND x.room_id = w.room_id
                WHERE w.site_id = $1 AND w.session_id = $2 AND x.session_id = c.id) AS devices,
            ARRAY(SELECT m.student_id FROM group_members m WHERE m.site_id = c.site_id AND m.group_id = c.group_id
                AND m.starts_on <= $5 AND (m.ends_on IS NULL OR m.ends_on >= $5)) AS roster
        FROM class_sessions c
        WHERE c.site_id = $1 AND c.id <> $2 AND c.state <> 'cancelled'
            AND c.starts_at BETWEEN $3::timestamptz - interval '12 hours' AND $4::timestamptz + interval '12 hours'
            AND (c.ends_at <= $3 OR c.starts_at >= $4)
            AND EXISTS (SELECT FROM class_session_rooms mine JOIN class_session_rooms other
                ON other.site_id = mine.site_id AND other.room_id = mine.room_id
                WHERE mine.site_id = $1 AND mine.session_id = $2 AND other.session_id = c.id)";
    let statement = transaction.prepare_cached(sql).await?;
    let (site, session) = (head.site.uuid(), head.id.uuid());
    let rows =
        transaction.query(&statement, &[&site, &session, &head.starts_at, &head.ends_at, &plan.day]).await?;
    let neighbour = |row: &Row| {
        let (devices, roster): (Vec<Uuid>, Vec<Uuid>) = (row.try_get("devices")?, row.try_get("roster")?);
        Ok::<_, DatabaseError>(Neighbour {
            starts_at: row.try_get("starts_at")?,
            ends_at: row.try_get("ends_at")?,
            devices: devices.into_iter().map(Into::into).collect(),
            roster: roster.into_iter().map(Into::into).collect(),
        })
    };
    rows.iter().map(neighbour).collect()
}

/// A session that has not begun says nothing, and nothing looks at it.
async fn forget(transaction: &Transaction<'_>, head: &SessionHead) -> Result<(), DatabaseError> {
    let key: [&(dyn ToSql + Sync); 2] = [&head.site.uuid(), &head.id.uuid()];
    let windows = "DELETE FROM attendance_windows WHERE site_id = $1 AND session_id = $2";
    transaction.execute(windows, &key).await?;
    let marks = "UPDATE marks SET is_listed = false WHERE site_id = $1 AND session_id = $2 AND is_listed";
    transaction.execute(marks, &key).await?;
    Ok(())
}

/// From when to when which devices look at the session. Until it is over, those of its rooms; afterwards those that
/// did, wherever they are now.
async fn write_windows(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    plan: &SessionPlan,
    now: Timestamp,
) -> Result<BTreeMap<DeviceId, cavs_types::DeviceRole>, DatabaseError> {
    let (site, session) = (head.site.uuid(), head.id.uuid());
    let known = "SELECT EXISTS (SELECT FROM attendance_windows WHERE site_id = $1 AND session_id = $2)";
    let is_known: bool = transaction.query_one(known, &[&site, &session]).await?.try_get(0)?;
    if head.state != SessionState::Finalised && (!is_known || now <= head.ends_at) {
        let add = "INSERT INTO attendance_windows
                (site_id, session_id, device_id, room_id, role, opens_at, closes_at, came_at)
            SELECT x.site_id, x.session_id, d.id, r.id, d.room_role, $3, $4, $5
            FROM class_session_rooms x JOIN rooms r ON r.site_id = x.site_id AND r.id = x.room_id
                JOIN devices d ON d.site_id = r.site_id AND d.room_name = r.name
            WHERE x.site_id = $1 AND x.session_id = $2 AND d.status <> 'revoked'
            ON CONFLICT (site_id, session_id, device_id) DO UPDATE
                SET room_id = excluded.room_id, role = excluded.role
                WHERE (attendance_windows.room_id, attendance_windows.role)
                    IS DISTINCT FROM (excluded.room_id, excluded.role)";
        // Nobody knows exactly when a device that is new came, or one that is missing went.
        let came_at = is_known.then_some(now);
        transaction.execute(add, &[&site, &session, &plan.opens_at, &plan.closes_at, &came_at]).await?;
        let gone = "UPDATE attendance_windows w SET gone_at = $3
            WHERE site_id = $1 AND session_id = $2 AND gone_at IS NULL AND NOT EXISTS (
                SELECT FROM devices d JOIN rooms r ON r.site_id = d.site_id AND r.name = d.room_name
                WHERE d.site_id = w.site_id AND d.id = w.device_id AND r.id = w.room_id AND d.status <> 'revoked')";
        transaction.execute(gone, &[&site, &session, &now]).await?;
    }
    // The session's times, policy or rooms were changed.
    let elsewhere = "DELETE FROM attendance_windows w WHERE site_id = $1 AND session_id = $2 AND NOT EXISTS (
        SELECT FROM class_session_rooms x
        WHERE x.site_id = w.site_id AND x.session_id = w.session_id AND x.room_id = w.room_id)";
    transaction.execute(elsewhere, &[&site, &session]).await?;
    let times = "UPDATE attendance_windows SET opens_at = $3, closes_at = $4
        WHERE site_id = $1 AND session_id = $2 AND (opens_at, closes_at) IS DISTINCT FROM ($3, $4)";
    transaction.execute(times, &[&site, &session, &plan.opens_at, &plan.closes_at]).await?;
    let sql = "SELECT device_id, role FROM attendance_windows WHERE site_id = $1 AND session_id = $2";
    let rows = transaction.query(sql, &[&site, &session]).await?;
    let device = |row: &Row| {
        Ok((row.try_get::<_, Uuid>("device_id")?.into(), read_text(row, "attendance_windows", "role")?))
    };
    rows.iter().map(device).collect()
}
