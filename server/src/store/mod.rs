//! Postgres: the only room that names `tokio_postgres`.

mod changes;
mod devices;
mod enums;
mod erasure;
mod error;
mod proxies;
mod runs;
mod sighting_queries;
mod sightings;
mod students;
mod templates;
mod thresholds;
mod users;
mod vault_proof;

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, RecyclingMethod, Runtime, Timeouts};
use tokio_postgres::{Config, NoTls};
use tracing::info;

pub use changes::{CHANGES, DEVICE_CHANGES, GALLERY_CHANGES, GalleryChange};
pub use error::StoreError;
pub use sightings::{SightingToStore, StoreOutcome};
pub use templates::{NewTemplate, StoredTemplate};

mod embedded {
    refinery::embed_migrations!("../migrations");
}

/// Held while migrations run, so that servers that start together take turns ("cavs" in ASCII).
const MIGRATION_LOCK: i64 = 0x6361_7673;

/// How a caller reaches its database.
#[derive(Debug, Clone)]
pub enum Address<'a> {
    /// A connection string or URL.
    Url(&'a str),
    /// A private cluster behind a Unix socket.
    Cluster(&'a cavs_pg_cluster::Cluster),
}

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

/// The database.
#[derive(Clone)]
pub struct Store {
    pool: Pool,
    config: Config,
}

impl Store {
    /// Prepares a pool of connections; none is made yet.
    ///
    /// # Errors
    /// `Unavailable`: the address is malformed.
    pub fn new(address: &Address<'_>, connections: usize) -> Result<Self, StoreError> {
        let malformed =
            |error: &dyn std::fmt::Display| StoreError::Unavailable(format!("database.url: {error}"));
        let mut config = match address {
            Address::Url(url) => url.parse::<Config>().map_err(|error| malformed(&error))?,
            Address::Cluster(cluster) => {
                let mut config = Config::new();
                config
                    .host_path(cluster.socket_directory())
                    .user(cavs_pg_cluster::USER)
                    .dbname(cavs_pg_cluster::DATABASE);
                config
            }
        };
        config
            .application_name("cavs-server")
            .connect_timeout(Duration::from_secs(5))
            // A query that takes longer is a fault; it must not hold a connection for ever.
            .options("-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s -c timezone=UTC");
        changes::with_keepalives(&mut config);
        let manager = Manager::from_config(
            config.clone(),
            NoTls,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let limit = Some(Duration::from_secs(5));
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts { wait: limit, create: limit, recycle: limit })
            .build()
            .map_err(|error| malformed(&error))?;
        Ok(Self { pool, config })
    }

    /// Brings the schema up to date. Servers that start together take turns.
    ///
    /// # Errors
    /// `Unavailable`, or `Migration` with the cause.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        let mut object = self.client().await?;
        // A migration of a large table may take its time.
        object.batch_execute("SET statement_timeout = 0").await?;
        object.execute("SELECT pg_advisory_lock($1)", &[&MIGRATION_LOCK]).await?;
        let client: &mut tokio_postgres::Client = &mut object;
        let report = embedded::migrations::runner().run_async(client).await;
        // The session goes with its lock and its settings.
        drop(Object::take(object));
        for migration in report?.applied_migrations() {
            info!(%migration, "migrated the database");
        }
        Ok(())
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.client().await?.execute("SELECT 1", &[]).await?;
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
    }

    async fn client(&self) -> Result<Object, StoreError> {
        Ok(self.pool.get().await?)
    }
}
