//! `POST /v1/capture`: a JPEG or a form in, JSON out, in the original system's shapes.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use cavs_proto::v1;
use cavs_types::{Decision, ErrorReason};
use http::{HeaderMap, Response, header, request::Parts};
use http_body_util::BodyExt;
use multer::Multipart;
use serde_json::{Value, json};
use tonic::{Code, body::Body};

use super::{
    Refusal,
    cameras::Camera,
    grpc::check_device,
    intake::{Intake, Submission},
    limits::{MeteredBody, too_large},
    times,
};

/// Most parts of a form, and the longest text in one, in bytes.
const PARTS: usize = 16;
const TEXT: usize = 256;

/// What a request says beside its picture, by the names of the form.
const FIELDS: [(&str, &[&str]); 5] = [
    ("device_id", &["x-device-id"]),
    ("classroom_id", &["x-classroom-id"]),
    ("timestamp", &["x-captured-at"]),
    ("sent_at", &["x-sent-at"]),
    ("frame_id", &["idempotency-key", "x-frame-id"]),
];

/// Takes the frame of one `POST`; answers 202 where the server's answer is still out, otherwise 200.
pub(super) async fn capture(
    intake: &Arc<Intake>,
    camera: &Camera,
    parts: &Parts,
    body: MeteredBody,
) -> Result<Response<Body>, Refusal> {
    let form = BodyFormat::of(&parts.headers)?;
    let mut fields = fields_outside_body(parts);
    // Before the body: whoever names another camera need not send a picture.
    check_device(camera, fields.get("device_id").map_or("", String::as_str))?;
    let hold = body.hold.clone();
    let bytes = body.collect().await.map_err(|status| Refusal::from(&status))?.to_bytes();
    let image = match form {
        BodyFormat::Jpeg => bytes,
        BodyFormat::Multipart(boundary) => read_form(bytes, boundary, &mut fields).await?,
    };
    if image.len() > intake.config.max_frame_bytes {
        return Err(too_large());
    }
    check_device(camera, fields.get("device_id").map_or("", String::as_str))?;
    let submission = submission(&fields, image)?;
    let verdict = intake.take(camera.id, submission, hold.take()).await?;
    let stored = verdict.status() == v1::submit_frame_response::Status::Stored;
    Ok(json_response(if stored { 202 } else { 200 }, &success(&verdict)))
}

/// How the picture lies in the body.
enum BodyFormat {
    Jpeg,
    Multipart(String),
}

impl BodyFormat {
    fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let kind =
            headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("image/jpeg")) {
            return Ok(Self::Jpeg);
        }
        multer::parse_boundary(kind).map(Self::Multipart).map_err(|_| {
            Refusal::invalid("content-type", "must be image/jpeg, or multipart/form-data with a boundary")
        })
    }
}

/// What headers and the query say. The query goes before the headers.
fn fields_outside_body(parts: &Parts) -> HashMap<&'static str, String> {
    let mut fields = HashMap::new();
    for (field, headers) in FIELDS {
        let header = headers.iter().find_map(|name| parts.headers.get(*name)?.to_str().ok());
        if let Some(text) = header {
            fields.insert(field, text.to_owned());
        }
    }
    for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        if let Some((field, _)) = FIELDS.iter().find(|(field, _)| *field == name) {
            fields.insert(field, value.into_owned());
        }
    }
    fields
}

/// Reads a form that is here as a whole; gives its picture.
async fn read_form(
    bytes: Bytes,
    boundary: String,
    fields: &mut HashMap<&'static str, String>,
) -> Result<Bytes, Refusal> {
    let wrong = |error: multer::Error| Refusal::invalid("form", error);
    let whole = futures_util::stream::iter([Ok::<_, std::convert::Infallible>(bytes)]);
    let mut form = Multipart::new(whole, boundary);
    let (mut image, mut parts) = (None, 0);
    while let Some(part) = form.next_field().await.map_err(wrong)? {
        parts += 1;
        if parts > PARTS {
            return Err(Refusal::invalid("form", format!("more than {PARTS} parts")));
        }
        let name = part.name().unwrap_or_default().to_owned();
        let data = part.bytes().await.map_err(wrong)?;
        if name == "image" {
            if image.replace(data).is_some() {
                return Err(Refusal::invalid("image", "is there twice"));
            }
        } else if let Some((field, _)) = FIELDS.iter().find(|(field, _)| *field == name) {
            let text = std::str::from_utf8(&data).ok().filter(|text| text.len() <= TEXT);
            let text =
                text.ok_or_else(|| Refusal::invalid(field, format!("must be text of at most {TEXT} bytes")))?;
            fields.insert(field, text.trim().to_owned());
        }
    }
    image.ok_or_else(|| Refusal::invalid("image", "is required"))
}

fn submission(fields: &HashMap<&'static str, String>, image: Bytes) -> Result<Submission, Refusal> {
    let time = |field| {
        let text = fields.get(field).filter(|text| !text.is_empty());
        let wrong = || Refusal::invalid(field, "must be RFC 3339, or Unix time in seconds or milliseconds");
        text.map(|text| times::parse(text).ok_or_else(wrong)).transpose()
    };
    Ok(Submission {
        frame_id: fields.get("frame_id").cloned().unwrap_or_default(),
        captured_at: time("timestamp")?,
        sent_at: time("sent_at")?,
        image,
    })
}

/// A verdict in the shape of the original system's answer.
fn success(verdict: &v1::SubmitFrameResponse) -> Value {
    let faces: Vec<Value> = verdict.faces.iter().map(face).collect();
    let best = verdict.faces.iter().filter_map(|face| face.answer.as_ref()).max_by(|a, b| certainty(a, b));
    json!({
        "success": true,
        "status": if verdict.status() == v1::submit_frame_response::Status::Stored { "stored" } else { "recorded" },
        "record_id": best.map(|best| &best.sighting_id),
        "predicted_student": best.and_then(|best| best.student.as_ref()).map(student),
        "confidence": best.and_then(|best| best.similarity),
        "faces_detected": verdict.faces_detected,
        "processing_time_ms": verdict.processing_time_ms,
        "duplicate": verdict.duplicate,
        "device_id": verdict.device_id,
        "frame_id": verdict.frame_id,
        "faces": faces,
    })
}

/// Somebody goes before nobody, and the more similar before the less.
fn certainty(a: &v1::SightingAnswer, b: &v1::SightingAnswer) -> std::cmp::Ordering {
    let similarity = |answer: &v1::SightingAnswer| answer.similarity.unwrap_or(-1.0);
    let rank = |answer: &v1::SightingAnswer| match decision(answer) {
        Some(Decision::Accepted) => 2,
        Some(Decision::Pending) => 1,
        Some(Decision::Unknown) | None => 0,
    };
    rank(a).cmp(&rank(b)).then(similarity(a).total_cmp(&similarity(b)))
}

/// None where a newer server has made one that is not known here.
fn decision(answer: &v1::SightingAnswer) -> Option<Decision> {
    answer.decision().try_into().ok()
}

fn face(face: &v1::FaceVerdict) -> Value {
    let answer = face.answer.as_ref();
    let bounds = face.bounding_box.unwrap_or_default();
    json!({
        "record_id": answer.map(|answer| &answer.sighting_id),
        "sequence": format!("{}/{}", face.boot_epoch, face.sequence),
        "bounding_box": {"x": bounds.x, "y": bounds.y, "width": bounds.width, "height": bounds.height},
        "detection_score": face.detection_score,
        "decision": answer.and_then(decision).map(Decision::as_str),
        "reason": answer.map(|answer| &answer.reason),
        "student": answer.and_then(|answer| answer.student.as_ref()).map(student),
        "similarity": answer.and_then(|answer| answer.similarity),
        "rejection": Some(&face.rejection).filter(|reason| !reason.is_empty()),
    })
}

fn student(student: &v1::StudentRef) -> Value {
    json!({"id": student.id, "number": student.number, "name": student.name})
}

/// An error in the shape of the original system's.
pub(super) fn error(
    status: u16,
    code: &str,
    message: &str,
    field: Option<&str>,
    retry_after_ms: Option<u32>,
) -> Response<Body> {
    let mut details = serde_json::Map::new();
    field.map(|field| details.insert("field".to_owned(), field.into()));
    retry_after_ms.map(|millis| details.insert("retry_after_ms".to_owned(), millis.into()));
    let error = json!({"code": code, "message": message, "details": details});
    let mut response = json_response(status, &json!({"success": false, "error": error}));
    if let Some(millis) = retry_after_ms {
        response.headers_mut().insert(header::RETRY_AFTER, millis.div_ceil(1000).into());
    }
    response
}

/// A refusal as the original's error.
pub(super) fn refused(refusal: &Refusal) -> Response<Body> {
    let status = match (refusal.reason, refusal.field) {
        (ErrorReason::InvalidArgument, Some("content-type")) => 415,
        (reason, _) => http_status(cavs_proto::code_of(reason)),
    };
    error(status, refusal.reason.as_str(), &refusal.message, refusal.field, refusal.retry_after_ms())
}

/// The HTTP status of a gRPC code, as far as refusals have it.
fn http_status(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument | Code::FailedPrecondition => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound | Code::Unimplemented => 404,
        Code::DeadlineExceeded => 408,
        Code::AlreadyExists | Code::Aborted => 409,
        Code::OutOfRange => 413,
        Code::ResourceExhausted => 429,
        Code::Unavailable => 503,
        Code::Cancelled | Code::Unknown | Code::Internal | Code::DataLoss => 500,
    }
}

fn json_response(status: u16, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::new(http_body_util::Full::new(Bytes::from(value.to_string()))));
    *response.status_mut() = http::StatusCode::from_u16(status).unwrap_or_default();
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

#[cfg(test)]
#[path = "plain_tests.rs"]
mod tests;
