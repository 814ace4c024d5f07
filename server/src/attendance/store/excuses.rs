use cavs_types::{ExcuseId, SiteId, StudentId, UserId};
use jiff::Timestamp;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{AttendanceStore, student};
use crate::{
    attendance::{ExcusedTime, NewExcuse},
    db::{Conditions, DatabaseError},
    page::{Page, PageRequest},
    schedule::ListPosition,
};

const SELECT: &str =
    "SELECT e.id, e.student_id, s.number, s.name AS student_name, e.starts_at, e.ends_at, e.reason,
        e.made_at, u.username AS made_by, e.withdrawn_at
    FROM excuses e JOIN students s ON s.site_id = e.site_id AND s.id = e.student_id
        JOIN users u ON u.id = e.made_by";

impl AttendanceStore {
    /// Records an excuse.
    ///
    /// # Errors
    /// `NotFound`: the student, or they are erased.
    pub async fn create_excuse(
        &self,
        site: SiteId,
        new: &NewExcuse,
        by: UserId,
    ) -> Result<ExcusedTime, DatabaseError> {
        let sql = "INSERT INTO excuses (site_id, id, student_id, starts_at, ends_at, reason, made_by)
                   SELECT s.site_id, $2, s.id, $4, $5, $6, $7 FROM students s
                   WHERE s.site_id = $1 AND s.id = $3 AND s.erased_at IS NULL FOR KEY SHARE";
        let id = ExcuseId::generate();
        let client = self.db.client().await?;
        let NewExcuse { student, starts_at, ends_at, reason } = new;
        let recorded = client
            .execute(
                sql,
                &[&site.uuid(), &id.uuid(), &student.uuid(), starts_at, ends_at, reason, &by.uuid()],
            )
            .await?;
        if recorded == 0 {
            return Err(DatabaseError::NotFound);
        }
        drop(client);
        self.excuse(site, id).await?.ok_or(DatabaseError::NotFound)
    }

    /// One excuse.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn excuse(&self, site: SiteId, id: ExcuseId) -> Result<Option<ExcusedTime>, DatabaseError> {
        let sql = format!("{SELECT} WHERE e.site_id = $1 AND e.id = $2");
        let row = self.db.client().await?.query_opt(&sql, &[&site.uuid(), &id.uuid()]).await?;
        row.as_ref().map(excuse).transpose()
    }

    /// Excuses, the latest to begin first.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn excuses(
        &self,
        site: SiteId,
        student: Option<StudentId>,
        at: Option<Timestamp>,
        request: &PageRequest<ListPosition<Timestamp>>,
    ) -> Result<Page<ExcusedTime>, DatabaseError> {
        let (client, site, student) = (self.db.client().await?, site.uuid(), student.map(StudentId::uuid));
        let mut chosen = Conditions::default();
        chosen.with("e.site_id = ?", &[(&site, Type::UUID)]);
        chosen.with_value("e.student_id = ?", &student, Type::UUID);
        if let Some(at) = &at {
            chosen.with(
                "e.starts_at <= ? AND e.ends_at > ?",
                &[(at, Type::TIMESTAMPTZ), (at, Type::TIMESTAMPTZ)],
            );
            chosen.also("e.withdrawn_at IS NULL");
        }
        let total = match request.with_total {
            true => Some(chosen.count(&client, "excuses e").await?),
            false => None,
        };
        if let Some(after) = &request.after {
            chosen.with(
                "(e.starts_at, e.id) < (?, ?)",
                &[(&after.key, Type::TIMESTAMPTZ), (&after.id, Type::UUID)],
            );
        }
        let rows = chosen.rows(&client, SELECT, "e.starts_at DESC, e.id DESC", request.fetch()).await?;
        let items = rows.iter().map(excuse).collect::<Result<_, _>>()?;
        let position = |found: &ExcusedTime| ListPosition { key: found.starts_at, id: found.id.uuid() };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Takes an excuse back; false where there is none that was not.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn withdraw_excuse(
        &self,
        site: SiteId,
        id: ExcuseId,
        by: UserId,
    ) -> Result<bool, DatabaseError> {
        let sql = "UPDATE excuses SET withdrawn_at = clock_timestamp(), withdrawn_by = $3
                   WHERE site_id = $1 AND id = $2 AND withdrawn_at IS NULL";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &id.uuid(), &by.uuid()]).await? == 1)
    }
}

fn excuse(row: &Row) -> Result<ExcusedTime, DatabaseError> {
    Ok(ExcusedTime {
        id: row.try_get::<_, Uuid>("id")?.into(),
        student: student(row)?,
        starts_at: row.try_get("starts_at")?,
        ends_at: row.try_get("ends_at")?,
        reason: row.try_get("reason")?,
        made_at: row.try_get("made_at")?,
        made_by: row.try_get("made_by")?,
        withdrawn_at: row.try_get("withdrawn_at")?,
    })
}
