//! Cards and PINs, and where they are shown.

use cavs_types::{ClassSessionId, CredentialKind, RoomId, SiteId, StudentId, UserId};
use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::AttendanceStore;
use crate::{
    attendance::CredentialTimes,
    db::{DatabaseError, read_text},
    schedule::ScheduleKey,
};

/// After how long wrong PINs are forgotten.
const FORGOTTEN: &str = "15 min";

impl AttendanceStore {
    /// What the numbers of a site's cards are hashed with; drawn by the database where there is none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn card_salt(&self, site: SiteId) -> Result<[u8; 16], DatabaseError> {
        let client = self.db.client().await?;
        let sql = "INSERT INTO card_salts (site_id, salt) VALUES ($1, $2) ON CONFLICT (site_id) DO NOTHING";
        let drawn = Uuid::new_v4();
        client.execute(sql, &[&site.uuid(), &drawn.as_bytes().as_slice()]).await?;
        let sql = "SELECT salt FROM card_salts WHERE site_id = $1";
        let salt: Vec<u8> = client.query_one(sql, &[&site.uuid()]).await?.try_get(0)?;
        let damaged =
            |_| DatabaseError::Damaged { table: "card_salts", column: "salt", value: String::new() };
        salt.try_into().map_err(damaged)
    }

    /// Notes a student's card or PIN, instead of the one before.
    ///
    /// # Errors
    /// `Taken`: the card is another student's. `NotFound`, `Erased`: the student.
    pub async fn set_credential(
        &self,
        site: SiteId,
        student: StudentId,
        (kind, digest): (CredentialKind, &[u8; 32]),
        by: UserId,
    ) -> Result<(), DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let sql = "INSERT INTO student_credentials (site_id, student_id, kind, digest, set_by)
                   VALUES ($1, $2, $3, $4, $5)
                   ON CONFLICT (site_id, student_id, kind) DO UPDATE
                       SET digest = excluded.digest, set_by = excluded.set_by, set_at = now()";
        let digest = digest.as_slice();
        let (site, student) = (site.uuid(), student.uuid());
        transaction.execute(sql, &[&site, &student, &kind.as_str(), &digest, &by.uuid()]).await?;
        if kind == CredentialKind::Pin {
            let sql = "DELETE FROM pin_attempts WHERE site_id = $1 AND student_id = $2";
            transaction.execute(sql, &[&site, &student]).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Takes a student's card or PIN away, if there is one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn delete_credential(
        &self,
        site: SiteId,
        student: StudentId,
        kind: CredentialKind,
    ) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM student_credentials WHERE site_id = $1 AND student_id = $2 AND kind = $3";
        let client = self.db.client().await?;
        client.execute(sql, &[&site.uuid(), &student.uuid(), &kind.as_str()]).await?;
        Ok(())
    }

    /// Which credentials a student has.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn credentials(
        &self,
        site: SiteId,
        student: StudentId,
    ) -> Result<CredentialTimes, DatabaseError> {
        let sql = "SELECT kind, set_at FROM student_credentials WHERE site_id = $1 AND student_id = $2";
        let rows = self.db.client().await?.query(sql, &[&site.uuid(), &student.uuid()]).await?;
        let read = |row: &tokio_postgres::Row| {
            Ok::<_, DatabaseError>((read_text(row, "student_credentials", "kind")?, row.try_get("set_at")?))
        };
        Ok(CredentialTimes(rows.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// Whose card it is, in a site that is not archived, of those who have not left.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn student_of_card(
        &self,
        site: SiteId,
        digest: &[u8; 32],
    ) -> Result<Option<StudentId>, DatabaseError> {
        let sql = "SELECT c.student_id FROM student_credentials c
                       JOIN students s ON s.site_id = c.site_id AND s.id = c.student_id
                       JOIN sites t ON t.id = c.site_id
                   WHERE c.site_id = $1 AND c.kind = 'card' AND c.digest = $2 AND t.archived_at IS NULL
                       AND s.erased_at IS NULL AND s.is_active";
        let row = self.db.client().await?.query_opt(sql, &[&site.uuid(), &digest.as_slice()]).await?;
        row.map(|row| Ok(row.try_get::<_, Uuid>(0)?.into())).transpose()
    }

    /// Who has a number, and the tag of their PIN, in a site that is not archived, of those who have not left; `None`
    /// also for who has no PIN.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn pin_of_number(
        &self,
        site: SiteId,
        number: &str,
    ) -> Result<Option<(StudentId, Vec<u8>)>, DatabaseError> {
        let sql = "SELECT s.id, c.digest FROM students s
                       JOIN student_credentials c ON c.site_id = s.site_id AND c.student_id = s.id AND c.kind = 'pin'
                       JOIN sites t ON t.id = s.site_id
                   WHERE s.site_id = $1 AND s.number = $2 AND t.archived_at IS NULL AND s.erased_at IS NULL
                       AND s.is_active";
        let row = self.db.client().await?.query_opt(sql, &[&site.uuid(), &number]).await?;
        row.map(|row| Ok((row.try_get::<_, Uuid>(0)?.into(), row.try_get(1)?))).transpose()
    }

    /// Counts a try of somebody's PIN before it is looked at; how many there were since the last right one.
    ///
    /// # Errors
    /// `Unavailable`, `NotFound`.
    pub async fn count_attempt(
        &self,
        site: SiteId,
        student: StudentId,
        most: i32,
    ) -> Result<u32, DatabaseError> {
        let sql = format!(
            "INSERT INTO pin_attempts AS a (site_id, student_id, failures) VALUES ($1, $2, 1)
             ON CONFLICT (site_id, student_id) DO UPDATE SET
                 -- A try that is refused doesn't make the wait longer.
                 last_at = CASE WHEN a.failures >= $3 AND a.last_at >= now() - interval '{FORGOTTEN}'
                     THEN a.last_at ELSE now() END,
                 failures = CASE WHEN a.last_at < now() - interval '{FORGOTTEN}' THEN 1 ELSE least(a.failures, 1000) + 1 END
             RETURNING failures"
        );
        let parameters: [&(dyn ToSql + Sync); 3] = [&site.uuid(), &student.uuid(), &most];
        let row = self.db.client().await?.query_one(&sql, &parameters).await?;
        Ok(row.try_get::<_, i32>(0)?.unsigned_abs())
    }

    /// Forgets wrong tries: the PIN was right.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn forget_attempts(&self, site: SiteId, student: StudentId) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM pin_attempts WHERE site_id = $1 AND student_id = $2";
        self.db.client().await?.execute(sql, &[&site.uuid(), &student.uuid()]).await?;
        Ok(())
    }

    /// The session that is open in a room, of a group that somebody is of on its day: that which has begun last, or else
    /// that which begins first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn open_session_in(
        &self,
        site: SiteId,
        room: &ScheduleKey<RoomId>,
        student: StudentId,
        now: Timestamp,
    ) -> Result<Option<ClassSessionId>, DatabaseError> {
        let sql = "SELECT c.id FROM rooms r
                       JOIN class_session_rooms x ON x.site_id = r.site_id AND x.room_id = r.id
                       JOIN class_sessions c ON c.site_id = x.site_id AND c.id = x.session_id
                       JOIN sites s ON s.id = c.site_id
                       JOIN group_members m ON m.site_id = c.site_id AND m.group_id = c.group_id AND m.student_id = $3
                           AND m.starts_on <= (c.starts_at AT TIME ZONE s.time_zone)::date
                           AND coalesce(m.ends_on >= (c.starts_at AT TIME ZONE s.time_zone)::date, true)
                   WHERE r.site_id = $1 AND (r.id = $2 OR r.name = $5) AND c.state = 'open' AND c.ends_at > $4
                   ORDER BY c.starts_at > $4, abs(extract(epoch FROM c.starts_at - $4)) LIMIT 1";
        let (id, name) = match room {
            ScheduleKey::Id(id) => (Some(id.uuid()), None),
            ScheduleKey::Name(name) => (None, Some(name)),
        };
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&site.uuid(), &id, &student.uuid(), &now, &name];
        let row = self.db.client().await?.query_opt(sql, &parameters).await?;
        row.map(|row| Ok(row.try_get::<_, Uuid>(0)?.into())).transpose()
    }
}
