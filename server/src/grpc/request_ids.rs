//! Requests that carry an id of their own (AIP-155): whatever has a field `request_id` is done once, and a repeat
//! gets the same answer. One place for all methods, before they see the request.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use cavs_proto::FILE_DESCRIPTOR_SET;
use cavs_types::{ErrorReason, ProtocolError};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Request, Response, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Frame;
use prost_reflect::{DescriptorError, DescriptorPool, DynamicMessage, MessageDescriptor};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;
use tonic::{Status, body::Body};
use tracing::Instrument;
use uuid::Uuid;

use super::{
    connect::{framed, unframed},
    layer::Caller,
};
use crate::requests::{Answers, Begun, GIVEN_UP, RequestKey};

/// The field that makes a method one of those.
const FIELD: &str = "request_id";
/// Longest request of such a method, in bytes: gRPC's usual 4 MiB, and its head.
const LONGEST: usize = (4 << 20) + 16;
/// When a request that is under way may be done.
const RETRY: Duration = Duration::from_secs(2);

/// Longest that such a request takes: what takes longer has no effect.
const LIMIT: Duration = Duration::from_secs(60);
// Nobody does again what may still be done.
const _: () = assert!(LIMIT.as_secs() < GIVEN_UP.as_secs());
/// Requests with an id that are under way at a time.
const MOST: usize = 256;

/// Does each request with an id once.
pub(super) struct RequestIds {
    methods: HashMap<String, MessageDescriptor>,
    answers: Answers,
    /// They go on without their callers.
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

impl RequestIds {
    /// For all methods of the protocol whose requests can have an id.
    ///
    /// # Errors
    /// The descriptors are damaged: a fault of the build.
    pub(super) fn new(answers: Answers) -> Result<Self, DescriptorError> {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET)?;
        let methods = pool
            .services()
            .flat_map(|service| service.methods().collect::<Vec<_>>())
            .filter(|method| !method.is_client_streaming() && !method.is_server_streaming())
            .filter(|method| method.input().get_field_by_name(FIELD).is_some())
            .map(|method| {
                (format!("/{}/{}", method.parent_service().full_name(), method.name()), method.input())
            })
            .collect();
        let places = Arc::new(Semaphore::new(MOST));
        Ok(Self { methods, answers, tasks: TaskTracker::new(), places })
    }

    /// Answers a request whose caller may call the method; `call` does it.
    pub(super) async fn answer<F>(
        &self,
        request: Request<Body>,
        call: impl FnOnce(Request<Body>) -> F,
    ) -> Result<Response<Body>, Status>
    where
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let caller = request.extensions().get::<Caller>().copied();
        let (Some(kind), Some(caller)) = (self.methods.get(request.uri().path()), caller) else {
            return Ok(call(request).await);
        };
        let (parts, body) = request.into_parts();
        let whole = Limited::new(body, LONGEST).collect().await.map_err(|_| too_large())?.to_bytes();
        let again = |parts, whole: Bytes| Request::from_parts(parts, Body::new(Full::new(whole)));
        // What can't be read, the method refuses itself.
        let id = match unframed(&whole).and_then(|message| request_id(kind, message)) {
            None => return Ok(call(again(parts, whole)).await),
            Some(text) => text.parse::<Uuid>().map_err(|_| {
                cavs_proto::status_of(ProtocolError::invalid(FIELD, "is no UUID: draw one at random"))
            })?,
        };
        let message = unframed(&whole).unwrap_or_default();
        let key = RequestKey::new(caller.site, caller.user, id, parts.uri.path(), message);
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let message = "too many requests with an id at a time; try again";
            return Err(cavs_proto::status_with_retry(ErrorReason::Overloaded, message, RETRY));
        };
        // Of a caller who goes away, what they asked for is done all the same, and its answer kept for them.
        let (answers, call) = (self.answers.clone(), call(again(parts, whole)));
        let doing = async move {
            let _place = place;
            once(&answers, &key, call).await
        };
        self.tasks.spawn(doing.in_current_span()).await.unwrap_or_else(|error| {
            tracing::error!(%error, "a request with an id failed");
            Err(cavs_proto::status(ErrorReason::Internal, "an internal error"))
        })
    }

    /// Waits for what is under way; nothing more is asked for.
    pub(super) async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// Does a request, if nobody has done it.
async fn once(
    answers: &Answers,
    key: &RequestKey,
    call: impl Future<Output = Response<Body>>,
) -> Result<Response<Body>, Status> {
    match answers.begin(key).await? {
        Begun::Answered(answer) => Ok(response(&answer)),
        Begun::New => match timeout(LIMIT, call).await {
            Ok(response) => Ok(done(answers, key, response).await),
            Err(_) => {
                let message = "the server could not answer in time; ask again with the same request_id";
                Err(cavs_proto::status_with_retry(ErrorReason::CallTimeout, message, GIVEN_UP))
            }
        },
        Begun::UnderWay => {
            let message = "the request of this id is under way, or its server stopped; try again";
            Err(cavs_proto::status_with_retry(ErrorReason::RequestUnderWay, message, RETRY))
        }
        Begun::Other => {
            let message = "request_id: another request had this id in the last 24 hours";
            Err(cavs_proto::status(ErrorReason::RequestIdReused, message))
        }
        Begun::AnswerGone => {
            let message = "the request of this id was done, and its answer is not kept any more";
            Err(cavs_proto::status(ErrorReason::RequestIdReused, message))
        }
    }
}

/// Keeps the answer, if the request was done.
async fn done(answers: &Answers, key: &RequestKey, response: Response<Body>) -> Response<Body> {
    let (parts, body) = response.into_parts();
    let Ok(collected) = body.collect().await else {
        answers.forget(key).await;
        let status = cavs_proto::status(ErrorReason::Internal, "the answer broke off");
        return status.into_http();
    };
    let trailers = collected.trailers().cloned();
    let whole = collected.to_bytes();
    let is_ok =
        |headers: &HeaderMap| headers.get("grpc-status").is_none_or(|status| status.as_bytes() == b"0");
    match unframed(&whole) {
        Some(answer) if is_ok(&parts.headers) && trailers.as_ref().is_none_or(is_ok) => {
            answers.finish(key, answer).await;
        }
        _ if was_refused(&parts.headers) || trailers.as_ref().is_some_and(was_refused) => {
            answers.forget(key).await;
        }
        // Nobody knows what was done of it: whoever repeats it has to wait, and look.
        _ => {}
    }
    Response::from_parts(parts, in_frames(whole, trailers))
}

/// Whether a request was refused before it changed anything.
fn was_refused(headers: &HeaderMap) -> bool {
    use tonic::Code;
    let code = headers.get("grpc-status").map(|status| Code::from_bytes(status.as_bytes()));
    code.is_some_and(|code| {
        matches!(
            code,
            Code::InvalidArgument
                | Code::NotFound
                | Code::AlreadyExists
                | Code::PermissionDenied
                | Code::Unauthenticated
                | Code::ResourceExhausted
                | Code::FailedPrecondition
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unimplemented
        )
    })
}

fn too_large() -> Status {
    cavs_proto::status(ErrorReason::MessageTooLarge, "the request is larger than 4 MiB, or broke off")
}

/// The id that a request carries, if it does.
fn request_id(kind: &MessageDescriptor, message: &[u8]) -> Option<String> {
    let message = DynamicMessage::decode(kind.clone(), message).ok()?;
    let field = message.get_field_by_name(FIELD)?;
    field.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// An answer that was given before.
fn response(answer: &[u8]) -> Response<Body> {
    let trailers =
        HeaderMap::from_iter([(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let mut response = Response::new(in_frames(framed(answer), Some(trailers)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

fn in_frames(whole: Bytes, trailers: Option<HeaderMap>) -> Body {
    let data = (!whole.is_empty()).then(|| Frame::data(whole));
    let frames = data.into_iter().chain(trailers.map(Frame::trailers));
    Body::new(StreamBody::new(stream::iter(frames.map(Ok::<_, Status>).collect::<Vec<_>>())))
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    #[test]
    fn ids_are_found_in_requests() {
        let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
        let kind = pool.get_message_by_name("cavs.v1.CreateStudentRequest").unwrap();
        let mut request = cavs_proto::v1::CreateStudentRequest { name: "Ada".into(), ..Default::default() };
        assert_eq!(request_id(&kind, &request.encode_to_vec()), None);
        request.request_id = "x".to_owned();
        assert_eq!(request_id(&kind, &request.encode_to_vec()).as_deref(), Some("x"));
        assert_eq!(request_id(&kind, b"\xff\xff"), None);
        let message = request.encode_to_vec();
        assert_eq!(unframed(&framed(&message)), Some(message.as_slice()));
        for broken in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x05ab", b"\x01\0\0\0\0"] {
            assert_eq!(unframed(broken), None, "{broken:?}");
        }
    }
}
