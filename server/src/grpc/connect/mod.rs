//! The Connect protocol and plain JSON, in front of the same calls: a request is made into one of gRPC and goes
//! through the same layer, so that access, limits and refusals are those of gRPC, and the answer is made into what
//! was asked for. <https://connectrpc.com/docs/protocol>

mod envelope;
mod failure;
mod message;
#[cfg(test)]
mod openapi;

use std::{collections::HashMap, time::Duration};

use bytes::{Bytes, BytesMut};
use cavs_proto::FILE_DESCRIPTOR_SET;
use cavs_types::ErrorReason;
use futures_util::{StreamExt, stream};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version,
    header::{ACCEPT, ALLOW, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TE},
};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use prost_reflect::{DescriptorError, DescriptorPool, MethodDescriptor};
use tonic::{Status, body::Body};
use tower::{Layer, ServiceExt, service_fn};
use tower_http::cors::{Any, CorsLayer};

use self::{
    envelope::{Envelope, frame, read_envelopes},
    failure::Failure,
    message::{Codec, from_wire, to_wire},
};

/// A message as gRPC sends it.
pub(super) fn framed(message: &[u8]) -> Bytes {
    frame(0, message)
}

/// The only message of a body of gRPC, where it is one that is not compressed.
pub(super) fn unframed(body: &[u8]) -> Option<&[u8]> {
    let (head, message) = body.split_at_checked(5)?;
    let [0, length @ ..] = head else { return None };
    let length = length.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
    (message.len() == length).then_some(message)
}

/// The description of this API by JSON. A test compares it with the protocol.
const OPENAPI: &str = include_str!("../../../../proto/openapi.json");
const OPENAPI_PATH: &str = "/openapi.json";

/// Longest message: gRPC's 4 MiB, as Base64 makes them longer.
const MESSAGE: usize = 6 << 20;
/// The same of an image for enrollment.
const ENROLLMENT_MESSAGE: usize = super::ENROLLMENT_MESSAGE / 3 * 4 + 4096;
/// What everybody may have read, in bytes.
const SMALL: u64 = 64 << 10;
/// What is read of a body that is too long.
const THROWN_AWAY: usize = 4 * MESSAGE;
const ENROLLMENT: &str = "/cavs.v1.EnrollmentService/EnrollFromImages";

const PROTOCOL_VERSION: &str = "connect-protocol-version";
const TIMEOUT: &str = "connect-timeout-ms";
const STREAM_ENCODING: &str = "connect-content-encoding";
const GRPC_TIMEOUT: &str = "grpc-timeout";
/// How long a browser need not ask again whether it may call.
const PREFLIGHT: Duration = Duration::from_secs(7200);

/// What the body of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Grpc,
    Unary(Codec),
    Streaming(Codec),
}

impl Protocol {
    const ACCEPTED: &str = "application/json, application/proto, application/connect+json, \
                            application/connect+proto, application/grpc";

    fn of(headers: &HeaderMap) -> Option<Self> {
        let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        Some(match essence.as_str() {
            "application/json" => Self::Unary(Codec::Json),
            "application/proto" => Self::Unary(Codec::Proto),
            "application/connect+json" => Self::Streaming(Codec::Json),
            "application/connect+proto" => Self::Streaming(Codec::Proto),
            "application/grpc" | "application/grpc+proto" => Self::Grpc,
            _ => return None,
        })
    }
}

/// Answers requests of all protocols.
pub(super) struct Transcoder {
    methods: HashMap<String, MethodDescriptor>,
    cors: Option<CorsLayer>,
}

impl Transcoder {
    /// For methods of the services of these names. Browsers may call from pages of these origins; from all of them
    /// where one is `*`.
    ///
    /// # Errors
    /// The descriptors are damaged: a fault of the build.
    pub(super) fn new(services: &[&str], origins: &[HeaderValue]) -> Result<Self, DescriptorError> {
        let mut pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)?;
        pool.decode_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)?;
        let methods = pool
            .services()
            .filter(|service| services.contains(&service.full_name()))
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .map(|method| (format!("/{}/{}", method.parent_service().full_name(), method.name()), method))
            .collect();
        Ok(Self { methods, cors: cors(origins) })
    }

    /// Answers a request; `call` answers one of gRPC.
    pub(super) async fn answer<F>(
        &self,
        request: Request<Body>,
        call: impl FnOnce(Request<Body>) -> F,
    ) -> Response<Body>
    where
        F: Future<Output = Response<Body>>,
    {
        let Some(cors) =
            self.cors.as_ref().filter(|_| Protocol::of(request.headers()) != Some(Protocol::Grpc))
        else {
            return self.answer_here(request, call).await;
        };
        // The layer wants a service that it could call again.
        let call = std::sync::Mutex::new(Some(call));
        let service = service_fn(|request| {
            let call = call.lock().ok().and_then(|mut call| call.take());
            async move {
                Ok::<_, std::convert::Infallible>(match call {
                    Some(call) => self.answer_here(request, call).await,
                    None => text(StatusCode::INTERNAL_SERVER_ERROR, ""),
                })
            }
        });
        let Ok(response) = cors.layer(service).oneshot(request).await;
        response
    }

    async fn answer_here<F>(
        &self,
        request: Request<Body>,
        call: impl FnOnce(Request<Body>) -> F,
    ) -> Response<Body>
    where
        F: Future<Output = Response<Body>>,
    {
        let protocol = Protocol::of(request.headers());
        let request = match protocol {
            Some(Protocol::Grpc) => request,
            _ => match read_small(request).await {
                Ok(request) => request,
                Err(status) => return Failure::from(status).into_response(),
            },
        };
        match protocol {
            Some(Protocol::Grpc) if request.version() < Version::HTTP_2 => {
                text(StatusCode::HTTP_VERSION_NOT_SUPPORTED, "gRPC needs HTTP/2")
            }
            Some(Protocol::Grpc) => call(request).await,
            _ if request.uri().path() == OPENAPI_PATH => openapi(request.method()),
            _ if request.method() != Method::POST => {
                let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "a method is called by POST");
                refused.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
                refused
            }
            Some(Protocol::Unary(codec)) => match self.unary(codec, request, call).await {
                Ok(response) => response,
                Err(failure) => failure.into_response(),
            },
            Some(Protocol::Streaming(codec)) => self.streaming(codec, request, call).await,
            None => unsupported("the content type is none of those that are understood here"),
        }
    }

    async fn unary<F>(
        &self,
        codec: Codec,
        request: Request<Body>,
        call: impl FnOnce(Request<Body>) -> F,
    ) -> Result<Response<Body>, Failure>
    where
        F: Future<Output = Response<Body>>,
    {
        let (mut parts, body) = request.into_parts();
        into_grpc(&mut parts.headers, CONTENT_ENCODING)?;
        // Who has no such method is told so by whoever answers all calls.
        let Some(method) = self.methods.get(parts.uri.path()) else {
            let response = call(Request::from_parts(parts, Body::empty())).await;
            return Err(Failure::of(response).await);
        };
        if method.is_client_streaming() || method.is_server_streaming() {
            return Ok(unsupported(
                "the method has streams: its content type is application/connect+json or +proto",
            ));
        }
        let input = method.input();
        // Read when the method wants it, which is after the caller has been let in.
        let message = async move {
            let bytes = read_whole(body).await?;
            Ok::<_, Status>(Frame::data(frame(0, &to_wire(codec, &input, bytes)?)))
        };
        let body = Body::new(StreamBody::new(stream::once(message)));
        let (parts, body) = call(Request::from_parts(parts, body)).await.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned().unwrap_or_default();
        failure::check(&parts.headers, &trailers)?;
        let message = envelope::only_message(collected.to_bytes())?;
        let mut response = Response::new(Body::new(Full::new(from_wire(codec, &method.output(), message)?)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(codec.of_unary()));
        failure::copy_metadata(&parts.headers, &trailers, headers);
        Ok(response)
    }

    async fn streaming<F>(
        &self,
        codec: Codec,
        request: Request<Body>,
        call: impl FnOnce(Request<Body>) -> F,
    ) -> Response<Body>
    where
        F: Future<Output = Response<Body>>,
    {
        let (mut parts, body) = request.into_parts();
        let method = self.methods.get(parts.uri.path()).cloned();
        if method
            .as_ref()
            .is_some_and(|method| !method.is_client_streaming() && !method.is_server_streaming())
        {
            return unsupported(
                "the method has no streams: its content type is application/json or application/proto",
            );
        }
        let called = match into_grpc(&mut parts.headers, HeaderName::from_static(STREAM_ENCODING)) {
            Ok(()) => {
                let longest = if parts.uri.path() == ENROLLMENT { ENROLLMENT_MESSAGE } else { MESSAGE };
                let input = method.as_ref().map(MethodDescriptor::input);
                let messages = read_envelopes(body, longest).map(move |read| match (read?, &input) {
                    (Envelope::Message(bytes), Some(input)) => {
                        Ok::<_, Status>(Frame::data(frame(0, &to_wire(codec, input, bytes)?)))
                    }
                    (Envelope::Message(_), None) | (Envelope::Trailers(_), _) => {
                        Ok(Frame::data(Bytes::new()))
                    }
                });
                Ok(call(Request::from_parts(parts, Body::new(StreamBody::new(messages)))).await)
            }
            Err(failure) => Err(failure),
        };
        let answer = match (called, method) {
            (Ok(response), Some(method)) => answers(codec, response, method),
            (Ok(response), None) => Body::new(Full::new(Failure::of(response).await.end_of_stream())),
            (Err(failure), _) => Body::new(Full::new(failure.end_of_stream())),
        };
        let mut response = Response::new(answer);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(codec.of_streams()));
        response
    }
}

/// The messages of an answer, and how it ended.
fn answers(codec: Codec, response: Response<Body>, method: MethodDescriptor) -> Body {
    let (parts, body) = response.into_parts();
    let output = method.output();
    let longest = usize::MAX;
    let messages = stream::once(async move { failure::check(&parts.headers, &HeaderMap::new()) })
        .filter_map(async |begun| begun.err().map(Err));
    let rest = read_envelopes(body, longest).map(move |read| match read? {
        Envelope::Message(bytes) => Ok(Some(frame(0, &from_wire(codec, &output, bytes)?))),
        Envelope::Trailers(trailers) => failure::check(&HeaderMap::new(), &trailers).map(|()| None),
    });
    let ended = stream::once(async { Ok(None) });
    // Nothing follows the first failure, and the end is said once.
    let frames = messages.chain(rest).chain(ended).scan(false, |over, next| {
        let next = match (*over, next) {
            (true, _) => None,
            (false, Ok(Some(bytes))) => Some(Some(bytes)),
            (false, Ok(None)) => {
                *over = true;
                Some(Some(frame(envelope::END, b"{}")))
            }
            (false, Err(failure)) => {
                *over = true;
                Some(Some(failure.end_of_stream()))
            }
        };
        async move { next }
    });
    Body::new(StreamBody::new(
        frames.filter_map(async |bytes| bytes.map(|b| Ok::<_, Status>(Frame::data(b)))),
    ))
}

/// Makes the headers of a request into those of gRPC. `encoding` says how the body is compressed.
fn into_grpc(headers: &mut HeaderMap, encoding: HeaderName) -> Result<(), Failure> {
    let invalid = |problem: String| Failure::from(cavs_proto::status(ErrorReason::MessageInvalid, problem));
    if let Some(version) = headers.remove(PROTOCOL_VERSION)
        && version != "1"
    {
        return Err(invalid(format!("{PROTOCOL_VERSION}: must be 1")));
    }
    if headers.remove(encoding).is_some_and(|encoding| encoding != "identity") {
        let message = "the body is compressed, which is not understood here: send it as it is";
        return Err(cavs_proto::status(ErrorReason::Unimplemented, message).into());
    }
    // What gRPC would read is of gRPC's requests only.
    for name in ["grpc-encoding", "grpc-accept-encoding", GRPC_TIMEOUT] {
        headers.remove(name);
    }
    if let Some(timeout) = headers.remove(TIMEOUT) {
        let digits = timeout.to_str().ok().filter(|text| text.len() <= 10);
        let millis: u64 = digits
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| invalid(format!("{TIMEOUT}: must be a number of at most ten digits")))?;
        let value = if millis < 100_000_000 { format!("{millis}m") } else { format!("{}S", millis / 1000) };
        if let Ok(value) = value.parse() {
            headers.insert(GRPC_TIMEOUT, value);
        }
    }
    headers.remove(ACCEPT);
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    Ok(())
}

/// Reads a body that says it is small before anything else is done: who is refused at once while they are still
/// sending sees a broken stream instead, as curl does by HTTP/2. Larger ones are read once the caller was let in.
async fn read_small(request: Request<Body>) -> Result<Request<Body>, Status> {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_none_or(|length| length > SMALL) {
        return Ok(request);
    }
    let (parts, body) = request.into_parts();
    let bytes = super::layer::in_time(read_whole(body)).await?;
    Ok(Request::from_parts(parts, Body::new(Full::new(bytes))))
}

/// Reads a body of at most [`MESSAGE`] bytes. Of a longer one, some more is read and thrown away: who is still
/// sending when the answer comes sees a broken connection instead.
async fn read_whole(mut body: Body) -> Result<Bytes, Status> {
    let (mut whole, mut length) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await.transpose()? {
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        if length <= MESSAGE {
            whole.extend_from_slice(&data);
        } else if length > THROWN_AWAY {
            break;
        }
    }
    if length > MESSAGE {
        let message = format!("the body is longer than {MESSAGE} bytes");
        return Err(cavs_proto::status(ErrorReason::MessageTooLarge, message));
    }
    Ok(whole.freeze())
}

fn cors(origins: &[HeaderValue]) -> Option<CorsLayer> {
    let layer = CorsLayer::new()
        .allow_methods([Method::POST])
        .allow_headers(
            ["authorization", "cavs-site", "content-type", PROTOCOL_VERSION, TIMEOUT]
                .map(HeaderName::from_static),
        )
        .expose_headers(Any)
        .max_age(PREFLIGHT);
    match origins {
        [] => None,
        all if all.contains(&HeaderValue::from_static("*")) => Some(layer.allow_origin(Any)),
        some => Some(layer.allow_origin(some.to_vec())),
    }
}

fn openapi(method: &Method) -> Response<Body> {
    if method != Method::GET && method != Method::HEAD {
        let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "the description is read by GET");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return refused;
    }
    let mut response = Response::new(Body::new(Full::new(Bytes::from_static(OPENAPI.as_bytes()))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn unsupported(message: &'static str) -> Response<Body> {
    let mut refused = text(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    refused
        .headers_mut()
        .insert(HeaderName::from_static("accept-post"), HeaderValue::from_static(Protocol::ACCEPTED));
    refused
}

fn text(status: StatusCode, message: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from_static(message.as_bytes()))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answer(origins: &[HeaderValue], request: http::request::Builder) -> Response<Body> {
        let transcoder = Transcoder::new(&["cavs.v1.StudentService"], origins).unwrap();
        let call = |_| async { panic!("no call") };
        transcoder.answer(request.body(Body::empty()).unwrap(), call).await
    }

    #[tokio::test]
    async fn no_page_may_call_unless_its_origin_is_named() {
        let preflight = || {
            Request::options("/cavs.v1.StudentService/ListStudents")
                .header("origin", "https://a.example")
                .header("access-control-request-method", "POST")
        };
        let none = answer(&[], preflight()).await;
        assert_eq!(none.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert!(!none.headers().contains_key("access-control-allow-origin"));
        for origins in ["https://a.example", "*"] {
            let allowed = answer(&[origins.parse().unwrap()], preflight()).await;
            assert_eq!(allowed.headers()["access-control-allow-origin"], origins);
        }
    }

    #[test]
    fn a_callers_patience_becomes_that_of_grpc() {
        for (millis, expected) in
            [("250", Some("250m")), ("9999999999", Some("9999999S")), ("-1", None), ("", None)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(TIMEOUT, millis.parse().unwrap());
            let made = into_grpc(&mut headers, CONTENT_ENCODING).ok();
            let found = made.and_then(|()| headers.get(GRPC_TIMEOUT)).map(|value| value.to_str().unwrap());
            assert_eq!(found, expected, "{millis:?}");
        }
    }
}
