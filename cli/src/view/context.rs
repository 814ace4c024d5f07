use serde::Serialize;

use super::layout::table;
use crate::printer::{Report, Style};

/// A server and how it is spoken to, under a name.
#[derive(Debug, Clone, Serialize)]
pub struct ContextView {
    /// Unique in the configuration file.
    pub name: String,
    /// Whether it is used where no other is named.
    pub in_use: bool,
    /// Address of the server.
    pub server: Option<String>,
    /// Path of the site's root certificate.
    pub ca: Option<String>,
    /// Name or id of the site; null where the user has one only, or says it each time.
    pub site: Option<String>,
    /// Who logs in.
    pub user: Option<String>,
}

/// The contexts of the configuration file, by name.
#[derive(Debug, Serialize)]
pub struct ContextList {
    /// Each of them.
    pub contexts: Vec<ContextView>,
}

/// What is configured.
#[derive(Debug, Serialize)]
pub struct SettingsView {
    /// Path of the configuration file; it may be missing.
    pub file: String,
    /// Each value.
    pub settings: Vec<SettingView>,
}

/// A value, and where it came from.
#[derive(Debug, Serialize)]
pub struct SettingView {
    /// `context`, `server`, `ca`, `site`, `user` or `token`.
    pub name: &'static str,
    /// Null where nothing says it. Of a token, whose it is.
    pub value: Option<String>,
    /// An option, a variable, or a file.
    pub from: Option<String>,
}

impl Report for ContextList {
    const ROWS: Option<&'static str> = Some("contexts");

    fn table(&self, style: &Style) -> String {
        let rows = self.contexts.iter().map(|context| {
            let ContextView { name, in_use, server, site, user, ca } = context.clone();
            let mark = if in_use { "yes" } else { "" };
            let [server, site, user, ca] = [server, site, user, ca].map(Option::unwrap_or_default);
            [name, mark.to_owned(), server, site, user, ca]
        });
        table(style, ["NAME", "IN USE", "SERVER", "SITE", "USER", "CA"], rows.collect())
    }
}

impl Report for SettingsView {
    const ROWS: Option<&'static str> = Some("settings");

    fn table(&self, style: &Style) -> String {
        let rows = self.settings.iter().map(|setting| {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            [setting.name.to_owned(), text(&setting.value), text(&setting.from)]
        });
        table(style, ["NAME", "VALUE", "FROM"], rows.collect())
    }
}
