//! Counts marks. What counts is in docs/REPORTS.md; `cavs_reports::Tally` says what comes of it.

use cavs_reports::Tally;
use cavs_types::{GroupId, Mark, SiteId, StudentId};
use jiff::{Timestamp, tz::TimeZone};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::{
    AttendanceStore, SESSION, session,
    sheets::{MARK, listed},
    student,
};
use crate::{
    attendance::{
        MarkListed, MarkedSession, ReportHead, RoomUse, WarningFilter, WarningRow, WeekMark, WeekOf,
    },
    db::{Conditions, DatabaseError, read_text},
    people::StudentRef,
};

/// From when until when sessions begin.
type Between = (Timestamp, Timestamp);

/// How many marks of a row's group are of each kind: columns that [`tally`] reads.
const TALLY: &str = "count(*) FILTER (WHERE m.mark = 'present') AS present,
    count(*) FILTER (WHERE m.mark = 'late') AS late, count(*) FILTER (WHERE m.mark = 'left_early') AS left_early,
    count(*) FILTER (WHERE m.mark = 'absent') AS absent, count(*) FILTER (WHERE m.mark = 'excused') AS excused,
    count(*) FILTER (WHERE m.mark = 'undetermined') AS undetermined";

/// A mark of the week with whose it is.
pub struct WeekEntry {
    pub student: StudentRef,
    pub mark: WeekMark,
}

impl AttendanceStore {
    /// What a report of a site begins with.
    ///
    /// # Errors
    /// `NotFound`: the site. `Damaged`: the machine's time zone database has no such zone.
    pub async fn report_head(&self, site: SiteId) -> Result<ReportHead, DatabaseError> {
        let sql = "SELECT name, time_zone FROM sites WHERE id = $1";
        let row = self.db.client().await?.query_opt(sql, &[&site.uuid()]).await?;
        let row = row.ok_or(DatabaseError::NotFound)?;
        let zone_name: String = row.try_get("time_zone")?;
        let zone = TimeZone::get(&zone_name).map_err(|_| DatabaseError::Damaged {
            table: "sites",
            column: "time_zone",
            value: zone_name.clone(),
        })?;
        Ok(ReportHead { site_name: row.try_get("name")?, zone, zone_name, made_at: Timestamp::now() })
    }

    /// The sessions of a week that take place, by their start.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn week_sessions(
        &self,
        site: SiteId,
        of: &WeekOf,
        (from, until): Between,
        most: i64,
    ) -> Result<Vec<MarkedSession>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let (group, section) = parts(of);
        let mut chosen = Conditions::default();
        chosen.with("c.site_id = ?", &[(&site, Type::UUID)]);
        chosen.with("c.starts_at >= ?", &[(&from, Type::TIMESTAMPTZ)]);
        chosen.with("c.starts_at < ?", &[(&until, Type::TIMESTAMPTZ)]);
        chosen.also("c.state <> 'cancelled'");
        chosen.with_value("c.group_id = ?", &group, Type::UUID);
        chosen.with_value(
            "EXISTS (SELECT FROM marks m JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
                WHERE m.site_id = c.site_id AND m.session_id = c.id AND m.is_listed AND s.section = ?)",
            &section,
            Type::TEXT,
        );
        let select = format!(
            "SELECT {SESSION} FROM class_sessions c JOIN groups g ON g.site_id = c.site_id AND g.id = c.group_id"
        );
        chosen.rows(&client, &select, "c.starts_at, c.id", most).await?.iter().map(session).collect()
    }

    /// What the sessions of a week say of whom, by number and the sessions' start.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn week_marks(
        &self,
        site: SiteId,
        of: &WeekOf,
        (from, until): Between,
        most: i64,
    ) -> Result<Vec<WeekEntry>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let (group, section) = parts(of);
        let mut chosen = Conditions::default();
        chosen.with("c.site_id = ?", &[(&site, Type::UUID)]);
        chosen.with("c.starts_at >= ?", &[(&from, Type::TIMESTAMPTZ)]);
        chosen.with("c.starts_at < ?", &[(&until, Type::TIMESTAMPTZ)]);
        chosen.also("c.state <> 'cancelled' AND m.is_listed");
        chosen.with_value("c.group_id = ?", &group, Type::UUID);
        chosen.with_value("s.section = ?", &section, Type::TEXT);
        let select = "SELECT m.session_id, m.mark, m.correction_id IS NOT NULL AS is_corrected, m.student_id,
                s.number, s.name AS student_name
            FROM class_sessions c JOIN marks m ON m.site_id = c.site_id AND m.session_id = c.id
                JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id";
        let order = "s.number, m.student_id, c.starts_at, c.id";
        chosen.rows(&client, select, order, most).await?.iter().map(week_entry).collect()
    }

    /// Somebody's section; `None`: there is nobody.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn report_student(
        &self,
        site: SiteId,
        who: StudentId,
    ) -> Result<Option<(StudentRef, String)>, DatabaseError> {
        let sql = "SELECT id AS student_id, number, name AS student_name, section FROM students
                   WHERE site_id = $1 AND id = $2";
        let row = self.db.client().await?.query_opt(sql, &[&site.uuid(), &who.uuid()]).await?;
        row.map(|row| Ok((student(&row)?, row.try_get("section")?))).transpose()
    }

    /// Somebody's marks, by the sessions' start.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn person_marks(
        &self,
        site: SiteId,
        who: StudentId,
        (from, until): Between,
        most: i64,
    ) -> Result<Vec<MarkListed>, DatabaseError> {
        let (client, site, who) = (self.db.client().await?, site.uuid(), who.uuid());
        let mut chosen = Conditions::default();
        chosen.with("m.site_id = ? AND m.student_id = ?", &[(&site, Type::UUID), (&who, Type::UUID)]);
        chosen.with("c.starts_at >= ?", &[(&from, Type::TIMESTAMPTZ)]);
        chosen.with("c.starts_at < ?", &[(&until, Type::TIMESTAMPTZ)]);
        chosen.also("c.state <> 'cancelled' AND m.is_listed");
        let select = format!(
            "SELECT {SESSION}, {MARK} FROM marks m JOIN class_sessions c ON c.site_id = m.site_id
                AND c.id = m.session_id
                JOIN groups g ON g.site_id = c.site_id AND g.id = c.group_id
                JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id"
        );
        chosen.rows(&client, &select, "c.starts_at, c.id", most).await?.iter().map(listed).collect()
    }

    /// Those whose share of sessions that are over is below one, the lowest first. Nobody who was erased: there is
    /// nobody to be warned.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn warnings(
        &self,
        site: SiteId,
        filter: &WarningFilter,
        (from, until): Between,
        most: i64,
    ) -> Result<Vec<WarningRow>, DatabaseError> {
        let WarningFilter { below, group, section, final_only } = filter;
        let states = if *final_only { "'finalised'" } else { "'closing', 'finalised'" };
        let sql = format!(
            "SELECT * FROM (
                 SELECT s.id AS student_id, s.number, s.name AS student_name, s.section, {TALLY}
                 FROM class_sessions c JOIN marks m ON m.site_id = c.site_id AND m.session_id = c.id
                     JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id
                 WHERE c.site_id = $1 AND c.starts_at >= $2 AND c.starts_at < $3 AND c.state IN ({states})
                     AND m.is_listed AND s.erased_at IS NULL
                     AND ($4::uuid IS NULL OR c.group_id = $4) AND ($5::text IS NULL OR s.section = $5)
                 GROUP BY s.id, s.number, s.name, s.section
             ) AS counted
             WHERE (present + late + left_early) * 1000 < $6 * (present + late + left_early + absent)
             ORDER BY (present + late + left_early)::numeric / (present + late + left_early + absent), number,
                 student_id
             LIMIT $7"
        );
        let client = self.db.client().await?;
        let rows = client
            .query_typed(
                &sql,
                &[
                    (&site.uuid(), Type::UUID),
                    (&from, Type::TIMESTAMPTZ),
                    (&until, Type::TIMESTAMPTZ),
                    (&group.map(GroupId::uuid), Type::UUID),
                    (section, Type::TEXT),
                    (&i64::from(below.permille()), Type::INT8),
                    (&most, Type::INT8),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(WarningRow {
                    student: student(row)?,
                    section: row.try_get("section")?,
                    tally: tally(row)?,
                })
            })
            .collect()
    }

    /// How the rooms of a site were used in sessions that are over, by name; also those that were not.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn room_use(
        &self,
        site: SiteId,
        (from, until): Between,
        most: i64,
    ) -> Result<Vec<RoomUse>, DatabaseError> {
        let sql = format!(
            "WITH over AS (
                 SELECT c.id, extract(epoch FROM c.ends_at - c.starts_at)::bigint / 60 AS minutes
                 FROM class_sessions c
                 WHERE c.site_id = $1 AND c.starts_at >= $2 AND c.starts_at < $3 AND c.state IN ('closing', 'finalised')
             ), counted AS (
                 SELECT x.room_id, {TALLY}
                 FROM over o JOIN class_session_rooms x ON x.site_id = $1 AND x.session_id = o.id
                     JOIN marks m ON m.site_id = $1 AND m.session_id = o.id
                 WHERE m.is_listed GROUP BY x.room_id
             ), held AS (
                 SELECT x.room_id, count(*) AS sessions, sum(o.minutes)::bigint AS minutes
                 FROM over o JOIN class_session_rooms x ON x.site_id = $1 AND x.session_id = o.id
                 GROUP BY x.room_id
             )
             SELECT r.id, r.name, coalesce(h.sessions, 0) AS sessions, coalesce(h.minutes, 0) AS minutes,
                 coalesce(n.present, 0) AS present, coalesce(n.late, 0) AS late,
                 coalesce(n.left_early, 0) AS left_early, coalesce(n.absent, 0) AS absent,
                 coalesce(n.excused, 0) AS excused, coalesce(n.undetermined, 0) AS undetermined
             FROM rooms r LEFT JOIN held h ON h.room_id = r.id LEFT JOIN counted n ON n.room_id = r.id
             WHERE r.site_id = $1 ORDER BY r.name, r.id LIMIT $4"
        );
        let client = self.db.client().await?;
        let rows = client
            .query_typed(
                &sql,
                &[
                    (&site.uuid(), Type::UUID),
                    (&from, Type::TIMESTAMPTZ),
                    (&until, Type::TIMESTAMPTZ),
                    (&most, Type::INT8),
                ],
            )
            .await?;
        rows.iter()
            .map(|row| {
                Ok(RoomUse {
                    id: row.try_get::<_, Uuid>("id")?.into(),
                    name: row.try_get("name")?,
                    sessions: count(row, "sessions")?,
                    minutes: row.try_get::<_, i64>("minutes")?.unsigned_abs(),
                    tally: tally(row)?,
                })
            })
            .collect()
    }
}

fn parts(of: &WeekOf) -> (Option<Uuid>, Option<&str>) {
    match of {
        WeekOf::Group(group) => (Some(group.uuid()), None),
        WeekOf::Section(section) => (None, Some(section)),
    }
}

fn week_entry(row: &Row) -> Result<WeekEntry, DatabaseError> {
    let mark = WeekMark {
        session: row.try_get::<_, Uuid>("session_id")?.into(),
        mark: read_text::<Mark>(row, "marks", "mark")?,
        is_corrected: row.try_get("is_corrected")?,
    };
    Ok(WeekEntry { student: student(row)?, mark })
}

fn count(row: &Row, column: &str) -> Result<u32, DatabaseError> {
    Ok(u32::try_from(row.try_get::<_, i64>(column)?).unwrap_or(u32::MAX))
}

/// Reads what [`TALLY`] selects.
fn tally(row: &Row) -> Result<Tally, DatabaseError> {
    Ok(Tally {
        present: count(row, "present")?,
        late: count(row, "late")?,
        left_early: count(row, "left_early")?,
        absent: count(row, "absent")?,
        excused: count(row, "excused")?,
        undetermined: count(row, "undetermined")?,
    })
}
