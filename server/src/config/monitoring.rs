use std::net::SocketAddr;

use serde::Deserialize;

/// The listener for `/metrics`, `/healthz` and `/readyz`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMonitoring {
    listen: Option<SocketAddr>,
    #[serde(default)]
    allow_remote: bool,
}

impl RawMonitoring {
    /// The address, or what is wrong with it.
    pub(super) fn checked(&self) -> Result<Option<SocketAddr>, &'static str> {
        match self.listen {
            Some(address) if !address.ip().is_loopback() && !self.allow_remote => {
                Err("is no loopback address, and everybody is answered there: if that is meant, set \
                 `monitoring.allow_remote = true`")
            }
            listen => Ok(listen),
        }
    }
}
