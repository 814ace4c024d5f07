//! `[mail]`: how mails are sent, where any are.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use secrecy::SecretString;
use serde::Deserialize;

/// How the connection to the mail server is kept from others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailSecurity {
    /// TLS after a first word in the clear; nothing is sent without it.
    #[default]
    Starttls,
    /// TLS from the beginning.
    Tls,
    /// None: to this very machine only.
    None,
}

/// How mails are sent.
#[derive(Debug, Clone)]
pub struct MailConfig {
    /// The mail server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is kept from others.
    pub security: MailSecurity,
    /// Who has signed its certificate; without it, whom this machine trusts.
    pub authority: Option<PathBuf>,
    /// As whom, with which password.
    pub credentials: Option<(String, SecretString)>,
    /// Who writes, as `School <attendance@school.example>`.
    pub from: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMail {
    host: String,
    port: Option<u16>,
    #[serde(default)]
    security: MailSecurity,
    authority: Option<PathBuf>,
    user: Option<String>,
    password_file: Option<PathBuf>,
    from: String,
}

impl RawMail {
    /// What it says, with paths from `near` on; else which key is wrong, and why.
    pub(super) fn checked(
        self,
        near: impl Fn(PathBuf) -> PathBuf,
    ) -> Result<MailConfig, (&'static str, String)> {
        let Self { host, port, security, authority, user, password_file, from } = self;
        let is_here =
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        if host.is_empty() || host.len() > 253 || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(("mail.host", "is no name of a machine".to_owned()));
        }
        if security == MailSecurity::None && !is_here {
            return Err((
                "mail.security",
                "none is for a mail server on this machine: say starttls or tls".to_owned(),
            ));
        }
        from.parse::<lettre::message::Mailbox>().map_err(|error| {
            ("mail.from", format!("is no address ({error}): School <attendance@school.example>"))
        })?;
        let credentials = match (user, password_file) {
            (None, None) => None,
            (Some(user), Some(file)) => Some((user, password(&near(file))?)),
            (Some(_), None) => {
                return Err(("mail.password_file", "is needed where there is a user".to_owned()));
            }
            (None, Some(_)) => return Err(("mail.user", "is needed where there is a password".to_owned())),
        };
        let port = port.unwrap_or(match security {
            MailSecurity::Starttls => 587,
            MailSecurity::Tls => 465,
            MailSecurity::None => 25,
        });
        Ok(MailConfig { host, port, security, authority: authority.map(near), credentials, from })
    }
}

fn password(file: &Path) -> Result<SecretString, (&'static str, String)> {
    use std::os::unix::fs::PermissionsExt;
    const KEY: &str = "mail.password_file";
    let wrong = |error: std::io::Error| (KEY, format!("{}: {error}", file.display()));
    let mode = fs::metadata(file).map_err(wrong)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err((
            KEY,
            format!("{}: others may read it; run: chmod o= {}", file.display(), file.display()),
        ));
    }
    let text = fs::read_to_string(file).map_err(wrong)?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || password.len() > 1024 {
        return Err((KEY, format!("{}: holds no password", file.display())));
    }
    Ok(password.to_owned().into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[derive(Deserialize)]
    struct File {
        mail: RawMail,
    }

    fn checked(text: &str, near: &Path) -> Result<MailConfig, String> {
        let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
        file.mail.checked(|file| near.join(file)).map_err(|(key, problem)| format!("{key}: {problem}"))
    }

    #[test]
    fn mail_is_sent_as_the_document_says() {
        let directory = tempfile::tempdir().unwrap();
        let password = directory.path().join("mail.password");
        fs::write(&password, "s3cret\n").unwrap();
        fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
        let document = include_str!("../../../docs/REPORTS.md");
        let text = document.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
        let config = checked(text, directory.path()).unwrap();
        assert_eq!((config.port, config.security), (587, MailSecurity::Starttls));
        assert!(!format!("{config:?}").contains("s3cret"));
        for (wrong, said) in [
            (text.replace("starttls", "none"), "mail.security"),
            (text.replace("smtp.school.example", "a b"), "mail.host"),
            (text.replace("School <", "<School <"), "mail.from"),
            (text.replace("password_file", "port = 25\n#"), "mail.password_file"),
            (text.replace("user =", "#"), "mail.user"),
            (text.replace("mail.password\"", "nowhere\""), "mail.password_file"),
            (text.replace("user =", "password = \"x\"\nuser ="), "unknown field"),
        ] {
            let error = checked(&wrong, directory.path()).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        fs::set_permissions(&password, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(checked(text, directory.path()).unwrap_err().contains("chmod"));
    }
}
