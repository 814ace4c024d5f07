//! What the answers of all paths mean.

use std::time::Duration;

use cavs_proto::{
    error_reason,
    v1::{self, submit_frame_response},
};
use tonic::{Code, Status};

use crate::Outcome;

/// A verdict about a frame.
pub(super) fn of_verdict(verdict: &v1::SubmitFrameResponse) -> Outcome {
    let faces = verdict.faces_detected;
    match verdict.status() {
        submit_frame_response::Status::Recorded => {
            let accepted = |face: &&v1::FaceVerdict| {
                face.answer.as_ref().is_some_and(|answer| answer.decision() == v1::Decision::Accepted)
            };
            let matched = verdict.faces.iter().filter(accepted).count();
            Outcome::Answered { faces, matched: u32::try_from(matched).unwrap_or(u32::MAX) }
        }
        submit_frame_response::Status::Stored => Outcome::Stored { faces },
        submit_frame_response::Status::Refused | submit_frame_response::Status::Unspecified => {
            let refusal = verdict.refusal.clone().unwrap_or_default();
            match refusal.retry_after_ms {
                Some(millis) => busy(Some(Duration::from_millis(millis.into()))),
                None => Outcome::Refused { status: "REFUSED".into(), reason: refusal.reason },
            }
        }
    }
}

/// A status of gRPC, with the machine-readable reason where it has one.
pub(super) fn of_status(status: &Status, retry_after: Option<Duration>) -> Outcome {
    let code = status.code();
    if matches!(code, Code::ResourceExhausted | Code::Unavailable) {
        return busy(retry_after);
    }
    let reason = error_reason(status).map_or_else(|| status.message().to_owned(), |r| r.as_str().to_owned());
    Outcome::Refused { status: format!("{code:?}"), reason }
}

/// Only a number that is one counts.
pub(super) fn retry_after_ms(text: Option<&str>) -> Option<Duration> {
    text.and_then(|text| text.trim().parse().ok()).map(Duration::from_millis)
}

pub(super) fn busy(retry_after: Option<Duration>) -> Outcome {
    Outcome::Busy { retry_after }
}
