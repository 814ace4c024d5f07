//! TLS handshakes: as many beside each other as come, a few at work.

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll};

use rustls::{ServerConfig, server::Acceptor};
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};

use super::Place;

/// Shakes hands. What costs (signing, and the key exchange) is done by `turns` at a time; nobody
/// holds one of them while we wait for what the other side has to say.
pub(crate) async fn shake_hands(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    turns: &Semaphore,
    place: &Arc<Place>,
) -> io::Result<TlsStream<TcpStream>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let waits_for_us = place.our_turn();
    let turn = turns.acquire().await.map_err(io::Error::other)?;
    let mut rest = pin!(hello.into_stream(config));
    // Up to where the other side's answer is needed.
    let first = poll_fn(|context| Poll::Ready(rest.as_mut().poll(context))).await;
    drop((turn, waits_for_us));
    match first {
        Poll::Ready(done) => done,
        Poll::Pending => rest.await,
    }
}
