//! From a camera's frame to what became of it: networks, spool, and the server's answer.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use cavs_proto::v1;
use cavs_types::{DeviceId, ErrorReason};
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Refusal,
    answers::{Answers, ServerAnswer},
    cameras::{Camera, CameraRegistry},
    limits::CameraRates,
    times,
    workers::{AnalysisJob, failure_text},
};
use crate::{
    clock::Stamp,
    config::IntakeConfig,
    health::HealthCounters,
    recorder::{RecordSource, StoredReply},
    sighting::{Sighting, SightingKey},
    source::Frame,
    spool::{Appended, FrameRecord, StoredFrame},
    stages::FrameOutcome,
};

/// Longest name of a frame, in bytes.
const MAX_FRAME_ID: usize = 64;

/// One frame as a camera sent it, whatever the protocol.
#[derive(Debug, Clone, Default)]
pub(super) struct Submission {
    /// What the camera calls the frame; empty where it has no name.
    pub(super) frame_id: String,
    /// When it was taken, by the camera's clock.
    pub(super) captured_at: Option<Timestamp>,
    /// When it was sent, by the same clock.
    pub(super) sent_at: Option<Timestamp>,
    pub(super) image: Bytes,
}

/// A frame for the spool, and its sender, who waits to hear under which keys it is stored.
pub(super) type StoreRequest = (FrameRecord, StoredReply);

/// The frames of cameras, whose senders are told where they can't be stored.
pub(super) struct StoreRequests;

impl RecordSource for StoreRequests {
    type Item = StoreRequest;

    fn record(&mut self, (record, reply): StoreRequest) -> (FrameRecord, Option<StoredReply>) {
        (record, Some(reply))
    }

    fn on_stored(&mut self, _appended: &Appended) {}

    fn retry_until(&self) -> Option<&CancellationToken> {
        None
    }
}

/// Takes frames through networks and spool, and answers their senders.
pub(super) struct Intake {
    pub(super) config: IntakeConfig,
    pub(super) cameras: Arc<CameraRegistry>,
    pub(super) answers: Arc<Answers>,
    pub(super) rates: CameraRates,
    pub(super) jobs: mpsc::Sender<AnalysisJob>,
    pub(super) recorder: mpsc::Sender<StoreRequest>,
    pub(super) counters: Arc<HealthCounters>,
    pub(super) tasks: TaskTracker,
    pub(super) shutdown: CancellationToken,
}

impl Intake {
    /// Whether a camera may send a frame now; it counts as one.
    pub(super) fn admit(&self, camera: DeviceId) -> Result<Arc<Camera>, Refusal> {
        if self.shutdown.is_cancelled() {
            return Err(Refusal::new(ErrorReason::ShuttingDown, "the proxy is stopping"));
        }
        // Again for each frame: a stream may be older than a revocation.
        let camera = self.cameras.by_id(camera)?;
        self.rates.count(camera.id, Instant::now())?;
        Ok(camera)
    }

    /// Analyses a frame, stores what it shows, and waits for what the server makes of it. Once the
    /// whole frame is here, it is gone through with, also where its sender has left.
    pub(super) async fn take(
        self: &Arc<Self>,
        camera: DeviceId,
        submission: Submission,
        hold: Option<OwnedSemaphorePermit>,
    ) -> Result<v1::SubmitFrameResponse, Refusal> {
        let intake = Arc::clone(self);
        let taking = self.tasks.spawn(async move { intake.process(camera, submission, hold).await });
        taking.await.unwrap_or_else(|_| Err(Refusal::new(ErrorReason::Internal, "a fault of the proxy")))
    }

    async fn process(
        &self,
        camera: DeviceId,
        submission: Submission,
        hold: Option<OwnedSemaphorePermit>,
    ) -> Result<v1::SubmitFrameResponse, Refusal> {
        let begun = Instant::now();
        let Submission { frame_id, captured_at, sent_at, image } = submission;
        check_frame_id(&frame_id)?;
        if image.is_empty() {
            return Err(Refusal::invalid("image", "is required"));
        }
        let taken = times::of_capture(Stamp::now(), captured_at, sent_at);
        let (reply, outcome) = oneshot::channel();
        let name = if frame_id.is_empty() { "unnamed".to_owned() } else { frame_id.clone() };
        let frame = Frame { name, taken, image: Ok(image.into()), cursor: None };
        self.enqueue(AnalysisJob { camera, frame, stages: None, reply, hold })?;
        self.counters.taken.add(1);
        let outcome = outcome.await.map_err(|_| Refusal::new(ErrorReason::Internal, "a fault of the proxy"));
        let FrameOutcome { faces, result, .. } = outcome.inspect_err(|_| self.counters.done.add(1))?;
        self.counters.faces.add(faces as u64);
        let sightings = match result {
            Ok(sightings) => sightings,
            Err(failure) => {
                self.counters.bad.add(1);
                self.counters.done.add(1);
                return Err(Refusal::new(ErrorReason::FrameInvalid, failure_text(&failure)));
            }
        };
        let mut verdict = v1::SubmitFrameResponse {
            status: v1::submit_frame_response::Status::Recorded.into(),
            device_id: camera.to_string(),
            faces_detected: u32::try_from(faces).unwrap_or(u32::MAX),
            ..Default::default()
        };
        if !sightings.is_empty() {
            let capture = (!frame_id.is_empty()).then(|| (camera, frame_id.clone()));
            let stored = self
                .store(FrameRecord { capture, sightings: sightings.clone(), ..FrameRecord::default() })
                .await;
            let stored = stored.inspect_err(|_| self.counters.done.add(1))?;
            self.answer(&mut verdict, &sightings, &stored).await;
        }
        self.counters.done.add(1);
        verdict.frame_id = frame_id;
        verdict.processing_time_ms = u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX);
        Ok(verdict)
    }

    /// Hands a frame to the networks, unless too many wait for them.
    pub(super) fn enqueue(&self, job: AnalysisJob) -> Result<(), Refusal> {
        self.jobs.try_send(job).map_err(|_| Refusal::overloaded("too many frames wait for the networks"))
    }

    /// Makes what a frame shows durable.
    pub(super) async fn store(&self, frame: FrameRecord) -> Result<StoredFrame, Refusal> {
        let lost = || {
            let message = "nothing can be kept now";
            Refusal::overloaded(message).with_reason(ErrorReason::SpoolUnavailable)
        };
        let (reply, stored) = oneshot::channel();
        self.recorder.send((frame, reply)).await.map_err(|_| lost())?;
        stored.await.map_err(|_| lost())
    }

    async fn answer(
        &self,
        verdict: &mut v1::SubmitFrameResponse,
        sightings: &[Sighting],
        stored: &StoredFrame,
    ) {
        let keys: Vec<SightingKey> = stored.keys().collect();
        let said = if stored.waiting > 0 {
            self.answers.wait_for(&keys, self.config.answer_timeout).await
        } else {
            self.answers.of(&keys)
        };
        if stored.waiting > 0 && said.iter().any(Option::is_none) {
            verdict.set_status(v1::submit_frame_response::Status::Stored);
        }
        verdict.duplicate = stored.repeated;
        let faces = sightings.iter().zip(keys).zip(said);
        verdict.faces = faces.map(|((sighting, key), said)| face_verdict(sighting, key, said)).collect();
    }
}

fn face_verdict(sighting: &Sighting, key: SightingKey, said: Option<ServerAnswer>) -> v1::FaceVerdict {
    let (answer, rejection) = match said {
        None => (None, String::new()),
        Some(ServerAnswer::Recorded(answer)) => (answer, String::new()),
        Some(ServerAnswer::Rejected(reason)) => (None, reason),
    };
    v1::FaceVerdict {
        bounding_box: Some(sighting.face.bounding_box.into()),
        detection_score: sighting.face.score,
        quality: Some(sighting.face.quality.into()),
        boot_epoch: key.boot_epoch,
        sequence: key.sequence,
        answer,
        rejection,
    }
}

fn check_frame_id(id: &str) -> Result<(), Refusal> {
    if id.len() > MAX_FRAME_ID || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        let problem = format!("must be 1 to {MAX_FRAME_ID} printable ASCII characters without spaces");
        return Err(Refusal::invalid("frame_id", problem));
    }
    Ok(())
}
