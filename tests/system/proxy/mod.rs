//! Cameras that run no networks, through `cavs-edge-agent proxy`: real processes, simple clients.

mod load;
pub(crate) mod site;

use std::{
    fs,
    time::{Duration, Instant},
};

use cavs_certs::SiteCa;
use cavs_proto::{error_reason, v1};
use cavs_types::ErrorReason;
use prost::Message;
use tokio_stream::iter;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use v1::{capture_service_client::CaptureServiceClient, submit_frame_response::Status as VerdictStatus};

use site::{Camera, ProxySite, request, stock_camera, until};

const SUBMIT: &str = "/cavs.v1.CaptureService/SubmitFrame";

fn frame(id: &str, image: &[u8]) -> v1::SubmitFrameRequest {
    let image = image.to_vec().into();
    v1::SubmitFrameRequest { frame_id: id.to_owned(), image, ..Default::default() }
}

/// gRPC-Web as a small device speaks it: the message, and the text of the trailers.
fn grpc_web(
    site: &ProxySite,
    camera: &Camera,
    request_: &v1::SubmitFrameRequest,
) -> (Option<v1::SubmitFrameResponse>, String) {
    let message = request_.encode_to_vec();
    let mut body = vec![0];
    body.extend((message.len() as u32).to_be_bytes());
    body.extend(message);
    let headers =
        format!("Authorization: Bearer {}\r\nContent-Type: application/grpc-web+proto\r\n", camera.token);
    let answer = request(site.port, SUBMIT, &headers, &body);
    assert_eq!(answer.status, 200, "{answer:?}");
    let (mut rest, mut verdict, mut trailers) = (answer.body.as_slice(), None, answer.head);
    while let [kind, a, b, c, d, tail @ ..] = rest {
        let (part, after) = tail.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        match kind {
            0 => verdict = Some(v1::SubmitFrameResponse::decode(part).unwrap()),
            _ => trailers.push_str(std::str::from_utf8(part).unwrap()),
        }
        rest = after;
    }
    // As a header or as a trailer.
    (verdict, trailers.replace(": ", ":"))
}

fn known(verdict: &v1::SubmitFrameResponse) -> Option<&str> {
    let answer = verdict.faces.first()?.answer.as_ref()?;
    answer.student.as_ref().map(|student| student.number.as_str())
}

async fn channel(site: &ProxySite, identity: Option<Identity>) -> Channel {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = fs::read_to_string(site.site.path("certs/ca.pem")).unwrap();
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority)).domain_name("localhost");
    let tls = match identity {
        Some(identity) => tls.identity(identity),
        None => tls,
    };
    let address = format!("https://127.0.0.1:{}", site.port);
    Channel::from_shared(address).unwrap().tls_config(tls).unwrap().connect().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_is_answered_over_every_path_and_stored_once() {
    let mut site = ProxySite::start("");
    site.start_proxy();
    let camera = site.add_camera("door");
    let portrait = site.portrait();

    // Plain, twice: the lost answer is asked for again.
    let first = site.post_frame(&camera, "boot1-1", &portrait);
    assert_eq!(first.status, 200, "{first:?}\n{}", site.log());
    let json = first.json();
    assert_eq!(
        (&json["success"], &json["status"], &json["faces_detected"]),
        (&true.into(), &"recorded".into(), &1.into())
    );
    assert_eq!(json["predicted_student"]["number"], "17", "{json:#}");
    assert!(json["confidence"].as_f64() > Some(0.5) && json["processing_time_ms"].is_u64(), "{json:#}");
    let again = site.post_frame(&camera, "boot1-1", &portrait).json();
    assert_eq!((&again["duplicate"], &again["record_id"]), (&true.into(), &json["record_id"]));

    // A form, with the camera's name in it.
    let mut form = Vec::new();
    for (name, data) in [
        ("device_id", b"door".as_slice()),
        ("classroom_id", b"Hall"),
        ("timestamp", b"12"),
        ("image", &portrait),
    ] {
        form.extend(format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").bytes());
        form.extend(data);
        form.extend(b"\r\n");
    }
    form.extend(b"--B--\r\n");
    let answer = site.post(&camera, "multipart/form-data; boundary=B", "", &form);
    assert_eq!((answer.status, &answer.json()["predicted_student"]["number"]), (200, &"17".into()));

    // gRPC-Web, and the same frame again.
    let (verdict, trailers) = grpc_web(&site, &camera, &frame("boot1-2", &portrait));
    assert!(trailers.contains("grpc-status:0"), "{trailers}");
    assert_eq!(known(verdict.as_ref().unwrap()), Some("17"), "{verdict:?}");
    assert!(grpc_web(&site, &camera, &frame("boot1-2", &portrait)).0.unwrap().duplicate);

    let sightings = site.site.cli.json(&["sightings", "list", "--device", "door"]);
    assert_eq!(sightings["total_size"], 3, "{sightings:#}");
    assert_eq!(sightings["sightings"][0]["classroom"], "Hall");
    let captured = sightings["sightings"][0]["captured_at"].as_str().unwrap();
    assert!(captured > "2020", "a clock that says 1970 is not believed: {captured}");

    // What is cut off or no picture is never matched, over any path.
    let cut = &portrait[..portrait.len() * 2 / 3];
    assert_eq!(site.post_frame(&camera, "cut", cut).code(), "FRAME_INVALID");
    let (none, trailers) = grpc_web(&site, &camera, &frame("cut", cut));
    assert!(none.is_none() && trailers.contains("grpc-status:3"), "{trailers}");
    assert_eq!(
        site.post(&camera, "multipart/form-data; boundary=B", "", &form[..form.len() - 40]).status,
        400
    );
    assert_eq!(site.post(&camera, "text/plain", "", b"x").status, 415);
    let huge = vec![0xFF; 3 << 20];
    assert_eq!(site.post(&camera, "image/jpeg", "", &huge).status, 413);
    assert_eq!(site.count("SELECT count(*) FROM sightings").await, 3);
    assert_eq!(site.agent.take().unwrap().terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn cameras_prove_who_they_are_and_lose_their_right_at_once() {
    let mut site = ProxySite::start("certificate = \"proxy.pem\"\nkey = \"proxy.key\"\n");
    let ca = SiteCa::load(&site.site.path("certs")).unwrap();
    ca.issue_server(&["localhost".to_owned()]).unwrap().save(&site.proxy.directory, "proxy").unwrap();
    site.start_proxy();
    let portrait = site.portrait();
    // A camera with a certificate, and one with a token; before the proxy has heard of them.
    let (own, other) = (site.register("own"), site.register("other"));
    let identity = |id: &str| {
        let issued = ca.issue_device(id.parse().unwrap()).unwrap();
        let files = issued.save(&site.site.path(&format!("certificate-{id}")), "device").unwrap();
        Identity::from_pem(fs::read(files.certificate).unwrap(), fs::read(files.key).unwrap())
    };
    let mut with_certificate = CaptureServiceClient::new(channel(&site, Some(identity(&own.id))).await);
    let mut with_token = CaptureServiceClient::new(channel(&site, None).await);
    let refused = with_certificate.submit_frame(frame("1", &portrait)).await.unwrap_err();
    assert_eq!(error_reason(&refused), Some(ErrorReason::CameraNotProxied));
    let refused = with_token.submit_frame(frame("1", &portrait)).await.unwrap_err();
    assert_eq!(error_reason(&refused), Some(ErrorReason::Unauthenticated));

    let _ = site.site.cli.json(&["devices", "assign", "own", "--proxy", "proxy"]);
    let begun = Instant::now();
    let verdict = loop {
        match with_certificate.submit_frame(frame("1", &portrait)).await {
            Ok(verdict) => break verdict.into_inner(),
            Err(_) => assert!(begun.elapsed() < Duration::from_secs(10)),
        }
    };
    assert_eq!(known(&verdict), Some("17"), "{verdict:?}");
    let bearer = format!("Bearer {}", own.token).parse().unwrap();
    let mut request =
        tonic::Request::new(v1::SubmitFrameRequest { device_id: other.id, ..frame("2", &portrait) });
    request.metadata_mut().insert("authorization", bearer);
    let refused = with_token.submit_frame(request).await.unwrap_err();
    assert_eq!(error_reason(&refused), Some(ErrorReason::DeviceMismatch));

    // A stream: one bad frame does not end it.
    let frames = [frame("3", &portrait), frame("4", b"no picture"), frame("3", &portrait)];
    let frames = iter(frames.map(|frame| v1::StreamFramesRequest { frame: Some(frame) }));
    let mut verdicts = with_certificate.stream_frames(frames).await.unwrap().into_inner();
    let mut seen = Vec::new();
    while let Some(response) = verdicts.message().await.unwrap() {
        let verdict = response.verdict.unwrap();
        seen.push((verdict.frame_id.clone(), verdict.status(), verdict.duplicate));
    }
    let (recorded, not) = (VerdictStatus::Recorded, VerdictStatus::Refused);
    assert_eq!(seen, [("3".into(), recorded, false), ("4".into(), not, false), ("3".into(), recorded, true)]);

    // Revoked: within two seconds, on the connection that is open, too.
    let _ = site.site.cli.json(&["devices", "revoke", "own", "--yes"]);
    let begun = Instant::now();
    let refused = loop {
        match with_certificate.submit_frame(frame("", &portrait)).await {
            Err(refused) if error_reason(&refused) != Some(ErrorReason::RateLimited) => break refused,
            _ => assert!(begun.elapsed() < Duration::from_secs(2), "still taken"),
        }
    };
    assert_eq!(error_reason(&refused), Some(ErrorReason::DeviceRevoked));
    eprintln!("INFO revoked camera refused after {:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_server_frames_are_kept_and_arrive_once() {
    let mut site = ProxySite::start("");
    site.start_proxy();
    let camera = site.add_camera("door");
    let portrait = site.portrait();
    site.site.take_server().kill();
    for id in ["1", "2", "1"] {
        let answer = site.post_frame(&camera, id, &portrait);
        assert_eq!((answer.status, &answer.json()["status"]), (202, &"stored".into()), "{answer:?}");
    }
    // The proxy dies too, and knows frames and cameras afterwards.
    site.agent.take().unwrap().kill();
    site.start_proxy();
    let answer = site.post_frame(&camera, "2", &portrait);
    assert_eq!((answer.status, &answer.json()["duplicate"]), (202, &true.into()), "{answer:?}");
    site.site.restart_server();
    until("everything arrives", || {
        site.site.cli.json(&["sightings", "list", "--device", "door"])["total_size"] == 2
    });
    let answer = site.post_frame(&camera, "2", &portrait);
    assert_eq!((answer.status, &answer.json()["duplicate"]), (200, &true.into()), "{answer:?}");
    assert_eq!(site.count("SELECT count(*) FROM sightings").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_speaks_for_anothers_camera_is_refused_and_noted() {
    let mut site = ProxySite::start("");
    site.start_proxy();
    let camera = site.add_camera("door");
    let portrait = site.portrait();
    // The proxy goes on with what it knew: as one that was taken over would.
    site.site.take_server().kill();
    assert_eq!(site.post_frame(&camera, "1", &portrait).status, 202);
    site.agent.take().unwrap().kill();
    site.site.restart_server();
    let _ = site.site.cli.json(&["devices", "assign", "door", "--none"]);
    site.start_proxy();
    let audit =
        "SELECT coalesce(sum(sightings), 0)::bigint FROM proxy_refusals WHERE reason = 'CAMERA_NOT_PROXIED'
                 AND camera_id = (SELECT id FROM devices WHERE name = 'door')
                 AND proxy_id = (SELECT id FROM devices WHERE name = 'proxy')";
    let begun = Instant::now();
    while site.count(audit).await == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{}", site.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((site.count(audit).await, site.count("SELECT count(*) FROM sightings").await), (1, 0));
    assert!(site.site.server().output().contains("CAMERA_NOT_PROXIED"));
    until("the proxy has heard", || site.post_frame(&camera, "2", &portrait).status == 401);
    let other = site.register("other");
    assert_eq!(site.post_frame(&other, "1", &portrait).code(), "UNAUTHENTICATED");
}

#[test]
fn a_stock_camera_is_pulled_and_reconnected() {
    let mut site = ProxySite::start("");
    let camera = site.register("door");
    let _ = site.site.cli.json(&["devices", "assign", "door", "--proxy", "proxy"]);
    let port = stock_camera(&site.portrait());
    let file = site.proxy.directory.join("proxy.toml");
    let text = fs::read_to_string(&file).unwrap();
    let pulled = format!(
        "[[proxy.cameras]]\ndevice = {:?}\nurl = \"http://127.0.0.1:{port}/stream\"\nrate = 5\n\
         [tracking]\nsettle = 0.5\nresend_interval = 3\n[motion]\nenabled = false\n",
        camera.id
    );
    fs::write(&file, text + &pulled).unwrap();
    site.start_proxy();
    let sightings = || site.site.cli.json(&["sightings", "list", "--device", "door"]);
    // More than one opening of the camera gives.
    until("sightings of a track over openings", || sightings()["total_size"].as_u64() >= Some(2));
    let listed = sightings();
    assert_eq!(listed["sightings"][0]["student"]["number"], "17", "{listed:#}");
    assert!(site.log().contains("the camera failed"), "{}", site.log());
}

#[test]
fn more_than_the_proxy_can_take_is_told_to_wait() {
    let mut site = ProxySite::start("camera_rate = 1\n");
    site.start_proxy();
    let camera = site.register("door");
    let _ = site.site.cli.json(&["devices", "assign", "door", "--proxy", "proxy"]);
    until("the proxy knows the camera", || site.post(&camera, "image/jpeg", "", b"x").status != 401);
    let answers: Vec<_> = (0..8).map(|_| site.post(&camera, "image/jpeg", "", b"x")).collect();
    let busy = answers.iter().find(|answer| answer.status == 429).unwrap();
    assert_eq!(busy.code(), "RATE_LIMITED");
    assert!(busy.head.contains("retry-after: 1"), "{busy:?}");
    assert!(busy.json()["error"]["details"]["retry_after_ms"].as_u64() <= Some(1000));
}
