//! The stream of a device: hello, then batches and heartbeats, each batch acknowledged after it
//! is committed.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cavs_proto::{DeviceId, ErrorReason, ProtocolError, to_timestamp, v1};
use futures_util::{Stream, stream};
use jiff::Timestamp;
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use tracing::{info, warn};
use v1::{device_message, server_message, sighting_result::Outcome};

use super::{
    heartbeat::{heartbeat_from_wire, report_from_wire, settings_to_wire},
    layer::{CallingDevice, in_time},
    proxy_to_wire::proxied_cameras,
    sighting_from_wire::{Rejection, captured},
};
use crate::{
    app::App,
    domain::{CapturedSighting, ProxiedCamera, printable},
    metrics::OpenStream,
    store::StoreOutcome,
};

/// Most sightings of one batch.
pub(super) const MAX_BATCH: usize = 64;
/// Largest evidence of one sighting, in bytes.
pub(super) const MAX_EVIDENCE: usize = 128 * 1024;
/// Batches that a device may send ahead of their acknowledgements.
const WINDOW: u32 = 4;
/// Longest silence: agents send heartbeats far more often.
const IDLE: Duration = Duration::from_secs(90);

pub(super) struct Ingest {
    app: App,
    shutdown: CancellationToken,
    streams: Streams,
}

impl Ingest {
    pub(super) fn new(app: App, shutdown: CancellationToken) -> Self {
        Self { app, shutdown, streams: Streams::default() }
    }
}

#[tonic::async_trait]
impl v1::ingest_service_server::IngestService for Ingest {
    type StreamStream = Pin<Box<dyn Stream<Item = Result<v1::ServerMessage, Status>> + Send>>;

    async fn stream(
        &self,
        request: Request<Streaming<v1::DeviceMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let CallingDevice(device) = *request
            .extensions()
            .get()
            .ok_or_else(|| cavs_proto::status(ErrorReason::DeviceIdentityMissing, "no client certificate"))?;
        self.app.admit_device(device).await?;
        let session = Session {
            app: self.app.clone(),
            device,
            shutdown: self.shutdown.clone(),
            place: self.streams.take_place(device),
            devices_changed: self.app.devices_changed.subscribe(),
            cameras: None,
            inbound: request.into_inner(),
            greeted: false,
            proxy: false,
            pushed: 0,
            _open: self.app.metrics.stream(),
        };
        Ok(Response::new(Box::pin(stream::try_unfold(session, Session::next))))
    }
}

struct Session {
    app: App,
    device: DeviceId,
    shutdown: CancellationToken,
    place: Place,
    inbound: Streaming<v1::DeviceMessage>,
    greeted: bool,
    /// It speaks for cameras.
    proxy: bool,
    devices_changed: watch::Receiver<()>,
    /// The cameras that it was told of.
    cameras: Option<Vec<ProxiedCamera>>,
    /// Version of the settings that this stream has pushed.
    pushed: u64,
    _open: OpenStream,
}

impl Session {
    /// The next answer; `None` after the device's last message.
    async fn next(mut self) -> Result<Option<(v1::ServerMessage, Self)>, Status> {
        use device_message::Message::{Heartbeat, Hello, Sightings};
        loop {
            let message = match self.receive().await? {
                Event::Message(message) => message,
                Event::DevicesChanged => match in_time(self.look_again()).await? {
                    Some(news) => return Ok(Some((v1::ServerMessage { message: Some(news) }, self))),
                    None => continue,
                },
                Event::End => {
                    info!(device = %self.device, "the device ended its stream");
                    return Ok(None);
                }
            };
            let answer = match (message.message, self.greeted) {
                (Some(Hello(hello)), false) => in_time(self.welcome(&hello)).await?,
                (Some(Sightings(batch)), true) => in_time(self.ingest(&batch)).await?,
                (Some(Heartbeat(beat)), true) => match in_time(self.heartbeat(&beat)).await? {
                    Some(settings) => settings,
                    None => continue,
                },
                (Some(Hello(_) | Sightings(_) | Heartbeat(_)) | None, _) => {
                    let message = "hello comes first and once, then batches and heartbeats";
                    return Err(cavs_proto::status(ErrorReason::StreamOrder, message));
                }
            };
            return Ok(Some((v1::ServerMessage { message: Some(answer) }, self)));
        }
    }

    async fn receive(&mut self) -> Result<Event, Status> {
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => {
                Err(cavs_proto::status(ErrorReason::ShuttingDown, "the server is stopping"))
            }
            () = self.place.taken.cancelled() => {
                let message = "the device has opened another stream";
                Err(cavs_proto::status(ErrorReason::StreamReplaced, message))
            }
            Ok(()) = self.devices_changed.changed(), if self.greeted => Ok(Event::DevicesChanged),
            received = timeout(IDLE, self.inbound.message()) => match received {
                Ok(message) => Ok(message?.map_or(Event::End, Event::Message)),
                Err(_) => Err(cavs_proto::status(ErrorReason::IdleTimeout, "no message for 90 seconds")),
            },
        }
    }

    /// Whether the device may still speak; and its cameras, where they are others than it was told.
    async fn look_again(&mut self) -> Result<Option<server_message::Message>, Status> {
        self.app.admit_device(self.device).await?;
        if !self.proxy {
            return Ok(None);
        }
        let cameras = self.app.proxied_cameras(self.device).await?;
        if self.cameras.as_ref() == Some(&cameras) {
            return Ok(None);
        }
        info!(device = %self.device, cameras = cameras.len(), "a proxy is told its cameras");
        let told = proxied_cameras(&cameras);
        self.cameras = Some(cameras);
        Ok(Some(server_message::Message::Cameras(told)))
    }

    async fn welcome(&mut self, hello: &v1::Hello) -> Result<server_message::Message, Status> {
        let pack =
            hello.pack_digest.parse().map_err(|error| ProtocolError::invalid("hello.pack_digest", error))?;
        let version = printable(&hello.agent_version, 100);
        let settings = report_from_wire(hello.settings.as_ref());
        let pushed = self.app.device_connected(self.device, &version, pack, &settings).await?;
        self.pushed = pushed.as_ref().map_or(0, |pushed| pushed.version);
        (self.greeted, self.proxy) = (true, hello.proxy);
        info!(device = %self.device, version, boot_epoch = hello.boot_epoch, "a device connected");
        Ok(server_message::Message::Welcome(v1::Welcome {
            device_id: self.device.to_string(),
            server_time: Some(to_timestamp(Timestamp::now())),
            max_batch_size: MAX_BATCH as u32,
            max_unacknowledged_batches: WINDOW,
            settings: pushed.map(settings_to_wire),
        }))
    }

    /// Takes note of it; the answer is settings that were pushed in the meantime, by any server.
    async fn heartbeat(&mut self, beat: &v1::Heartbeat) -> Result<Option<server_message::Message>, Status> {
        let settings = report_from_wire(beat.settings.as_ref());
        let heartbeat = heartbeat_from_wire(beat);
        let pushed = self.app.device_alive(self.device, &heartbeat, &settings, self.pushed).await?;
        Ok(pushed.map(|pushed| {
            self.pushed = pushed.version;
            server_message::Message::Settings(settings_to_wire(pushed))
        }))
    }

    async fn ingest(&self, batch: &v1::SightingBatch) -> Result<server_message::Message, Status> {
        if batch.sightings.len() > MAX_BATCH {
            let problem = format!("{} sightings, at most {MAX_BATCH}", batch.sightings.len());
            return Err(ProtocolError::invalid("sightings", problem).into());
        }
        let dimension = self.app.recognition.dimension();
        let pack = self.app.recognition.pack();
        let read: Vec<Result<CapturedSighting, Rejection>> =
            batch.sightings.iter().map(|s| captured(s, pack, dimension)).collect();
        let good: Vec<CapturedSighting> = read.iter().filter_map(|r| r.as_ref().ok()).cloned().collect();
        let mut outcomes = self.app.ingest(self.device, &good).await?.into_iter();
        let of_cameras: Vec<_> = good.iter().filter_map(|s| Some((s.camera?, s.key))).collect();
        let mut answers = self.app.sighting_answers(self.device, &of_cameras).await;
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
        Ok(server_message::Message::Ack(v1::BatchAck { batch_id: batch.batch_id, results }))
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
                self.app.metrics.rejected(reason);
                (Outcome::Rejected, reason, format!("camera {camera}: {}", refusal.message()))
            }
            // The application answers every sighting it was given; saying nothing has it sent again.
            Ok(None) => (Outcome::Unspecified, "", String::new()),
            Err(Rejection { reason, problem }) => {
                let (epoch, sequence) = (wire.boot_epoch, wire.sequence);
                warn!(device = %self.device, epoch, sequence, reason, %problem, "rejected a sighting");
                self.app.metrics.rejected(reason);
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
    Message(v1::DeviceMessage),
    DevicesChanged,
    End,
}

/// The one stream of each device: the newest, as an older one is likely to be half dead.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<HashMap<DeviceId, CancellationToken>>>);

/// A stream's place, left when it is dropped.
struct Place {
    streams: Streams,
    device: DeviceId,
    /// Cancelled when another stream takes the place.
    taken: CancellationToken,
}

impl Streams {
    fn take_place(&self, device: DeviceId) -> Place {
        let taken = CancellationToken::new();
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = streams.insert(device, taken.clone()) {
            older.cancel();
        }
        Place { streams: self.clone(), device, taken }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever took the place has put a token of its own there.
        if !self.taken.is_cancelled() {
            self.streams.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_stream_has_the_place() {
        let (streams, device) = (Streams::default(), DeviceId::generate());
        let first = streams.take_place(device);
        let second = streams.take_place(device);
        assert!(first.taken.is_cancelled() && !second.taken.is_cancelled());
        drop(first);
        assert_eq!(streams.0.lock().unwrap().len(), 1);
        drop(second);
        assert_eq!(streams.0.lock().unwrap().len(), 0);
    }
}
