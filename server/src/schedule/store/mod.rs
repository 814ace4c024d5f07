//! SQL of terms, groups, rooms and class sessions.

mod expected;
mod groups;
mod imports;
mod members;
mod rooms;
mod rosters;
mod sessions;
mod terms;

use cavs_types::SiteId;
use jiff::tz::TimeZone;

use crate::db::{Database, DatabaseError, read_zone};

pub use members::MemberEnd;

/// Terms, groups, rooms and class sessions in the database, each of one site.
#[derive(Clone)]
pub struct ScheduleStore {
    db: Database,
}

impl ScheduleStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// What the clocks of a site show.
    ///
    /// # Errors
    /// `NotFound`: the site. `Damaged`: the machine's time zone database has no such zone.
    pub async fn time_zone(&self, site: SiteId) -> Result<TimeZone, DatabaseError> {
        let sql = "SELECT time_zone FROM sites WHERE id = $1";
        let row = self.db.client().await?.query_opt(sql, &[&site.uuid()]).await?;
        read_zone(&row.ok_or(DatabaseError::NotFound)?)
    }
}
