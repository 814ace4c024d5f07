//! Reads marks.

use std::collections::BTreeMap;

use cavs_attendance::{Evidence, Policy, Visitor};
use cavs_types::{ClassSessionId, CorrectionId, DeviceId, GroupId, Mark, SiteId, StudentId};
use deadpool_postgres::Object;
use jiff::Timestamp;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{AttendanceStore, SESSION, session, student};
use crate::{
    attendance::{
        DecidedSighting, HistoryEntry, MarkCorrection, MarkDetails, MarkFilter, MarkListed, MarkPosition,
        SessionSheet, SheetMark, VisitorSeen,
    },
    db::{Conditions, DatabaseError, read_json, read_text, read_zone},
    page::{Page, PageRequest},
};

const TABLE: &str = "marks";

/// A mark of `m`, of the student `s`.
pub(super) const MARK: &str =
    "m.student_id, s.number, s.name AS student_name, m.mark, m.machine_mark, m.correction_id,
    m.first_seen_at, m.last_seen_at, m.minutes_present, m.minutes_late, m.minutes_left_early,
    m.number AS changes, m.changed_at";

impl AttendanceStore {
    /// All that a session says; `None`: there is no such session.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`, `Damaged`.
    pub async fn sheet(
        &self,
        site: SiteId,
        id: ClassSessionId,
    ) -> Result<Option<SessionSheet>, DatabaseError> {
        let client = self.db.client().await?;
        let sql = format!(
            "SELECT {SESSION}, t.time_zone, e.policy, e.unproven, e.visitors, e.evaluated_at, ARRAY(
                 SELECT r.name FROM class_session_rooms x
                     JOIN rooms r ON r.site_id = x.site_id AND r.id = x.room_id
                 WHERE x.site_id = c.site_id AND x.session_id = c.id ORDER BY r.name) AS rooms
             FROM class_sessions c JOIN groups g ON g.site_id = c.site_id AND g.id = c.group_id
                 JOIN sites t ON t.id = c.site_id
                 LEFT JOIN attendance_sheets e ON e.site_id = c.site_id AND e.session_id = c.id
             WHERE c.site_id = $1 AND c.id = $2"
        );
        let Some(head) = client.query_opt(&sql, &[&site.uuid(), &id.uuid()]).await? else { return Ok(None) };
        let evaluated_at: Option<Timestamp> = head.try_get("evaluated_at")?;
        let (mut policy, mut unproven, mut visitors) = (Policy::default(), Vec::new(), Vec::<Visitor>::new());
        if evaluated_at.is_some() {
            policy = read_json(&head, "attendance_sheets", "policy")?;
            unproven = read_json(&head, "attendance_sheets", "unproven")?;
            visitors = read_json(&head, "attendance_sheets", "visitors")?;
        }
        let sql = format!(
            "SELECT {MARK} FROM marks m JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
             WHERE m.site_id = $1 AND m.session_id = $2 AND m.is_listed ORDER BY s.number, m.student_id"
        );
        let rows = client.query(&sql, &[&site.uuid(), &id.uuid()]).await?;
        Ok(Some(SessionSheet {
            session: session(&head)?,
            rooms: head.try_get("rooms")?,
            marks: rows.iter().map(mark).collect::<Result<_, _>>()?,
            visitors: named_visitors(&client, site, &visitors).await?,
            unproven,
            devices: device_names(&client, site, id).await?,
            policy,
            evaluated_at,
            false_matches: None,
            zone: read_zone(&head)?,
        }))
    }

    /// How many faces a session's devices saw in its time.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn faces_seen(&self, site: SiteId, id: ClassSessionId) -> Result<u64, DatabaseError> {
        let sql = "SELECT count(*) FROM attendance_windows w
                   JOIN sightings s ON s.site_id = w.site_id AND s.device_id = w.device_id
                       AND s.listed_at >= greatest(w.opens_at, w.came_at)
                       AND s.listed_at < least(w.closes_at, w.gone_at)
                   WHERE w.site_id = $1 AND w.session_id = $2";
        let row = self.db.client().await?.query_one(sql, &[&site.uuid(), &id.uuid()]).await?;
        Ok(row.try_get::<_, i64>(0)?.unsigned_abs())
    }

    /// Marks with their sessions, those of a filter, by the sessions' start.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn marks(
        &self,
        site: SiteId,
        filter: &MarkFilter,
        request: &PageRequest<MarkPosition>,
    ) -> Result<Page<MarkListed>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let MarkFilter { from, until, group, student, mark, section } = filter;
        let (group, student) = (group.map(GroupId::uuid), student.map(StudentId::uuid));
        let mark = mark.map(Mark::as_str);
        let mut chosen = Conditions::default();
        chosen.with("m.site_id = ?", &[(&site, Type::UUID)]);
        chosen.also("m.is_listed AND c.state <> 'cancelled'");
        chosen.with_value("c.group_id = ?", &group, Type::UUID);
        chosen.with_value("m.student_id = ?", &student, Type::UUID);
        chosen.with_value("c.starts_at >= ?", from, Type::TIMESTAMPTZ);
        chosen.with_value("c.starts_at < ?", until, Type::TIMESTAMPTZ);
        chosen.with_value("m.mark = ?", &mark, Type::TEXT);
        chosen.with_value("s.section = ?", section, Type::TEXT);
        let from_marks = "marks m JOIN class_sessions c ON c.site_id = m.site_id AND c.id = m.session_id
            JOIN groups g ON g.site_id = c.site_id AND g.id = c.group_id
            JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id";
        let total = match request.with_total {
            true => Some(chosen.count(&client, from_marks).await?),
            false => None,
        };
        if let Some(after) = &request.after {
            let follows = "(c.starts_at, m.session_id, m.student_id) > (?, ?, ?)";
            chosen.with(
                follows,
                &[
                    (&after.starts_at, Type::TIMESTAMPTZ),
                    (&after.session, Type::UUID),
                    (&after.student, Type::UUID),
                ],
            );
        }
        let select = format!("SELECT {SESSION}, {MARK} FROM {from_marks}");
        let order = "c.starts_at, m.session_id, m.student_id";
        let rows = chosen.rows(&client, &select, order, request.fetch()).await?;
        let items = rows.iter().map(listed).collect::<Result<_, _>>()?;
        let position = |listed: &MarkListed| MarkPosition {
            starts_at: listed.session.starts_at,
            session: listed.session.id.uuid(),
            student: listed.mark.student.id.uuid(),
        };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Why somebody has a mark; `None`: the session says nothing of them.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`, `Damaged`.
    pub async fn mark_details(
        &self,
        site: SiteId,
        id: ClassSessionId,
        who: StudentId,
    ) -> Result<Option<MarkDetails>, DatabaseError> {
        let client = self.db.client().await?;
        let sql = format!(
            "SELECT {SESSION}, {MARK}, m.evidence, m.rules, t.time_zone, coalesce(e.policy, 'null') AS policy
             FROM marks m JOIN class_sessions c ON c.site_id = m.site_id AND c.id = m.session_id
                 JOIN groups g ON g.site_id = c.site_id AND g.id = c.group_id
                 JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
                 JOIN sites t ON t.id = m.site_id
                 LEFT JOIN attendance_sheets e ON e.site_id = m.site_id AND e.session_id = m.session_id
             WHERE m.site_id = $1 AND m.session_id = $2 AND m.student_id = $3"
        );
        let key: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&site.uuid(), &id.uuid(), &who.uuid()];
        let Some(row) = client.query_opt(&sql, &key).await? else { return Ok(None) };
        let policy: Option<Policy> = read_json(&row, "attendance_sheets", "policy")?;
        let sql = "SELECT k.id, k.mark, k.source, k.reason, k.made_at, u.username AS made_by, k.withdrawn_at,
                coalesce(w.username, '') AS withdrawn_by
            FROM corrections k JOIN users u ON u.id = k.made_by LEFT JOIN users w ON w.id = k.withdrawn_by
            WHERE k.site_id = $1 AND k.session_id = $2 AND k.student_id = $3 ORDER BY k.made_at, k.id";
        let corrections = client.query(sql, &key).await?;
        let sql = "SELECT number, mark, machine_mark, correction_id, is_listed, changed_at FROM mark_changes
            WHERE site_id = $1 AND session_id = $2 AND student_id = $3 ORDER BY number";
        let history = client.query(sql, &key).await?;
        let evidence: Vec<Evidence> = read_json(&row, TABLE, "evidence")?;
        Ok(Some(MarkDetails {
            listed: listed(&row)?,
            rules: read_json(&row, TABLE, "rules")?,
            sightings: decided(&client, site, &evidence).await?,
            evidence,
            corrections: corrections.iter().map(correction).collect::<Result<_, _>>()?,
            history: history.iter().map(change).collect::<Result<_, _>>()?,
            policy: policy.unwrap_or_default(),
            devices: device_names(&client, site, id).await?,
            zone: read_zone(&row)?,
        }))
    }
}

/// How the machine decided on the sightings among some evidence.
async fn decided(
    client: &Object,
    site: SiteId,
    evidence: &[Evidence],
) -> Result<Vec<DecidedSighting>, DatabaseError> {
    const SIGHTINGS: &str = "sightings";
    let id = |evidence: &Evidence| match evidence {
        Evidence::Sighting(id) => Some(id.uuid()),
        Evidence::CheckIn(_) => None,
    };
    let ids: Vec<Uuid> = evidence.iter().filter_map(id).collect();
    let sql =
        "SELECT id, listed_at, decision, similarity, threshold, threshold_version, scope, scope_templates
               FROM sightings WHERE site_id = $1 AND id = ANY($2) ORDER BY listed_at, id";
    let read = |row: &Row| {
        Ok(DecidedSighting {
            id: row.try_get::<_, Uuid>("id")?.into(),
            captured_at: row.try_get("listed_at")?,
            decision: read_text(row, SIGHTINGS, "decision")?,
            similarity: row.try_get("similarity")?,
            threshold: row.try_get("threshold")?,
            threshold_version: row.try_get::<_, i32>("threshold_version")?.unsigned_abs(),
            scope: read_text(row, SIGHTINGS, "scope")?,
            scope_templates: row.try_get::<_, Option<i32>>("scope_templates")?.map(i32::unsigned_abs),
        })
    };
    client.query(sql, &[&site.uuid(), &ids]).await?.iter().map(read).collect()
}

pub(super) fn listed(row: &Row) -> Result<MarkListed, DatabaseError> {
    Ok(MarkListed { session: session(row)?, mark: mark(row)? })
}

fn mark(row: &Row) -> Result<SheetMark, DatabaseError> {
    let whole = |column| Ok::<_, DatabaseError>(u32::try_from(row.try_get::<_, i32>(column)?).unwrap_or(0));
    Ok(SheetMark {
        student: student(row)?,
        mark: read_text(row, TABLE, "mark")?,
        machine_mark: read_text(row, TABLE, "machine_mark")?,
        correction: row.try_get::<_, Option<Uuid>>("correction_id")?.map(CorrectionId::from),
        first_seen_at: row.try_get("first_seen_at")?,
        last_seen_at: row.try_get("last_seen_at")?,
        minutes_present: whole("minutes_present")?,
        minutes_late: whole("minutes_late")?,
        minutes_left_early: whole("minutes_left_early")?,
        number: whole("changes")?,
        changed_at: row.try_get("changed_at")?,
    })
}

fn correction(row: &Row) -> Result<MarkCorrection, DatabaseError> {
    let withdrawn_at: Option<Timestamp> = row.try_get("withdrawn_at")?;
    let withdrawn_by: String = row.try_get("withdrawn_by")?;
    Ok(MarkCorrection {
        id: row.try_get::<_, Uuid>("id")?.into(),
        mark: read_text(row, "corrections", "mark")?,
        source: read_text(row, "corrections", "source")?,
        reason: row.try_get("reason")?,
        made_at: row.try_get("made_at")?,
        made_by: row.try_get("made_by")?,
        withdrawn: withdrawn_at.map(|at| (at, withdrawn_by)),
    })
}

fn change(row: &Row) -> Result<HistoryEntry, DatabaseError> {
    Ok(HistoryEntry {
        number: u32::try_from(row.try_get::<_, i32>("number")?).unwrap_or(0),
        mark: read_text(row, "mark_changes", "mark")?,
        machine_mark: read_text(row, "mark_changes", "machine_mark")?,
        correction: row.try_get::<_, Option<Uuid>>("correction_id")?.map(CorrectionId::from),
        is_listed: row.try_get("is_listed")?,
        changed_at: row.try_get("changed_at")?,
    })
}

/// The names of the devices that look at a session.
pub(super) async fn device_names(
    client: &Object,
    site: SiteId,
    id: ClassSessionId,
) -> Result<BTreeMap<DeviceId, String>, DatabaseError> {
    let sql = "SELECT d.id, d.name FROM attendance_windows w
               JOIN devices d ON d.site_id = w.site_id AND d.id = w.device_id
               WHERE w.site_id = $1 AND w.session_id = $2";
    let rows = client.query(sql, &[&site.uuid(), &id.uuid()]).await?;
    rows.iter().map(|row| Ok((row.try_get::<_, Uuid>("id")?.into(), row.try_get("name")?))).collect()
}

async fn named_visitors(
    client: &Object,
    site: SiteId,
    visitors: &[Visitor],
) -> Result<Vec<VisitorSeen>, DatabaseError> {
    if visitors.is_empty() {
        return Ok(Vec::new());
    }
    let sql = "SELECT id AS student_id, number, name AS student_name FROM students
               WHERE site_id = $1 AND id = ANY($2)";
    let ids: Vec<Uuid> = visitors.iter().map(|visitor| visitor.student.uuid()).collect();
    let mut named = BTreeMap::new();
    for row in client.query(sql, &[&site.uuid(), &ids]).await? {
        let student = student(&row)?;
        named.insert(student.id, student);
    }
    let seen = |visitor: &Visitor| {
        Some(VisitorSeen {
            student: named.get(&visitor.student)?.clone(),
            first_seen_at: visitor.first_seen_at,
            last_seen_at: visitor.last_seen_at,
            sightings: visitor.sightings,
        })
    };
    Ok(visitors.iter().filter_map(seen).collect())
}
