//! Writes what a session says.

use std::collections::{BTreeMap, BTreeSet};

use cavs_attendance::{Attendance, Correction, PersonMark};
use cavs_types::{CorrectionId, StudentId};
use deadpool_postgres::Transaction;
use jiff::Timestamp;
use tokio_postgres::types::{Json, ToSql};
use uuid::Uuid;

use crate::{
    attendance::{SessionHead, SessionPlan},
    db::{Batch, DatabaseError, to_integer},
};

/// How long a session is left to the keeper that has made its marks, and knows what they are of. Whoever is gone is
/// waited for as long.
pub(super) const KEPT: &str = "5 s";

/// Writes those of some marks that are others than before.
pub(super) async fn write_marks(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    marks: &BTreeMap<StudentId, PersonMark>,
) -> Result<(), DatabaseError> {
    let rows: Vec<(&StudentId, &PersonMark)> = marks.iter().collect();
    let batch = Batch::of(&rows)
        .column("site_id", |_| head.site.uuid())
        .column("session_id", |_| head.id.uuid())
        .column("student_id", |row| row.0.uuid())
        .column("mark", |row| row.1.mark.as_str())
        .column("machine_mark", |row| row.1.machine_mark.as_str())
        .column("correction_id", |row| row.1.correction.map(CorrectionId::uuid))
        .column("first_seen_at", |row| row.1.first_seen_at)
        .column("last_seen_at", |row| row.1.last_seen_at)
        .column("minutes_present", |row| to_integer(row.1.minutes_present))
        .column("minutes_late", |row| to_integer(row.1.minutes_late))
        .column("minutes_left_early", |row| to_integer(row.1.minutes_left_early))
        .column("evidence", |row| Json(&row.1.evidence))
        .column("rules", |row| Json(&row.1.rules));
    let (columns, values, source) = (batch.names(), batch.given(), batch.source());
    let sql = format!(
        "INSERT INTO marks ({columns}) SELECT {values} FROM {source}
         ON CONFLICT (site_id, session_id, student_id) DO UPDATE SET mark = excluded.mark,
             machine_mark = excluded.machine_mark, correction_id = excluded.correction_id,
             first_seen_at = excluded.first_seen_at, last_seen_at = excluded.last_seen_at,
             minutes_present = excluded.minutes_present, minutes_late = excluded.minutes_late,
             minutes_left_early = excluded.minutes_left_early, evidence = excluded.evidence,
             rules = excluded.rules, is_listed = true
         WHERE (marks.mark, marks.machine_mark, marks.correction_id, marks.first_seen_at, marks.last_seen_at,
                 marks.minutes_present, marks.minutes_late, marks.minutes_left_early, marks.evidence, marks.rules,
                 marks.is_listed)
             IS DISTINCT FROM (excluded.mark, excluded.machine_mark, excluded.correction_id, excluded.first_seen_at,
                 excluded.last_seen_at, excluded.minutes_present, excluded.minutes_late,
                 excluded.minutes_left_early, excluded.evidence, excluded.rules, true)"
    );
    let statement = transaction.prepare_cached(&sql).await?;
    transaction.execute(&statement, &batch.parameters()).await?;
    Ok(())
}

/// Takes those off the sheet who have left the roster.
pub(super) async fn unlist_marks(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    roster: &BTreeSet<Uuid>,
) -> Result<(), DatabaseError> {
    let sql = "UPDATE marks SET is_listed = false
               WHERE site_id = $1 AND session_id = $2 AND is_listed AND student_id <> ALL($3)";
    let roster: Vec<Uuid> = roster.iter().copied().collect();
    transaction.execute(sql, &[&head.site.uuid(), &head.id.uuid(), &roster]).await?;
    Ok(())
}

/// Writes what a session says beside its marks, and who looks after it from now on; how often its marks were made.
pub(super) async fn write_sheet(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    plan: &SessionPlan,
    attendance: &Attendance,
    now: Timestamp,
    keeper: Option<Uuid>,
) -> Result<i64, DatabaseError> {
    let sql = format!(
        "INSERT INTO attendance_sheets AS e
            (site_id, session_id, policy, unproven, visitors, evaluated_at, final_at, renewal, kept_by, kept_until)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 1, $8, now() + interval '{KEPT}')
        ON CONFLICT (site_id, session_id) DO UPDATE SET policy = excluded.policy, unproven = excluded.unproven,
            visitors = excluded.visitors, evaluated_at = excluded.evaluated_at, final_at = excluded.final_at,
            renewal = e.renewal + 1, kept_by = coalesce(excluded.kept_by, e.kept_by),
            kept_until = CASE WHEN excluded.kept_by IS NULL THEN e.kept_until ELSE excluded.kept_until END
        RETURNING renewal"
    );
    let (policy, unproven, visitors) =
        (Json(&plan.policy), Json(&attendance.unproven), Json(&attendance.visitors));
    let (site, session) = (head.site.uuid(), head.id.uuid());
    let parameters: [&(dyn ToSql + Sync); 8] =
        [&site, &session, &policy, &unproven, &visitors, &now, &plan.final_at, &keeper];
    Ok(transaction.query_one(&sql, &parameters).await?.try_get("renewal")?)
}

/// Brings what people said of marks into force, and leaves what the records said: final marks are changed by people
/// alone, and so are those of which the records may be gone.
pub(super) async fn correct_marks(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    said: &[Correction],
) -> Result<(), DatabaseError> {
    let mut in_force: BTreeMap<StudentId, &Correction> = BTreeMap::new();
    for correction in said {
        let newest = in_force.entry(correction.student).or_insert(correction);
        if (newest.made_at, newest.id) < (correction.made_at, correction.id) {
            *newest = correction;
        }
    }
    let rows: Vec<&Correction> = in_force.into_values().collect();
    let batch = Batch::of(&rows)
        .column("student_id", |row| row.student.uuid())
        .column("mark", |row| row.mark.as_str())
        .column("correction_id", |row| row.id.uuid());
    let source = batch.source();
    let (site, session) = (head.site.uuid(), head.id.uuid());
    let mut parameters = batch.parameters();
    let (of_site, of_session) = (parameters.len() + 1, parameters.len() + 2);
    parameters.extend([&site as &(dyn ToSql + Sync), &session]);
    let sql = format!(
        "UPDATE marks m SET mark = coalesce(given.mark, m.machine_mark), correction_id = given.correction_id
         FROM marks k LEFT JOIN {source} ON given.student_id = k.student_id
         WHERE k.site_id = m.site_id AND k.session_id = m.session_id AND k.student_id = m.student_id
             AND m.site_id = ${of_site} AND m.session_id = ${of_session}
             AND (m.mark, m.correction_id)
                 IS DISTINCT FROM (coalesce(given.mark, m.machine_mark), given.correction_id)"
    );
    transaction.execute(&sql, &parameters).await?;
    Ok(())
}

/// What the records say otherwise than the final marks is proposed; what they say again as the mark is, no more.
pub(super) async fn propose(
    transaction: &Transaction<'_>,
    head: &SessionHead,
    attendance: &Attendance,
) -> Result<(), DatabaseError> {
    let rows: Vec<(&StudentId, &PersonMark)> = attendance.marks.iter().collect();
    let batch = Batch::of(&rows)
        .column("site_id", |_| head.site.uuid())
        .column("session_id", |_| head.id.uuid())
        .column("student_id", |row| row.0.uuid())
        .column("machine_mark", |row| row.1.machine_mark.as_str())
        .column("evidence", |row| Json(&row.1.evidence))
        .column("rules", |row| Json(&row.1.rules));
    let (columns, values, source) = (batch.names(), batch.given(), batch.source());
    let sql = format!(
        "INSERT INTO mark_proposals ({columns}) SELECT {values}
         FROM {source} JOIN marks m USING (site_id, session_id, student_id)
         WHERE m.is_listed AND m.machine_mark <> given.machine_mark
         ON CONFLICT (site_id, session_id, student_id) DO UPDATE SET machine_mark = excluded.machine_mark,
             evidence = excluded.evidence, rules = excluded.rules, state = 'open',
             proposed_at = clock_timestamp(), decided_at = NULL, decided_by = NULL
         WHERE mark_proposals.machine_mark <> excluded.machine_mark"
    );
    transaction.execute(&sql, &batch.parameters()).await?;
    let sql = format!(
        "DELETE FROM mark_proposals p USING {source} JOIN marks m USING (site_id, session_id, student_id)
         WHERE p.site_id = given.site_id AND p.session_id = given.session_id AND p.student_id = given.student_id
             AND p.state = 'open' AND m.machine_mark = given.machine_mark"
    );
    transaction.execute(&sql, &batch.parameters()).await?;
    Ok(())
}
