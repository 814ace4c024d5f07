//! `POST /v1/capture`, with a JPEG or a form.

use std::{fmt::Write as _, io, time::Duration};

use cavs_types::Decision;
use jiff::Timestamp;
use serde_json::Value;

use super::{OutgoingFrame, Request, authorization, verdict};
use crate::{Outcome, Target, http1::Response};

/// What old firmware puts between the parts of its form.
const BOUNDARY: &str = "----CameraFormBoundary7MA4YWxk";

pub(crate) fn request(target: &Target, outgoing: &OutgoingFrame, sent_at: Option<Timestamp>) -> Request {
    let mut head = head(target, "image/jpeg");
    let mut line = |name: &str, value: &str| {
        let _ = write!(head, "{name}: {value}\r\n");
    };
    line("X-Device-Id", &target.device_id);
    line("Idempotency-Key", &outgoing.id);
    if let Some(time) = outgoing.captured_at {
        line("X-Captured-At", &time.to_string());
    }
    if let Some(time) = sent_at {
        line("X-Sent-At", &time.to_string());
    }
    Request { head, body: outgoing.image.to_vec(), interpret }
}

pub(crate) fn form(target: &Target, outgoing: &OutgoingFrame, sent_at: Option<Timestamp>) -> Request {
    let mut fields = vec![
        ("device_id", target.device_id.clone()),
        ("classroom_id", "Room 1".into()),
        ("frame_id", outgoing.id.clone()),
    ];
    // Seconds: the milliseconds of a clock that was never set can't be told from them.
    let seconds = |time: Timestamp| format!("{:.3}", time.as_millisecond() as f64 / 1000.0);
    fields.extend(outgoing.captured_at.map(|time| ("timestamp", seconds(time))));
    fields.extend(sent_at.map(|time| ("sent_at", seconds(time))));
    let mut body = String::new();
    for (name, value) in fields {
        let _ = write!(
            body,
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
    }
    let _ = write!(
        body,
        "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"image\"; filename=\"capture.jpg\"\r\n\
         Content-Type: image/jpeg\r\n\r\n"
    );
    let mut body = body.into_bytes();
    body.extend_from_slice(&outgoing.image);
    body.extend(format!("\r\n--{BOUNDARY}--\r\n").bytes());
    Request { head: head(target, &format!("multipart/form-data; boundary={BOUNDARY}")), body, interpret }
}

fn head(target: &Target, content_type: &str) -> String {
    let authorization = authorization(target);
    format!(
        "POST /v1/capture HTTP/1.1\r\nHost: {}\r\nContent-Type: {content_type}\r\n{authorization}",
        target.host
    )
}

fn interpret(response: &Response) -> io::Result<Outcome> {
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not the JSON of a capture");
    let answer: Value = serde_json::from_slice(&response.body).map_err(|_| invalid())?;
    let faces = || answer["faces_detected"].as_u64().and_then(|count| u32::try_from(count).ok());
    match response.status {
        200 | 202 if answer["success"] != true => Err(invalid()),
        200 => {
            let accepted = |face: &&Value| face["decision"] == Decision::Accepted.as_str();
            let matched = answer["faces"].as_array().ok_or_else(invalid)?.iter().filter(accepted).count();
            Ok(Outcome::Answered {
                faces: faces().ok_or_else(invalid)?,
                matched: u32::try_from(matched).unwrap_or(u32::MAX),
            })
        }
        202 => Ok(Outcome::Stored { faces: faces().unwrap_or(0) }),
        429 | 503 => {
            let exact = answer["error"]["details"]["retry_after_ms"].as_u64().map(Duration::from_millis);
            let header = response.header("retry-after").and_then(|text| text.parse().ok());
            Ok(verdict::busy(exact.or(header.map(Duration::from_secs))))
        }
        status => {
            let reason = answer["error"]["code"].as_str().ok_or_else(invalid)?.to_owned();
            Ok(Outcome::Refused { status: status.to_string(), reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(status: u16, headers: &[(&str, &str)], body: &str) -> io::Result<Outcome> {
        interpret(&Response::of(status, headers, body.as_bytes()))
    }

    #[test]
    fn answers_are_understood() {
        let faces = r#"[{"decision": "accepted"}, {"decision": "pending"}, {"decision": null}]"#;
        let good = format!(r#"{{"success": true, "faces_detected": 3, "faces": {faces}}}"#);
        assert_eq!(outcome(200, &[], &good).unwrap(), Outcome::Answered { faces: 3, matched: 1 });
        assert_eq!(outcome(202, &[], &good).unwrap(), Outcome::Stored { faces: 3 });
        let busy =
            r#"{"success": false, "error": {"code": "OVERLOADED", "details": {"retry_after_ms": 1500}}}"#;
        let retry_after = |millis| Outcome::Busy { retry_after: Some(Duration::from_millis(millis)) };
        assert_eq!(outcome(429, &[("retry-after", "2")], busy).unwrap(), retry_after(1500));
        assert_eq!(outcome(503, &[("retry-after", "2")], "{}").unwrap(), retry_after(2000));
        let refused = Outcome::Refused { status: "400".into(), reason: "FRAME_INVALID".into() };
        assert_eq!(outcome(400, &[], r#"{"error": {"code": "FRAME_INVALID"}}"#).unwrap(), refused);
    }

    #[test]
    fn what_breaks_the_promise_is_no_answer() {
        assert!(outcome(200, &[], "<html>").is_err());
        assert!(outcome(200, &[], r#"{"success": false}"#).is_err());
        assert!(outcome(400, &[], "{}").is_err());
    }
}
