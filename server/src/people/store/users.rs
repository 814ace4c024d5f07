use cavs_types::{SiteId, UserId};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use super::sites::{ROLES_OF_U, columns, site_role};
use crate::{
    db::{Database, DatabaseError},
    people::{Grant, SiteKey, SiteRole, User},
};

/// Users and their sessions in the database.
#[derive(Clone)]
pub struct UserStore {
    db: Database,
}

impl UserStore {
    /// On these connections to the database.
    #[must_use]
    pub fn new(db: &Database) -> Self {
        Self { db: db.clone() }
    }

    /// Adds a user with what they may do.
    ///
    /// # Errors
    /// `Taken`: the user name.
    pub async fn create_user(
        &self,
        username: &str,
        password_hash: &str,
        grant: &Grant<SiteId>,
    ) -> Result<User, DatabaseError> {
        let id = UserId::generate();
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        let sql = "INSERT INTO users (id, username, password_hash) VALUES ($1, $2, $3)";
        transaction.execute(sql, &[&id.uuid(), &username, &password_hash]).await?;
        give(&transaction, username, grant).await?;
        transaction.commit().await?;
        Ok(User { id, username: username.to_owned(), is_operator: *grant == Grant::Operator })
    }

    /// Gives a user a role in a site, in the place of the one that they had there, or makes them an operator.
    ///
    /// # Errors
    /// `NotFound`: the user.
    pub async fn grant(&self, username: &str, grant: &Grant<SiteId>) -> Result<(), DatabaseError> {
        let mut client = self.db.client().await?;
        let transaction = client.transaction().await?;
        give(&transaction, username, grant).await?;
        Ok(transaction.commit().await?)
    }

    /// The ids of the first two sites that are not archived, and are the one that is named where one is.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn sites(&self, key: Option<&SiteKey>) -> Result<Vec<SiteId>, DatabaseError> {
        let (id, name) = columns(key);
        let sql = "SELECT id FROM sites WHERE archived_at IS NULL AND ($1::uuid IS NULL OR id = $1)
                   AND ($2::text IS NULL OR name = $2) LIMIT 2";
        let rows = self.db.client().await?.query(sql, &[&id, &name]).await?;
        rows.iter().map(|row| Ok(row.try_get::<_, Uuid>(0)?.into())).collect()
    }

    /// A user with the hash of their password.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn user_by_name(&self, username: &str) -> Result<Option<(User, String)>, DatabaseError> {
        let sql = "SELECT id, username, is_operator, password_hash FROM users WHERE username = $1";
        let row = self.db.client().await?.query_opt(sql, &[&username]).await?;
        row.map(|row| Ok((user(&row)?, row.try_get("password_hash")?))).transpose()
    }

    /// Begins a session; sessions that have ended are cleared away.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn create_session(
        &self,
        token_hash: &[u8],
        user: UserId,
        expires_at: Timestamp,
    ) -> Result<(), DatabaseError> {
        let client = self.db.client().await?;
        client.execute("DELETE FROM user_sessions WHERE expires_at < now()", &[]).await?;
        let sql = "INSERT INTO user_sessions (token_hash, user_id, expires_at) VALUES ($1, $2, $3)";
        client.execute(sql, &[&token_hash, &user.uuid(), &expires_at]).await?;
        Ok(())
    }

    /// Whose session it is, as long as it lasts; and the first two sites that they may mean, the archived ones
    /// last: those in which they have a role, and that are the one that is named where one is.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn session(
        &self,
        token_hash: &[u8],
        named: Option<&SiteKey>,
    ) -> Result<Option<(User, Vec<SiteRole>)>, DatabaseError> {
        let (id, name) = columns(named);
        let sql = format!(
            "SELECT u.id, u.username, u.is_operator, x.*
             FROM user_sessions t JOIN users u ON u.id = t.user_id LEFT JOIN LATERAL ({ROLES_OF_U}
                 AND ($2::uuid IS NULL OR s.id = $2) AND ($3::text IS NULL OR s.name = $3)
                 ORDER BY s.archived_at IS NOT NULL, s.id LIMIT 2) x ON true
             WHERE t.token_hash = $1 AND t.expires_at > now()
             ORDER BY x.archived_at IS NOT NULL"
        );
        let client = self.db.client().await?;
        let statement = client.prepare_cached(&sql).await?;
        let rows = client.query(&statement, &[&token_hash, &id, &name]).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let in_a_site = |row: &Row| row.try_get::<_, Option<Uuid>>("site_id").map(|id| id.is_some());
        let sites = match in_a_site(first)? {
            true => rows.iter().map(site_role).collect::<Result<_, _>>()?,
            false => Vec::new(),
        };
        Ok(Some((user(first)?, sites)))
    }

    /// Ends a session.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn delete_session(&self, token_hash: &[u8]) -> Result<(), DatabaseError> {
        let sql = "DELETE FROM user_sessions WHERE token_hash = $1";
        self.db.client().await?.execute(sql, &[&token_hash]).await?;
        Ok(())
    }
}

async fn give(
    transaction: &deadpool_postgres::Transaction<'_>,
    username: &str,
    grant: &Grant<SiteId>,
) -> Result<(), DatabaseError> {
    let given = match grant {
        Grant::Operator => {
            let sql = "UPDATE users SET is_operator = true WHERE username = $1";
            transaction.execute(sql, &[&username]).await?
        }
        Grant::Role(role, site) => {
            let sql = "INSERT INTO user_roles (user_id, site_id, role)
                       SELECT id, $2, $3 FROM users WHERE username = $1
                       ON CONFLICT (user_id, site_id) DO UPDATE SET role = excluded.role";
            transaction.execute(sql, &[&username, &site.uuid(), &role.as_str()]).await?
        }
    };
    if given == 0 { Err(DatabaseError::NotFound) } else { Ok(()) }
}

fn user(row: &Row) -> Result<User, DatabaseError> {
    Ok(User {
        id: row.try_get::<_, Uuid>("id")?.into(),
        username: row.try_get("username")?,
        is_operator: row.try_get("is_operator")?,
    })
}
