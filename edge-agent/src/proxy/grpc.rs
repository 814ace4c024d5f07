//! `CaptureService`, over gRPC and gRPC-Web alike.

use std::{pin::Pin, sync::Arc, time::Duration};

use cavs_net::Busy;
use cavs_proto::{complete_error, from_timestamp, v1};
use cavs_types::{DeviceId, ErrorReason, ProtocolError};
use http_body_util::BodyExt;
use tokio::{sync::OwnedSemaphorePermit, time::timeout};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming, body::Body};

use super::{
    Refusal,
    cameras::Camera,
    intake::{Intake, Submission},
    limits::{HeldBytes, too_slow},
};

/// Who is sending a request: an extension of each.
#[derive(Clone)]
pub(super) struct CameraContext {
    pub(super) camera: Arc<Camera>,
    pub(super) hold: HeldBytes,
    /// The connection is not idle until this is dropped.
    pub(super) busy: Busy,
}

#[derive(Clone)]
pub(super) struct Capture {
    pub(super) intake: Arc<Intake>,
    /// How long a frame may take to come.
    pub(super) limit: Duration,
}

#[tonic::async_trait]
impl v1::capture_service_server::CaptureService for Capture {
    type StreamFramesStream = Pin<Box<dyn Stream<Item = Result<v1::StreamFramesResponse, Status>> + Send>>;

    async fn submit_frame(
        &self,
        request: Request<v1::SubmitFrameRequest>,
    ) -> Result<Response<v1::SubmitFrameResponse>, Status> {
        let context = context(&request)?;
        let submission = submission(&context.camera, request.into_inner())?;
        Ok(Response::new(self.intake.take(context.camera.id, submission, context.hold.take()).await?))
    }

    async fn stream_frames(
        &self,
        request: Request<Streaming<v1::StreamFramesRequest>>,
    ) -> Result<Response<Self::StreamFramesStream>, Status> {
        let context = context(&request)?;
        let stream = FrameStream { capture: self.clone(), context, inbound: request.into_inner() };
        let verdicts = futures_util::stream::try_unfold(stream, FrameStream::next);
        Ok(Response::new(Box::pin(verdicts)))
    }
}

/// Frames of one camera, one after the other: a sender that is ahead is held up by its own stream.
struct FrameStream {
    capture: Capture,
    context: CameraContext,
    inbound: Streaming<v1::StreamFramesRequest>,
}

impl FrameStream {
    async fn next(mut self) -> Result<Option<(v1::StreamFramesResponse, Self)>, Status> {
        let limit = self.capture.limit;
        let shutdown = self.capture.intake.shutdown.clone();
        let message = tokio::select! {
            message = timeout(limit, self.inbound.message()) => message.map_err(|_| {
                self.context.busy.too_slow();
                too_slow()
            })??,
            () = shutdown.cancelled() => {
                return Err(Refusal::new(ErrorReason::ShuttingDown, "the proxy is stopping").into());
            }
        };
        let Some(v1::StreamFramesRequest { frame }) = message else { return Ok(None) };
        // One without a frame is one whose picture is missing.
        let request = frame.unwrap_or_default();
        let (frame_id, hold) = (request.frame_id.clone(), self.context.hold.take());
        let camera = &self.context.camera;
        let verdict = match self.judge(request, hold).await {
            Ok(verdict) => verdict,
            // It holds for whatever comes next, too.
            Err(refusal) if refusal.reason == ErrorReason::ShuttingDown => return Err(refusal.into()),
            Err(refusal) => v1::SubmitFrameResponse {
                status: v1::submit_frame_response::Status::Refused.into(),
                device_id: camera.id.to_string(),
                frame_id: frame_id.chars().take(64).collect(),
                refusal: Some(refusal.into()),
                ..Default::default()
            },
        };
        Ok(Some((v1::StreamFramesResponse { verdict: Some(verdict) }, self)))
    }

    async fn judge(
        &self,
        request: v1::SubmitFrameRequest,
        hold: Option<OwnedSemaphorePermit>,
    ) -> Result<v1::SubmitFrameResponse, Refusal> {
        let camera = self.capture.intake.admit(self.context.camera.id)?;
        let submission = submission(&camera, request)?;
        self.capture.intake.take(camera.id, submission, hold).await
    }
}

/// Gives every error of an answer a reason, those of the framework, too.
pub(super) fn complete(mut response: http::Response<Body>) -> http::Response<Body> {
    complete_error(response.headers_mut());
    response.map(|body| {
        Body::new(body.map_frame(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                complete_error(trailers);
            }
            frame
        }))
    })
}

fn context<T>(request: &Request<T>) -> Result<CameraContext, Status> {
    let context = request.extensions().get::<CameraContext>().cloned();
    context.ok_or_else(|| Refusal::new(ErrorReason::Unauthenticated, "nobody").into())
}

fn submission(camera: &Camera, request: v1::SubmitFrameRequest) -> Result<Submission, Refusal> {
    let v1::SubmitFrameRequest {
        device_id,
        frame_id,
        capture_time: captured_at,
        send_time: sent_at,
        classroom: _,
        image,
    } = request;
    check_device(camera, &device_id)?;
    let time = |field, time: Option<_>| {
        let time = time.map(|time| from_timestamp(field, Some(&time))).transpose();
        time.map_err(|error: ProtocolError| Refusal::invalid(field, error))
    };
    Ok(Submission {
        frame_id,
        captured_at: time("capture_time", captured_at)?,
        sent_at: time("send_time", sent_at)?,
        image,
    })
}

/// Whether a request that names a device names the one that sends it.
pub(super) fn check_device(camera: &Camera, named: &str) -> Result<(), Refusal> {
    let same = named.is_empty()
        || named == camera.name
        || named.parse::<DeviceId>().is_ok_and(|named| named == camera.id);
    if same {
        return Ok(());
    }
    let message = format!("device_id: the certificate or the token is that of {}", camera.id);
    Err(Refusal { field: Some("device_id"), ..Refusal::new(ErrorReason::DeviceMismatch, message) })
}
