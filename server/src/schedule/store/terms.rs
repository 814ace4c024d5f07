use cavs_types::{HolidayId, SiteId, TermId};
use jiff::civil::Date;
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use super::ScheduleStore;
use crate::{
    db::{Conditions, DatabaseError},
    page::{Page, PageRequest},
    schedule::{Days, Holiday, ListPosition, NewTerm, ScheduleKey, ScheduleVersion, Term},
};

const SELECT: &str = "SELECT t.* FROM terms t";

impl ScheduleStore {
    /// Adds a term.
    ///
    /// # Errors
    /// `Taken`: the name or the external id.
    pub async fn create_term(&self, site: SiteId, new: &NewTerm) -> Result<TermId, DatabaseError> {
        let id = TermId::generate();
        let sql = "INSERT INTO terms (site_id, id, name, starts_on, ends_on, external_id)
                   VALUES ($1, $2, $3, $4, $5, $6)";
        let NewTerm { name, days, external_id } = new;
        let (first, last) = (days.first(), days.last());
        let client = self.db.client().await?;
        client.execute(sql, &[&site.uuid(), &id.uuid(), name, &first, &last, external_id]).await?;
        Ok(id)
    }

    /// One term.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn term(&self, site: SiteId, key: &ScheduleKey<TermId>) -> Result<Option<Term>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let row = match key {
            ScheduleKey::Id(id) => {
                let sql = format!("{SELECT} WHERE t.site_id = $1 AND t.id = $2");
                client.query_opt(&sql, &[&site, &id.uuid()]).await?
            }
            ScheduleKey::Name(name) => {
                let sql = format!("{SELECT} WHERE t.site_id = $1 AND t.name = $2");
                client.query_opt(&sql, &[&site, name]).await?
            }
        };
        row.as_ref().map(term).transpose()
    }

    /// Terms by their first day; those that a day is in.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn terms(
        &self,
        site: SiteId,
        on: Option<Date>,
        request: &PageRequest<ListPosition<Date>>,
    ) -> Result<Page<Term>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let mut chosen = Conditions::default();
        chosen.with("t.site_id = ?", &[(&site, Type::UUID)]);
        chosen.with_value("t.starts_on <= ?", &on, Type::DATE);
        chosen.with_value("t.ends_on >= ?", &on, Type::DATE);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "terms t").await?),
            false => None,
        };
        if let Some(after) = &request.after {
            let follows = "(t.starts_on, t.id) > (?, ?)";
            chosen.with(follows, &[(&after.key, Type::DATE), (&after.id, Type::UUID)]);
        }
        let rows = chosen.rows(&client, SELECT, "t.starts_on, t.id", request.fetch()).await?;
        let items = rows.iter().map(term).collect::<Result<_, _>>()?;
        let position = |term: &Term| ListPosition { key: term.days.first(), id: term.id.uuid() };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// Changes a term that is in a version; false where it is not.
    ///
    /// # Errors
    /// `Taken`: the name or the external id.
    pub async fn update_term(
        &self,
        site: SiteId,
        id: TermId,
        seen: ScheduleVersion,
        new: &NewTerm,
    ) -> Result<bool, DatabaseError> {
        let sql = "UPDATE terms SET name = $4, starts_on = $5, ends_on = $6, external_id = $7,
                   version = version + 1, updated_at = now()
                   WHERE site_id = $1 AND id = $2 AND version = $3";
        let NewTerm { name, days, external_id } = new;
        let (first, last) = (days.first(), days.last());
        let client = self.db.client().await?;
        let changed = client
            .execute(sql, &[&site.uuid(), &id.uuid(), &seen.0, name, &first, &last, external_id])
            .await?;
        Ok(changed == 1)
    }

    /// Deletes a term; false where there is none.
    ///
    /// # Errors
    /// `NotFound`: a group is of it.
    pub async fn delete_term(&self, site: SiteId, id: TermId) -> Result<bool, DatabaseError> {
        let sql = "DELETE FROM terms WHERE site_id = $1 AND id = $2";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &id.uuid()]).await? == 1)
    }

    /// Adds a holiday.
    ///
    /// # Errors
    /// `Taken`: one of the name begins on that day.
    pub async fn create_holiday(
        &self,
        site: SiteId,
        name: &str,
        days: Days,
    ) -> Result<Holiday, DatabaseError> {
        let id = HolidayId::generate();
        let sql = "INSERT INTO holidays (site_id, id, name, starts_on, ends_on) VALUES ($1, $2, $3, $4, $5)
                   RETURNING *";
        let client = self.db.client().await?;
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 5] =
            [&site.uuid(), &id.uuid(), &name, &days.first(), &days.last()];
        holiday(&client.query_one(sql, &parameters).await?)
    }

    /// Holidays by their first day.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn holidays(
        &self,
        site: SiteId,
        request: &PageRequest<ListPosition<Date>>,
    ) -> Result<Page<Holiday>, DatabaseError> {
        let (client, site) = (self.db.client().await?, site.uuid());
        let mut chosen = Conditions::default();
        chosen.with("h.site_id = ?", &[(&site, Type::UUID)]);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "holidays h").await?),
            false => None,
        };
        if let Some(after) = &request.after {
            let follows = "(h.starts_on, h.id) > (?, ?)";
            chosen.with(follows, &[(&after.key, Type::DATE), (&after.id, Type::UUID)]);
        }
        let select = "SELECT h.* FROM holidays h";
        let rows = chosen.rows(&client, select, "h.starts_on, h.id", request.fetch()).await?;
        let items = rows.iter().map(holiday).collect::<Result<_, _>>()?;
        let position = |found: &Holiday| ListPosition { key: found.days.first(), id: found.id.uuid() };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// The holidays that have a day among these.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn holidays_within(&self, site: SiteId, days: Days) -> Result<Vec<Days>, DatabaseError> {
        let sql = "SELECT * FROM holidays WHERE site_id = $1 AND starts_on <= $3 AND ends_on >= $2";
        let client = self.db.client().await?;
        let rows = client.query(sql, &[&site.uuid(), &days.first(), &days.last()]).await?;
        rows.iter().map(|row| Ok(holiday(row)?.days)).collect()
    }

    /// Deletes a holiday; false where there is none.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn delete_holiday(&self, site: SiteId, id: HolidayId) -> Result<bool, DatabaseError> {
        let sql = "DELETE FROM holidays WHERE site_id = $1 AND id = $2";
        Ok(self.db.client().await?.execute(sql, &[&site.uuid(), &id.uuid()]).await? == 1)
    }
}

fn days(row: &Row, table: &'static str) -> Result<Days, DatabaseError> {
    let (first, last): (Date, Date) = (row.try_get("starts_on")?, row.try_get("ends_on")?);
    let damaged = || DatabaseError::Damaged { table, column: "ends_on", value: last.to_string() };
    Days::new(first, last).map_err(|_| damaged())
}

fn term(row: &Row) -> Result<Term, DatabaseError> {
    Ok(Term {
        id: row.try_get::<_, Uuid>("id")?.into(),
        name: row.try_get("name")?,
        days: days(row, "terms")?,
        external_id: row.try_get("external_id")?,
        version: ScheduleVersion(row.try_get("version")?),
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}

fn holiday(row: &Row) -> Result<Holiday, DatabaseError> {
    Ok(Holiday {
        id: row.try_get::<_, Uuid>("id")?.into(),
        name: row.try_get("name")?,
        days: days(row, "holidays")?,
        created_at: row.try_get("created_at")?,
    })
}
