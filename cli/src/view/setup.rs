use serde::Serialize;

use super::layout::facts;
use crate::printer::{Report, Style};

/// A site that was set up.
#[derive(Debug, Serialize)]
pub struct SetupView {
    /// The folder with everything.
    pub dir: String,
    /// Address of the server for this machine.
    pub server: String,
    /// DNS names and addresses by which the server may be reached.
    pub server_names: Vec<String>,
    /// Path of the site's root certificate.
    pub ca: String,
    /// The context of this program that speaks to it.
    pub context: String,
    /// User name of the administrator, who is logged in.
    pub admin: String,
    /// Path of the systemd unit.
    pub unit: String,
    /// Path of the first device's configuration; null where there is no device yet.
    pub agent: Option<String>,
    /// Commands that come next.
    pub next: Vec<String>,
}

impl Report for SetupView {
    fn table(&self, style: &Style) -> String {
        let lines = facts(
            style,
            &[
                ("folder", self.dir.clone()),
                ("server", self.server.clone()),
                ("its names", self.server_names.join(", ")),
                ("root certificate", self.ca.clone()),
                ("context", format!("{}, in use, with {} logged in", self.context, self.admin)),
                ("unit", self.unit.clone()),
                ("agent", self.agent.clone().unwrap_or_default()),
            ],
        );
        format!("{lines}\n\nnext:\n  {}", self.next.join("\n  "))
    }
}
