//! The session of the last login, in a file that only its owner can read.

use std::{
    fmt, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use crate::{
    config::{ContextName, read_limited, replace},
    error::CliError,
};

/// Who is logged in where.
#[derive(Debug, Clone)]
pub struct Session {
    /// The server that gave the token. It is never sent to another one.
    pub server: String,
    /// The root certificate that was in use, absolute.
    pub ca: PathBuf,
    /// The site that was chosen with the login, where one was.
    pub site: Option<String>,
    /// Who logged in.
    pub username: String,
    /// When the token ends.
    pub expires: Option<Timestamp>,
    /// The token.
    pub token: SecretString,
}

/// The session as it is written.
#[derive(Serialize, Deserialize)]
struct RawSession {
    server: String,
    ca: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    site: Option<String>,
    username: String,
    expires: Option<Timestamp>,
    token: String,
}

/// Where the session is kept.
#[derive(Debug, Clone)]
pub struct SessionFile(PathBuf);

impl SessionFile {
    /// The session file that belongs to a configuration file, and to a context in it.
    #[must_use]
    pub fn of(config: &Path, context: Option<&ContextName>) -> Self {
        Self(match context {
            Some(name) => config.with_file_name("sessions").join(format!("{name}.json")),
            None => config.with_file_name("session.json"),
        })
    }

    /// The session, where there is one.
    ///
    /// # Errors
    /// Where the file can't be read or understood, or others can read it.
    pub fn read(&self) -> Result<Option<Session>, CliError> {
        let text = match read_limited(&self.0) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(CliError::file(&self.0, error)),
        };
        let mode = fs::metadata(&self.0).map_err(|e| CliError::file(&self.0, e))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(CliError::failure(
                "SESSION_EXPOSED",
                format!("{self}: others may read the session in it; run: chmod 600 {self}"),
            ));
        }
        let raw: RawSession = serde_json::from_str(&text).map_err(|_| {
            CliError::failure(
                "SESSION_DAMAGED",
                format!("{self}: holds no session; remove it and run: cavs login"),
            )
        })?;
        let RawSession { server, ca, site, username, expires, token } = raw;
        Ok(Some(Session { server, ca, site, username, expires, token: token.into() }))
    }

    /// Keeps a session in the place of an earlier one.
    ///
    /// # Errors
    /// Where the file can't be written.
    pub fn write(&self, session: &Session) -> Result<(), CliError> {
        self.try_write(session).map_err(|error| CliError::file(&self.0, error))
    }

    fn try_write(&self, session: &Session) -> io::Result<()> {
        let raw = RawSession {
            server: session.server.clone(),
            ca: session.ca.clone(),
            site: session.site.clone(),
            username: session.username.clone(),
            expires: session.expires,
            token: session.token.expose_secret().to_owned(),
        };
        replace(&self.0, &serde_json::to_vec_pretty(&raw)?)
    }

    /// Forgets the session.
    ///
    /// # Errors
    /// Where the file can't be removed.
    pub fn remove(&self) -> Result<(), CliError> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(CliError::file(&self.0, error)),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for SessionFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        Session {
            server: "https://cavs.example:8443".to_owned(),
            ca: "/etc/cavs/ca.pem".into(),
            site: None,
            username: "admin".to_owned(),
            expires: Some("2026-03-01T10:00:00Z".parse().unwrap()),
            token: "secret".into(),
        }
    }

    #[test]
    fn sessions_are_kept_for_their_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = SessionFile::of(&dir.path().join("cavs/config.toml"), Some(&"north".parse().unwrap()));
        assert!(file.read().unwrap().is_none());
        file.write(&session()).unwrap();
        file.write(&session()).unwrap();
        assert_eq!(fs::metadata(&file.0).unwrap().permissions().mode() & 0o777, 0o600);
        let read = file.read().unwrap().unwrap();
        assert_eq!(read.token.expose_secret(), "secret");
        assert!(!format!("{read:?}").contains("secret"));

        fs::set_permissions(&file.0, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(file.read().unwrap_err().to_string().contains("run: chmod 600"));
        file.remove().unwrap();
        file.remove().unwrap();
        assert!(file.read().unwrap().is_none());
    }
}
