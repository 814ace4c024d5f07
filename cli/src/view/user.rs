use cavs_proto::v1;
use cavs_types::Role;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    layout::{facts, moment},
    word,
};
use crate::printer::{Report, Style};

/// Somebody who logs in.
#[derive(Debug, Clone, Serialize)]
pub struct UserView {
    /// UUID of the user.
    pub id: String,
    /// The name to log in with.
    pub username: String,
    /// `admin`, `reviewer`, `viewer` or `capture`.
    pub role: &'static str,
}

/// The result of a login.
#[derive(Debug, Serialize)]
pub struct LoggedIn {
    /// Address of the server.
    pub server: String,
    /// Who is logged in now.
    pub user: UserView,
    /// RFC 3339; when the session ends.
    pub expire_time: Option<Timestamp>,
}

/// The result of a logout.
#[derive(Debug, Serialize)]
pub struct LoggedOut {
    /// Address of the server.
    pub server: String,
    /// Whether there was a session that ended now.
    pub logged_out: bool,
}

/// Who is logged in.
#[derive(Debug, Serialize)]
pub struct WhoAmI {
    /// Address of the server.
    pub server: String,
    /// The user of the session.
    pub user: UserView,
}

impl From<v1::User> for UserView {
    fn from(user: v1::User) -> Self {
        Self { id: user.id, username: user.username, role: word(user.role, Role::as_str) }
    }
}

fn person(style: &Style, user: &UserView, server: &str, expires: Option<Timestamp>) -> String {
    facts(
        style,
        &[
            ("user", user.username.clone()),
            ("role", user.role.to_owned()),
            ("server", server.to_owned()),
            ("session ends", moment(style, expires)),
        ],
    )
}

impl Report for LoggedIn {
    fn table(&self, style: &Style) -> String {
        person(style, &self.user, &self.server, self.expire_time)
    }
}

impl Report for WhoAmI {
    fn table(&self, style: &Style) -> String {
        person(style, &self.user, &self.server, None)
    }
}

impl Report for LoggedOut {
    fn table(&self, _: &Style) -> String {
        if self.logged_out {
            format!("logged out of {}", self.server)
        } else {
            format!("nobody was logged in at {}", self.server)
        }
    }
}
