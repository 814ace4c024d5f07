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
    /// `operator`, or the role in the only site; left out where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'static str>,
    /// The sites, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sites: Vec<SiteRoleView>,
}

/// What somebody may do in a site.
#[derive(Debug, Clone, Serialize)]
pub struct SiteRoleView {
    /// Name of the site.
    pub site: String,
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

impl UserView {
    /// Somebody, with the sites that the server names with them.
    #[must_use]
    pub fn new(user: v1::User, sites: Vec<v1::Site>) -> Self {
        let v1::User { id, username, operator } = user;
        let in_site = |site: v1::Site| SiteRoleView { site: site.name, role: word(site.role, Role::as_str) };
        let mut sites: Vec<_> = sites.into_iter().map(in_site).collect();
        let role = match sites.as_slice() {
            _ if operator => Some("operator"),
            [only] => Some(only.role),
            _ => None,
        };
        // Whoever has one site need not know that there are any.
        if sites.len() < 2 {
            sites.clear();
        }
        Self { id, username, role, sites }
    }
}

fn person(style: &Style, user: &UserView, server: &str, expires: Option<Timestamp>) -> String {
    let roles = match user.role {
        Some(role) => role.to_owned(),
        None => {
            user.sites.iter().map(|at| format!("{} in {}", at.role, at.site)).collect::<Vec<_>>().join(", ")
        }
    };
    facts(
        style,
        &[
            ("user", user.username.clone()),
            ("role", roles),
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
