//! gRPC-Web, unary, over HTTP/1.1.

use std::io;

use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Buf;
use cavs_proto::v1;
use jiff::Timestamp;
use prost::Message;
use tonic::{Code, Status};

use super::{OutgoingFrame, Request, authorization, verdict};
use crate::{Outcome, Target, http1::Response};

/// A frame of trailers has this bit in its first byte.
const TRAILERS: u8 = 0x80;
/// Padding is optional in binary metadata.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

pub(crate) fn request(target: &Target, outgoing: &OutgoingFrame, sent_at: Option<Timestamp>) -> Request {
    let message = outgoing.request(target, sent_at).encode_to_vec();
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes());
    body.extend(message);
    let head = format!(
        "POST /cavs.v1.CaptureService/SubmitFrame HTTP/1.1\r\nHost: {}\r\n\
         Content-Type: application/grpc-web+proto\r\nX-Grpc-Web: 1\r\n{}",
        target.host,
        authorization(target)
    );
    Request { head, body, interpret }
}

fn interpret(response: &Response) -> io::Result<Outcome> {
    let mut trailers = String::new();
    let mut message = None;
    let mut rest = response.body.as_slice();
    while rest.has_remaining() {
        let (Ok(kind), Ok(length)) = (rest.try_get_u8(), rest.try_get_u32()) else { return Err(invalid()) };
        let length = usize::try_from(length).map_err(|_| invalid())?;
        let frame = rest.split_off(..length).ok_or_else(invalid)?;
        if kind & TRAILERS == 0 {
            message = Some(v1::SubmitFrameResponse::decode(frame).map_err(|_| invalid())?);
        } else {
            trailers.push_str(&String::from_utf8_lossy(frame));
        }
    }
    let trailer = |name: &str| {
        let lines = trailers.lines().filter_map(|line| line.split_once(':'));
        let found =
            lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next();
        found.or_else(|| response.header(name))
    };
    let Some(status) = trailer("grpc-status") else {
        return Ok(Outcome::Refused { status: response.status.to_string(), reason: "no grpc-status".into() });
    };
    match (Code::from_bytes(status.as_bytes()), message) {
        (Code::Ok, Some(verdict)) => Ok(verdict::of_verdict(&verdict)),
        (Code::Ok, None) => Err(invalid()),
        (code, _) => {
            let details = trailer("grpc-status-details-bin").and_then(|text| BASE64.decode(text).ok());
            let status = Status::with_details(
                code,
                trailer("grpc-message").unwrap_or_default(),
                details.unwrap_or_default().into(),
            );
            Ok(verdict::of_status(&status, verdict::retry_after_ms(trailer("retry-after-ms"))))
        }
    }
}

fn invalid() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the answer is no gRPC-Web")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use cavs_proto::status;
    use cavs_types::ErrorReason;

    use super::*;

    fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
        [&[kind], u32::try_from(bytes.len()).unwrap().to_be_bytes().as_slice(), bytes].concat()
    }

    fn outcome(body: &[u8]) -> io::Result<Outcome> {
        interpret(&Response::of(200, &[], body))
    }

    #[test]
    fn answers_are_understood() {
        let verdict = v1::SubmitFrameResponse {
            status: v1::submit_frame_response::Status::Stored.into(),
            faces_detected: 3,
            ..Default::default()
        };
        let stored = [frame(0, &verdict.encode_to_vec()), frame(TRAILERS, b"grpc-status:0\r\n")].concat();
        assert_eq!(outcome(&stored).unwrap(), Outcome::Stored { faces: 3 });
        let busy = frame(TRAILERS, b"grpc-status: 8\r\nretry-after-ms: 250\r\n");
        let retry_after = Some(Duration::from_millis(250));
        assert_eq!(outcome(&busy).unwrap(), Outcome::Busy { retry_after });
        let error = status(ErrorReason::DeviceRevoked, "revoked");
        let details = BASE64.encode(error.details());
        let trailers =
            format!("grpc-status:7\r\ngrpc-status-details-bin:{}\r\n", details.trim_end_matches('='));
        let refused = Outcome::Refused { status: "PermissionDenied".into(), reason: "DEVICE_REVOKED".into() };
        assert_eq!(outcome(&frame(TRAILERS, trailers.as_bytes())).unwrap(), refused);
        let early = Response::of(200, &[("grpc-status", "16"), ("grpc-message", "no token")], b"");
        let refused = Outcome::Refused { status: "Unauthenticated".into(), reason: "no token".into() };
        assert_eq!(interpret(&early).unwrap(), refused);
    }

    #[test]
    fn what_is_cut_off_is_no_answer() {
        let whole = frame(0, &v1::SubmitFrameResponse::default().encode_to_vec());
        assert!(outcome(&whole[..4]).is_err());
        assert!(outcome(&frame(0, b"\xff\xff")).is_err());
        assert!(outcome(&frame(TRAILERS, b"grpc-status:0\r\n")).is_err());
    }
}
