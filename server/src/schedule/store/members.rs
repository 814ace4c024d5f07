//! Rosters: who is of a group when.

use cavs_types::{GroupId, SiteId, StudentId};
use jiff::civil::Date;
use tokio_postgres::{
    Row,
    types::{ToSql, Type},
};
use uuid::Uuid;

use super::ScheduleStore;
use crate::{
    db::{Conditions, DatabaseError},
    page::{Page, PageRequest},
    people::StudentRef,
    schedule::{GroupMember, ListPosition, Membership, ScheduleRef},
};

/// Most memberships of one student that are told.
const MOST: i64 = 1000;

const SELECT: &str = "SELECT m.student_id, m.starts_on, m.ends_on, s.number, s.name
    FROM group_members m JOIN students s ON s.site_id = m.site_id AND s.id = m.student_id";

/// How a membership ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberEnd {
    /// After this day.
    After(Date),
    /// It never was.
    Entirely,
}

impl ScheduleStore {
    /// Adds a member from one day on, until another one or until further notice.
    ///
    /// # Errors
    /// `NotFound`: the group or the student. `Taken`: they are a member on one of these days.
    pub async fn add_member(
        &self,
        site: SiteId,
        group: GroupId,
        student: StudentId,
        (starts_on, ends_on): (Date, Option<Date>),
    ) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO group_members (site_id, group_id, student_id, starts_on, ends_on)
                   VALUES ($1, $2, $3, $4, $5)";
        let parameters: [&(dyn ToSql + Sync); 5] =
            [&site.uuid(), &group.uuid(), &student.uuid(), &starts_on, &ends_on];
        self.db.client().await?.execute(sql, &parameters).await?;
        Ok(())
    }

    /// Ends somebody's memberships of a group; how many were changed.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn end_member(
        &self,
        site: SiteId,
        group: GroupId,
        student: StudentId,
        end: MemberEnd,
    ) -> Result<u64, DatabaseError> {
        let (site, group, student) = (site.uuid(), group.uuid(), student.uuid());
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let changed = match end {
            MemberEnd::Entirely => {
                let sql =
                    "DELETE FROM group_members WHERE site_id = $1 AND group_id = $2 AND student_id = $3";
                transaction.execute(sql, &[&site, &group, &student]).await?
            }
            MemberEnd::After(last) => {
                let sql = "DELETE FROM group_members
                           WHERE site_id = $1 AND group_id = $2 AND student_id = $3 AND starts_on > $4";
                let begun_later = transaction.execute(sql, &[&site, &group, &student, &last]).await?;
                let sql = "UPDATE group_members SET ends_on = $4
                           WHERE site_id = $1 AND group_id = $2 AND student_id = $3
                               AND (ends_on IS NULL OR ends_on > $4)";
                begun_later + transaction.execute(sql, &[&site, &group, &student, &last]).await?
            }
        };
        transaction.commit().await?;
        Ok(changed)
    }

    /// Members of a group by number: on a day, or of all days.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn members(
        &self,
        site: SiteId,
        group: GroupId,
        on: Option<Date>,
        request: &PageRequest<MemberPosition>,
    ) -> Result<Page<GroupMember>, DatabaseError> {
        let (client, site, group) = (self.db.client().await?, site.uuid(), group.uuid());
        let mut chosen = Conditions::default();
        chosen.with("m.site_id = ?", &[(&site, Type::UUID)]);
        chosen.with("m.group_id = ?", &[(&group, Type::UUID)]);
        chosen.with_value("m.starts_on <= ?", &on, Type::DATE);
        chosen.with_value("(m.ends_on IS NULL OR m.ends_on >= ?)", &on, Type::DATE);
        let total = match request.with_total {
            true => Some(chosen.count(&client, "group_members m").await?),
            false => None,
        };
        let after = request.after.as_ref().map(|after| (after.number(), after.starts_on(), after.id));
        if let Some((number, starts_on, id)) = &after {
            let follows = "(s.number, m.starts_on, m.student_id) > (?, ?, ?)";
            chosen.with(follows, &[(number, Type::TEXT), (starts_on, Type::DATE), (id, Type::UUID)]);
        }
        let order = "s.number, m.starts_on, m.student_id";
        let rows = chosen.rows(&client, SELECT, order, request.fetch()).await?;
        let items = rows.iter().map(member).collect::<Result<_, _>>()?;
        let position = |member: &GroupMember| ListPosition {
            key: format!("{} {}", member.starts_on, member.student.number),
            id: member.student.id.uuid(),
        };
        Ok(Page { total, ..request.page(items, position) })
    }

    /// The groups of a student by name and day: of all days, or those of one.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn memberships(
        &self,
        site: SiteId,
        student: StudentId,
        on: Option<Date>,
    ) -> Result<Vec<Membership>, DatabaseError> {
        let sql = "SELECT g.id, g.name, m.starts_on, m.ends_on
                   FROM group_members m JOIN groups g ON g.site_id = m.site_id AND g.id = m.group_id
                   WHERE m.site_id = $1 AND m.student_id = $2 AND ($3::date IS NULL
                       OR m.starts_on <= $3 AND (m.ends_on IS NULL OR m.ends_on >= $3))
                   ORDER BY g.name, m.starts_on, g.id LIMIT $4";
        let client = self.db.client().await?;
        let rows = client.query(sql, &[&site.uuid(), &student.uuid(), &on, &MOST]).await?;
        let membership = |row: &Row| {
            Ok(Membership {
                group: ScheduleRef { id: row.try_get::<_, Uuid>("id")?.into(), name: row.try_get("name")? },
                starts_on: row.try_get("starts_on")?,
                ends_on: row.try_get("ends_on")?,
            })
        };
        rows.iter().map(membership).collect()
    }

    /// Who is of a group on a day, by number; erased students, too, as pseudonyms.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn roster(
        &self,
        site: SiteId,
        group: GroupId,
        on: Date,
    ) -> Result<Vec<StudentRef>, DatabaseError> {
        let sql = format!(
            "{SELECT} WHERE m.site_id = $1 AND m.group_id = $2 AND m.starts_on <= $3
                 AND (m.ends_on IS NULL OR m.ends_on >= $3) ORDER BY s.number"
        );
        let rows = self.db.client().await?.query(&sql, &[&site.uuid(), &group.uuid(), &on]).await?;
        rows.iter().map(|row| Ok(member(row)?.student)).collect()
    }
}

/// Where a page of a roster goes on: a day, a number, and whose it is.
pub(super) type MemberPosition = ListPosition<String>;

impl MemberPosition {
    fn starts_on(&self) -> Date {
        self.key.split_once(' ').and_then(|(day, _)| day.parse().ok()).unwrap_or(Date::constant(1970, 1, 1))
    }

    fn number(&self) -> &str {
        self.key.split_once(' ').map_or("", |(_, number)| number)
    }
}

fn member(row: &Row) -> Result<GroupMember, DatabaseError> {
    Ok(GroupMember {
        student: StudentRef {
            id: row.try_get::<_, Uuid>("student_id")?.into(),
            number: row.try_get("number")?,
            name: row.try_get("name")?,
        },
        starts_on: row.try_get("starts_on")?,
        ends_on: row.try_get("ends_on")?,
    })
}
