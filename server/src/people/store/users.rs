use cavs_types::{Role, UserId};
use jiff::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    db::{Database, DatabaseError, read_text},
    people::User,
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

    /// Adds a user.
    ///
    /// # Errors
    /// `Taken`: the user name.
    pub async fn create_user(
        &self,
        username: &str,
        password_hash: &str,
        role: Role,
    ) -> Result<User, DatabaseError> {
        let id = UserId::generate();
        let sql = "INSERT INTO users (id, username, password_hash, role) VALUES ($1, $2, $3, $4)";
        self.db
            .client()
            .await?
            .execute(sql, &[&id.uuid(), &username, &password_hash, &role.as_str()])
            .await?;
        Ok(User { id, username: username.to_owned(), role })
    }

    /// A user with the hash of their password.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn user_by_name(&self, username: &str) -> Result<Option<(User, String)>, DatabaseError> {
        let sql = "SELECT id, username, role, password_hash FROM users WHERE username = $1";
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

    /// Whose session it is, as long as it lasts.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn session_user(&self, token_hash: &[u8]) -> Result<Option<User>, DatabaseError> {
        let client = self.db.client().await?;
        let statement = client
            .prepare_cached(
                "SELECT u.id, u.username, u.role FROM user_sessions s JOIN users u ON u.id = s.user_id
                 WHERE s.token_hash = $1 AND s.expires_at > now()",
            )
            .await?;
        client.query_opt(&statement, &[&token_hash]).await?.as_ref().map(user).transpose()
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

fn user(row: &Row) -> Result<User, DatabaseError> {
    Ok(User {
        id: row.try_get::<_, Uuid>("id")?.into(),
        username: row.try_get("username")?,
        role: read_text(row, "users", "role")?,
    })
}
