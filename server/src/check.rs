//! `serve --check-config`: tries out all that a configuration names, and changes nothing.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use cavs_certs::{Validity, check_chain, examine};
use cavs_models::{FacePipeline, Pack, PipelineOptions};
use cavs_pg_cluster::Cluster;
use jiff::Timestamp;
use tokio::time::timeout;

use crate::{
    biometrics::Keyring,
    config::{Config, DatabaseConfig, DatabasePlace, RecognitionConfig, Tls},
    db::{Address, Database, DatabaseError, External},
    listeners::Certificates,
};

/// How long somebody else's database may take to answer.
const DATABASE_LIMIT: Duration = Duration::from_secs(10);
/// A database needs this much to begin with, and this much to live for a while, in bytes.
const SPACE: (u64, u64) = (256 << 20, 2 << 30);

/// How bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Ok,
    /// The server starts, and somebody should look at it.
    Warning,
    /// The server does not start, or nobody could use it.
    Failed,
}

/// What was found at a key of the configuration.
#[derive(Debug)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The key.
    pub key: &'static str,
    /// What is there, or what is wrong.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Failed => "FAILED",
        };
        write!(f, "{level:<8} {}: {}", self.key, self.message)
    }
}

/// Tries out certificates, keys, pack, addresses and database.
pub async fn check(config: &Config) -> Vec<Finding> {
    let listeners = [
        ("api.listen", Some(config.api_listen)),
        ("devices.listen", Some(config.devices_listen)),
        ("monitoring.listen", config.monitoring_listen),
    ];
    let mut findings = certificates(&config.tls, &[config.api_listen, config.devices_listen]);
    findings.push(outcome(
        "vault.key_file",
        Keyring::load(config.key_file.as_deref())
            .map(|keyring| format!("a keyring with epochs {:?}", keyring.numbers())),
    ));
    findings.push(outcome("recognition.pack", pack(&config.recognition)));
    findings.extend(listeners.into_iter().filter_map(|(key, address)| Some(listener(key, address?))));
    findings.push(database(&config.database).await);
    findings
}

fn outcome(key: &'static str, result: Result<String, impl std::error::Error>) -> Finding {
    match result {
        Ok(message) => Finding { level: Level::Ok, key, message },
        Err(error) => Finding { level: Level::Failed, key, message: error.to_string() },
    }
}

fn certificates(files: &Tls, listeners: &[SocketAddr]) -> Vec<Finding> {
    let now = Timestamp::now();
    let mut findings = Vec::new();
    for (key, path) in
        [("tls.certificate", &files.certificate), ("tls.device_authority", &files.device_authority)]
    {
        findings.push(match examine(path) {
            Ok(examined) => {
                let level = match examined.validity(now) {
                    Validity::Holds => Level::Ok,
                    Validity::EndsSoon => Level::Warning,
                    Validity::NotYet | Validity::Expired => Level::Failed,
                };
                Finding { level, key, message: examined.in_words(now) }
            }
            Err(error) => Finding { level: Level::Failed, key, message: error.to_string() },
        });
    }
    if let Ok(examined) = examine(&files.certificate) {
        let loopback = |name: &String| matches!(name.as_str(), "localhost" | "127.0.0.1" | "::1");
        let others_come = listeners.iter().any(|address| !address.ip().is_loopback());
        let only_here = examined.names.iter().all(loopback) && others_come;
        let names = examined.names.join(", ");
        let message = match (examined.names.is_empty(), only_here) {
            (true, _) => "names no host, so nobody can connect".to_owned(),
            (false, true) => format!("is for {names} only: other machines can't connect"),
            (false, false) => format!("is for {names}"),
        };
        let level = match (examined.names.is_empty(), only_here) {
            (true, _) => Level::Failed,
            (false, true) => Level::Warning,
            (false, false) => Level::Ok,
        };
        findings.push(Finding { level, key: "tls.certificate", message });
        if matches!(examined.validity(now), Validity::Holds | Validity::EndsSoon)
            && let Err(error) = check_chain(&files.certificate, &files.device_authority, true)
        {
            let message = format!("{error}; devices must trust another root than their own's");
            findings.push(Finding { level: Level::Warning, key: "tls.certificate", message });
        }
    }
    let loaded = Certificates::load(files).map(|_| "is the certificate's".to_owned());
    findings.push(outcome("tls.key", loaded));
    findings
}

fn pack(config: &RecognitionConfig) -> Result<String, cavs_models::VisionError> {
    let pack = Pack::open_or_built_in(config.pack.as_deref())?;
    FacePipeline::new(&pack, PipelineOptions { device: config.device, ..Default::default() })?;
    Ok(format!("verified, digest {}", pack.digest()))
}

fn listener(key: &'static str, address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding { level: Level::Ok, key, message: format!("{address} is free") },
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let message = format!("{address} is in use; by this server, where it is running");
            Finding { level: Level::Warning, key, message }
        }
        Err(error) => Finding { level: Level::Failed, key, message: format!("{address}: {error}") },
    }
}

async fn database(database: &DatabaseConfig) -> Finding {
    match &database.place {
        DatabasePlace::Embedded(directory) => embedded(directory),
        DatabasePlace::External(external) => {
            outcome("database.url", reach(external).await.map(|()| "answers".to_owned()))
        }
    }
}

fn embedded(directory: &Path) -> Finding {
    const KEY: &str = "database.data_dir";
    let found = match Cluster::inspect(directory) {
        Ok(found) => found,
        Err(error) => return Finding { level: Level::Failed, key: KEY, message: error.to_string() },
    };
    let state = if found.exists { "is a database" } else { "will be made" };
    let account = found.account.map(|name| format!(" as user `{name}`")).unwrap_or_default();
    let message = format!(
        "{}: {state}, run by {}{account}; {} MiB are free",
        directory.display(),
        found.postgres.display(),
        found.free >> 20
    );
    let level = match found.free {
        free if free < SPACE.0 => Level::Failed,
        free if free < SPACE.1 => Level::Warning,
        _ => Level::Ok,
    };
    Finding { level, key: KEY, message }
}

async fn reach(external: &External) -> Result<(), DatabaseError> {
    let store = Database::new(&Address::External(external), 2)?;
    let answer = async {
        store.reach().await?;
        store.check_sessions().await?;
        store.ping().await
    };
    let answered = timeout(DATABASE_LIMIT, answer).await;
    store.close();
    answered
        .unwrap_or_else(|_| Err(DatabaseError::Unavailable(format!("no answer within {DATABASE_LIMIT:?}"))))
}
