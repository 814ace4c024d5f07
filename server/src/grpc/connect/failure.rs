//! Errors as the Connect protocol writes them: JSON with a code, a message, and details.

use std::sync::LazyLock;

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use cavs_types::ErrorReason;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};
use http_body_util::{BodyExt, Full};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tonic::{Code, Status, body::Body};
use tonic_types::StatusExt;

use super::envelope::{END, frame};

/// What is known of the details of errors, so that they can be read without a library of the protocol.
static DETAILS: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(tonic_types::pb::FILE_DESCRIPTOR_SET).ok());

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure(Box<Status>);

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self(Box::new(status))
    }
}

/// Looks in headers and trailers for how a call ended.
pub(super) fn check(headers: &HeaderMap, trailers: &HeaderMap) -> Result<(), Failure> {
    let status = Status::from_header_map(trailers).or_else(|| Status::from_header_map(headers));
    match status {
        Some(status) if status.code() != Code::Ok => Err(status.into()),
        _ => Ok(()),
    }
}

/// Metadata of an answer that are not of gRPC itself; those at its end get a prefix.
pub(super) fn copy_metadata(headers: &HeaderMap, trailers: &HeaderMap, to: &mut HeaderMap) {
    let is_ours =
        |name: &HeaderName| !name.as_str().starts_with("grpc-") && name != CONTENT_TYPE && name != "date";
    for (name, value) in headers.iter().filter(|(name, _)| is_ours(name)) {
        to.append(name, value.clone());
    }
    for (name, value) in trailers.iter().filter(|(name, _)| is_ours(name)) {
        if let Ok(name) = HeaderName::try_from(format!("trailer-{name}")) {
            to.append(name, value.clone());
        }
    }
}

impl Failure {
    /// How a call ended that can't have succeeded.
    pub(super) async fn of(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let trailers =
            body.collect().await.ok().and_then(|body| body.trailers().cloned()).unwrap_or_default();
        match check(&parts.headers, &trailers) {
            Err(failure) => failure,
            Ok(()) => cavs_proto::status(ErrorReason::Unimplemented, "no such method").into(),
        }
    }

    /// For a call without streams.
    pub(super) fn into_response(self) -> Response<Body> {
        let Self(status) = &self;
        let mut response = Response::new(Body::new(Full::new(Bytes::from(self.json().to_string()))));
        *response.status_mut() = http_status(status.code());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if status.code() == Code::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        let retry = status.get_details_retry_info().and_then(|info| info.retry_delay);
        if let Some(delay) = retry {
            headers.insert(RETRY_AFTER, (delay.as_secs() + u64::from(delay.subsec_nanos() > 0)).into());
        }
        response
    }

    /// The last message of a stream.
    pub(super) fn end_of_stream(&self) -> Bytes {
        frame(END, json!({ "error": self.json() }).to_string().as_bytes())
    }

    fn json(&self) -> Value {
        let Self(status) = self;
        let details = tonic_types::pb::Status::decode(status.details()).unwrap_or_default().details;
        let details: Vec<_> = details
            .into_iter()
            .map(|detail| {
                let name = detail.type_url.rsplit('/').next().unwrap_or_default();
                let kind = DETAILS.as_ref().and_then(|pool| pool.get_message_by_name(name));
                let read = kind.and_then(|kind| DynamicMessage::decode(kind, detail.value.as_slice()).ok());
                let readable = read.and_then(|message| serde_json::to_value(message).ok());
                let value = BASE64_STANDARD_NO_PAD.encode(&detail.value);
                json!({ "type": name, "value": value, "debug": readable })
            })
            .collect();
        json!({ "code": name(status.code()), "message": status.message(), "details": details })
    }
}

/// What Connect calls a code. It has none for success, which is no failure.
fn name(code: Code) -> &'static str {
    match code {
        Code::Cancelled => "canceled",
        Code::Ok | Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

/// The status of HTTP that goes with a code, as the protocol has it.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        // "Client closed request": of no standard, but of the protocol.
        Code::Cancelled => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn details_can_be_read_without_the_protocol() {
        let wrong = Failure::from(cavs_proto::invalid_argument("number", "is required")).json();
        assert_eq!(wrong["code"], "invalid_argument");
        let debug = |name: &str| {
            let details = wrong["details"].as_array().unwrap();
            details.iter().find(|detail| detail["type"] == name).unwrap()["debug"].clone()
        };
        assert_eq!(debug("google.rpc.ErrorInfo"), json!({"reason": "INVALID_ARGUMENT", "domain": "cavs.v1"}));
        let violation = &debug("google.rpc.BadRequest")["fieldViolations"][0];
        assert_eq!(
            (&violation["field"], &violation["description"]),
            (&json!("number"), &json!("is required"))
        );
    }

    #[test]
    fn when_to_try_again_is_a_header() {
        let wait = Duration::from_millis(1500);
        let status = cavs_proto::status_with_retry(ErrorReason::LoginThrottled, "too often", wait);
        let response = Failure::from(status).into_response();
        assert_eq!(
            (response.status().as_u16(), &response.headers()[RETRY_AFTER]),
            (429, &HeaderValue::from(2))
        );
    }
}
