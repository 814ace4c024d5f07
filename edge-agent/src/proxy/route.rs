//! Which request goes where, and who is sending it.

use std::{convert::Infallible, sync::Arc};

use cavs_net::{Busy, Peer, Refusals};
use cavs_proto::v1::capture_service_server::CaptureServiceServer;
use cavs_types::{DeviceId, ErrorReason};
use http::{Method, Request, Response, Version, header};
use hyper::body::Incoming;
use tonic::{Status, body::Body};
use tonic_web::GrpcWebService;
use tower::{Layer, ServiceExt, util::MapResponse};

use super::{
    Refusal,
    cameras::Camera,
    grpc::{CameraContext, Capture, complete},
    intake::Intake,
    limits::{ByteBudget, MeteredBody},
    plain,
};
use crate::config::ListenerConfig;

const CAPTURE: &str = "/v1/capture";
const SUBMIT: &str = "/cavs.v1.CaptureService/SubmitFrame";
const STREAM: &str = "/cavs.v1.CaptureService/StreamFrames";

/// What a message has beside its picture, at most; forms too.
const AROUND: usize = 16 << 10;

/// What a request is, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Plain HTTP: errors are JSON.
    Plain,
    /// gRPC, over HTTP/2 or as gRPC-Web: errors are trailers.
    Unary,
    Stream,
}

/// The service, with reasons for the errors that the framework makes.
type Completed = MapResponse<CaptureServiceServer<Capture>, fn(Response<Body>) -> Response<Body>>;

pub(super) struct Router {
    config: ListenerConfig,
    budget: ByteBudget,
    intake: Arc<Intake>,
    capture: GrpcWebService<Completed>,
    refusals: Arc<Refusals>,
}

impl Router {
    pub(super) fn new(config: &ListenerConfig, intake: Arc<Intake>) -> Self {
        let capture = Capture { intake: Arc::clone(&intake), limit: config.body_timeout };
        let most = intake.config.max_frame_bytes + AROUND;
        let capture = CaptureServiceServer::new(capture).max_decoding_message_size(most);
        Self {
            config: config.clone(),
            budget: ByteBudget::new(config.max_bytes_in_flight),
            intake,
            capture: tonic_web::GrpcWebLayer::new().layer(MapResponse::new(capture, complete as _)),
            refusals: Arc::default(),
        }
    }

    /// Where it says whom it refuses.
    pub(super) fn refusals(&self) -> Arc<Refusals> {
        Arc::clone(&self.refusals)
    }

    /// Answers a request of a connection whose other end has shown the certificate of a device, or
    /// none.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        certificate: Option<DeviceId>,
        peer: &Peer,
    ) -> Response<Body> {
        let kind = match self.kind(&request) {
            Ok(kind) => kind,
            Err(response) => return *response,
        };
        let web = kind != Kind::Plain && request.version() != Version::HTTP_2;
        let limits = self.intake.config;
        let camera = match self.authenticate(&request, certificate) {
            Ok(camera) => camera,
            Err(refusal) => {
                let (reason, what) = (refusal.reason.as_str(), format_args!("refused: {}", refusal.message));
                self.refusals.log(peer.address, reason, None, what);
                return refused(kind, web, &refusal, true);
            }
        };
        let (slot, busy) = (&peer.slot, peer.slot.authorised());
        // Streams are counted frame by frame.
        if kind != Kind::Stream
            && let Err(refusal) = self.intake.admit(camera.id)
        {
            return refused(kind, web, &refusal, false);
        }
        let (parts, body) = request.into_parts();
        let metered = match kind {
            Kind::Stream => MeteredBody::stream(body, &self.budget),
            Kind::Plain | Kind::Unary => {
                let most = limits.max_frame_bytes + AROUND;
                MeteredBody::whole(body, &self.budget, most, self.config.body_timeout, slot)
            }
        };
        match kind {
            Kind::Plain => {
                let answered = plain::capture(&self.intake, &camera, &parts, metered).await;
                drop(busy);
                answered.unwrap_or_else(|refusal| refused(kind, web, &refusal, false))
            }
            Kind::Unary | Kind::Stream => self.call(parts, metered, camera, busy).await,
        }
    }

    async fn call(
        &self,
        parts: http::request::Parts,
        metered: MeteredBody,
        camera: Arc<Camera>,
        busy: Busy,
    ) -> Response<Body> {
        let context = CameraContext { camera, hold: metered.hold.clone(), busy };
        let mut request = Request::from_parts(parts, Body::new(metered));
        request.extensions_mut().insert(context);
        let answered: Result<_, Infallible> = self.capture.clone().oneshot(request).await;
        let Ok(response) = answered;
        response
    }

    /// What a request is; the answer to those that are nothing.
    fn kind(&self, request: &Request<Incoming>) -> Result<Kind, Box<Response<Body>>> {
        let ListenerConfig { grpc, grpc_web, http, .. } = self.config;
        let path = request.uri().path();
        let switched_on = if request.version() == Version::HTTP_2 { grpc } else { grpc_web };
        let kind = match path {
            CAPTURE if http => Kind::Plain,
            SUBMIT if switched_on => Kind::Unary,
            STREAM if switched_on => Kind::Stream,
            _ if path.starts_with("/cavs.v1.") && request.version() == Version::HTTP_2 => {
                let status = cavs_proto::status(ErrorReason::Unimplemented, "no such method");
                return Err(Box::new(status.into_http()));
            }
            _ => return Err(Box::new(plain::error(404, "NOT_FOUND", "there is nothing here", None, None))),
        };
        if request.method() != Method::POST {
            return Err(Box::new(plain::error(405, "METHOD_NOT_ALLOWED", "frames are posted", None, None)));
        }
        Ok(kind)
    }

    fn authenticate(
        &self,
        request: &Request<Incoming>,
        certificate: Option<DeviceId>,
    ) -> Result<Arc<Camera>, Refusal> {
        if let Some(device) = certificate {
            return self.intake.cameras.by_id(device);
        }
        let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let scheme = header.and_then(|text| text.trim().split_once(' '));
        let token = scheme.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let token = token.map(|(_, token)| token.trim());
        let token = token.ok_or_else(|| {
            Refusal::new(ErrorReason::Unauthenticated, "no client certificate, and no Authorization: Bearer")
        })?;
        self.intake.cameras.by_token(token)
    }
}

/// An answer to whoever is refused before a service has seen the request.
fn refused(kind: Kind, web: bool, refusal: &Refusal, close: bool) -> Response<Body> {
    let mut response = match kind {
        Kind::Plain => plain::refused(refusal),
        Kind::Unary | Kind::Stream => {
            let mut response: Response<Body> = Status::from(refusal.clone()).into_http();
            if web {
                let web = header::HeaderValue::from_static("application/grpc-web+proto");
                response.headers_mut().insert(header::CONTENT_TYPE, web);
            }
            response
        }
    };
    // Who has not proved who they are begins anew; HTTP/2 has no such header.
    if close && (web || kind == Kind::Plain) {
        response.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("close"));
    }
    response
}
