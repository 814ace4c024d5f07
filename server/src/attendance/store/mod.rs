mod appeals;
mod corrections;
mod credentials;
mod excuses;
mod keeping;
mod marks;
mod policies;
mod records;
mod renewal;
mod reports;
mod sheets;

pub(super) use keeping::Keeping;
pub(super) use renewal::Renewed;

use cavs_types::StudentId;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    attendance::MarkedSession,
    db::{Database, DatabaseError, read_text},
    people::StudentRef,
};

/// What of a session its marks name; the session is `c` and its group `g`.
const SESSION: &str =
    "c.id AS session_id, c.name AS session_name, c.group_id, g.name AS group_name, c.starts_at,
    c.ends_at, c.state";

/// Attendance in the database.
#[derive(Clone)]
pub struct AttendanceStore {
    db: Database,
    sightings_kept: Option<u32>,
}

impl AttendanceStore {
    /// On these connections to the database, where sightings are kept so many days, or for ever, unless their site says
    /// otherwise.
    #[must_use]
    pub fn new(db: &Database, sightings_kept: Option<u32>) -> Self {
        Self { db: db.clone(), sightings_kept }
    }
}

/// Reads what [`SESSION`] selects.
fn session(row: &Row) -> Result<MarkedSession, DatabaseError> {
    Ok(MarkedSession {
        id: row.try_get::<_, Uuid>("session_id")?.into(),
        name: row.try_get("session_name")?,
        group: row.try_get::<_, Uuid>("group_id")?.into(),
        group_name: row.try_get("group_name")?,
        starts_at: row.try_get("starts_at")?,
        ends_at: row.try_get("ends_at")?,
        state: read_text(row, "class_sessions", "state")?,
    })
}

/// Reads `student_id`, `number` and `student_name`.
fn student(row: &Row) -> Result<StudentRef, DatabaseError> {
    Ok(StudentRef {
        id: StudentId::from(row.try_get::<_, Uuid>("student_id")?),
        number: row.try_get("number")?,
        name: row.try_get("student_name")?,
    })
}
