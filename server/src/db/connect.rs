//! How connections to the database are made, and what has to be true of them.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use secrecy::{ExposeSecret, SecretString};
use tokio_postgres::{
    Client, Config, Connection, Socket,
    config::{Host, SslMode},
};

use super::tls::{DatabaseTls, TlsOverSocket};
use crate::db::DatabaseError;

/// The role that the server works as in a private cluster: not its superuser.
pub(super) const RUNTIME_ROLE: &str = "cavs_server";

/// How long a caller waits for one of the pool's connections, if its own deadline is not earlier.
pub(super) const WAIT_LIMIT: Duration = Duration::from_secs(20);
/// How long a connection may take to be made, or to be found in order.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// What is set in each session, unless the operator's `options` set it. Not as `options`, which poolers refuse.
const SETTINGS: [(&str, &str); 3] = [
    // A query that takes longer is a fault; it must not hold a connection for ever.
    ("statement_timeout", "30s"),
    ("idle_in_transaction_session_timeout", "60s"),
    ("TimeZone", "UTC"),
];

const ENCODE: &str = "special characters of user and password have to be percent-encoded (@ is %40, : is %3A, / is \
                      %2F, ? is %3F, # is %23, % is %25)";

/// Somebody else's database.
#[derive(Debug, Clone)]
pub struct External {
    /// The address that the server works by. Secret, as it may hold a password.
    pub url: SecretString,
    /// The address of the role that owns the tables, where that is another one.
    pub owner: Option<SecretString>,
    /// PEM of the authority that signed the database's certificate; the machine's authorities where `None`.
    pub authority: Option<PathBuf>,
}

/// How a caller reaches its database.
#[derive(Debug, Clone)]
pub enum Address<'a> {
    /// A connection string or URL.
    Url(&'a str),
    /// Somebody else's database, with all that is configured of it.
    External(&'a External),
    /// A private cluster behind a Unix socket.
    Cluster(&'a cavs_pg_cluster::Cluster),
}

/// A way to the database as one role.
#[derive(Debug, Clone)]
pub(super) struct Link {
    config: Config,
    tls: DatabaseTls,
    /// Sets what the operator has not set.
    session: String,
}

/// The ways of a server: the one that it works by, and the one that it changes the schema by, where that is
/// another.
pub(super) struct Links {
    pub(super) runtime: Link,
    pub(super) owner: Option<Link>,
}

impl Links {
    pub(super) fn new(address: &Address<'_>) -> Result<Self, DatabaseError> {
        match address {
            Address::Url(url) => Ok(Self { runtime: Link::parse("database.url", url, None)?, owner: None }),
            Address::External(External { url, owner, authority }) => {
                let authority = authority.as_deref();
                let parse = |key, url: &SecretString| Link::parse(key, url.expose_secret(), authority);
                let owner = owner.as_ref().map(|url| parse("database.owner_url", url)).transpose()?;
                Ok(Self { runtime: parse("database.url", url)?, owner })
            }
            Address::Cluster(cluster) => {
                let as_role = |role: &str| {
                    let mut config = Config::new();
                    config.host_path(cluster.socket_directory()).user(role).dbname(cavs_pg_cluster::DATABASE);
                    Link::new(config, DatabaseTls::none())
                };
                let owner = Some(as_role(cavs_pg_cluster::USER));
                Ok(Self { runtime: as_role(RUNTIME_ROLE), owner })
            }
        }
    }
}

impl Link {
    /// Says of an address that it can't be, and never what of it: it may be a part of the password.
    fn parse(key: &str, url: &str, authority: Option<&Path>) -> Result<Self, DatabaseError> {
        // libpq's names for what is done here for `require`, too.
        let strict = ["sslmode=verify-full", "sslmode=verify-ca"];
        let url = strict.iter().fold(url.trim().to_owned(), |url, name| url.replace(name, "sslmode=require"));
        let malformed =
            || DatabaseError::Misconfigured(format!("{key}: is no address of a database; {ENCODE}"));
        let mut config = url.parse::<Config>().map_err(|_| malformed())?;
        // What is a part of the password, where that has an @.
        let is_odd = |host: &Host| match host {
            Host::Tcp(name) => name.contains(['@', ':', ' ']) && name.parse::<IpAddr>().is_err(),
            Host::Unix(_) => false,
        };
        if config.get_hosts().iter().any(is_odd) {
            return Err(malformed());
        }
        let tls = match (authority, config.get_ssl_mode()) {
            (Some(_), _) | (None, SslMode::Require) => {
                config.ssl_mode(SslMode::Require);
                DatabaseTls::verified(authority)?
            }
            // A certificate that nobody checks is no better than none, and most clusters have one of their own.
            (None, _) => {
                config.ssl_mode(SslMode::Disable);
                DatabaseTls::none()
            }
        };
        Ok(Self::new(config, tls))
    }

    fn new(mut config: Config, tls: DatabaseTls) -> Self {
        if config.get_application_name().is_none() {
            config.application_name("cavs-server");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5));
        }
        super::listen::with_keepalives(&mut config);
        let options = config.get_options().unwrap_or_default().to_lowercase();
        let session = SETTINGS
            .iter()
            .filter(|(name, _)| !options.contains(&name.to_lowercase()))
            .map(|(name, value)| format!("SET {name} = '{value}';"))
            .collect();
        Self { config, tls, session }
    }

    /// The role's name; `None` where it is that of the operating system's user.
    pub(super) fn role(&self) -> Option<&str> {
        self.config.get_user()
    }

    /// A pool of connections; none is made yet.
    pub(super) fn pool(&self, connections: usize) -> Result<Pool, DatabaseError> {
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_config(self.config.clone(), self.tls.clone(), recycling);
        let session = self.session.clone();
        let set = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let session = session.clone();
            Box::pin(async move { client.batch_execute(&session).await.map_err(HookError::Backend) })
        });
        Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .timeouts(Timeouts {
                wait: Some(WAIT_LIMIT),
                create: Some(CONNECT_LIMIT),
                recycle: Some(CONNECT_LIMIT),
            })
            .post_create(set)
            .build()
            .map_err(|error| DatabaseError::Unavailable(error.to_string()))
    }

    /// A connection outside of the pools, without what is set in their sessions.
    pub(super) async fn connect(
        &self,
    ) -> Result<(Client, Connection<Socket, TlsOverSocket<Socket>>), DatabaseError> {
        let connected = tokio::time::timeout(CONNECT_LIMIT, self.config.connect(self.tls.clone())).await;
        let connected = connected.map_err(|_| DatabaseError::Unavailable("no connection in time".into()))?;
        connected.map_err(DatabaseError::of_connecting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(url: &str) -> Result<Link, String> {
        Link::parse("database.url", url, None).map_err(|error| error.to_string())
    }

    #[test]
    fn an_address_with_a_raw_password_gets_a_hint_that_shows_nothing_of_it() {
        for url in [
            "postgres://u:p@ss:w/o#rd%@db/cavs",
            "postgres://u:sec@ret@db/cavs",
            "postgres://u:sec@ret:x@db/cavs",
            "host=db passwort=secret",
            "secret",
        ] {
            let refused = link(url).map(|link| format!("{:?}", link.config)).unwrap_err();
            assert!(refused.contains("database.url: ") && refused.contains("percent-encoded"), "{refused}");
            assert!(
                !refused.contains("sec=") && !refused.contains("secret") && !refused.contains("ret@"),
                "{refused}"
            );
        }
        for url in [
            "postgres://u:p%40ss%3Aw%2Fo%23rd%25@db/cavs",
            // What can't be taken for anything else is understood as it is.
            "postgres://u:sec:ret/x?y=z#@db/cavs",
            "postgres://u@[::1]:5432/cavs",
            "host=/run/postgresql user=u dbname=cavs",
            "postgresql:///cavs?host=/run/postgresql",
        ] {
            link(url).unwrap();
        }
    }

    #[test]
    fn what_the_operator_sets_is_kept() {
        let plain = link("postgres://u@db/cavs").unwrap();
        assert_eq!(plain.config.get_options(), None, "poolers refuse it");
        assert!(plain.session.contains("SET statement_timeout = '30s'"));
        assert!(plain.session.contains("SET TimeZone = 'UTC'"));
        let options = "-c search_path=cavs -c statement_timeout=5s";
        let own = link(&format!("host=db user=u options='{options}' application_name=x connect_timeout=7"))
            .unwrap();
        assert_eq!(own.config.get_options(), Some(options));
        assert_eq!(own.config.get_application_name(), Some("x"));
        assert_eq!(own.config.get_connect_timeout(), Some(&Duration::from_secs(7)));
        assert!(!own.session.contains("statement_timeout") && own.session.contains("TimeZone"));
    }

    #[test]
    fn tls_is_used_where_it_is_asked_for() {
        assert_eq!(link("postgres://u@db/cavs").unwrap().config.get_ssl_mode(), SslMode::Disable);
        for mode in ["require", "verify-full", "verify-ca"] {
            // Needs the machine's authorities, which a bare machine has not.
            match link(&format!("postgres://u@db/cavs?sslmode={mode}")) {
                Ok(link) => assert_eq!(link.config.get_ssl_mode(), SslMode::Require),
                Err(refused) => assert!(refused.contains("database.authority"), "{refused}"),
            }
        }
    }
}
