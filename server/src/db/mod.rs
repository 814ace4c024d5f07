//! The connection to PostgreSQL: pools, migrations, errors, and what all stores share in reading and asking.
//!
//! SQL is in the `store` of each capability; here is what none of them owns.

mod batch;
mod columns;
mod connect;
mod error;
mod listen;
mod lists;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

use std::{
    ops::{Deref, DerefMut},
    time::{Duration, Instant},
};

use deadpool_postgres::{ClientWrapper, Object, Pool};
use tokio_postgres::SimpleQueryMessage;
use tracing::{info, warn};

use self::connect::{Link, Links, RUNTIME_ROLE, WAIT_LIMIT};

pub(crate) use batch::Batch;
pub(crate) use columns::{read_digest, read_json, read_text, read_zone, to_bigint, to_integer};
pub use connect::{Address, External};
pub use error::DatabaseError;
pub(crate) use listen::Heard;
pub(crate) use lists::{Conditions, ListSource};

pub(crate) mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// Held while migrations run, so that servers that start together take turns ("cavs" in ASCII).
const MIGRATION_LOCK: i64 = 0x6361_7673;

/// How often a server that waits for another one's migrations asks whether they are done.
const MIGRATION_TURN: Duration = Duration::from_millis(250);
/// How long to wait before asking a database again that has no connection left, at first and at most.
const PLACE_PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(500));

/// How connections to the database are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// That there are.
    pub open: usize,
    /// That wait for work.
    pub idle: usize,
    /// That there may be.
    pub most: usize,
    /// Work that waits for one.
    pub waiting: usize,
}

/// The session of the one server that does a job. Its lock goes with the session, but only when the database has
/// noticed that it is gone.
pub(crate) struct OwnerAlone {
    client: ClientWrapper,
    lock: i64,
}

impl OwnerAlone {
    /// The job is done, or was given up: the next one can be begun at once.
    pub(crate) async fn end(self) {
        // Where it fails, the session is gone, and the lock with it.
        let _unlocked = self.client.execute("SELECT pg_advisory_unlock($1)", &[&self.lock]).await;
    }
}

impl Deref for OwnerAlone {
    type Target = tokio_postgres::Client;

    fn deref(&self) -> &Self::Target {
        &self.client
    }
}

impl DerefMut for OwnerAlone {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.client
    }
}

/// The database.
#[derive(Clone)]
pub struct Database {
    pool: Pool,
    /// What changes the schema, where the role of the pool may not.
    owner: Option<Pool>,
    link: Link,
}

impl Database {
    /// Prepares a pool of connections; none is made yet.
    ///
    /// # Errors
    /// `Misconfigured`: the address is malformed.
    pub fn new(address: &Address<'_>, connections: usize) -> Result<Self, DatabaseError> {
        let Links { runtime, owner } = Links::new(address)?;
        let owner = owner.map(|link| link.pool(1)).transpose()?;
        Ok(Self { pool: runtime.pool(connections)?, owner, link: runtime })
    }

    /// The same database through connections of its own: who takes all of the one store's leaves those of
    /// the other.
    ///
    /// # Errors
    /// `Unavailable`: there can be no such pool.
    pub fn with_own_connections(&self, connections: usize) -> Result<Self, DatabaseError> {
        let pool = self.link.pool(connections)?;
        Ok(Self { pool, owner: self.owner.clone(), link: self.link.clone() })
    }

    /// Brings the schema up to date, and lets the role that the server works as use it. Servers that start
    /// together take turns.
    ///
    /// # Errors
    /// `Unavailable`, or `Migration` with the cause.
    pub async fn migrate(&self) -> Result<(), DatabaseError> {
        let mut object = self.owner().await?;
        // A migration of a large table may take its time.
        object.batch_execute("SET statement_timeout = 0").await?;
        let mut is_told = false;
        // Not a wait inside the database: it would go on there after this server was told to stop.
        loop {
            let row = object.query_one("SELECT pg_try_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
            let is_ours: bool = row.try_get(0)?;
            if is_ours {
                break;
            }
            if !std::mem::replace(&mut is_told, true) {
                info!("another server brings the schema up to date");
            }
            tokio::time::sleep(MIGRATION_TURN).await;
        }
        let client: &mut tokio_postgres::Client = &mut object;
        let report = embedded::migrations::runner().run_async(client).await;
        let granted = match &self.owner {
            Some(_) => self.grant(client).await,
            None => Ok(()),
        };
        // The session goes with its lock and its settings.
        drop(Object::take(object));
        for migration in report?.applied_migrations() {
            info!(%migration, "migrated the database");
        }
        granted
    }

    /// Lets the role that the server works as read and write all tables, reviews only added to, and no more.
    /// In a private cluster it is made where it is missing.
    async fn grant(&self, owner: &tokio_postgres::Client) -> Result<(), DatabaseError> {
        let Some(role) = self.link.role() else { return Ok(()) };
        let sql = "SELECT current_user = $1::text, quote_ident($1::text), quote_ident(current_schema()),
                   EXISTS (SELECT FROM pg_roles WHERE rolname = $1::text)";
        let row = owner.query_one(sql, &[&role]).await?;
        let (same, exists): (bool, bool) = (row.try_get(0)?, row.try_get(3)?);
        let (role, schema): (String, String) = (row.try_get(1)?, row.try_get(2)?);
        if same {
            return Ok(());
        }
        // Elsewhere it is the operator who makes roles, and gives them passwords.
        if !exists && role == RUNTIME_ROLE {
            owner.batch_execute(&format!("CREATE ROLE {role} LOGIN")).await?;
        }
        let sql = format!(
            "GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
             GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA {schema} TO {role};
             REVOKE UPDATE, DELETE ON {schema}.reviews FROM {role};
             REVOKE ALL ON {schema}.refinery_schema_history FROM {role}"
        );
        Ok(owner.batch_execute(&sql).await?)
    }

    /// Whether the database answers those who change the schema: before they did, the role that the server
    /// works as may not be there.
    ///
    /// # Errors
    /// As [`Self::ping`].
    pub async fn reach(&self) -> Result<(), DatabaseError> {
        self.owner().await?.simple_query("SELECT 1").await?;
        Ok(())
    }

    /// Whether the database answers, and takes what is written.
    ///
    /// # Errors
    /// `Unavailable`, `Busy`, `Misconfigured`.
    pub async fn ping(&self) -> Result<(), DatabaseError> {
        let row = self.client().await?.query_one("SELECT pg_is_in_recovery()", &[]).await?;
        let is_standby: bool = row.try_get(0)?;
        if is_standby {
            let problem = "it is the standby of another server, and takes no changes";
            return Err(DatabaseError::Unavailable(problem.into()));
        }
        Ok(())
    }

    /// Checks, once at the start, what the address can't say: that a connection is one session of the
    /// database's, and what its role may do.
    ///
    /// # Errors
    /// `Misconfigured`, and what [`Self::ping`] has.
    pub async fn check_sessions(&self) -> Result<(), DatabaseError> {
        let (first, second) = (self.client().await?, self.client().await?);
        let mut sessions = [Vec::new(), Vec::new()];
        for _ in 0..3 {
            for (client, seen) in [&first, &second].into_iter().zip(&mut sessions) {
                // Unprepared, as a prepared statement is what such a pooler loses.
                let messages = client.simple_query("SELECT pg_backend_pid()").await?;
                for message in &messages {
                    if let SimpleQueryMessage::Row(row) = message {
                        seen.extend(row.get(0).map(str::to_owned));
                    }
                }
            }
        }
        let [of_first, of_second] = sessions;
        let is_one = |pids: &[String]| pids.windows(2).all(|pair| pair[0] == pair[1]);
        if !is_one(&of_first) || !is_one(&of_second) || of_first.first() == of_second.first() {
            return Err(DatabaseError::Misconfigured(
                "`database.url` leads to a pooler that gives each transaction another session (pgbouncer with \
                 pool_mode = transaction); prepared statements and LISTEN need one of their own: set pool_mode = \
                 session for this database, or connect directly"
                    .into(),
            ));
        }
        let sql = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user";
        let is_superuser: bool = first.query_one(sql, &[]).await?.try_get(0)?;
        if is_superuser {
            warn!(
                "the server works as a superuser of the database, and needs none of that; see `database.owner_url`"
            );
        }
        Ok(())
    }

    /// How the pool's connections are used.
    #[must_use]
    pub fn connections(&self) -> Connections {
        let status = self.pool.status();
        Connections {
            open: status.size,
            idle: status.available,
            most: status.max_size,
            waiting: status.waiting,
        }
    }

    /// Closes all connections.
    pub fn close(&self) {
        self.pool.close();
        if let Some(owner) = &self.owner {
            owner.close();
        }
    }

    /// A connection of the pool. Where the database has none left, the caller waits for one, too.
    pub(crate) async fn client(&self) -> Result<Object, DatabaseError> {
        let begun = Instant::now();
        let (mut pause, longest) = PLACE_PAUSES;
        loop {
            match self.pool.get().await.map_err(DatabaseError::from) {
                Err(DatabaseError::Busy(_)) if begun.elapsed() + pause < WAIT_LIMIT => {
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(longest);
                }
                done => return done,
            }
        }
    }

    /// A session of the role that owns the tables for the one server that does a job, which is named by its lock;
    /// `None` where another server is at it. Who has done the job says so ([`OwnerAlone::end`]).
    pub(crate) async fn owner_alone(&self, lock: i64) -> Result<Option<OwnerAlone>, DatabaseError> {
        // Taken from the pool: a session of the owner's is open no longer than it is needed.
        let client = Object::take(self.owner().await?);
        let is_ours: bool =
            client.query_one("SELECT pg_try_advisory_lock($1)", &[&lock]).await?.try_get(0)?;
        Ok(is_ours.then_some(OwnerAlone { client, lock }))
    }

    /// A connection of the role that owns the tables.
    pub(crate) async fn owner(&self) -> Result<Object, DatabaseError> {
        match &self.owner {
            Some(owner) => Ok(owner.get().await?),
            None => self.client().await,
        }
    }
}
