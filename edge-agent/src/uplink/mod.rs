//! From the spool to the server: one bidirectional stream over mutual TLS.
//!
//! [`machine`] decides what happens when, without any I/O; [`driver`] does it; `channel` opens the
//! connection.

mod backoff;
mod channel;
pub mod driver;
mod failure;
mod failure_log;
pub mod machine;

pub use channel::{Endpoint, EndpointError};
pub use driver::{SettingsLink, Uplink, UplinkError};
pub use failure::{Failure, Phase};

/// Most bytes of sightings in one batch: servers receive 4 MiB by default.
pub const MAX_BATCH_BYTES: usize = 2 << 20;
