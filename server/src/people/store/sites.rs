use cavs_types::{EnrollmentGate, SiteId, UserId};
use tokio_postgres::{Row, types::Type};
use uuid::Uuid;

use crate::{
    db::{Conditions, Database, DatabaseError, read_text},
    page::{Page, PageRequest},
    people::{Site, SiteKey, SiteRole, User},
};

/// A site, with the role that a user has in it: `u` is a row of users.
pub(super) const ROLES_OF_U: &str = "
    SELECT s.id AS site_id, s.name AS site_name, s.time_zone, s.created_at, s.archived_at,
        CASE WHEN u.is_operator THEN 'admin' ELSE r.role END AS role
    FROM sites s LEFT JOIN user_roles r ON r.site_id = s.id AND r.user_id = u.id
    WHERE (u.is_operator OR r.role IS NOT NULL)";

/// The same of one user, for lists.
const SELECT: &str = "
    SELECT s.id AS site_id, s.name AS site_name, s.time_zone, s.created_at, s.archived_at,
        CASE WHEN u.is_operator THEN 'admin' ELSE r.role END AS role";
const FROM: &str =
    "sites s CROSS JOIN users u LEFT JOIN user_roles r ON r.site_id = s.id AND r.user_id = u.id";

/// Sites in the database.
#[derive(Clone)]
pub struct SiteStore {
    db: Database,
}

impl SiteStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// Adds a site, with the clock of its gallery's changes.
    ///
    /// # Errors
    /// `Taken`: the name.
    pub async fn create(&self, name: &str) -> Result<Site, DatabaseError> {
        let sql = "WITH s AS (INSERT INTO sites (id, name) VALUES ($1, $2) RETURNING *),
                   clock AS (INSERT INTO gallery_clock (site_id, sequence) SELECT id, 0 FROM s)
                   SELECT id AS site_id, name AS site_name, time_zone, created_at, archived_at FROM s";
        let id = SiteId::generate();
        site(&self.db.client().await?.query_one(sql, &[&id.uuid(), &name]).await?)
    }

    /// A site in which a user has a role.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn get(&self, user: UserId, key: &SiteKey) -> Result<Option<SiteRole>, DatabaseError> {
        let (id, name) = columns(Some(key));
        let sql = format!(
            "SELECT x.* FROM users u CROSS JOIN LATERAL ({ROLES_OF_U}
                 AND ($2::uuid IS NULL OR s.id = $2) AND ($3::text IS NULL OR s.name = $3)) x
             WHERE u.id = $1"
        );
        let row = self.db.client().await?.query_opt(&sql, &[&user.uuid(), &id, &name]).await?;
        row.as_ref().map(site_role).transpose()
    }

    /// The sites in which a user has a role, by name.
    ///
    /// # Errors
    /// `Unavailable`, `TooSlow`.
    pub async fn list(
        &self,
        user: UserId,
        request: &PageRequest<String>,
    ) -> Result<Page<SiteRole>, DatabaseError> {
        let (client, user) = (self.db.client().await?, user.uuid());
        let mut chosen = Conditions::default();
        chosen.with("u.id = ?", &[(&user, Type::UUID)]);
        chosen.also("(u.is_operator OR r.role IS NOT NULL)");
        let total = match request.with_total {
            true => Some(chosen.count(&client, FROM).await?),
            false => None,
        };
        chosen.with_value("s.name > ?", &request.after, Type::TEXT);
        let rows = chosen.rows(&client, &format!("{SELECT} FROM {FROM}"), "s.name", request.fetch()).await?;
        let items = rows.iter().map(site_role).collect::<Result<_, _>>()?;
        Ok(Page { total, ..request.page(items, |found: &SiteRole| found.site.name.clone()) })
    }

    /// The first sites in which a user has a role, by name, the archived ones last.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn roles(&self, user: &User, most: i64) -> Result<Vec<SiteRole>, DatabaseError> {
        let sql = format!(
            "SELECT x.* FROM users u CROSS JOIN LATERAL ({ROLES_OF_U}) x
             WHERE u.id = $1 ORDER BY x.archived_at IS NOT NULL, x.site_name LIMIT $2"
        );
        let rows = self.db.client().await?.query(&sql, &[&user.id.uuid(), &most]).await?;
        rows.iter().map(site_role).collect()
    }

    /// Gives a site another name or another time zone.
    ///
    /// # Errors
    /// `NotFound`: the site. `Taken`: the name.
    pub async fn update(
        &self,
        id: SiteId,
        name: Option<&str>,
        time_zone: Option<&str>,
    ) -> Result<(), DatabaseError> {
        let sql =
            "UPDATE sites SET name = coalesce($2, name), time_zone = coalesce($3, time_zone) WHERE id = $1";
        match self.db.client().await?.execute(sql, &[&id.uuid(), &name, &time_zone]).await? {
            0 => Err(DatabaseError::NotFound),
            _ => Ok(()),
        }
    }

    /// How strictly a site looks at faces before they become templates.
    ///
    /// # Errors
    /// `NotFound`: the site.
    pub async fn enrollment_gate(&self, id: SiteId) -> Result<EnrollmentGate, DatabaseError> {
        let sql = "SELECT enrollment_gate FROM sites WHERE id = $1";
        let row = self.db.client().await?.query_opt(sql, &[&id.uuid()]).await?;
        read_text(&row.ok_or(DatabaseError::NotFound)?, "sites", "enrollment_gate")
    }

    /// Sets that.
    ///
    /// # Errors
    /// `NotFound`: the site.
    pub async fn set_enrollment_gate(&self, id: SiteId, gate: EnrollmentGate) -> Result<(), DatabaseError> {
        let sql = "UPDATE sites SET enrollment_gate = $2 WHERE id = $1";
        match self.db.client().await?.execute(sql, &[&id.uuid(), &gate.as_str()]).await? {
            0 => Err(DatabaseError::NotFound),
            _ => Ok(()),
        }
    }

    /// Has a site be looked at only, from now on or from before.
    ///
    /// # Errors
    /// `NotFound`: the site.
    pub async fn archive(&self, id: SiteId) -> Result<(), DatabaseError> {
        let sql = "UPDATE sites SET archived_at = coalesce(archived_at, now()) WHERE id = $1";
        match self.db.client().await?.execute(sql, &[&id.uuid()]).await? {
            0 => Err(DatabaseError::NotFound),
            _ => Ok(()),
        }
    }
}

/// The id and the name that a site is looked for by.
pub(super) fn columns(key: Option<&SiteKey>) -> (Option<Uuid>, Option<&str>) {
    match key {
        None => (None, None),
        Some(SiteKey::Id(id)) => (Some(id.uuid()), None),
        Some(SiteKey::Name(name)) => (None, Some(name)),
    }
}

pub(super) fn site_role(row: &Row) -> Result<SiteRole, DatabaseError> {
    Ok(SiteRole { site: site(row)?, role: read_text(row, "user_roles", "role")? })
}

fn site(row: &Row) -> Result<Site, DatabaseError> {
    Ok(Site {
        id: row.try_get::<_, Uuid>("site_id")?.into(),
        name: row.try_get("site_name")?,
        time_zone: row.try_get("time_zone")?,
        created_at: row.try_get("created_at")?,
        archived_at: row.try_get("archived_at")?,
    })
}
