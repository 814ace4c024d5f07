//! What is known of a session, as the engine wants it.

use std::collections::BTreeMap;

use cavs_attendance::{CheckIn, Correction, Excuse, Period, Records, Session, Sighting, Standing, Watched};
use cavs_types::{
    ClockTrust, Decision, DeviceId, DeviceRole, PredictionReason, SessionState, StudentId, Verdict,
};
use deadpool_postgres::Transaction;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use crate::{
    attendance::{SessionHead, SessionPlan},
    db::{DatabaseError, read_text},
};

/// Around a session's time, sightings are read whose track may reach into it: an agent tells of somebody who stays in
/// view more often than that.
const AROUND: SignedDuration = SignedDuration::from_mins(30);
/// Where only doors are looked at, those who came so long before may still be inside.
const BEFORE: SignedDuration = SignedDuration::from_hours(6);
/// How much less similar than the best a candidate is whom a pending sighting may show as well, where the machine
/// could not choose between them.
const EITHER: f32 = 0.1;

pub(super) async fn load_records(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    plan: &SessionPlan,
    session: &Session,
) -> Result<Records, DatabaseError> {
    let site = head.site.uuid();
    // Who was erased before it began is expected nowhere.
    let sql = "SELECT m.student_id FROM group_members m
                   JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
               WHERE m.site_id = $1 AND m.group_id = $2 AND m.starts_on <= $3
                   AND (m.ends_on IS NULL OR m.ends_on >= $3)
                   AND (s.erased_at IS NULL OR s.erased_at > $4)";
    let roster = transaction.query(sql, &[&site, &head.group.uuid(), &plan.day, &head.starts_at]).await?;
    let roster = roster.iter().map(|row| student(row, "student_id")).collect::<Result<_, _>>()?;

    let sql =
        "SELECT id, student_id, kind, checked_in_at FROM check_ins WHERE site_id = $1 AND session_id = $2";
    let check_ins = transaction.query(sql, &[&site, &head.id.uuid()]).await?;
    let check_in = |row: &Row| {
        Ok::<_, DatabaseError>(CheckIn {
            id: row.try_get::<_, Uuid>("id")?.into(),
            student: student(row, "student_id")?,
            kind: read_text(row, "check_ins", "kind")?,
            at: row.try_get("checked_in_at")?,
        })
    };
    let check_ins = check_ins.iter().map(check_in).collect::<Result<_, _>>()?;

    let sql = "SELECT e.id, e.student_id, e.starts_at, e.ends_at
               FROM group_members m JOIN excuses e ON e.site_id = m.site_id AND e.student_id = m.student_id
               WHERE m.site_id = $1 AND m.group_id = $2 AND m.starts_on <= $3
                   AND (m.ends_on IS NULL OR m.ends_on >= $3)
                   AND e.starts_at < $5 AND e.ends_at > $4 AND e.withdrawn_at IS NULL";
    let excuses = transaction
        .query(sql, &[&site, &head.group.uuid(), &plan.day, &head.starts_at, &head.ends_at])
        .await?;
    let excuse = |row: &Row| {
        Ok::<_, DatabaseError>(Excuse {
            id: row.try_get::<_, Uuid>("id")?.into(),
            student: student(row, "student_id")?,
            starts_at: row.try_get("starts_at")?,
            ends_at: row.try_get("ends_at")?,
        })
    };
    let excuses = excuses.iter().map(excuse).collect::<Result<_, _>>()?;

    Ok(Records {
        roster,
        sightings: sightings(transaction, head, plan, session, None).await?,
        check_ins,
        corrections: corrections(transaction, head).await?,
        excuses,
        // Before the end, nobody is absent.
        watched: if plan.state == SessionState::Open {
            BTreeMap::new()
        } else {
            watched(transaction, head, plan, session).await?
        },
    })
}

fn student(row: &Row, column: &str) -> Result<StudentId, DatabaseError> {
    Ok(row.try_get::<_, Uuid>(column)?.into())
}

/// What people said of a session's marks and have not taken back.
pub(super) async fn corrections(
    transaction: &Transaction<'_>,
    head: &SessionHead,
) -> Result<Vec<Correction>, DatabaseError> {
    let sql = "SELECT id, student_id, mark, made_at FROM corrections
               WHERE site_id = $1 AND session_id = $2 AND withdrawn_at IS NULL";
    let rows = transaction.query(sql, &[&head.site.uuid(), &head.id.uuid()]).await?;
    let correction = |row: &Row| {
        Ok(Correction {
            id: row.try_get::<_, Uuid>("id")?.into(),
            student: student(row, "student_id")?,
            mark: read_text(row, "corrections", "mark")?,
            made_at: row.try_get("made_at")?,
        })
    };
    rows.iter().map(correction).collect()
}

/// A candidate of a sighting, as it is stored.
#[derive(Deserialize)]
struct StoredCandidate {
    student_id: Uuid,
    similarity: f32,
}

/// Those of a session's sightings that show somebody, or may; of some ids alone, where they are given.
pub(super) async fn sightings(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    plan: &SessionPlan,
    session: &Session,
    only: Option<&[Uuid]>,
) -> Result<Vec<Sighting>, DatabaseError> {
    let devices: Vec<Uuid> = session.devices.keys().map(|device| device.uuid()).collect();
    let around =
        if session.devices.values().any(|role| *role == DeviceRole::Inside) { AROUND } else { BEFORE };
    let from = plan.opens_at.checked_sub(around).unwrap_or(Timestamp::MIN);
    let until = plan.closes_at.checked_add(AROUND).unwrap_or(Timestamp::MAX);
    // While the device was in the room.
    let mut sql = "SELECT s.id, s.device_id, s.listed_at, s.time_implausible, s.clock_trust,
            coalesce(s.track_entered_at, s.captured_at) AS entered_at,
            coalesce(s.track_last_seen_at, s.captured_at) AS last_seen_at,
            s.decision, s.verdict, s.reason, s.similarity, s.student_id, s.predicted_student_id,
            CASE WHEN s.in_queue THEN s.candidates END AS candidates
        FROM sightings s JOIN attendance_windows w
            ON w.site_id = s.site_id AND w.session_id = $5 AND w.device_id = s.device_id
        WHERE s.site_id = $1 AND s.device_id = ANY($2) AND s.listed_at BETWEEN $3 AND $4
            AND (w.came_at IS NULL OR s.listed_at >= w.came_at) AND (w.gone_at IS NULL OR s.listed_at < w.gone_at)
            AND (s.student_id IS NOT NULL OR s.in_queue AND s.predicted_student_id IS NOT NULL)"
        .to_owned();
    let (site, id) = (head.site.uuid(), head.id.uuid());
    let mut parameters: Vec<&(dyn ToSql + Sync)> = vec![&site, &devices, &from, &until, &id];
    if let Some(only) = &only {
        sql.push_str(" AND s.id = ANY($6)");
        parameters.push(only);
    }
    let statement = transaction.prepare_cached(&sql).await?;
    let rows = transaction.query(&statement, &parameters).await?;
    let mut sightings = Vec::with_capacity(rows.len());
    for row in &rows {
        read_sighting(row, &mut sightings)?;
    }
    Ok(sightings)
}

/// Adds whom a sighting shows, or may show.
fn read_sighting(row: &Row, sightings: &mut Vec<Sighting>) -> Result<(), DatabaseError> {
    const TABLE: &str = "sightings";
    let implausible: bool = row.try_get("time_implausible")?;
    let trust: ClockTrust = read_text(row, TABLE, "clock_trust")?;
    // Where its own times can't be, it stands where it arrived.
    let captured_at: Timestamp = row.try_get("listed_at")?;
    let (entered_at, last_seen_at) = if implausible {
        (captured_at, captured_at)
    } else {
        (row.try_get("entered_at")?, row.try_get("last_seen_at")?)
    };
    let verdict = match row.try_get::<_, Option<&str>>("verdict")? {
        None => None,
        Some(_) => Some(read_text::<Verdict>(row, TABLE, "verdict")?),
    };
    let decision: Decision = read_text(row, TABLE, "decision")?;
    let standing = match (verdict, decision) {
        (Some(Verdict::Approved | Verdict::Rejected), _) => Standing::Approved,
        (None, Decision::Accepted) => Standing::Accepted,
        // Who flags it doubts it.
        (Some(Verdict::Flagged), _) | (None, Decision::Pending | Decision::Unknown) => Standing::Pending,
    };
    let named = if standing == Standing::Pending { "predicted_student_id" } else { "student_id" };
    let Some(shown) = row.try_get::<_, Option<Uuid>>(named)? else { return Ok(()) };
    let similarity: Option<f32> = row.try_get("similarity")?;
    let sighting = Sighting {
        id: row.try_get::<_, Uuid>("id")?.into(),
        student: shown.into(),
        device: row.try_get::<_, Uuid>("device_id")?.into(),
        entered_at: entered_at.min(captured_at),
        captured_at,
        last_seen_at: last_seen_at.max(captured_at),
        standing,
        similarity: similarity.filter(|_| standing != Standing::Approved),
        time_trusted: !implausible && trust != ClockTrust::Unsynchronised,
    };
    let reason: PredictionReason = read_text(row, TABLE, "reason")?;
    let either = matches!(reason, PredictionReason::NarrowMargin | PredictionReason::ConfusablePair);
    if standing == Standing::Pending && either {
        let candidates = row.try_get::<_, Option<serde_json::Value>>("candidates")?.unwrap_or_default();
        let candidates: Vec<StoredCandidate> = serde_json::from_value(candidates).unwrap_or_default();
        let near = similarity.unwrap_or_default() - EITHER;
        let others = candidates.iter().filter(|other| other.student_id != shown && other.similarity >= near);
        sightings.extend(others.map(|other| Sighting {
            student: other.student_id.into(),
            standing: Standing::Possible,
            similarity: Some(other.similarity),
            ..sighting.clone()
        }));
    }
    sightings.push(sighting);
    Ok(())
}

/// What the session's devices have proven to have watched and delivered.
async fn watched(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    plan: &SessionPlan,
    session: &Session,
) -> Result<BTreeMap<DeviceId, Watched>, DatabaseError> {
    let site = head.site.uuid();
    let devices: Vec<Uuid> = session.devices.keys().map(|device| device.uuid()).collect();
    let sql = "SELECT id, delivered_until FROM devices WHERE site_id = $1 AND id = ANY($2)";
    let mut watched = BTreeMap::new();
    for row in transaction.query(sql, &[&site, &devices]).await? {
        let delivered_until = row.try_get("delivered_until")?;
        let device = DeviceId::from(row.try_get::<_, Uuid>("id")?);
        watched.insert(device, Watched { periods: Vec::new(), delivered_until });
    }
    let sql =
        "SELECT device_id, started_at, ended_at, nullif(state, 'watching') AS blind FROM watched_periods
               WHERE site_id = $1 AND device_id = ANY($2) AND started_at < $4 AND ended_at > $3
               UNION ALL SELECT device_id, started_at, least(coalesce(ended_at, $4), $4), 'maintenance'
               FROM device_maintenance
               WHERE site_id = $1 AND device_id = ANY($2) AND started_at < $4 AND coalesce(ended_at > $3, true)
               UNION ALL SELECT device_id, opens_at, came_at, 'not_there' FROM attendance_windows
               WHERE site_id = $1 AND session_id = $5 AND came_at > opens_at
               UNION ALL SELECT device_id, gone_at, closes_at, 'not_there' FROM attendance_windows
               WHERE site_id = $1 AND session_id = $5 AND gone_at < closes_at";
    let rows =
        transaction.query(sql, &[&site, &devices, &plan.opens_at, &plan.closes_at, &head.id.uuid()]).await?;
    for row in rows {
        let device = DeviceId::from(row.try_get::<_, Uuid>("device_id")?);
        let period = Period {
            from: row.try_get("started_at")?,
            until: row.try_get("ended_at")?,
            blind: row.try_get("blind")?,
        };
        watched.entry(device).or_default().periods.push(period);
    }
    Ok(watched)
}
