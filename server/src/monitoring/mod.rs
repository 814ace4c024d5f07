//! The listener for the operator's monitoring: `/metrics`, `/healthz`, `/readyz`, over plain HTTP on a
//! loopback address.

mod metrics;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, sync::OnceLock, time::Duration};

use bytes::Bytes;
use cavs_net::{Deadlines, Limits, Slots};
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::Full;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use crate::{
    db::Database,
    recognition::{GalleryState, Recognition},
    services::Services,
};

pub use metrics::{Metrics, Observed, ObservedSite, OpenStream};

/// Connections at a time: the newest ones.
const LIMITS: Limits = Limits { connections: 16, of_address: 16, newcomers: 16, newcomers_of_address: 16 };
/// How long a connection may take for all it asks.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);
/// The same, as slots have it: nobody here proves who they are.
const DEADLINES: Deadlines =
    Deadlines { newcomer: CONNECTION_LIMIT, newcomer_in_all: CONNECTION_LIMIT, idle: None };
/// How long a request's header may take.
const HEADER_LIMIT: Duration = Duration::from_secs(5);
/// How long the database may take to show that it is there.
const DATABASE_LIMIT: Duration = Duration::from_secs(2);

/// What monitoring is told from.
pub struct Monitor {
    store: Database,
    metrics: Arc<Metrics>,
    /// Set once the gallery is loaded.
    services: OnceLock<Services>,
    shutdown: CancellationToken,
}

impl Monitor {
    /// A monitor of a server that is starting.
    #[must_use]
    pub fn new(store: Database, metrics: Arc<Metrics>, shutdown: CancellationToken) -> Arc<Self> {
        Arc::new(Self { store, metrics, services: OnceLock::new(), shutdown })
    }

    /// From now on the server serves.
    pub fn serves(&self, services: Services) {
        // Said once.
        let _ = self.services.set(services);
    }

    /// Answers until `shutdown`.
    ///
    /// # Errors
    /// The address can't be listened on.
    pub async fn listen(self: Arc<Self>, address: SocketAddr, tasks: &TaskTracker) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let bound = listener.local_addr()?;
        let (accepting, shutdown) =
            (Arc::clone(&self).accept(listener, tasks.clone()), self.shutdown.clone());
        tasks.spawn(async move { shutdown.run_until_cancelled(accepting).await });
        Ok(bound)
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, tasks: TaskTracker) {
        let slots = Slots::new(LIMITS, DEADLINES);
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let Some(slot) = slots.enter(peer.ip()) else { continue };
                    let (monitor, shutdown) = (Arc::clone(&self), self.shutdown.clone());
                    tasks.spawn(async move {
                        tokio::select! {
                            () = monitor.converse(stream) => {}
                            () = slot.ended() => {}
                            () = shutdown.cancelled() => {}
                        }
                    });
                }
                Err(error) => {
                    warn!(%error, "can't accept a connection of monitoring");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    async fn converse(self: Arc<Self>, stream: TcpStream) {
        let answer = |request| {
            let monitor = Arc::clone(&self);
            async move { Ok::<_, Infallible>(monitor.answer(&request).await) }
        };
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_LIMIT)
            .serve_connection(TokioIo::new(stream), service_fn(answer))
            .await;
        if let Err(error) = served {
            debug!(%error, "a connection of monitoring broke");
        }
    }

    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        const PLAIN: &str = "text/plain; charset=utf-8";
        const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        let (status, kind, text) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/metrics") => match self.metrics.render(self.observe().as_ref()) {
                Ok(text) => (StatusCode::OK, METRICS, text),
                Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, PLAIN, "no metrics\n".to_owned()),
            },
            (&Method::GET, "/healthz") => (StatusCode::OK, PLAIN, "ok\n".to_owned()),
            (&Method::GET, "/readyz") => match self.ready().await {
                Ok(()) => (StatusCode::OK, PLAIN, "ready\n".to_owned()),
                Err(why) => (StatusCode::SERVICE_UNAVAILABLE, PLAIN, format!("{why}\n")),
            },
            (&Method::GET, _) => {
                (StatusCode::NOT_FOUND, PLAIN, "there are /metrics, /healthz, /readyz\n".into())
            }
            _ => (StatusCode::METHOD_NOT_ALLOWED, PLAIN, "GET only\n".to_owned()),
        };
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
        response
    }

    async fn ready(&self) -> Result<(), String> {
        if self.shutdown.is_cancelled() {
            return Err("the server is stopping".into());
        }
        let Some(services) = self.services.get() else { return Err("the gallery is being loaded".into()) };
        if !services.vision.is_alive().await {
            return Err("the networks that look at enrolled pictures have failed".into());
        }
        match timeout(DATABASE_LIMIT, self.store.ping()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(cause)) => Err(cause.to_string()),
            Err(_) => Err("the database does not answer".into()),
        }
    }

    fn observe(&self) -> Option<Observed> {
        let services = self.services.get()?;
        let galleries = services.galleries.all();
        let states: Vec<_> = galleries.iter().map(|gallery| gallery.state()).collect();
        let sum = |of: fn(&GalleryState) -> usize| states.iter().map(of).sum::<usize>();
        Some(Observed {
            sizes: [
                sum(|state| state.stats.templates),
                sum(|state| state.stats.students),
                sum(|state| state.stats.graph.map_or(0, |graph| graph.templates)),
            ],
            bytes: sum(|state| state.stats.memory),
            quarantined: sum(|state| state.quarantined),
            searches: services.galleries.searches(),
            sites: galleries.iter().map(|gallery| observe_site(gallery)).collect(),
            connections: services.connections(),
            keyring_epoch: services.keys.newest_epoch(),
        })
    }
}

fn observe_site(gallery: &Recognition) -> ObservedSite {
    let thresholds = gallery.thresholds();
    let accept = thresholds.thresholds.accept;
    let calibrated = gallery.last_calibration();
    ObservedSite {
        site: gallery.site(),
        sequence: gallery.sequence(),
        threshold_version: thresholds.version,
        accept: accept.get(),
        false_matches: calibrated.map(|c| c.calibration.false_matches_per_thousand(accept)),
    }
}
