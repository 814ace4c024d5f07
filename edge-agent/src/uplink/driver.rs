//! Performs what the [`super::machine`] decides.

use std::{
    future::{Future, pending},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use cavs_proto::{
    from_timestamp, to_timestamp,
    v1::{
        CapturedSighting, DeviceSettings, Heartbeat, Hello, Notice, ProxiedCameras, SettingsReport,
        SightingBatch, SightingResult, StreamRequest, StreamResponse, WatchReport as WireReport, Welcome,
        stream_request::Message as Up, stream_response::Message as Down,
    },
};
use jiff::Timestamp;
use thiserror::Error;
use tokio::{
    sync::{Notify, watch},
    task::spawn_blocking,
    time::{sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{
    Endpoint, Failure, MAX_BATCH_BYTES,
    channel::Connection,
    failure_log::FailureLog,
    machine::{Action, Machine, Timing},
};
use crate::{
    clock::{self, ClockAnchor},
    health::{HealthCounters, HealthReporter},
    settings::PushedSettings,
    sighting::SightingKey,
    spool::{BatchLimits, Outbox, Settlement, SpoolError, SpoolStatus, WatchReport},
};

/// How long the server may take to end a stream that the agent has ended.
const CLOSE_WAIT: Duration = Duration::from_secs(2);

/// Why the uplink gave up.
#[derive(Debug, Error)]
pub enum UplinkError {
    /// The spool is damaged; the next start moves it aside.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The server refuses this agent until a person acts, and the agent was told not to wait.
    #[error("{failure}; {advice}")]
    Refused {
        /// The refusal, with the server's reason.
        failure: Failure,
        /// What a person has to do before the server takes this agent.
        advice: &'static str,
    },
}

/// What an uplink is made of.
#[derive(Debug)]
pub struct Uplink {
    /// The server's device listener, and this device's certificate.
    pub endpoint: Endpoint,
    /// The spool's side that offers sightings.
    pub outbox: Outbox,
    /// The first message of every stream, without its settings report.
    pub hello: Hello,
    /// Signalled after sightings were stored.
    pub spooled: Arc<Notify>,
    /// How long things may take.
    pub timing: Timing,
    /// Seed of the delays' jitter.
    pub seed: u64,
    /// What the server wants this device to do otherwise, and what becomes of that.
    pub settings: UplinkSettingsLink,
    /// Says how the agent is.
    pub reporter: HealthReporter,
    /// Give up where only a person can help, instead of trying seldom.
    pub give_up_when_refused: bool,
    /// Who is told of the cameras that this agent speaks for; `None` where it speaks for itself only.
    pub proxied: Option<Arc<dyn ProxyObserver>>,
}

/// Who is told what the server says of the cameras that an agent speaks for.
pub trait ProxyObserver: std::fmt::Debug + Send + Sync {
    /// The cameras, all of them. May block.
    fn on_cameras(&self, cameras: &ProxiedCameras);
    /// What the server made of sightings, as its acknowledgements say.
    fn on_results(&self, results: &[SightingResult]);
    /// The server listens, or does so no more.
    fn on_connected(&self, connected: bool);
}

/// The uplink's side of what is said about pushed settings.
#[derive(Debug)]
pub struct UplinkSettingsLink {
    /// What the server last said that it wants; `None` until it did.
    pub wanted: watch::Sender<Option<PushedSettings>>,
    /// What the server is told; a change is told at once.
    pub report: watch::Receiver<SettingsReport>,
}

impl Uplink {
    /// Offers sightings until, after `drain`, the spool is empty.
    ///
    /// # Errors
    /// `Spool` for a damaged spool, `Refused` where that was asked for. Everything else is retried.
    pub async fn run(self, drain: CancellationToken) -> Result<(), UplinkError> {
        let machine = Machine::new(self.timing, self.seed, Instant::now());
        let driver = Driver {
            machine,
            endpoint: self.endpoint,
            outbox: Arc::new(Mutex::new(self.outbox)),
            hello: self.hello,
            give_up_when_refused: self.give_up_when_refused,
            stream: StreamState::Closed,
            loaded: Vec::new(),
            watch: WatchReport::default(),
            told_delivered: None,
            asked_last: false,
            connect_started: Duration::ZERO,
            failures: FailureLog::default(),
            settings: self.settings,
            counters: self.reporter.counters(),
            reporter: Arc::new(Mutex::new(self.reporter)),
            proxied: self.proxied,
        };
        driver.run(self.spooled, drain).await
    }
}

struct Driver {
    machine: Machine,
    endpoint: Endpoint,
    outbox: Arc<Mutex<Outbox>>,
    hello: Hello,
    give_up_when_refused: bool,
    stream: StreamState,
    /// What the last `Load` read, until its `SendBatch`.
    loaded: Vec<CapturedSighting>,
    /// What the last `LoadWatch` read, until it is settled.
    watch: WatchReport,
    /// Up to when the server knows that everything is delivered, as of this stream.
    told_delivered: Option<Timestamp>,
    /// The spool was empty at the end, and was asked once more for what was watched.
    asked_last: bool,
    /// When the connection was begun, since the kernel's start.
    connect_started: Duration,
    failures: FailureLog,
    settings: UplinkSettingsLink,
    counters: Arc<HealthCounters>,
    reporter: Arc<Mutex<HealthReporter>>,
    proxied: Option<Arc<dyn ProxyObserver>>,
}

type Opening = Pin<Box<dyn Future<Output = Result<Connection, Failure>> + Send>>;

enum StreamState {
    Closed,
    Opening(Opening),
    Open(Box<Connection>),
}

enum StreamEvent {
    Opened(Result<Connection, Failure>),
    Received(Result<Option<StreamResponse>, Status>),
}

impl StreamState {
    /// The next event; safe to drop before it comes.
    async fn event(&mut self) -> StreamEvent {
        match self {
            Self::Closed => pending().await,
            Self::Opening(opening) => StreamEvent::Opened(opening.await),
            Self::Open(connection) => StreamEvent::Received(connection.incoming.message().await),
        }
    }
}

impl Driver {
    async fn run(mut self, spooled: Arc<Notify>, drain: CancellationToken) -> Result<(), UplinkError> {
        loop {
            while let Some(action) = self.machine.poll_action() {
                self.perform(action).await?;
            }
            if drain.is_cancelled() && self.is_drained().await? {
                // What was watched last is told, too, where the server listens.
                if !std::mem::replace(&mut self.asked_last, true) && self.machine.is_streaming() {
                    self.machine.report_watch();
                    continue;
                }
                self.close().await;
                return Ok(());
            }
            tokio::select! {
                () = sleep_until(self.machine.deadline().into()) => self.machine.on_time(Instant::now()),
                () = spooled.notified() => self.machine.on_spooled(),
                event = self.stream.event() => self.on_stream_event(event).await?,
                Ok(()) = self.settings.report.changed() => self.machine.on_news(Instant::now()),
                () = drain.cancelled(), if !drain.is_cancelled() => {}
            }
        }
    }

    async fn on_stream_event(&mut self, event: StreamEvent) -> Result<(), UplinkError> {
        let now = Instant::now();
        match event {
            StreamEvent::Opened(Ok(connection)) => {
                self.stream = StreamState::Open(Box::new(connection));
                self.machine.on_connected(now);
            }
            StreamEvent::Opened(Err(failure)) => self.machine.on_failure(failure, now),
            StreamEvent::Received(Err(status)) => self.machine.on_failure(status.into(), now),
            StreamEvent::Received(Ok(None)) => self.machine.on_failure(Failure::Closed, now),
            StreamEvent::Received(Ok(Some(StreamResponse { message }))) => match message {
                Some(Down::Welcome(welcome)) => {
                    self.failures.recovered(&welcome.device_id);
                    // Before anything is offered: sightings of a wrong clock leave corrected.
                    self.learn_time(&welcome).await?;
                    // A server that has none wants the device's own configuration.
                    self.want(welcome.settings.clone().unwrap_or_default());
                    self.machine.on_welcome(&welcome, now);
                    self.tell_connected(true);
                }
                Some(Down::Ack(ack)) => {
                    // What the server has said is true, also where the spool can't take note of it.
                    if let Some(proxied) = &self.proxied {
                        proxied.on_results(&ack.results);
                    }
                    self.machine.on_ack(ack, now);
                }
                Some(Down::WatchAck(ack)) => self.machine.on_watch_ack(ack.report_id, now),
                Some(Down::Settings(settings)) => self.want(settings),
                Some(Down::Cameras(cameras)) => {
                    if let Some(proxied) = self.proxied.clone() {
                        // It has nothing to say but that a task of ours was stopped.
                        let _ = spawn_blocking(move || proxied.on_cameras(&cameras)).await;
                    }
                }
                Some(Down::Notice(Notice { reason, message })) => {
                    tracing::error!(
                        reason,
                        message,
                        "the server has something to say to this device's operator"
                    );
                }
                // A later server may say more than this agent knows.
                None => {
                    self.counters.unknown_messages.add(1);
                    tracing::debug!("an unknown message of the server was passed over");
                }
            },
        }
        Ok(())
    }

    async fn perform(&mut self, action: Action) -> Result<(), UplinkError> {
        match action {
            Action::Connect => {
                // `Hello` goes out while the stream is being opened, so its answer is of some moment
                // after this one.
                self.connect_started = clock::since_boot();
                let settings = Some(self.settings.report.borrow_and_update().clone());
                let (endpoint, hello) = (self.endpoint.clone(), Hello { settings, ..self.hello.clone() });
                self.counters.uplink_steps.add(1);
                self.stream = StreamState::Opening(Box::pin(async move { endpoint.open(hello).await }));
            }
            Action::Load { after, limit } => self.load(after, limit).await?,
            Action::SendBatch { batch_id } => {
                let sightings = std::mem::take(&mut self.loaded);
                tracing::debug!(batch_id, sightings = sightings.len(), "offering a batch");
                self.send(Up::Sightings(SightingBatch { batch_id, sightings }));
            }
            Action::LoadWatch { limit } => {
                let read =
                    self.with_outbox(move |outbox| unless_it_passes(outbox.watch_report(limit))).await?;
                self.watch = read.unwrap_or_default();
                let WatchReport { periods, delivered_until, more } = &self.watch;
                let something = !periods.is_empty() || *delivered_until > self.told_delivered;
                self.machine.on_watch_loaded(something, *more, Instant::now());
            }
            Action::SendWatch { report_id } => {
                self.send(Up::Watch(WireReport {
                    report_id,
                    periods: self.watch.periods.iter().map(|period| period.wire.clone()).collect(),
                    delivered_until_time: self.watch.delivered_until.map(to_timestamp),
                }));
            }
            Action::SettleWatch => {
                let WatchReport { periods, delivered_until, .. } = std::mem::take(&mut self.watch);
                self.told_delivered = self.told_delivered.max(delivered_until);
                self.with_outbox(move |outbox| unless_it_passes(outbox.settle_watch(&periods))).await?;
            }
            Action::SendHeartbeat => self.send_heartbeat().await?,
            Action::Settle(settlements) => self.settle(settlements).await?,
            Action::Disconnect { failure, retry_in } => {
                self.stream = StreamState::Closed;
                self.tell_connected(false);
                self.loaded.clear();
                self.told_delivered = None;
                self.failures.failed(&failure, retry_in, Instant::now());
                let final_advice = failure.advice().filter(|_| !failure.is_contested());
                if let (true, Some(advice)) = (self.give_up_when_refused, final_advice) {
                    return Err(UplinkError::Refused { failure, advice });
                }
            }
        }
        Ok(())
    }

    fn tell_connected(&self, connected: bool) {
        if let Some(proxied) = &self.proxied {
            proxied.on_connected(connected);
        }
    }

    async fn load(&mut self, after: Option<SightingKey>, limit: usize) -> Result<(), UplinkError> {
        let limits = BatchLimits { count: limit, bytes: MAX_BATCH_BYTES };
        if let Some(sightings) = self.with_outbox(move |outbox| outbox.next(after, limits)).await? {
            let key = |s: &CapturedSighting| SightingKey { boot_epoch: s.boot_epoch, sequence: s.sequence };
            let keys = sightings.iter().map(key).collect();
            self.loaded = sightings;
            self.machine.on_loaded(keys, Instant::now());
        }
        Ok(())
    }

    async fn settle(&mut self, settlements: Vec<(SightingKey, Settlement)>) -> Result<(), UplinkError> {
        let settle = move |outbox: &mut Outbox| outbox.settle(&settlements).map(|()| outbox.is_stuck());
        let settled = self.with_outbox(settle).await?;
        self.counters.uplink_steps.add(u64::from(settled.is_some()));
        self.counters.settling_fails.store(settled == Some(true), Relaxed);
        Ok(())
    }

    fn want(&self, settings: DeviceSettings) {
        self.settings.wanted.send_replace(Some(settings.into()));
    }

    async fn send_heartbeat(&mut self) -> Result<(), UplinkError> {
        let (reporter, counters) = (Arc::clone(&self.reporter), Arc::clone(&self.counters));
        // The reporter asks the kernel and the file system, which may take their time.
        let read = move |outbox: &mut Outbox| {
            outbox.settle_rest()?;
            counters.settling_fails.store(outbox.is_stuck(), Relaxed);
            let health = reporter.lock().unwrap_or_else(PoisonError::into_inner).report(Instant::now());
            Ok((outbox.status()?, outbox.oldest_stored_at()?, health))
        };
        if let Some((status, oldest, health)) = self.with_outbox(read).await? {
            let (settings, health) = (Some(self.settings.report.borrow_and_update().clone()), Some(health));
            self.send(Up::Heartbeat(Heartbeat { settings, health, ..heartbeat(status, oldest) }));
            self.counters.uplink_steps.add(1);
        }
        Ok(())
    }

    /// Learns what time it is from the server's answer to `Hello`.
    async fn learn_time(&mut self, welcome: &Welcome) -> Result<(), UplinkError> {
        let Ok(server_time) = from_timestamp("server_time", welcome.server_time.as_ref()) else {
            return Ok(());
        };
        if let Some(anchor) = ClockAnchor::learn(server_time, self.connect_started, clock::since_boot()) {
            clock::confirm(&anchor);
            self.with_outbox(move |outbox| outbox.learn_time(anchor)).await?;
        }
        Ok(())
    }

    fn send(&mut self, message: Up) {
        let StreamState::Open(connection) = &self.stream else { return };
        if connection.sender.try_send(StreamRequest { message: Some(message) }).is_err() {
            let failure = Failure::Transport("the connection takes no more messages".to_owned());
            self.machine.on_failure(failure, Instant::now());
        }
    }

    async fn is_drained(&mut self) -> Result<bool, UplinkError> {
        if !self.machine.is_idle() {
            return Ok(false);
        }
        let status = self.with_outbox(|outbox| outbox.status()).await?;
        Ok(status.is_some_and(|status| status.spooled == 0))
    }

    /// Works on the spool, off the async threads. Trouble that may pass (a full disk, a lock) ends
    /// the session: after its delay everything unsettled is offered again.
    async fn with_outbox<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Outbox) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<Option<T>, UplinkError> {
        let outbox = Arc::clone(&self.outbox);
        let work = move || work(&mut outbox.lock().unwrap_or_else(PoisonError::into_inner));
        let problem = match spawn_blocking(work).await {
            Ok(Ok(value)) => return Ok(Some(value)),
            Ok(Err(error)) if error.is_damage() => return Err(error.into()),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        self.machine.on_failure(Failure::Spool(problem), Instant::now());
        Ok(None)
    }

    /// Ends the stream in an orderly way: last heartbeat, end of input, the server's end.
    async fn close(mut self) {
        if self.machine.is_streaming() && self.send_heartbeat().await.is_err() {
            return;
        }
        if let StreamState::Open(connection) = self.stream {
            let Connection { sender, mut incoming } = *connection;
            drop(sender);
            let end = async { while let Ok(Some(_)) = incoming.message().await {} };
            if timeout(CLOSE_WAIT, end).await.is_err() {
                tracing::debug!("the server did not end the stream in time");
            }
        }
    }
}

/// Sightings are delivered whether or not it can be told what was watched.
fn unless_it_passes<T: Default>(result: Result<T, SpoolError>) -> Result<T, SpoolError> {
    match result {
        Err(error) if !error.is_damage() => {
            tracing::warn!(%error, "what was watched can't be told now");
            Ok(T::default())
        }
        result => result,
    }
}

fn heartbeat(status: SpoolStatus, oldest: Option<i64>) -> Heartbeat {
    let oldest = oldest.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    Heartbeat {
        send_time: Some(to_timestamp(Timestamp::now())),
        spooled: status.spooled,
        lost: status.lost,
        lost_repeats: status.lost_repeats,
        lost_expired: status.lost_expired,
        lost_damaged: status.lost_damaged,
        lost_evidence: status.lost_evidence,
        rejected: status.rejected,
        oldest_spool_time: oldest.map(to_timestamp),
        ..Heartbeat::default()
    }
}
