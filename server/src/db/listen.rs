//! Hearing of what other servers have changed (`LISTEN`).

use std::{convert::Infallible, future::poll_fn, time::Duration};

use tokio_postgres::{AsyncMessage, Config};
use tracing::warn;

use super::{Database, DatabaseError};

/// What is heard on channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard<'a> {
    /// Listening has begun: what happened before was not announced to us.
    Listening,
    /// Something was announced.
    Told {
        /// On which channel.
        channel: &'a str,
        /// What about.
        payload: &'a str,
    },
}

impl Database {
    /// Listens on channels, on a connection of its own, until it breaks.
    ///
    /// # Errors
    /// `Unavailable`: there is no connection, or no more.
    pub(crate) async fn listen(
        &self,
        channels: &[&str],
        heard: impl Fn(Heard<'_>),
    ) -> Result<(), DatabaseError> {
        let lost = || DatabaseError::Unavailable("the connection was closed".into());
        let (client, mut connection) = self.link.connect().await?;
        let listening = async {
            client.batch_execute(&format!("LISTEN {}", channels.join("; LISTEN "))).await?;
            heard(Heard::Listening);
            // The client must live, or the connection closes.
            std::future::pending::<()>().await;
            Ok::<(), DatabaseError>(())
        };
        let messages = async {
            // Ends with the connection only.
            loop {
                match poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(told))) => {
                        heard(Heard::Told { channel: told.channel(), payload: told.payload() });
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(DatabaseError::from(error)),
                    None => return Err(lost()),
                }
            }
        };
        tokio::try_join!(listening, messages).map(|((), ())| ())
    }
}

/// How long to wait before listening again after the connection broke.
const LISTEN_AGAIN: Duration = Duration::from_millis(500);

impl Database {
    /// As [`Self::listen`], again and again; `what` is not heard of meanwhile.
    pub(crate) async fn listen_always(
        &self,
        channels: &[&str],
        what: &'static str,
        heard: impl Fn(Heard<'_>),
    ) -> Infallible {
        loop {
            if let Err(cause) = self.listen(channels, &heard).await {
                warn!(%cause, what, "does not hear of changes until the database is back");
            }
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    }
}

/// What the pool's and the listening connections have in common.
pub(super) fn with_keepalives(config: &mut Config) {
    // A database that went away without a word must be noticed, or its changes would be missed.
    config
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(10))
        .keepalives_interval(Duration::from_secs(5))
        .keepalives_retries(3);
}
