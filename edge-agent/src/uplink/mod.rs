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
pub use driver::{ProxyObserver, Uplink, UplinkError, UplinkSettingsLink};
pub use failure::{Failure, Phase};

use std::time::Duration;

use cavs_proto::v1::{Hello, StreamResponse, Welcome, stream_response::Message};
use tokio::time::timeout;

/// How long [`fetch_welcome`] waits.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(20);

/// Most bytes of sightings in one batch: servers receive 4 MiB by default.
pub const MAX_BATCH_BYTES: usize = 2 << 20;

/// Opens a stream for no more than the server's welcome.
///
/// # Errors
/// Why there was no welcome; none within 20 s is [`Failure::Timeout`].
pub async fn fetch_welcome(endpoint: &Endpoint, hello: Hello) -> Result<Welcome, Failure> {
    let welcome = async {
        let mut connection = endpoint.open(hello).await?;
        loop {
            match connection.incoming.message().await? {
                Some(StreamResponse { message: Some(Message::Welcome(welcome)) }) => return Ok(welcome),
                // A later server may say more than this agent knows.
                Some(StreamResponse { message: None }) => {}
                Some(_) => return Err(Failure::Protocol("it did not begin with a welcome".to_owned())),
                None => return Err(Failure::Closed),
            }
        }
    };
    timeout(WELCOME_TIMEOUT, welcome).await.unwrap_or(Err(Failure::Timeout(Phase::Welcome)))
}
