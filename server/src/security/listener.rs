use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Longest handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Handshakes at a time; further connections wait in the kernel's queue.
const HANDSHAKES: usize = 128;
/// Connections that have shaken hands and wait to be served.
const QUEUE: usize = 64;

/// Connections that have shaken hands.
pub type Incoming = ReceiverStream<io::Result<TlsStream<TcpStream>>>;

/// Accepts connections until `shutdown`. Handshakes run beside each other, so that a slow one
/// holds up nobody, and each ends within a limit.
///
/// # Errors
/// The address can't be listened on.
pub async fn listen(
    address: SocketAddr,
    tls: ServerConfig,
    tasks: &TaskTracker,
    shutdown: CancellationToken,
) -> io::Result<(SocketAddr, Incoming)> {
    let listener = TcpListener::bind(address).await?;
    let bound = listener.local_addr()?;
    let (sender, receiver) = mpsc::channel(QUEUE);
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let accepting = accept(listener, acceptor, sender, tasks.clone(), shutdown.clone());
    tasks.spawn(async move { shutdown.run_until_cancelled(accepting).await });
    Ok((bound, ReceiverStream::new(receiver)))
}

async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
    tasks: TaskTracker,
    shutdown: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let handshake = shake_hands(stream, peer, acceptor.clone(), sender.clone(), permit);
                let shutdown = shutdown.clone();
                tasks.spawn(async move { shutdown.run_until_cancelled(handshake).await });
            }
            Err(error) => {
                // Out of file descriptors, most likely: trying again at once would only spin.
                warn!(%error, "can't accept a connection");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn shake_hands(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    sender: mpsc::Sender<io::Result<TlsStream<TcpStream>>>,
    _permit: OwnedSemaphorePermit,
) {
    let _ = stream.set_nodelay(true);
    match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        // Nobody receives any more once the server stops.
        Ok(Ok(stream)) => drop(sender.send(Ok(stream)).await),
        Ok(Err(error)) => warn!(%peer, %error, "a TLS handshake failed"),
        Err(_) => debug!(%peer, "a TLS handshake took too long"),
    }
}
