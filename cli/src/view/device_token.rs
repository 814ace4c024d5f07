use serde::Serialize;

use crate::printer::{Report, Style};

/// A new token of a camera.
#[derive(Serialize)]
pub struct DeviceTokenView {
    /// UUID of the camera.
    pub device_id: String,
    /// The token in clear; the server keeps its hash only.
    pub token: String,
}

/// Tokens that are no more.
#[derive(Debug, Serialize)]
pub struct RevokedTokensView {
    /// How many were good until now.
    pub revoked: u32,
}

impl Report for DeviceTokenView {
    fn table(&self, _style: &Style) -> String {
        self.token.clone()
    }
}

impl Report for RevokedTokensView {
    fn table(&self, _style: &Style) -> String {
        match self.revoked {
            1 => "1 token was revoked".to_owned(),
            revoked => format!("{revoked} tokens were revoked"),
        }
    }
}
