//! What people say of marks, and how people show that they are there.

use cavs_types::{CheckInId, ClassSessionId, CorrectionId, CorrectionSource, SiteId, UserId};
use deadpool_postgres::Transaction;
use uuid::Uuid;

use super::AttendanceStore;
use crate::{
    attendance::{NewCheckIn, NewCorrection},
    db::{Batch, DatabaseError},
};

impl AttendanceStore {
    /// Records what a person says of marks of a session, all or none; false where the session does not say anything of
    /// one of them.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn correct(
        &self,
        site: SiteId,
        session: ClassSessionId,
        said: &[NewCorrection],
        source: CorrectionSource,
        reason: &str,
        by: UserId,
    ) -> Result<bool, DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let recorded = insert_corrections(&transaction, site, session, said, source, reason, by).await?;
        if recorded {
            transaction.commit().await?;
        }
        Ok(recorded)
    }

    /// Takes back what a person said: of which session and student, where it was in force.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn withdraw_correction(
        &self,
        site: SiteId,
        id: CorrectionId,
        by: UserId,
    ) -> Result<Option<(ClassSessionId, cavs_types::StudentId)>, DatabaseError> {
        let sql = "UPDATE corrections SET withdrawn_at = clock_timestamp(), withdrawn_by = $3
                   WHERE site_id = $1 AND id = $2 AND withdrawn_at IS NULL RETURNING session_id, student_id";
        let row = self.db.client().await?.query_opt(sql, &[&site.uuid(), &id.uuid(), &by.uuid()]).await?;
        row.map(|row| Ok((row.try_get::<_, Uuid>(0)?.into(), row.try_get::<_, Uuid>(1)?.into()))).transpose()
    }

    /// Records that somebody has shown that they are there, by whom, where it was not they themselves. Said again, it
    /// changes nothing.
    ///
    /// # Errors
    /// `NotFound`: the session or the student. `Erased`.
    pub async fn check_in(
        &self,
        site: SiteId,
        new: &NewCheckIn,
        by: Option<UserId>,
    ) -> Result<(), DatabaseError> {
        let sql =
            "INSERT INTO check_ins (site_id, id, session_id, student_id, kind, checked_in_at, recorded_by)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)
                   ON CONFLICT (site_id, session_id, student_id, kind, checked_in_at) DO NOTHING";
        let (id, kind) = (CheckInId::generate().uuid(), new.kind.as_str());
        let (session, student) = (new.session.uuid(), new.student.uuid());
        let client = self.db.client().await?;
        client
            .execute(sql, &[&site.uuid(), &id, &session, &student, &kind, &new.at, &by.map(UserId::uuid)])
            .await?;
        Ok(())
    }
}

/// Records what a person says of marks; false where there is no mark of one of them.
pub(super) async fn insert_corrections(
    transaction: &Transaction<'_>,
    site: SiteId,
    session: ClassSessionId,
    said: &[NewCorrection],
    source: CorrectionSource,
    reason: &str,
    by: UserId,
) -> Result<bool, DatabaseError> {
    let batch = Batch::of(said)
        .column("site_id", |_| site.uuid())
        .column("id", |_| CorrectionId::generate().uuid())
        .column("session_id", |_| session.uuid())
        .column("student_id", |new| new.student.uuid())
        .column("mark", |new| new.mark.as_str())
        .column("source", |_| source.as_str())
        .column("reason", |_| reason)
        .column("made_by", |_| by.uuid());
    let (columns, values, rows) = (batch.names(), batch.given(), batch.source());
    let sql = format!(
        "INSERT INTO corrections ({columns}) SELECT {values}
         FROM {rows} JOIN marks m USING (site_id, session_id, student_id)
             JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
         WHERE m.is_listed AND s.erased_at IS NULL FOR KEY SHARE OF s"
    );
    let recorded = transaction.execute(&sql, &batch.parameters()).await?;
    Ok(recorded == said.len() as u64)
}
