//! Where the server is: flags, environment, configuration file, last login, in this order.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use secrecy::SecretString;
use serde::Deserialize;
use tonic::transport::Uri;

use crate::{
    args::GlobalArgs,
    error::CliError,
    session::{Session, SessionFile},
};

/// No configuration file of ours is longer.
const MAX_CONFIG_BYTES: u64 = 64 * 1024;

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawConfig {
    server: Option<String>,
    ca: Option<PathBuf>,
    site: Option<String>,
}

/// What a command needs to speak to the server.
#[derive(Debug)]
pub struct Config {
    /// Where the server is.
    pub server: ServerUrl,
    /// The site's root certificate.
    pub ca: PathBuf,
    /// The site that commands are about; the server says it where there is only one.
    pub site: Option<String>,
    /// A token from the environment; it goes before a saved session.
    pub token: Option<SecretString>,
    /// The session of the last login.
    pub session: Option<Session>,
    /// Where sessions are kept.
    pub session_file: SessionFile,
    /// How long the server may take to connect, and to answer.
    pub timeout: Duration,
}

/// An address `https://HOST[:PORT]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerUrl(Uri);

impl ServerUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refused = |problem: &str| format!("server {text:?}: {problem}; expected https://HOST:PORT");
        let uri: Uri = text.parse().map_err(|_| refused("is no address"))?;
        match uri.scheme_str() {
            Some("https") => {}
            // A password would go over the wire for all to read.
            Some("http") => return Err(refused("http is not encrypted")),
            _ => return Err(refused("must begin with https://")),
        }
        let authority = uri.authority().ok_or_else(|| refused("names no host"))?;
        if authority.host().is_empty() {
            return Err(refused("names no host"));
        }
        if authority.as_str().contains('@') {
            return Err(refused("a user name does not belong here"));
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err(refused("nothing may follow the port"));
        }
        Ok(Self(uri))
    }

    /// The address for the transport.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.0
    }

    /// The host's name or address, as its certificate has it: IPv6 without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }
}

impl std::fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}", self.0.authority().map_or("", |authority| authority.as_str()))
    }
}

impl Config {
    /// Brings flags, environment, file and the last login together.
    ///
    /// # Errors
    /// Names the file and the key, or the option that is missing.
    pub fn resolve(args: &GlobalArgs) -> Result<Self, CliError> {
        let path = config_path(args.config.as_deref())?;
        // A file that was asked for by name must be there.
        let raw = read(&path, args.config.is_some())?;
        let session_file = SessionFile::beside(&path);
        let session = session_file.read()?;
        let near = |relative: PathBuf| path.parent().unwrap_or(Path::new("")).join(relative);

        let server = (args.server.clone().map(|text| (text, "--server or CAVS_SERVER".to_owned())))
            .or_else(|| raw.server.map(|text| (text, path.display().to_string())))
            .or_else(|| session.as_ref().map(|s| (s.server.clone(), session_file.to_string())));
        let Some((server, origin)) = server else {
            return Err(CliError::usage(format!(
                "no server is configured; give --server https://HOST:PORT, set CAVS_SERVER, or write `server = \"...\"` into {}",
                path.display()
            )));
        };
        let server =
            ServerUrl::parse(&server).map_err(|problem| CliError::usage(format!("{origin}: {problem}")))?;

        let ca = (args.ca.clone())
            .or_else(|| raw.ca.map(near))
            .or_else(|| session.as_ref().filter(|s| s.server == server.to_string()).map(|s| s.ca.clone()));
        let Some(ca) = ca else {
            return Err(CliError::usage(format!(
                "no root certificate is configured for {server}; give --ca FILE, set CAVS_CA, or write `ca = \"...\"` into {}",
                path.display()
            )));
        };
        let site = (args.site.clone())
            .or_else(|| raw.site.filter(|site| !site.is_empty()))
            .or_else(|| session.as_ref().filter(|s| s.server == server.to_string())?.site.clone());
        // Not an option: command lines can be read by everybody on the machine.
        let token = env::var("CAVS_TOKEN").ok().filter(|token| !token.is_empty()).map(SecretString::from);
        let timeout = Duration::from_secs(args.timeout);
        Ok(Self { server, ca, site, token, session, session_file, timeout })
    }
}

fn config_path(given: Option<&Path>) -> Result<PathBuf, CliError> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    // XDG base directories: a relative value must be ignored.
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .map(|base| base.join("cavs").join("config.toml"))
        .ok_or_else(|| CliError::usage("neither HOME nor XDG_CONFIG_HOME is set; give --config FILE"))
}

fn read(path: &Path, required: bool) -> Result<RawConfig, CliError> {
    let text = match read_limited(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !required => return Ok(RawConfig::default()),
        Err(error) => return Err(CliError::file(path, error)),
    };
    toml::from_str(&text).map_err(|error| {
        CliError::usage(format!("{}: {}", path.display(), error.to_string().trim_end().replace('\n', "\n  ")))
    })
}

/// Reads a small text file whole.
pub(crate) fn read_limited(path: &Path) -> io::Result<String> {
    use io::Read;
    let mut text = String::new();
    fs::File::open(path)?.take(MAX_CONFIG_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_CONFIG_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "is larger than 64 KiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_https_and_nothing_more() {
        for (text, host) in [
            ("https://cavs.example:8443", "cavs.example"),
            ("https://cavs.example/", "cavs.example"),
            ("https://[::1]:8443", "::1"),
        ] {
            assert_eq!(ServerUrl::parse(text).unwrap().host(), host);
        }
        for (text, problem) in [
            ("http://cavs.example:8443", "http is not encrypted"),
            ("cavs.example:8443", "must begin with https://"),
            ("https://", "is no address"),
            ("https://a b", "is no address"),
            ("https://admin:secret@cavs.example", "a user name does not belong here"),
            ("https://cavs.example/v1", "nothing may follow the port"),
            ("", "is no address"),
        ] {
            let error = ServerUrl::parse(text).unwrap_err();
            assert!(error.contains(problem), "{text}: {error}");
        }
    }

    #[test]
    fn unknown_keys_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.toml");
        fs::write(&path, "sever = \"https://x\"").unwrap();
        let error = read(&path, true).unwrap_err().to_string();
        assert!(error.contains("config.toml") && error.contains("unknown field `sever`"), "{error}");
    }
}
