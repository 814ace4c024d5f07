use std::{
    fs,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::Deserialize;

use crate::db::External;

/// Where a private cluster is kept, if the configuration does not say.
const DATA_DIRECTORY: &str = "data";
/// Connections to the database, if the configuration does not say.
const CONNECTIONS: usize = 16;
/// Longest address that a file may hold, in bytes.
const MAX_ADDRESS: u64 = 4096;

/// The database.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// Where it is.
    pub place: DatabasePlace,
    /// Connections that the server opens for its work, at most. A few more follow changes and migrate.
    pub connections: usize,
}

/// Where the database is.
#[derive(Debug, Clone)]
pub enum DatabasePlace {
    /// A private cluster in this directory, run by the server.
    Embedded(PathBuf),
    /// Somebody else's.
    External(External),
}

/// Without an address, the server runs a private cluster: a small site needs no administrator.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDatabase {
    embedded: Option<bool>,
    data_dir: Option<PathBuf>,
    url: Option<SecretString>,
    url_file: Option<PathBuf>,
    owner_url: Option<SecretString>,
    owner_url_file: Option<PathBuf>,
    authority: Option<PathBuf>,
    connections: Option<usize>,
}

impl RawDatabase {
    /// The database, or the key whose value is wrong and what is wrong with it.
    pub(super) fn checked(self, base: &Path) -> Result<DatabaseConfig, (&'static str, String)> {
        let Self { embedded, data_dir, url, url_file, owner_url, owner_url_file, authority, connections } =
            self;
        let wrong = |key, problem: &str| Err((key, problem.to_owned()));
        let connections = connections.unwrap_or(CONNECTIONS);
        if !(4..=1000).contains(&connections) {
            return wrong("database.connections", "must be 4 to 1000");
        }
        let url = address(base, ("database.url", url), ("database.url_file", url_file))?;
        let owner =
            address(base, ("database.owner_url", owner_url), ("database.owner_url_file", owner_url_file))?;
        let place = match (embedded, data_dir, url) {
            (None | Some(true), directory, None) => {
                if owner.is_some() || authority.is_some() {
                    return wrong("database.owner_url", "and `authority` go with `url` only");
                }
                DatabasePlace::Embedded(base.join(directory.unwrap_or_else(|| DATA_DIRECTORY.into())))
            }
            (None | Some(false), None, Some(url)) => {
                let authority = authority.map(|file| base.join(file));
                DatabasePlace::External(External { url, owner, authority })
            }
            (Some(false), _, None) => return wrong("database.url", "is required with `embedded = false`"),
            (_, _, Some(_)) => {
                return wrong("database.url", "goes neither with `embedded = true` nor with `data_dir`");
            }
        };
        Ok(DatabaseConfig { place, connections })
    }
}

/// An address from the configuration itself, or from a file that only the server reads.
fn address(
    base: &Path,
    (key, value): (&'static str, Option<SecretString>),
    (file_key, file): (&'static str, Option<PathBuf>),
) -> Result<Option<SecretString>, (&'static str, String)> {
    match (value, file) {
        (Some(_), Some(_)) => Err((file_key, format!("goes not with `{key}`: one of them has to go"))),
        (value, None) => Ok(value),
        (None, Some(file)) => {
            let file = base.join(file);
            let wrong =
                |problem: &dyn std::fmt::Display| (file_key, format!("{}: {problem}", file.display()));
            let length = fs::metadata(&file).map_err(|error| wrong(&error))?.len();
            if length > MAX_ADDRESS {
                return Err(wrong(&"is too long for an address"));
            }
            let text = fs::read_to_string(&file).map_err(|error| wrong(&error))?;
            match text.trim() {
                "" => Err(wrong(&"is empty")),
                address => Ok(Some(address.to_owned().into())),
            }
        }
    }
}
