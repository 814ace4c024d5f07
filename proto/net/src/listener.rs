//! Accepting, shaking hands and speaking HTTP, all of it bounded.

use std::{
    error::Error, future::poll_fn, io, net::SocketAddr, pin::pin, sync::Arc, task::Poll, thread,
    time::Duration,
};

use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustls::{ServerConfig, pki_types::CertificateDer, server::Acceptor};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{Instant, sleep, timeout},
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{Deadlines, Limits, Refusals, Slot, Slots};

/// How long nothing is accepted where that has failed: descriptors do not come back at once.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a failure to accept is logged.
const LOG_EVERY: Duration = Duration::from_secs(30);

/// Open files and connections that are assumed to be allowed where the system does not say.
const ASSUMED_DESCRIPTORS: u64 = 1024;
/// More is of no use here, and some systems count in billions.
const MAX_DESCRIPTORS: u64 = 65_536;

/// What HTTP may take: of a connection, unless said otherwise.
#[derive(Debug, Clone, Copy)]
pub struct Http {
    /// HTTP/1.1, too.
    pub http1: bool,
    /// Longest head of a request, in bytes.
    pub head_bytes: u32,
    /// Most headers of an HTTP/1.1 request.
    pub headers: usize,
    /// Most requests at a time of an HTTP/2 connection.
    pub streams: u32,
    /// What may come of a request before it is read, in bytes; `None` for HTTP/2's own 64 KiB.
    pub stream_window: Option<u32>,
    /// The same, of all requests.
    pub connection_window: Option<u32>,
    /// What waits to be sent of an answer, in bytes.
    pub send_buffer: usize,
    /// How often a silent HTTP/2 connection is asked whether it is alive, and how long the answer may
    /// take.
    pub keep_alive: Duration,
    /// How long requests under way may take once the listener stops.
    pub drain: Duration,
}

/// Streams that a peer has reset before we have seen them, at most (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams that we have reset for a fault of the peer's, at most: hyper's builders know no limit
/// where they are told nothing.
const LOCAL_RESETS: usize = 256;

/// The TLS configuration that new connections get.
pub type TlsSource = watch::Receiver<Arc<ServerConfig>>;

/// A TLS configuration that stays as it is.
#[must_use]
pub fn fixed_tls(config: ServerConfig) -> TlsSource {
    watch::Sender::new(Arc::new(config)).subscribe()
}

/// Who is on the other end: for every request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The certificates that were shown, the peer's own first.
    pub certificates: Option<Arc<[CertificateDer<'static>]>>,
    /// Its connection's slot: when somebody proves who they are, or is slow, it is told.
    pub slot: Arc<Slot>,
}

/// A bound address, and the bounds of its connections.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsSource>,
    slots: Slots,
    /// Permits of the handshakes that may compute at a time.
    handshakes: Arc<Semaphore>,
    refusals: Arc<Refusals>,
}

impl Listener {
    /// Listens; in plain text without `tls`.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub async fn bind(
        address: SocketAddr,
        tls: Option<TlsSource>,
        limits: Limits,
        deadlines: Deadlines,
        refusals: Arc<Refusals>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        // A core is left to those who are connected.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let handshakes = Arc::new(Semaphore::new((cores / 2).max(1)));
        Ok(Self { listener, address, tls, slots: Slots::new(limits, deadlines), handshakes, refusals })
    }

    /// The bound address, with the port that the system chose where 0 was asked for.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it says whom it refuses.
    #[must_use]
    pub fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.refusals)
    }

    /// Its slots, for who counts its connections.
    #[must_use]
    pub fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Serves connections until `shutdown`, and returns when all of them have ended. `make` gives the
    /// service of a connection.
    pub async fn serve<M, S, B>(self, http: Http, shutdown: CancellationToken, make: M)
    where
        M: Fn(Peer) -> S + Send + Sync + 'static,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let tasks = TaskTracker::new();
        let make = Arc::new(make);
        let mut logged: Option<Instant> = None;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = shutdown.cancelled() => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, most likely: trying again at once would only spin.
                    if logged.is_none_or(|logged| logged.elapsed() >= LOG_EVERY) {
                        warn!(%error, listener = %self.address, "can't accept connections");
                        logged = Some(Instant::now());
                    }
                    self.slots.make_room();
                    sleep(PAUSE).await;
                    continue;
                }
            };
            let Some(slot) = self.slots.enter(address.ip()) else {
                self.refusals.log(address, "TOO_MANY_CONNECTIONS", None, "a connection was refused");
                continue;
            };
            let _ = stream.set_nodelay(true);
            let connection = Connection {
                tls: self.tls.as_ref().map(|tls| Arc::clone(&tls.borrow())),
                handshakes: Arc::clone(&self.handshakes),
                refusals: Arc::clone(&self.refusals),
                address,
                slot: Arc::clone(&slot),
                http,
                shutdown: shutdown.clone(),
            };
            let serving = connection.serve(stream, Arc::clone(&make));
            tasks.spawn(async move {
                tokio::select! {
                    () = serving => {}
                    () = slot.ended() => {}
                }
            });
        }
        drop(self.listener);
        tasks.close();
        tasks.wait().await;
    }
}

/// What a connection is served with.
struct Connection {
    tls: Option<Arc<ServerConfig>>,
    handshakes: Arc<Semaphore>,
    refusals: Arc<Refusals>,
    address: SocketAddr,
    slot: Arc<Slot>,
    http: Http,
    shutdown: CancellationToken,
}

impl Connection {
    async fn serve<M, S, B>(self, stream: TcpStream, make: Arc<M>)
    where
        M: Fn(Peer) -> S,
        S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
        S::Future: Send + 'static,
        S::Error: Into<Box<dyn Error + Send + Sync>>,
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut peer = Peer { address: self.address, certificates: None, slot: Arc::clone(&self.slot) };
        let Some(tls) = self.tls else {
            return serve_http(stream, self.http, make(peer), &self.shutdown).await;
        };
        match accept_tls(stream, tls, &self.handshakes, &self.slot).await {
            Ok(stream) => {
                peer.certificates =
                    stream.get_ref().1.peer_certificates().map(|chain| {
                        chain.iter().map(|certificate| certificate.clone().into_owned()).collect()
                    });
                self.slot.made_progress();
                serve_http(stream, self.http, make(peer), &self.shutdown).await;
            }
            // Who goes away without a word has scanned ports, or looks whether somebody is there.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                debug!(peer = %self.address, "gone before a TLS handshake");
            }
            Err(error) => {
                let what = format_args!("a TLS handshake failed: {error}");
                self.refusals.log(self.address, "TLS_HANDSHAKE_FAILED", None, what);
            }
        }
    }
}

/// Does a TLS handshake. What costs (signing, and the key exchange) is done by as many at a time as
/// `handshakes` has permits; nobody holds one of them while we wait for what the other side has to say.
async fn accept_tls(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    handshakes: &Semaphore,
    slot: &Arc<Slot>,
) -> io::Result<TlsStream<TcpStream>> {
    let hello = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let waits_for_us = slot.processing();
    let permit = handshakes.acquire().await.map_err(io::Error::other)?;
    let mut rest = pin!(hello.into_stream(config));
    // Up to where the other side's answer is needed.
    let first = poll_fn(|context| Poll::Ready(rest.as_mut().poll(context))).await;
    drop((permit, waits_for_us));
    match first {
        Poll::Ready(done) => done,
        Poll::Pending => rest.await,
    }
}

async fn serve_http<S, B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    http: Http,
    service: S,
    shutdown: &CancellationToken,
) where
    S: Service<Request<Incoming>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let builder = builder(http);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            timeout(http.drain, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = result {
        debug!(%error, "a connection broke");
    }
}

fn builder(http: Http) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // Who has sent everything may close its side and still wait for the answer.
        .half_close(true)
        .header_read_timeout(Deadlines::default().newcomer)
        .max_buf_size(usize::try_from(http.head_bytes).unwrap_or(usize::MAX))
        .max_headers(http.headers);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(http.streams)
        .max_pending_accept_reset_streams(PENDING_RESETS)
        .max_local_error_reset_streams(LOCAL_RESETS)
        .max_header_list_size(http.head_bytes)
        .initial_stream_window_size(http.stream_window)
        .initial_connection_window_size(http.connection_window)
        .max_send_buf_size(http.send_buffer)
        .keep_alive_interval(http.keep_alive)
        .keep_alive_timeout(http.keep_alive);
    if http.http1 { builder } else { builder.http2_only() }
}

/// Raises the soft limit of open files to the hard one, where the system lets it, and gives what
/// holds from now on.
#[must_use]
pub fn raise_descriptors() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return ASSUMED_DESCRIPTORS as usize };
    let wanted = hard.min(MAX_DESCRIPTORS).max(soft);
    let now = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        // A service may be forbidden to: what its unit gives it is what there is.
        Err(_) => soft,
    };
    usize::try_from(now.min(MAX_DESCRIPTORS)).unwrap_or(ASSUMED_DESCRIPTORS as usize)
}
