use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;

const BOUNDARY: &str = "XX";

fn form(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, data) in parts {
        body.extend(
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").bytes(),
        );
        body.extend(*data);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    body
}

fn read(body: Vec<u8>) -> Result<(Submission, HashMap<&'static str, String>), Refusal> {
    let mut fields = HashMap::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let image = runtime.block_on(read_form(body.into(), BOUNDARY.to_owned(), &mut fields))?;
    Ok((submission(&fields, image)?, fields))
}

#[test]
fn a_form_is_read_in_any_order() {
    let body = form(&[
        ("image", b"\xFF\xD8\r\n--X\r\n\xFF\xD9"),
        ("unknown", b"?"),
        ("device_id", b" door \r\n"),
        ("timestamp", b"1800000000"),
        ("frame_id", b"7"),
    ]);
    let (submission, fields) = read(body.clone()).unwrap();
    assert_eq!(submission.image.as_ref(), b"\xFF\xD8\r\n--X\r\n\xFF\xD9");
    assert_eq!((fields["device_id"].as_str(), submission.frame_id.as_str()), ("door", "7"));
    assert_eq!(submission.captured_at.unwrap().as_second(), 1_800_000_000);
    // Cut off anywhere, it is none: not even after the picture.
    for length in 0..body.len() - 4 {
        assert!(read(body[..length].to_vec()).is_err(), "{length} of {}", body.len());
    }
}

#[test]
fn what_is_wrong_with_a_form_is_named() {
    let field = |parts: &[(&str, &[u8])]| read(form(parts)).unwrap_err().field;
    assert_eq!(field(&[("device_id", b"door")]), Some("image"));
    assert_eq!(field(&[("image", b"1"), ("image", b"2")]), Some("image"));
    assert_eq!(field(&[("image", b"1"), ("timestamp", b"yesterday")]), Some("timestamp"));
    assert_eq!(field(&[("image", b"1"), ("frame_id", &[b'x'; TEXT + 1])]), Some("frame_id"));
    assert_eq!(field(&[("x", b"1".as_slice()); PARTS + 1]), Some("form"));
}

#[test]
fn headers_and_query_say_the_same() {
    let request = http::Request::post("/v1/capture?frame_id=a%2Fb&timestamp=5&other=1")
        .header("X-Device-Id", "door")
        .header("Idempotency-Key", "header")
        .header("X-Captured-At", "7")
        .body(())
        .unwrap();
    let fields = fields_outside_body(&request.into_parts().0);
    let expected = [("device_id", "door"), ("timestamp", "5"), ("frame_id", "a/b")];
    assert_eq!(fields, expected.map(|(field, text)| (field, text.to_owned())).into());
}

fn answer(decision: v1::Decision, similarity: f32, id: &str) -> v1::FaceVerdict {
    let known = decision != v1::Decision::Unknown;
    let student = known.then(|| v1::StudentRef { number: id.to_owned(), ..Default::default() });
    let (sighting_id, similarity) = (id.to_owned(), Some(similarity));
    let answer = v1::SightingAnswer {
        sighting_id,
        decision: decision.into(),
        student,
        similarity,
        ..Default::default()
    };
    v1::FaceVerdict { answer: Some(answer), ..Default::default() }
}

#[test]
fn the_most_certain_face_is_the_answer() {
    let faces = vec![
        answer(v1::Decision::Pending, 0.9, "pending"),
        answer(v1::Decision::Accepted, 0.5, "accepted"),
        answer(v1::Decision::Unknown, 0.95, "unknown"),
        v1::FaceVerdict { rejection: "DEVICE_REVOKED".to_owned(), ..Default::default() },
    ];
    let verdict = v1::SubmitFrameResponse { faces, faces_detected: 4, ..Default::default() };
    let json = success(&verdict);
    assert_eq!(
        (&json["record_id"], &json["predicted_student"]["number"]),
        (&"accepted".into(), &"accepted".into())
    );
    assert_eq!(json["confidence"], 0.5);
    assert_eq!(
        (&json["faces"][2]["student"], &json["faces"][3]["rejection"]),
        (&Value::Null, &"DEVICE_REVOKED".into())
    );
    let nobody = success(&v1::SubmitFrameResponse::default());
    assert_eq!(
        (&nobody["success"], &nobody["record_id"], &nobody["confidence"]),
        (&true.into(), &Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn refusals_have_the_originals_shape_and_a_time_to_come_again() {
    let response = refused(&Refusal::overloaded("busy").retry(std::time::Duration::from_millis(1500)));
    assert_eq!(
        (response.status().as_u16(), &response.headers()[header::RETRY_AFTER]),
        (429, &"2".parse().unwrap())
    );
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let json: Value = serde_json::from_slice(&body).unwrap();
    let expected = json!({"success": false, "error": {
        "code": "OVERLOADED", "message": "busy", "details": {"retry_after_ms": 1500}}});
    assert_eq!(json, expected);
    for (reason, status) in [
        (ErrorReason::FrameInvalid, 400),
        (ErrorReason::Unauthenticated, 401),
        (ErrorReason::DeviceRevoked, 403),
        (ErrorReason::RequestTooSlow, 408),
        (ErrorReason::FrameTooLarge, 413),
        (ErrorReason::RateLimited, 429),
        (ErrorReason::SpoolUnavailable, 503),
    ] {
        assert_eq!(refused(&Refusal::new(reason, "")).status().as_u16(), status, "{reason:?}");
    }
}

proptest! {
    #[test]
    fn mutated_forms_are_errors_or_forms(
        at in 0usize..200, value: u8, cut in 0usize..400, noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut body = form(&[("frame_id", b"1"), ("image", b"\xFF\xD8..."), ("timestamp", b"1")]);
        let at = at % body.len();
        body[at] = value;
        body.truncate(cut.max(1));
        let end = body.len().min(at);
        body.splice(end..end, noise);
        let _ = read(body);
    }
}
