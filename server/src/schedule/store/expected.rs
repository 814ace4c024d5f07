use std::collections::{BTreeMap, HashMap};

use cavs_types::{ClassSessionId, SiteId, StudentId};
use jiff::{Timestamp, civil::Date};
use tokio_postgres::Row;
use uuid::Uuid;

use super::ScheduleStore;
use crate::{
    db::{DatabaseError, read_zone},
    schedule::{ExpectedAt, SessionWindow},
};

/// What devices look at in a stretch of time: `attendance_windows` has it from the moment on in which a session opens,
/// also of devices that were moved since.
const WINDOWS: &str = "
    SELECT w.device_id, w.session_id, greatest(w.opens_at, w.came_at) AS opens_at,
        least(w.closes_at, w.gone_at) AS closes_at, c.group_id, c.starts_at, s.time_zone
    FROM attendance_windows w JOIN class_sessions c ON c.site_id = w.site_id AND c.id = w.session_id
        JOIN sites s ON s.id = w.site_id
    WHERE w.site_id = $1 AND w.closes_at > $2 AND w.opens_at < $3 AND c.state <> 'cancelled'";

const PEOPLE: &str = "
    SELECT DISTINCT held.group_id, held.day, m.student_id
    FROM unnest($2::uuid[], $3::date[]) AS held (group_id, day) JOIN group_members m
        ON m.site_id = $1 AND m.group_id = held.group_id AND m.starts_on <= held.day
            AND (m.ends_on IS NULL OR m.ends_on >= held.day)";

impl ScheduleStore {
    /// Who is expected in sight of which device, of sessions that devices look at between two times.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`, `Damaged`.
    pub async fn expected(
        &self,
        site: SiteId,
        (from, until): (Timestamp, Timestamp),
    ) -> Result<ExpectedAt, DatabaseError> {
        let client = self.db.client().await?;
        let statement = client.prepare_cached(WINDOWS).await?;
        let rows = client.query(&statement, &[&site.uuid(), &from, &until]).await?;
        let mut windows = Vec::with_capacity(rows.len());
        // The roster of a session is that of the day of its start.
        let mut held: BTreeMap<(Uuid, Date), Vec<ClassSessionId>> = BTreeMap::new();
        for row in &rows {
            let session: ClassSessionId = row.try_get::<_, Uuid>("session_id")?.into();
            let starts_at: Timestamp = row.try_get("starts_at")?;
            let day = starts_at.to_zoned(read_zone(row)?).date();
            held.entry((row.try_get("group_id")?, day)).or_default().push(session);
            windows.push(window(row, session)?);
        }
        let (groups, days): (Vec<Uuid>, Vec<Date>) = held.keys().copied().unzip();
        let statement = client.prepare_cached(PEOPLE).await?;
        let mut people: HashMap<ClassSessionId, Vec<StudentId>> = HashMap::new();
        for row in client.query(&statement, &[&site.uuid(), &groups, &days]).await? {
            let student: StudentId = row.try_get::<_, Uuid>("student_id")?.into();
            let mut sessions =
                held.get(&(row.try_get("group_id")?, row.try_get("day")?)).cloned().unwrap_or_default();
            // A session is there once for each of its devices.
            sessions.sort_unstable();
            sessions.dedup();
            sessions.into_iter().for_each(|session| people.entry(session).or_default().push(student));
        }
        Ok(ExpectedAt::new(windows, people))
    }
}

fn window(row: &Row, session: ClassSessionId) -> Result<SessionWindow, DatabaseError> {
    Ok(SessionWindow {
        device: row.try_get::<_, Uuid>("device_id")?.into(),
        session,
        from: row.try_get("opens_at")?,
        until: row.try_get("closes_at")?,
    })
}
