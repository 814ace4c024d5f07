use cavs_types::{ProtocolError, Role, UserId};
use secrecy::{ExposeSecret, SecretString};

use super::SiteKey;
use crate::text;

/// Somebody who logs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Ours.
    pub id: UserId,
    /// Unique.
    pub username: String,
    /// They may do everything in all sites, and alone manage them.
    pub is_operator: bool,
}

/// What a user is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant<S = Option<SiteKey>> {
    /// Everything in all sites, and to manage them.
    Operator,
    /// A role in a site: in the only one where none is named.
    Role(Role, S),
}

/// A user name and a password.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// 1 to 64 characters.
    pub username: String,
    /// 1 to 256 bytes.
    pub password: SecretString,
}

impl Credentials {
    /// Checks what a person typed.
    ///
    /// # Errors
    /// `Missing` or `Invalid`, by field.
    pub fn new(username: &str, password: String) -> Result<Self, ProtocolError> {
        let password = SecretString::from(password);
        match password.expose_secret().len() {
            0 => return Err(ProtocolError::Missing { field: "password" }),
            1..=256 => {}
            _ => return Err(ProtocolError::invalid("password", "at most 256 bytes")),
        }
        Ok(Self {
            username: text::required("username", text::identifier("username", username, 64)?)?,
            password,
        })
    }

    /// Whether the password is long enough for a new account: NIST SP 800-63B asks for eight.
    #[must_use]
    pub fn is_strong(&self) -> bool {
        self.password.expose_secret().chars().count() >= 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_that_look_alike_are_one() {
        let username = |name| Credentials::new(name, "password".to_owned()).map(|c| c.username);
        assert_eq!(username("ａｄａ＠example.org").unwrap(), "ada@example.org");
        assert_eq!(username("zoe\u{308}").unwrap(), username("zo\u{eb}").unwrap());
        assert!(username("ada\u{200b}").is_err() && username("\u{3164}").is_err());
    }
}
