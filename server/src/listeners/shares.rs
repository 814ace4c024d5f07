use std::{io, net::SocketAddr, sync::Arc};

use cavs_net::{Deadlines, Limits, Listener, Refusals, TlsSource, raise_descriptors};

/// Descriptors that no connection of a listener gets: the database's, files, monitoring.
const RESERVED: usize = 128;
/// Most connections of people and integrators.
const API: usize = 4096;
/// Most connections of devices.
const DEVICES: usize = 16_384;

/// How many connections each listener may have. Each has a share of the descriptors of its own:
/// whoever fills the one shuts nobody out of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shares {
    /// Of the API listener.
    pub api: usize,
    /// Of the device listener.
    pub devices: usize,
}

impl Shares {
    /// The shares of this process, whose limit of descriptors is raised as far as it goes.
    #[must_use]
    pub fn of_process() -> Self {
        Self::of(raise_descriptors())
    }

    fn of(descriptors: usize) -> Self {
        let connections = descriptors.saturating_sub(RESERVED).max(descriptors / 2);
        let api = (connections / 3).clamp(1, API);
        Self { api, devices: (connections - connections / 3).clamp(1, DEVICES) }
    }
}

/// Listens with TLS, for so many connections.
///
/// # Errors
/// The address can't be listened on.
pub async fn listen(
    address: SocketAddr,
    tls: TlsSource,
    connections: usize,
    refusals: &Arc<Refusals>,
) -> io::Result<Listener> {
    let limits = Limits::of(connections);
    Listener::bind(address, Some(tls), limits, Deadlines::default(), Arc::clone(refusals)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_have_a_share_that_nobody_else_gets() {
        for descriptors in [64, 256, 1024, 4096, 20_000, 65_536] {
            let Shares { api, devices } = Shares::of(descriptors);
            assert!(api + devices <= descriptors, "{descriptors}");
            assert!(devices >= api && api >= 1, "{descriptors}: {api}, {devices}");
        }
        assert_eq!(Shares::of(1024), Shares { api: 298, devices: 598 });
        assert_eq!(Shares::of(65_536), Shares { api: API, devices: DEVICES });
    }
}
