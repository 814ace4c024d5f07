//! Emulated cameras at a service that answers as docs/ESP32.md says: what they make of its answers.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use cavs_esp32_emulator::{Behaviour, Camera, Flood, FrameLoop, Outcome, Path, Report, Target, flood};
use cavs_proto::{status, v1};
use cavs_types::ErrorReason;
use tokio::net::TcpListener;
use tokio_stream::{Stream, StreamExt, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};
use v1::{
    capture_service_server::{CaptureService, CaptureServiceServer},
    submit_frame_response,
};

const TOKEN: &str = "a-token";

/// Counts how often each frame came, and is busy when the first one comes first.
#[derive(Clone, Default)]
struct Fake {
    frames: Arc<Mutex<HashMap<String, u32>>>,
}

impl Fake {
    fn judge(&self, frame: &v1::SubmitFrameRequest) -> Result<v1::SubmitFrameResponse, Status> {
        let mut frames = self.frames.lock().unwrap();
        let times = frames.entry(frame.frame_id.clone()).or_default();
        *times += 1;
        if frame.frame_id.ends_with("-000000") && *times == 1 {
            let mut busy = Status::resource_exhausted("busy");
            busy.metadata_mut().insert("retry-after-ms", "40".parse().unwrap());
            return Err(busy);
        }
        if !frame.image.ends_with(b"\xff\xd9") {
            return Err(status(ErrorReason::InvalidArgument, "no whole JPEG"));
        }
        if let (Some(captured), Some(sent)) = (frame.capture_time, frame.send_time) {
            assert!(sent.seconds >= captured.seconds);
        }
        let answer = v1::SightingAnswer { decision: v1::Decision::Accepted.into(), ..Default::default() };
        let face = v1::FaceVerdict { answer: Some(answer), ..Default::default() };
        Ok(v1::SubmitFrameResponse {
            status: submit_frame_response::Status::Recorded.into(),
            faces_detected: 2,
            faces: vec![face, v1::FaceVerdict::default()],
            ..Default::default()
        })
    }
}

#[allow(clippy::result_large_err, reason = "tonic's error")]
fn authorize<T>(request: &Request<T>) -> Result<(), Status> {
    let given = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
    if given == Some(&format!("Bearer {TOKEN}")) {
        Ok(())
    } else {
        Err(status(ErrorReason::Unauthenticated, "no token"))
    }
}

#[tonic::async_trait]
impl CaptureService for Fake {
    type StreamFramesStream = Pin<Box<dyn Stream<Item = Result<v1::StreamFramesResponse, Status>> + Send>>;

    async fn submit_frame(
        &self,
        request: Request<v1::SubmitFrameRequest>,
    ) -> Result<Response<v1::SubmitFrameResponse>, Status> {
        authorize(&request)?;
        self.judge(request.get_ref()).map(Response::new)
    }

    async fn stream_frames(
        &self,
        request: Request<Streaming<v1::StreamFramesRequest>>,
    ) -> Result<Response<Self::StreamFramesStream>, Status> {
        authorize(&request)?;
        let this = self.clone();
        let verdicts = request.into_inner().map(move |frame| {
            let verdict = this.judge(&frame?.frame.unwrap_or_default()).unwrap_or_else(|status| {
                let millis = status.metadata().get("retry-after-ms");
                let retry_after_ms = millis.map(|value| value.to_str().unwrap().parse().unwrap());
                v1::SubmitFrameResponse {
                    status: submit_frame_response::Status::Refused.into(),
                    refusal: Some(v1::FrameRefusal {
                        reason: "INVALID_ARGUMENT".into(),
                        retry_after_ms,
                        ..Default::default()
                    }),
                    ..Default::default()
                }
            });
            Ok(v1::StreamFramesResponse { verdict: Some(verdict) })
        });
        Ok(Response::new(Box::pin(verdicts)))
    }
}

async fn serve() -> (Fake, Target) {
    let fake = Fake::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(CaptureServiceServer::new(fake.clone()));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let token = Some(TOKEN.to_owned());
    (fake, Target { address, host: "localhost".into(), tls: None, device_id: String::new(), token })
}

fn frame_loop() -> FrameLoop {
    FrameLoop::of(vec![[b"\xff\xd8".as_slice(), &[7; 4000], b"\xff\xd9"].concat().into()]).unwrap()
}

async fn send(target: Target, path: Path, behaviour: Behaviour) -> Report {
    let behaviour = Behaviour { interval: Duration::from_millis(10), ..behaviour };
    Camera { target, path, behaviour, frame_loop: frame_loop(), boot: 0x2a }.run(6, |_| {}).await
}

#[tokio::test]
async fn pictures_arrive_once_however_often_they_are_sent() {
    for path in [Path::Grpc, Path::GrpcStream] {
        let (fake, target) = serve().await;
        let behaviour =
            Behaviour { lose_answer_one_in: Some(2), truncate_one_in: Some(3), ..Behaviour::default() };
        let report = send(target, path, behaviour).await;
        assert_eq!((report.pictures, report.lost, report.damaged_and_matched()), (4, 0, 0), "{report}");
        let busy = Outcome::Busy { retry_after: Some(Duration::from_millis(40)) };
        assert_eq!(report.answers.iter().filter(|answer| answer.outcome == busy).count(), 1, "{report}");
        let answered = Outcome::Answered { faces: 2, matched: 1 };
        assert_eq!(report.answers.iter().filter(|answer| answer.outcome == answered).count(), 6, "{report}");
        let frames = fake.frames.lock().unwrap();
        assert_eq!(frames.len(), 6);
        // Those whose answers were lost, and that one that came when the service was busy.
        assert_eq!(frames["2a-000000"], 2);
        assert_eq!(frames["2a-000001"], 2);
        assert_eq!(frames["2a-000004"], 1);
    }
}

#[tokio::test]
async fn a_wrong_token_is_told() {
    for path in [Path::Grpc, Path::GrpcStream] {
        let (_, mut target) = serve().await;
        target.token = Some("another".into());
        let report = send(target, path, Behaviour { attempts: 1, ..Behaviour::default() }).await;
        assert_eq!((report.pictures, report.lost), (6, 6), "{report}");
        let refused = Outcome::Refused { status: "Unauthenticated".into(), reason: "UNAUTHENTICATED".into() };
        assert!(report.answers.iter().all(|answer| answer.outcome == refused), "{report}");
    }
}

#[tokio::test]
async fn a_flood_finds_what_is_wrong() {
    let (fake, target) = serve().await;
    let images = vec![frame_loop().frame(0)];
    let patience = Duration::from_secs(10);
    let asked = Flood { target, path: Path::Grpc, images, count: 200, seed: 3, connections: 3, patience };
    let report = flood(asked.clone()).await;
    assert_eq!((report.sent, report.hangs, report.wrong), (200, 0, 0), "{report}");
    assert!(fake.frames.lock().unwrap().len() > 20, "{report}");
    assert!(report.statuses.len() > 2, "{report}");

    // Somebody who takes connections and says nothing.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target { address: mute.local_addr().unwrap(), ..asked.target.clone() };
    let patience = Duration::from_millis(100);
    for path in [Path::Grpc, Path::Post] {
        let asked = Flood { target: target.clone(), path, patience, count: 5, ..asked.clone() };
        let report = flood(asked).await;
        assert_eq!((report.sent, report.hangs), (5, 5), "{report}");
    }
}
