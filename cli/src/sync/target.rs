//! Other systems, as the configuration file names them.

use std::{
    collections::BTreeMap,
    env, fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::Deserialize;

use crate::{
    config::{ContextName, read_limited},
    error::CliError,
};

/// Name of a target: it names a file, as names of contexts do.
pub(crate) type TargetName = ContextName;

/// What the other system gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TargetKind {
    /// Frappe HR's Employee Checkin: when somebody came and went, for each session.
    EmployeeCheckins,
    /// Frappe HR's Attendance: a day of an employee.
    EmployeeAttendance,
    /// Frappe Education's Student Attendance: a day of a student in a group.
    StudentAttendance,
}

/// By what the other system knows a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PersonKey {
    #[default]
    Number,
    ExternalId,
    Email,
}

/// A section `[targets.NAME]`, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetSection {
    kind: TargetKind,
    url: String,
    /// Public half of the API's key.
    key: String,
    /// Relative to the configuration file's folder.
    secret_file: Option<PathBuf>,
    secret_env: Option<String>,
    /// Who has signed the certificate of the other system; without it, whom this machine trusts. Relative likewise.
    ca: Option<PathBuf>,
    #[serde(default)]
    person: PersonKey,
    /// The field of employees that check-ins find them by.
    employee_field: Option<String>,
}

/// Another system, ready to be spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) name: TargetName,
    pub(crate) kind: TargetKind,
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) key: String,
    pub(crate) secret: SecretString,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) person: PersonKey,
    pub(crate) employee_field: String,
    /// What was sent is remembered here.
    pub(crate) ledger: PathBuf,
}

/// The targets of a configuration file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets {
    path: PathBuf,
    sections: BTreeMap<TargetName, TargetSection>,
}

impl Targets {
    pub(crate) const fn new(path: PathBuf, sections: BTreeMap<TargetName, TargetSection>) -> Self {
        Self { path, sections }
    }

    /// A target of this name, with its secret.
    ///
    /// # Errors
    /// Names the file and the key.
    pub(crate) fn target(&self, name: &TargetName) -> Result<Target, CliError> {
        let Self { path, sections } = self;
        let wrong = |problem: &str| CliError::usage(format!("{}: targets.{name}: {problem}", path.display()));
        let section = sections.get(name).ok_or_else(|| {
            let known = sections.keys().map(TargetName::as_str).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            CliError::usage(format!("{}: there is no [targets.{name}]; there are: {known}", path.display()))
        })?;
        let near = |relative: &PathBuf| path.parent().unwrap_or(Path::new("")).join(relative);
        let url = section.url.trim_end_matches('/').to_owned();
        check_url(&url).map_err(|problem| wrong(&problem))?;
        if section.key.is_empty() || section.key.chars().any(|c| c.is_control() || c == ':') {
            return Err(wrong("key: is no API key"));
        }
        let secret = match (&section.secret_file, &section.secret_env) {
            (Some(file), None) => secret_of_file(&near(file))?,
            (None, Some(variable)) => {
                env::var(variable).map_err(|_| wrong(&format!("secret_env: {variable} is not set")))?
            }
            _ => return Err(wrong("say one of secret_file and secret_env")),
        };
        let secret = secret.trim().to_owned();
        if secret.is_empty() || secret.chars().any(char::is_control) {
            return Err(wrong("the secret is empty, or no secret of one line"));
        }
        let ledger = path.with_file_name(format!("sync-{name}.jsonl"));
        Ok(Target {
            name: name.clone(),
            kind: section.kind,
            url,
            key: section.key.clone(),
            secret: secret.into(),
            ca: section.ca.as_ref().map(near),
            person: section.person,
            employee_field: section
                .employee_field
                .clone()
                .unwrap_or_else(|| "attendance_device_id".to_owned()),
            ledger,
        })
    }
}

/// The key goes with each request: in the clear only to this very machine.
fn check_url(url: &str) -> Result<(), String> {
    let uri: http::Uri = url.parse().map_err(|error| format!("url: {error}"))?;
    let host = uri.host().unwrap_or_default();
    let is_here = ["127.0.0.1", "localhost", "[::1]"].contains(&host);
    if uri.path() != "/" || uri.query().is_some() {
        return Err("url: is to be without a path, as https://erp.example".to_owned());
    }
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("url: has no place for a password".to_owned());
    }
    match uri.scheme_str() {
        Some("https") if !host.is_empty() => Ok(()),
        Some("http") if is_here => Ok(()),
        _ => Err("url: must begin with https://".to_owned()),
    }
}

fn secret_of_file(path: &Path) -> Result<String, CliError> {
    let text = read_limited(path).map_err(|error| CliError::file(path, error))?;
    let mode = fs::metadata(path).map_err(|error| CliError::file(path, error))?.permissions().mode();
    if mode & 0o077 != 0 {
        let problem = io::Error::other(format!("others may read it; run: chmod 600 {}", path.display()));
        return Err(CliError::file(path, problem));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn target(directory: &Path, section: &str) -> Result<Target, CliError> {
        #[derive(Deserialize)]
        struct File {
            targets: BTreeMap<TargetName, TargetSection>,
        }
        let file: File = toml::from_str(&format!("[targets.erp]\n{section}"))
            .map_err(|e| CliError::usage(e.to_string()))?;
        Targets::new(directory.join("config.toml"), file.targets).target(&"erp".parse().unwrap())
    }

    #[test]
    fn a_secret_is_nobody_elses_and_goes_nowhere_in_the_clear() {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("erp.secret");
        fs::write(&secret, "s3cret\n").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let good = "kind = \"employee-checkins\"\nurl = \"https://erp.example/\"\nkey = \"k\"\nsecret_file = \"erp.secret\"";
        let read = target(directory.path(), good).unwrap();
        assert_eq!((read.url.as_str(), read.secret.expose_secret()), ("https://erp.example", "s3cret"));
        assert!(!format!("{read:?}").contains("s3cret"));
        for (wrong, said) in [
            (good.replace("https", "http"), "must begin with https://"),
            (good.replace("erp.example/", "erp.example/app"), "without a path"),
            (good.replace("erp.example", "a:b@erp.example"), "no place for a password"),
            (good.replace("employee-checkins", "punches"), "unknown variant"),
            (format!("{good}\nsecret_env = \"HOME\""), "one of secret_file and secret_env"),
            (format!("{good}\nsecret = \"s3cret\""), "unknown field"),
            (good.replace("\"k\"", "\"a:b\""), "no API key"),
        ] {
            let error = target(directory.path(), &wrong).unwrap_err().to_string();
            assert!(error.contains(said) && !error.contains("s3cret\n"), "{error}");
        }
        target(directory.path(), &good.replace("https://erp.example", "http://127.0.0.1:8000")).unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(target(directory.path(), good).unwrap_err().to_string().contains("chmod 600"));
    }
}
