//! SQL of warning mails.

use std::time::Duration;

use cavs_reports::Rate;
use cavs_types::{MailState, SiteId, StudentId, TermId, UserId};
use jiff::{Timestamp, civil::Date};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{
    model::{Claimed, Letter, NewMail},
    service::Posted,
};
use crate::{
    db::{Conditions, Database, DatabaseError, read_text, to_integer},
    mail::{NewWarningPolicy, WarningContact, WarningMail, WarningPolicy},
    page::{Page, PageRequest},
    people::StudentRef,
    schedule::{Days, ListPosition},
};

const TABLE: &str = "warning_mails";
/// How long a server has for a mail; longer than the transport ever takes.
const CLAIM: Duration = Duration::from_secs(600);
/// Longest problem that is kept.
const LONGEST_PROBLEM: usize = 500;

const MAIL: &str =
    "m.id, m.student_id, s.number, s.name AS student_name, t.name AS term_name, m.below, m.recipient,
    m.attended, m.counted, m.state, m.attempts, m.problem, m.created_at, m.sent_at";
const FROM: &str = "warning_mails m JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
    JOIN terms t ON t.site_id = m.site_id AND t.id = m.term_id";

/// Warning mails in the database.
#[derive(Clone)]
pub struct MailStore {
    db: Database,
}

impl MailStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// A site's policy; off where it has none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn policy(&self, site: SiteId) -> Result<WarningPolicy, DatabaseError> {
        let client = self.db.client().await?;
        let sql = "SELECT p.*, u.username FROM warning_policies p JOIN users u ON u.id = p.changed_by
                   WHERE p.site_id = $1";
        let row = client.query_opt(sql, &[&site.uuid()]).await?;
        let sql = "SELECT section, email FROM warning_contacts WHERE site_id = $1 ORDER BY section, email";
        let contacts = client.query(sql, &[&site.uuid()]).await?;
        let contact = |row: &Row| {
            Ok::<_, DatabaseError>(WarningContact {
                section: row.try_get("section")?,
                email: row.try_get("email")?,
            })
        };
        let contacts = contacts.iter().map(contact).collect::<Result<_, _>>()?;
        let Some(row) = row else {
            let below = Rate::of_permille(800).unwrap_or(Rate::WHOLE);
            let policy = NewWarningPolicy {
                is_enabled: false,
                below,
                least_sessions: 5,
                to_students: false,
                contacts,
            };
            return Ok(WarningPolicy { policy, changed: None });
        };
        Ok(WarningPolicy {
            policy: NewWarningPolicy {
                is_enabled: row.try_get("is_enabled")?,
                below: rate(&row, "warning_policies")?,
                least_sessions: whole(&row, "least_sessions")?,
                to_students: row.try_get("to_students")?,
                contacts,
            },
            changed: Some((row.try_get("changed_at")?, row.try_get("username")?)),
        })
    }

    /// Sets a site's policy, and has all that is final looked at anew.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn set_policy(
        &self,
        site: SiteId,
        new: &NewWarningPolicy,
        by: UserId,
    ) -> Result<(), DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let sql = "INSERT INTO warning_policies (site_id, is_enabled, below, least_sessions, to_students, changed_by)
            VALUES ($1, $2, $3, $4, $5, $6)
            ON CONFLICT (site_id) DO UPDATE SET is_enabled = $2, below = $3, least_sessions = $4, to_students = $5,
                changed_by = $6, changed_at = now(), version = warning_policies.version + 1, noted_until = NULL";
        let (below, least) = (i32::from(new.below.permille()), to_integer(new.least_sessions));
        transaction
            .execute(sql, &[&site.uuid(), &new.is_enabled, &below, &least, &new.to_students, &by.uuid()])
            .await?;
        transaction.execute("DELETE FROM warning_contacts WHERE site_id = $1", &[&site.uuid()]).await?;
        let sections: Vec<&str> = new.contacts.iter().map(|contact| contact.section.as_str()).collect();
        let emails: Vec<&str> = new.contacts.iter().map(|contact| contact.email.as_str()).collect();
        let sql = "INSERT INTO warning_contacts (site_id, section, email)
                   SELECT $1, section, email FROM unnest($2::text[], $3::text[]) AS contacts (section, email)";
        transaction.execute(sql, &[&site.uuid(), &sections, &emails]).await?;
        transaction.commit().await?;
        Ok(())
    }

    /// Sites that want mails, and where marks have become final since they were last looked at.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn sites_with_news(&self) -> Result<Vec<SiteId>, DatabaseError> {
        let sql = "SELECT p.site_id FROM warning_policies p JOIN sites s ON s.id = p.site_id
            WHERE p.is_enabled AND s.archived_at IS NULL AND (p.noted_until IS NULL OR EXISTS (
                SELECT FROM class_sessions c WHERE c.site_id = p.site_id AND c.state = 'finalised'
                    AND c.starts_at > now() - interval '460 days' AND c.updated_at >= p.noted_until))";
        let rows = self.db.client().await?.query(sql, &[]).await?;
        rows.iter().map(|row| Ok(row.try_get::<_, Uuid>(0)?.into())).collect()
    }

    /// From when on what becomes final is news again: transactions that are under way now may commit earlier times.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn begin_noting(&self) -> Result<Timestamp, DatabaseError> {
        let sql = "SELECT now() - interval '60 seconds' AS until";
        Ok(self.db.client().await?.query_one(sql, &[]).await?.try_get("until")?)
    }

    /// # Errors
    /// `Unavailable`.
    pub async fn end_noting(&self, site: SiteId, until: Timestamp) -> Result<(), DatabaseError> {
        let sql = "UPDATE warning_policies SET noted_until = $2 WHERE site_id = $1 AND changed_at <= $2::timestamptz + interval '60 seconds'";
        self.db.client().await?.execute(sql, &[&site.uuid(), &until]).await?;
        Ok(())
    }

    /// Terms that have begun and ended not long ago.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn terms(
        &self,
        site: SiteId,
        today: Date,
        ended_since: Date,
    ) -> Result<Vec<(TermId, Days)>, DatabaseError> {
        let sql = "SELECT id, starts_on, ends_on FROM terms
                   WHERE site_id = $1 AND starts_on <= $2 AND ends_on >= $3 AND ends_on - starts_on <= 400";
        let rows = self.db.client().await?.query(sql, &[&site.uuid(), &today, &ended_since]).await?;
        rows.iter()
            .map(|row| {
                let (first, last): (Date, Date) = (row.try_get("starts_on")?, row.try_get("ends_on")?);
                let damaged =
                    |_| DatabaseError::Damaged { table: "terms", column: "ends_on", value: last.to_string() };
                Ok((row.try_get::<_, Uuid>("id")?.into(), Days::new(first, last).map_err(damaged)?))
            })
            .collect()
    }

    /// Addresses of students who have one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn emails(
        &self,
        site: SiteId,
        students: &[StudentId],
    ) -> Result<Vec<(StudentId, String)>, DatabaseError> {
        let ids: Vec<Uuid> = students.iter().map(|id| id.uuid()).collect();
        let sql = "SELECT id, email FROM students
                   WHERE site_id = $1 AND id = ANY($2) AND email <> '' AND erased_at IS NULL";
        let rows = self.db.client().await?.query(sql, &[&site.uuid(), &ids]).await?;
        rows.iter().map(|row| Ok((row.try_get::<_, Uuid>("id")?.into(), row.try_get("email")?))).collect()
    }

    /// Notes mails that were not noted before; how many.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn note(
        &self,
        site: SiteId,
        below: Rate,
        mails: &[NewMail],
    ) -> Result<u64, DatabaseError> {
        let client = self.db.client().await?;
        let ids: Vec<Uuid> = mails.iter().map(|_| Uuid::now_v7()).collect();
        let students: Vec<Uuid> = mails.iter().map(|mail| mail.student.uuid()).collect();
        let terms: Vec<Uuid> = mails.iter().map(|mail| mail.term.uuid()).collect();
        let recipients: Vec<&str> = mails.iter().map(|mail| mail.recipient.as_str()).collect();
        let own: Vec<bool> = mails.iter().map(|mail| mail.is_to_student).collect();
        let attended: Vec<i32> = mails.iter().map(|mail| to_integer(mail.tally.attended())).collect();
        let counted: Vec<i32> = mails.iter().map(|mail| to_integer(mail.tally.counted())).collect();
        // Whoever is being erased is waited for, and not written to.
        let sql = "INSERT INTO warning_mails (site_id, id, student_id, term_id, below, recipient, is_to_student, attended,
                counted)
            SELECT s.site_id, n.id, n.student_id, n.term_id, $2, n.recipient, n.own, n.attended, n.counted
            FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::boolean[], $8::integer[], $9::integer[])
                    AS n (id, student_id, term_id, recipient, own, attended, counted)
                JOIN students s ON s.site_id = $1 AND s.id = n.student_id
            WHERE s.erased_at IS NULL FOR SHARE OF s
            ON CONFLICT ON CONSTRAINT warning_mails_once DO NOTHING";
        let below = i32::from(below.permille());
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 9] =
            [&site.uuid(), &below, &ids, &students, &terms, &recipients, &own, &attended, &counted];
        Ok(client.execute(sql, &parameters).await?)
    }

    /// Mails that a server had in hand when it stopped: whether they came, nobody knows.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn give_up_unsure(&self) -> Result<u64, DatabaseError> {
        let sql = "UPDATE warning_mails SET state = 'unsure', problem = 'a server stopped while it sent'
                   WHERE state = 'sending' AND due_at < now()";
        Ok(self.db.client().await?.execute(sql, &[]).await?)
    }

    /// Takes a mail in hand that is due.
    ///
    /// # Errors
    /// `Unavailable`, `Damaged`.
    pub(super) async fn claim(&self) -> Result<Option<Claimed>, DatabaseError> {
        let sql = "WITH due AS (
                SELECT m.site_id, m.id FROM warning_mails m JOIN warning_policies p USING (site_id)
                    JOIN sites s ON s.id = m.site_id
                    JOIN students x ON x.site_id = m.site_id AND x.id = m.student_id
                WHERE m.state = 'waiting' AND m.due_at <= now() AND p.is_enabled AND s.archived_at IS NULL
                    -- Still wanted: of this limit, and to where they are still to go.
                    AND x.erased_at IS NULL AND m.below = p.below
                    AND CASE WHEN m.is_to_student THEN p.to_students AND x.email = m.recipient
                        ELSE EXISTS (SELECT FROM warning_contacts w WHERE w.site_id = m.site_id
                            AND w.section = x.section AND w.email = m.recipient) END
                ORDER BY m.due_at LIMIT 1 FOR UPDATE OF m SKIP LOCKED
            ), taken AS (
                UPDATE warning_mails m SET state = 'sending', attempts = attempts + 1, due_at = now() + $1::bigint * interval '1 second'
                FROM due WHERE m.site_id = due.site_id AND m.id = due.id RETURNING m.*
            )
            SELECT m.*, s.number, s.name AS student_name, i.name AS site_name, t.name AS term_name, t.starts_on, t.ends_on
            FROM taken m JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
                JOIN sites i ON i.id = m.site_id JOIN terms t ON t.site_id = m.site_id AND t.id = m.term_id";
        let seconds = i64::try_from(CLAIM.as_secs()).unwrap_or(600);
        let client = self.db.client().await?;
        let Some(row) = client.query_opt(sql, &[&seconds]).await? else { return Ok(None) };
        Ok(Some(Claimed {
            site: row.try_get::<_, Uuid>("site_id")?.into(),
            id: row.try_get("id")?,
            recipient: row.try_get("recipient")?,
            attempts: whole(&row, "attempts")?,
            letter: Letter {
                school: row.try_get("site_name")?,
                name: row.try_get("student_name")?,
                number: row.try_get("number")?,
                is_to_student: row.try_get("is_to_student")?,
                term: row.try_get("term_name")?,
                days: (row.try_get("starts_on")?, row.try_get("ends_on")?),
                below: rate(&row, TABLE)?,
                attended: whole(&row, "attended")?,
                counted: whole(&row, "counted")?,
            },
        }))
    }

    /// What became of a mail, and when it is tried again.
    ///
    /// # Errors
    /// `Unavailable`.
    pub(super) async fn record(
        &self,
        site: SiteId,
        id: Uuid,
        posted: &Posted,
        next: Option<Timestamp>,
    ) -> Result<(), DatabaseError> {
        let (state, problem) = match (posted, next) {
            (Posted::Taken, _) => (MailState::Sent, ""),
            (Posted::Later(problem), Some(_)) => (MailState::Waiting, problem.as_str()),
            (Posted::Later(problem), None) | (Posted::Refused(problem), _) => {
                (MailState::Failed, problem.as_str())
            }
            (Posted::Unsure(problem), _) => (MailState::Unsure, problem.as_str()),
        };
        let problem: String = problem.chars().filter(|c| !c.is_control()).take(LONGEST_PROBLEM).collect();
        // Of somebody who was erased meanwhile no problem is kept: it may name an address.
        let sql = "UPDATE warning_mails m SET
                state = CASE WHEN recipient LIKE 'erased-%' AND $3 <> 'sent' THEN 'dropped' ELSE $3 END,
                problem = CASE WHEN recipient LIKE 'erased-%' THEN '' ELSE $4 END,
                due_at = coalesce($5, due_at), sent_at = CASE WHEN $3 = 'sent' THEN now() END
            WHERE site_id = $1 AND id = $2 AND state = 'sending'";
        let client = self.db.client().await?;
        client.execute(sql, &[&site.uuid(), &id, &state.as_str(), &problem, &next]).await?;
        Ok(())
    }

    /// Mails, the newest first.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn mails(
        &self,
        site: SiteId,
        state: Option<MailState>,
        request: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<WarningMail>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let state = state.map(MailState::as_str);
        let mut chosen = Conditions::default();
        chosen.with("m.site_id = ?", &[(&site, Type::UUID)]);
        chosen.with_value("m.state = ?", &state, Type::TEXT);
        let total = match request.with_total {
            true => Some(chosen.count(&client, TABLE_AS_M).await?),
            false => None,
        };
        if let Some(after) = &request.after {
            let follows = "(m.created_at, m.id) < (?, ?)";
            chosen.with(follows, &[(&after.key, Type::TIMESTAMPTZ), (&after.id, Type::UUID)]);
        }
        let select = format!("SELECT {MAIL} FROM {FROM}");
        let rows = chosen.rows(&client, &select, "m.created_at DESC, m.id DESC", request.fetch()).await?;
        let items = rows.iter().map(mail).collect::<Result<_, _>>()?;
        let position = |mail: &WarningMail| ListPosition { key: mail.created_at, id: mail.id };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Has a mail sent again that has failed or is unsure; `None`: there is none such.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn resend(&self, site: SiteId, id: Uuid) -> Result<Option<WarningMail>, DatabaseError> {
        let client = self.db.client().await?;
        let sql = "UPDATE warning_mails SET state = 'waiting', attempts = 0, due_at = now(), problem = ''
                   WHERE site_id = $1 AND id = $2 AND state IN ('failed', 'unsure')";
        if client.execute(sql, &[&site.uuid(), &id]).await? == 0 {
            return Ok(None);
        }
        let sql = format!("SELECT {MAIL} FROM {FROM} WHERE m.site_id = $1 AND m.id = $2");
        client.query_opt(&sql, &[&site.uuid(), &id]).await?.as_ref().map(mail).transpose()
    }
}

const TABLE_AS_M: &str = "warning_mails m";

fn whole(row: &Row, column: &str) -> Result<u32, DatabaseError> {
    Ok(u32::try_from(row.try_get::<_, i32>(column)?).unwrap_or(0))
}

fn rate(row: &Row, table: &'static str) -> Result<Rate, DatabaseError> {
    let below: i32 = row.try_get("below")?;
    let rate = u16::try_from(below).ok().and_then(Rate::of_permille);
    rate.ok_or_else(|| DatabaseError::Damaged { table, column: "below", value: below.to_string() })
}

fn mail(row: &Row) -> Result<WarningMail, DatabaseError> {
    Ok(WarningMail {
        id: row.try_get("id")?,
        student: StudentRef {
            id: row.try_get::<_, Uuid>("student_id")?.into(),
            number: row.try_get("number")?,
            name: row.try_get("student_name")?,
        },
        term: row.try_get("term_name")?,
        below: rate(row, TABLE)?,
        recipient: row.try_get("recipient")?,
        share: (whole(row, "attended")?, whole(row, "counted")?),
        state: read_text(row, TABLE, "state")?,
        attempts: whole(row, "attempts")?,
        problem: row.try_get("problem")?,
        created_at: row.try_get("created_at")?,
        sent_at: row.try_get("sent_at")?,
    })
}
