//! What files of rosters are compared with, and how what follows from them is done.

use cavs_types::{SiteId, TermId};
use deadpool_postgres::Transaction;
use jiff::civil::Date;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{ScheduleStore, sessions::lock_plan};
use crate::{
    db::{Batch, DatabaseError},
    people::ImportOutcome,
    schedule::{Days, KnownRosters, NewGroup, NewTerm, RosterPlan, ScheduleVersion},
};

impl ScheduleStore {
    /// Adds and changes terms, groups and rosters as `plan` says of all that there are, while no other import does.
    /// Nothing is done where `plan` says so, or where somebody has changed one of them meanwhile.
    ///
    /// # Errors
    /// `NotFound`, `Taken`: somebody has changed what the plan builds on.
    pub async fn import_rosters(
        &self,
        site: SiteId,
        plan: impl FnOnce(KnownRosters) -> (RosterPlan, bool),
    ) -> Result<(RosterPlan, ImportOutcome), DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        lock_plan(&transaction, site).await?;
        let (plan, is_wanted) = plan(known(&transaction, site).await?);
        if !is_wanted {
            return Ok((plan, ImportOutcome::NotWanted));
        }
        if !apply(&transaction, site, &plan).await? {
            return Ok((plan, ImportOutcome::Overtaken));
        }
        transaction.commit().await?;
        Ok((plan, ImportOutcome::Done))
    }
}

async fn known(transaction: &Transaction<'_>, site: SiteId) -> Result<KnownRosters, DatabaseError> {
    let site = site.uuid();
    let terms = transaction.query("SELECT * FROM terms WHERE site_id = $1", &[&site]).await?;
    let groups = transaction.query("SELECT * FROM groups WHERE site_id = $1", &[&site]).await?;
    let sql = "SELECT id, number, external_id FROM students WHERE site_id = $1 AND erased_at IS NULL";
    let students = transaction.query(sql, &[&site]).await?;
    let members = transaction.query("SELECT * FROM group_members WHERE site_id = $1", &[&site]).await?;
    let student = |row: &Row| {
        let id = row.try_get::<_, Uuid>("id")?.into();
        Ok::<_, DatabaseError>((id, row.try_get("number")?, row.try_get("external_id")?))
    };
    let member = |row: &Row| {
        let (group, student) = (row.try_get::<_, Uuid>("group_id")?, row.try_get::<_, Uuid>("student_id")?);
        let (starts_on, ends_on) = (row.try_get("starts_on")?, row.try_get("ends_on")?);
        Ok::<_, DatabaseError>((group.into(), student.into(), starts_on, ends_on))
    };
    Ok(KnownRosters {
        terms: terms.iter().map(known_term).collect::<Result<_, _>>()?,
        groups: groups.iter().map(known_group).collect::<Result<_, _>>()?,
        students: students.iter().map(student).collect::<Result<_, _>>()?,
        members: members.iter().map(member).collect::<Result<_, _>>()?,
    })
}

fn known_term(row: &Row) -> Result<(TermId, ScheduleVersion, NewTerm), DatabaseError> {
    let (first, last): (Date, Date) = (row.try_get("starts_on")?, row.try_get("ends_on")?);
    let damaged = |_| DatabaseError::Damaged { table: "terms", column: "ends_on", value: last.to_string() };
    let days = Days::new(first, last).map_err(damaged)?;
    let term = NewTerm { name: row.try_get("name")?, days, external_id: row.try_get("external_id")? };
    Ok((row.try_get::<_, Uuid>("id")?.into(), ScheduleVersion(row.try_get("version")?), term))
}

type KnownGroupRow = (cavs_types::GroupId, ScheduleVersion, NewGroup, bool);

fn known_group(row: &Row) -> Result<KnownGroupRow, DatabaseError> {
    let group = NewGroup {
        name: row.try_get("name")?,
        term: row.try_get::<_, Option<Uuid>>("term_id")?.map(Into::into),
        external_id: row.try_get("external_id")?,
    };
    let is_archived = row.try_get::<_, Option<jiff::Timestamp>>("archived_at")?.is_some();
    Ok((row.try_get::<_, Uuid>("id")?.into(), ScheduleVersion(row.try_get("version")?), group, is_archived))
}

async fn apply(
    transaction: &Transaction<'_>,
    site: SiteId,
    plan: &RosterPlan,
) -> Result<bool, DatabaseError> {
    let all_were = terms(transaction, site, plan).await? && groups(transaction, site, plan).await?;
    if !all_were {
        return Ok(false);
    }
    members(transaction, site, plan).await
}

async fn terms(
    transaction: &Transaction<'_>,
    site: SiteId,
    plan: &RosterPlan,
) -> Result<bool, DatabaseError> {
    let batch = Batch::of(&plan.new_terms)
        .column("site_id", |_| site.uuid())
        .column("id", |(id, _)| id.uuid())
        .column("name", |(_, term)| term.name.as_str())
        .column("starts_on", |(_, term)| term.days.first())
        .column("ends_on", |(_, term)| term.days.last())
        .column("external_id", |(_, term)| term.external_id.as_str());
    let (columns, values, source) = (batch.names(), batch.given(), batch.source());
    let sql = format!("INSERT INTO terms ({columns}) SELECT {values} FROM {source}");
    transaction.execute(&sql, &batch.parameters()).await?;
    let batch = Batch::of(&plan.terms)
        .column("site_id", |_| site.uuid())
        .column("id", |(id, ..)| id.uuid())
        .column("version", |(_, seen, _)| seen.0)
        .column("name", |(.., term)| term.name.as_str())
        .column("starts_on", |(.., term)| term.days.first())
        .column("ends_on", |(.., term)| term.days.last());
    let source = batch.source();
    let sql = format!(
        "UPDATE terms t SET name = given.name, starts_on = given.starts_on, ends_on = given.ends_on,
             version = t.version + 1, updated_at = now()
         FROM {source} WHERE t.site_id = given.site_id AND t.id = given.id AND t.version = given.version"
    );
    Ok(transaction.execute(&sql, &batch.parameters()).await? == plan.terms.len() as u64)
}

async fn groups(
    transaction: &Transaction<'_>,
    site: SiteId,
    plan: &RosterPlan,
) -> Result<bool, DatabaseError> {
    let batch = Batch::of(&plan.new_groups)
        .column("site_id", |_| site.uuid())
        .column("id", |(id, _)| id.uuid())
        .column("name", |(_, group)| group.name.as_str())
        .column("term_id", |(_, group)| group.term.map(TermId::uuid))
        .column("external_id", |(_, group)| group.external_id.as_str());
    let (columns, values, source) = (batch.names(), batch.given(), batch.source());
    let sql = format!("INSERT INTO groups ({columns}) SELECT {values} FROM {source}");
    transaction.execute(&sql, &batch.parameters()).await?;
    let batch = Batch::of(&plan.groups)
        .column("site_id", |_| site.uuid())
        .column("id", |(id, ..)| id.uuid())
        .column("version", |(_, seen, _)| seen.0)
        .column("name", |(.., group)| group.name.as_str())
        .column("term_id", |(.., group)| group.term.map(TermId::uuid));
    let source = batch.source();
    let sql = format!(
        "UPDATE groups g SET name = given.name, term_id = given.term_id, version = g.version + 1,
             updated_at = now()
         FROM {source} WHERE g.site_id = given.site_id AND g.id = given.id AND g.version = given.version"
    );
    Ok(transaction.execute(&sql, &batch.parameters()).await? == plan.groups.len() as u64)
}

async fn members(
    transaction: &Transaction<'_>,
    site: SiteId,
    plan: &RosterPlan,
) -> Result<bool, DatabaseError> {
    let batch = Batch::of(&plan.removed)
        .column("site_id", |_| site.uuid())
        .column("group_id", |(group, ..)| group.uuid())
        .column("student_id", |(_, student, _)| student.uuid())
        .column("starts_on", |(.., from)| *from);
    let source = batch.source();
    let sql = format!(
        "DELETE FROM group_members m USING {source}
         WHERE m.site_id = given.site_id AND m.group_id = given.group_id
             AND m.student_id = given.student_id AND m.starts_on = given.starts_on"
    );
    if transaction.execute(&sql, &batch.parameters()).await? != plan.removed.len() as u64 {
        return Ok(false);
    }
    let (there, new): (Vec<_>, Vec<_>) =
        plan.members.iter().copied().partition(|(_, _, before, ..)| before.is_some());
    // What is shortened makes room for what is new.
    let batch = Batch::of(&there)
        .column("site_id", |_| site.uuid())
        .column("group_id", |(group, ..)| group.uuid())
        .column("student_id", |(_, student, ..)| student.uuid())
        .column("before", |(_, _, before, ..)| *before)
        .column("starts_on", |(.., from, _)| *from)
        .column("ends_on", |(.., until)| *until);
    let source = batch.source();
    let sql = format!(
        "UPDATE group_members m SET starts_on = given.starts_on, ends_on = given.ends_on FROM {source}
         WHERE m.site_id = given.site_id AND m.group_id = given.group_id
             AND m.student_id = given.student_id AND m.starts_on = given.before"
    );
    if transaction.execute(&sql, &batch.parameters()).await? != there.len() as u64 {
        return Ok(false);
    }
    let batch = Batch::of(&new)
        .column("site_id", |_| site.uuid())
        .column("group_id", |(group, ..)| group.uuid())
        .column("student_id", |(_, student, ..)| student.uuid())
        .column("starts_on", |(.., from, _)| *from)
        .column("ends_on", |(.., until)| *until);
    let (columns, values, source) = (batch.names(), batch.given(), batch.source());
    let sql = format!("INSERT INTO group_members ({columns}) SELECT {values} FROM {source}");
    transaction.execute(&sql, &batch.parameters()).await?;
    Ok(true)
}
