//! The stream of a device: hello, then batches and heartbeats, each batch acknowledged after it
//! is committed.

use std::{net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use cavs_net::Peer;
use cavs_proto::{status_of, to_timestamp, v1};
use cavs_types::{DeviceId, ErrorReason, ProtocolError, SiteId};
use futures_util::{Stream, stream};
use jiff::Timestamp;
use tokio::{
    sync::watch as watched,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};
use v1::{sighting_result::Outcome, stream_request, stream_response};

use super::{
    heartbeat::{heartbeat_from_wire, report_from_wire, settings_to_wire},
    layer::{CallingDevice, in_time},
    proxy_to_wire::proxied_cameras,
    sighting_from_wire::{Rejection, captured},
    streams::{Place, Streams},
    watch::{self, MAX_PERIODS},
};
use crate::{
    fleet::{DeviceStreams, DeviceWatches, ProxiedCamera, RunId},
    monitoring::{Metrics, OpenStream},
    recognition::Galleries,
    services::Services,
    sightings::{CapturedSighting, Ingest, StoreOutcome},
    text::printable,
};

/// Most sightings of one batch.
pub(super) const MAX_BATCH: usize = 64;
/// Largest evidence of one sighting, in bytes.
pub(super) const MAX_EVIDENCE: usize = 128 * 1024;
/// Batches that a device may send ahead of their acknowledgements.
const WINDOW: u32 = 4;
/// Longest silence: agents send heartbeats far more often.
const IDLE: Duration = Duration::from_secs(90);
/// How long a device may take to say hello.
const GREETING: Duration = Duration::from_secs(20);

/// What the operator of a device is told whose certificate is in use in two places.
const TWICE: &str = "the device is connected twice: another agent uses the same certificate. Nothing is lost, \
                     but whose sightings are whose can't be known: issue a certificate of its own to each";

pub(super) struct IngestApi {
    devices: DeviceStreams,
    sightings: Ingest,
    watches: DeviceWatches,
    galleries: Arc<Galleries>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    /// Those that have yet to say hello: they take nobody's place but that of their like.
    greeting: Streams,
    /// Those that were welcomed.
    speaking: Streams,
}

impl IngestApi {
    pub(super) fn new(services: &Services, shutdown: CancellationToken) -> Self {
        Self {
            devices: services.device_streams.clone(),
            sightings: services.ingest.clone(),
            watches: services.watch_reports.clone(),
            galleries: Arc::clone(&services.galleries),
            metrics: Arc::clone(&services.metrics),
            shutdown,
            greeting: Streams::default(),
            speaking: Streams::default(),
        }
    }
}

#[tonic::async_trait]
impl v1::ingest_service_server::IngestService for IngestApi {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<v1::StreamResponse, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::StreamRequest>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let CallingDevice(device) = *request
            .extensions()
            .get()
            .ok_or_else(|| cavs_proto::status(ErrorReason::DeviceIdentityMissing, "no client certificate"))?;
        let site = self.devices.admit(device).await?.site;
        let session = Session {
            site,
            devices: self.devices.clone(),
            sightings: self.sightings.clone(),
            watches: self.watches.clone(),
            galleries: Arc::clone(&self.galleries),
            metrics: Arc::clone(&self.metrics),
            device,
            address: request.extensions().get::<Peer>().map(|peer| peer.address.ip()),
            shutdown: self.shutdown.clone(),
            place: self.greeting.take_place(device, None),
            speaking: self.speaking.clone(),
            begun: Instant::now(),
            devices_changed: self.devices.changes(),
            cameras: None,
            inbound: request.into_inner(),
            stage: Stage::Greeting,
            proxy: false,
            told_twice: None,
            pushed: 0,
            _open: self.metrics.stream(),
        };
        Ok(Response::new(Box::pin(stream::try_unfold(session, Session::next))))
    }
}

struct Session {
    /// The device's site, which it never leaves.
    site: SiteId,
    devices: DeviceStreams,
    sightings: Ingest,
    watches: DeviceWatches,
    galleries: Arc<Galleries>,
    metrics: Arc<Metrics>,
    device: DeviceId,
    /// From where it connects.
    address: Option<IpAddr>,
    shutdown: CancellationToken,
    place: Place,
    speaking: Streams,
    begun: Instant,
    inbound: Streaming<v1::StreamRequest>,
    stage: Stage,
    /// It speaks for cameras.
    proxy: bool,
    /// When the device was found connected twice, as of what it was told last.
    told_twice: Option<Timestamp>,
    devices_changed: watched::Receiver<()>,
    /// The cameras that it was told of.
    cameras: Option<Vec<ProxiedCamera>>,
    /// Version of the settings that this stream has pushed.
    pushed: u64,
    _open: OpenStream,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has yet to say hello.
    Greeting,
    /// It only wanted to know whether it would be welcomed.
    Probed,
    /// It was welcomed, as this start of its agent.
    Speaking(RunId),
}

impl Session {
    /// The next answer; `None` after the device's last message.
    async fn next(mut self) -> Result<Option<(v1::StreamResponse, Self)>, Status> {
        use stream_request::Message::{Heartbeat, Hello, Sightings, Watch};
        loop {
            let message = match self.receive().await? {
                Event::Message(message) => message,
                Event::DevicesChanged => match in_time(self.look_again()).await? {
                    Some(news) => return Ok(Some((v1::StreamResponse { message: Some(news) }, self))),
                    None => continue,
                },
                Event::End => {
                    info!(device = %self.device, "the device ended its stream");
                    self.leave().await;
                    return Ok(None);
                }
            };
            let answer = match (message.message, self.stage) {
                (Some(Hello(hello)), Stage::Greeting) => in_time(self.welcome(&hello)).await?,
                (Some(Sightings(batch)), Stage::Speaking(_)) => in_time(self.ingest(&batch)).await?,
                (Some(Watch(report)), Stage::Speaking(_)) => in_time(self.record_watch(&report)).await?,
                (Some(Heartbeat(beat)), Stage::Speaking(run)) => {
                    match in_time(self.heartbeat(run, &beat)).await? {
                        Some(settings) => settings,
                        None => continue,
                    }
                }
                // A later agent may say more than this server knows.
                (None, _) => {
                    self.metrics.unknown_message();
                    debug!(device = %self.device, "an unknown message of the device was passed over");
                    continue;
                }
                (Some(Hello(_) | Sightings(_) | Heartbeat(_) | Watch(_)), _) => {
                    let message = "hello comes first and once, then batches, heartbeats and watch reports";
                    return Err(cavs_proto::status(ErrorReason::StreamOrder, message));
                }
            };
            return Ok(Some((v1::StreamResponse { message: Some(answer) }, self)));
        }
    }

    async fn receive(&mut self) -> Result<Event, Status> {
        let deadline = match self.stage {
            Stage::Greeting | Stage::Probed => self.begun + GREETING,
            Stage::Speaking(_) => Instant::now() + IDLE,
        };
        let received = tokio::select! {
            biased;
            () = self.shutdown.cancelled() => {
                Err(cavs_proto::status(ErrorReason::ShuttingDown, "the server is stopping"))
            }
            () = self.place.taken.cancelled() => {
                Err(self.place.why_taken())
            }
            Ok(()) = self.devices_changed.changed(), if matches!(self.stage, Stage::Speaking(_)) => {
                return Ok(Event::DevicesChanged);
            }
            received = timeout_at(deadline, self.inbound.message()) => received.unwrap_or_else(|_| {
                Err(cavs_proto::status(ErrorReason::IdleTimeout, "no message in time"))
            }),
        };
        match received {
            Ok(message) => Ok(message.map_or(Event::End, |message| Event::Message(Box::new(message)))),
            Err(status) => {
                self.leave().await;
                Err(status)
            }
        }
    }

    /// Frees the device's place for another start of its agent, unless that has it already.
    async fn leave(&self) {
        let Stage::Speaking(run) = self.stage else { return };
        // A server that stops is left by all its devices, which are soon back.
        if self.place.taken.is_cancelled() || self.shutdown.is_cancelled() {
            return;
        }
        // Where this fails, the place is free after a moment without a word.
        if let Err(cause) = in_time(async { Ok(self.devices.left(self.device, run).await?) }).await {
            debug!(device = %self.device, %cause, "that the device has left was not noted");
        }
    }

    /// Whether the device may still speak; what it should know of that; and its cameras, where they are
    /// others than it was told.
    async fn look_again(&mut self) -> Result<Option<stream_response::Message>, Status> {
        let device = self.devices.admit(self.device).await?;
        let news = device.twice.filter(|twice| twice.is_now(Timestamp::now()));
        if let Some(twice) = news.filter(|twice| self.told_twice != Some(twice.last_at)) {
            self.told_twice = Some(twice.last_at);
            // What else has changed is looked at when the next message comes.
            self.devices_changed.mark_changed();
            return Ok(Some(stream_response::Message::Notice(v1::Notice {
                reason: ErrorReason::DeviceConnectedTwice.as_str().to_owned(),
                message: TWICE.to_owned(),
            })));
        }
        if !self.proxy {
            return Ok(None);
        }
        let cameras = self.devices.proxied_cameras(self.site, self.device).await?;
        if self.cameras.as_ref() == Some(&cameras) {
            return Ok(None);
        }
        info!(device = %self.device, cameras = cameras.len(), "a proxy is told its cameras");
        let told = proxied_cameras(&cameras);
        self.cameras = Some(cameras);
        Ok(Some(stream_response::Message::Cameras(told)))
    }

    async fn welcome(&mut self, hello: &v1::Hello) -> Result<stream_response::Message, Status> {
        let pack = hello
            .pack_digest
            .parse()
            .map_err(|error| ProtocolError::invalid("hello.pack_digest", error))
            .map_err(status_of)?;
        let version = printable(&hello.agent_version, 100);
        let settings = report_from_wire(hello.settings.as_ref());
        let run = match hello.run_id.as_ref() {
            [] => RunId::of_epoch(hello.boot_epoch),
            bytes => RunId::from_bytes(bytes)
                .ok_or_else(|| ProtocolError::invalid("hello.run_id", "must be 16 bytes that are not all 0"))
                .map_err(status_of)?,
        };
        // Doctors from before `probe` have no epoch.
        let pushed = if hello.probe || (hello.run_id.is_empty() && hello.boot_epoch == 0) {
            self.stage = Stage::Probed;
            self.devices.probed(self.device, pack).await?
        } else {
            let pushed =
                self.devices.connected(self.device, run, &version, pack, &settings, self.address).await?;
            self.place = self.speaking.take_place(self.device, Some(run));
            self.stage = Stage::Speaking(run);
            // What was noticed before this stream began is said to it, too.
            self.told_twice = None;
            self.devices_changed.mark_changed();
            info!(device = %self.device, version, boot_epoch = hello.boot_epoch, "a device connected");
            pushed
        };
        self.pushed = pushed.as_ref().map_or(0, |pushed| pushed.version);
        // Those of a later agent are left out.
        let capable = hello.capabilities.contains(&v1::Capability::Proxy.into());
        self.proxy = capable || hello.proxy;
        Ok(stream_response::Message::Welcome(v1::Welcome {
            device_id: self.device.to_string(),
            server_time: Some(to_timestamp(Timestamp::now())),
            max_batch_size: MAX_BATCH as u32,
            max_unacknowledged_batches: WINDOW,
            settings: pushed.map(settings_to_wire),
            max_watch_periods: MAX_PERIODS as u32,
        }))
    }

    /// What the device watched. It says so after its sightings of that time were acknowledged, so that they are
    /// committed before this is.
    async fn record_watch(&self, report: &v1::WatchReport) -> Result<stream_response::Message, Status> {
        let read = watch::report_from_wire(report, self.galleries.pack(), Timestamp::now());
        self.watches.record(self.site, self.device, &read.map_err(status_of)?).await?;
        Ok(stream_response::Message::WatchAck(v1::WatchAck { report_id: report.report_id }))
    }

    /// Takes note of it; the answer is settings that were pushed in the meantime, by any server.
    async fn heartbeat(
        &mut self,
        run: RunId,
        beat: &v1::Heartbeat,
    ) -> Result<Option<stream_response::Message>, Status> {
        let settings = report_from_wire(beat.settings.as_ref());
        let heartbeat = heartbeat_from_wire(beat);
        let pushed = self.devices.alive(self.device, run, &heartbeat, &settings, self.pushed).await?;
        Ok(pushed.map(|pushed| {
            self.pushed = pushed.version;
            stream_response::Message::Settings(settings_to_wire(pushed))
        }))
    }

    async fn ingest(&self, batch: &v1::SightingBatch) -> Result<stream_response::Message, Status> {
        if batch.sightings.len() > MAX_BATCH {
            let problem = format!("{} sightings, at most {MAX_BATCH}", batch.sightings.len());
            return Err(status_of(ProtocolError::invalid("sightings", problem)));
        }
        let dimension = self.galleries.dimension();
        let pack = self.galleries.pack();
        let read: Vec<Result<CapturedSighting, Rejection>> =
            batch.sightings.iter().map(|s| captured(s, pack, dimension)).collect();
        let good: Vec<CapturedSighting> = read.iter().filter_map(|r| r.as_ref().ok()).cloned().collect();
        let mut outcomes = self.sightings.ingest(self.site, self.device, &good).await?.into_iter();
        let of_cameras: Vec<_> =
            good.iter().filter_map(|s| Some((s.camera?, s.numbered_under(), s.key))).collect();
        let mut answers = self.sightings.answers(self.site, self.device, &of_cameras).await;
        let results = batch
            .sightings
            .iter()
            .zip(read)
            .map(|(wire, read)| {
                let asked = read.as_ref().ok().and_then(|s| Some((s.camera?, s.key)));
                let answer = asked.and_then(|asked| answers.remove(&asked)).map(Into::into);
                v1::SightingResult { answer, ..self.result(wire, read.map(|_| outcomes.next())) }
            })
            .collect();
        Ok(stream_response::Message::Ack(v1::BatchAck { batch_id: batch.batch_id, results }))
    }

    fn result(
        &self,
        wire: &v1::CapturedSighting,
        outcome: Result<Option<StoreOutcome>, Rejection>,
    ) -> v1::SightingResult {
        let (outcome, reason, message) = match outcome {
            Ok(Some(StoreOutcome::Stored)) => (Outcome::Stored, "", String::new()),
            Ok(Some(StoreOutcome::Duplicate)) => (Outcome::Duplicate, "", String::new()),
            Ok(Some(StoreOutcome::Refused(refusal))) => {
                let (camera, reason) = (&wire.camera_id, refusal.reason().as_str());
                warn!(proxy = %self.device, camera, reason, "a proxy spoke for a camera that it may not speak for");
                self.metrics.rejected(reason);
                (Outcome::Rejected, reason, format!("camera {camera}: {}", refusal.message()))
            }
            // The application answers every sighting it was given; saying nothing has it sent again.
            Ok(None) => (Outcome::Unspecified, "", String::new()),
            Err(Rejection { reason, problem }) => {
                let (epoch, sequence) = (wire.boot_epoch, wire.sequence);
                warn!(device = %self.device, epoch, sequence, reason, %problem, "rejected a sighting");
                self.metrics.rejected(reason);
                (Outcome::Rejected, reason, problem.to_string())
            }
        };
        v1::SightingResult {
            boot_epoch: wire.boot_epoch,
            sequence: wire.sequence,
            outcome: outcome.into(),
            reason: reason.to_owned(),
            message,
            answer: None,
        }
    }
}

/// What a stream has to see to.
enum Event {
    Message(Box<v1::StreamRequest>),
    DevicesChanged,
    End,
}
