//! What people say against their marks, and what came to be known after they were final.

use std::collections::BTreeMap;

use cavs_types::{
    AppealId, ClassSessionId, CorrectionSource, Mark, ProposalState, SiteId, StudentId, UserId,
};
use jiff::Timestamp;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{
    AttendanceStore, SESSION, corrections::insert_corrections, session, sheets::device_names, student,
};
use crate::{
    attendance::{Appeal, AppealDecision, AppealState, LateProposal, MarkPosition, NewAppeal, NewCorrection},
    db::{Conditions, DatabaseError, read_json, read_text, read_zone},
    page::{Page, PageRequest},
    schedule::ListPosition,
};

/// What appeals and proposals have in common: whose mark `a` is about.
const OF_MARK: &str = "JOIN marks m ON m.site_id = a.site_id AND m.session_id = a.session_id
        AND m.student_id = a.student_id
    JOIN class_sessions c ON c.site_id = a.site_id AND c.id = a.session_id
    JOIN groups g ON g.site_id = c.site_id AND g.id = c.group_id
    JOIN students s ON s.site_id = a.site_id AND s.id = a.student_id";

impl AttendanceStore {
    /// Records an appeal; `None` where the session says nothing of them.
    ///
    /// # Errors
    /// `Taken`: there is an open one.
    pub async fn create_appeal(
        &self,
        site: SiteId,
        new: &NewAppeal,
        due_at: Timestamp,
        by: UserId,
    ) -> Result<Option<Appeal>, DatabaseError> {
        let sql = "INSERT INTO appeals (site_id, id, session_id, student_id, mark, reason, made_by, due_at)
                   SELECT m.site_id, $2, m.session_id, m.student_id, $5, $6, $7, $8
                   FROM marks m JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
                   WHERE m.site_id = $1 AND m.session_id = $3 AND m.student_id = $4 AND m.is_listed
                       AND s.erased_at IS NULL FOR KEY SHARE OF s";
        let id = AppealId::generate();
        let NewAppeal { session, student, mark, reason } = new;
        let (of_session, of_student, mark) = (session.uuid(), student.uuid(), mark.as_str());
        let client = self.db.client().await?;
        let recorded = client
            .execute(
                sql,
                &[&site.uuid(), &id.uuid(), &of_session, &of_student, &mark, reason, &by.uuid(), &due_at],
            )
            .await?;
        drop(client);
        if recorded == 0 { Ok(None) } else { self.appeal(site, id).await }
    }

    /// One appeal.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn appeal(&self, site: SiteId, id: AppealId) -> Result<Option<Appeal>, DatabaseError> {
        let sql = format!("{} WHERE a.site_id = $1 AND a.id = $2", select_appeals());
        let row = self.db.client().await?.query_opt(&sql, &[&site.uuid(), &id.uuid()]).await?;
        row.as_ref().map(appeal).transpose()
    }

    /// Appeals of a state, those that are due first before others.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn appeals(
        &self,
        site: SiteId,
        state: AppealState,
        of: Option<StudentId>,
        request: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<Appeal>, DatabaseError> {
        let (client, site, of) = (self.db.client().await?, site.uuid(), of.map(StudentId::uuid));
        let state = state.as_str();
        let mut chosen = Conditions::default();
        chosen.with("a.site_id = ?", &[(&site, Type::UUID)]);
        chosen.with("a.state = ?", &[(&state, Type::TEXT)]);
        chosen.with_value("a.student_id = ?", &of, Type::UUID);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "appeals a").await?),
            false => None,
        };
        if let Some(after) = &request.after {
            chosen.with(
                "(a.due_at, a.id) > (?, ?)",
                &[(&after.key, Type::TIMESTAMPTZ), (&after.id, Type::UUID)],
            );
        }
        let rows = chosen.rows(&client, &select_appeals(), "a.due_at, a.id", request.fetch()).await?;
        let items = rows.iter().map(appeal).collect::<Result<_, _>>()?;
        let position = |found: &Appeal| ListPosition { key: found.due_at, id: found.id.uuid() };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Decides on an open appeal; false where there is none such. Accepted, the mark becomes what it should be, with the
    /// same commit.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn decide_appeal(
        &self,
        site: SiteId,
        decision: &AppealDecision,
        by: UserId,
    ) -> Result<bool, DatabaseError> {
        let state = if decision.accept { AppealState::Accepted } else { AppealState::Rejected };
        // Nothing is written of who was erased.
        let sql = "UPDATE appeals a SET state = $3, decided_at = clock_timestamp(), decided_by = $5,
                       answer = CASE WHEN s.erased_at IS NULL THEN $4 ELSE '' END
                   FROM students s WHERE s.site_id = a.site_id AND s.id = a.student_id
                       AND a.site_id = $1 AND a.id = $2 AND a.state = 'open'
                   RETURNING a.session_id, a.student_id, a.mark";
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let row = transaction
            .query_opt(
                sql,
                &[&site.uuid(), &decision.appeal.uuid(), &state.as_str(), &decision.answer, &by.uuid()],
            )
            .await?;
        let Some(row) = row else { return Ok(false) };
        if decision.accept {
            let of_session: Uuid = row.try_get("session_id")?;
            let said = NewCorrection {
                student: row.try_get::<_, Uuid>("student_id")?.into(),
                mark: read_text(&row, "appeals", "mark")?,
            };
            let (source, answer) = (CorrectionSource::Appeal, &decision.answer);
            insert_corrections(&transaction, site, of_session.into(), &[said], source, answer, by).await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Takes an open appeal back; false where there is none such.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn withdraw_appeal(
        &self,
        site: SiteId,
        id: AppealId,
        by: UserId,
    ) -> Result<bool, DatabaseError> {
        let sql = "UPDATE appeals SET state = 'withdrawn', decided_at = clock_timestamp(), decided_by = $3
                   WHERE site_id = $1 AND id = $2 AND state = 'open'";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &id.uuid(), &by.uuid()]).await? == 1)
    }

    /// Open proposals of other marks than the final ones, the oldest first.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn proposals(
        &self,
        site: SiteId,
        request: &PageRequest<MarkPosition>,
    ) -> Result<Page<LateProposal>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let mut chosen = Conditions::default();
        chosen.with("a.site_id = ?", &[(&site, Type::UUID)]);
        chosen.also("a.state = 'open'");
        let total = match request.with_total {
            true => Some(chosen.count(&client, "mark_proposals a").await?),
            false => None,
        };
        if let Some(after) = &request.after {
            let follows = "(a.proposed_at, a.session_id, a.student_id) > (?, ?, ?)";
            chosen.with(
                follows,
                &[
                    (&after.starts_at, Type::TIMESTAMPTZ),
                    (&after.session, Type::UUID),
                    (&after.student, Type::UUID),
                ],
            );
        }
        let select = format!(
            "SELECT {SESSION}, a.student_id, s.number, s.name AS student_name, m.mark AS mark_now, a.machine_mark,
                 a.rules, a.proposed_at, t.time_zone
             FROM mark_proposals a {OF_MARK} JOIN sites t ON t.id = a.site_id"
        );
        let order = "a.proposed_at, a.session_id, a.student_id";
        let rows = chosen.rows(&client, &select, order, request.fetch()).await?;
        let mut items = rows.iter().map(proposal).collect::<Result<Vec<_>, _>>()?;
        for item in &mut items {
            item.devices = device_names(&client, site.into(), item.session.id).await?;
        }
        let position = |found: &LateProposal| MarkPosition {
            starts_at: found.proposed_at,
            session: found.session.id.uuid(),
            student: found.student.id.uuid(),
        };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Decides on an open proposal; false where there is none of this mark. Accepted, the mark becomes what it says, with
    /// the same commit.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn decide_proposal(
        &self,
        site: SiteId,
        (of_session, of_student): (ClassSessionId, StudentId),
        mark: Mark,
        accept: bool,
        by: UserId,
    ) -> Result<bool, DatabaseError> {
        let state = if accept { ProposalState::Accepted } else { ProposalState::Dismissed };
        let sql = "UPDATE mark_proposals SET state = $5, decided_at = clock_timestamp(), decided_by = $6
                   WHERE site_id = $1 AND session_id = $2 AND student_id = $3 AND machine_mark = $4
                       AND state = 'open'";
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let key = (site.uuid(), of_session.uuid(), of_student.uuid());
        let decided = transaction
            .execute(sql, &[&key.0, &key.1, &key.2, &mark.as_str(), &state.as_str(), &by.uuid()])
            .await?;
        if decided == 0 {
            return Ok(false);
        }
        if accept {
            let said = [NewCorrection { student: of_student, mark }];
            insert_corrections(&transaction, site, of_session, &said, CorrectionSource::LateData, "", by)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }
}

fn select_appeals() -> String {
    format!(
        "SELECT {SESSION}, a.id, a.student_id, s.number, s.name AS student_name, m.mark AS mark_now, a.mark, a.reason,
             a.made_at, u.username AS made_by, a.due_at, a.state AS appeal_state, a.answer, a.decided_at,
             coalesce(d.username, '') AS decided_by
         FROM appeals a {OF_MARK} JOIN users u ON u.id = a.made_by LEFT JOIN users d ON d.id = a.decided_by"
    )
}

fn appeal(row: &Row) -> Result<Appeal, DatabaseError> {
    let decided_at: Option<Timestamp> = row.try_get("decided_at")?;
    let decided_by: String = row.try_get("decided_by")?;
    Ok(Appeal {
        id: row.try_get::<_, Uuid>("id")?.into(),
        session: session(row)?,
        student: student(row)?,
        mark_now: read_text(row, "marks", "mark_now")?,
        mark: read_text(row, "appeals", "mark")?,
        reason: row.try_get("reason")?,
        made_at: row.try_get("made_at")?,
        made_by: row.try_get("made_by")?,
        due_at: row.try_get("due_at")?,
        state: read_text(row, "appeals", "appeal_state")?,
        answer: row.try_get("answer")?,
        decided: decided_at.map(|at| (at, decided_by)),
    })
}

fn proposal(row: &Row) -> Result<LateProposal, DatabaseError> {
    Ok(LateProposal {
        session: session(row)?,
        student: student(row)?,
        mark_now: read_text(row, "marks", "mark_now")?,
        machine_mark: read_text(row, "mark_proposals", "machine_mark")?,
        rules: read_json(row, "mark_proposals", "rules")?,
        proposed_at: row.try_get("proposed_at")?,
        devices: BTreeMap::new(),
        zone: read_zone(row)?,
    })
}
