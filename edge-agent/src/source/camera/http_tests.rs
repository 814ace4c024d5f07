use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

use super::*;
use crate::source::{Source, camera::Supervised};

const PICTURE: &[u8] = b"\xFF\xD8\xFF\xDA\x00\x02light\xFF\xD9";

/// A camera that gives every connection the next of these answers, byte for byte.
async fn camera(answers: Vec<Vec<u8>>) -> (u16, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap();
            requests.push(String::from_utf8_lossy(&request[..count]).into_owned());
            stream.write_all(&answer).await.unwrap();
        }
        requests
    });
    (port, serving)
}

fn address(port: u16) -> CameraAddress {
    CameraAddress::parse(&format!("http://u:p@127.0.0.1:{port}/video?x=1")).unwrap()
}

async fn frames<C: Camera>(camera: C, count: usize) -> Vec<Vec<u8>> {
    let mut source = Supervised::new(camera, Duration::from_secs(2), Default::default());
    let mut frames = Vec::new();
    while frames.len() < count {
        let frame = timeout(Duration::from_secs(10), source.next_frame()).await.unwrap();
        frames.push(frame.unwrap().unwrap().image.unwrap());
    }
    frames
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_opened_again() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n".as_slice();
    let part = [b"--b\r\nContent-Type: image/jpeg\r\n\r\n".as_slice(), PICTURE, b"\r\n"].concat();
    let busy = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec();
    let stream = [head, &part, &part, &part[..40]].concat();
    let (port, serving) = camera(vec![stream.clone(), busy, stream]).await;
    let frames = frames(MjpegCamera { address: address(port) }, 4).await;
    assert!(frames.iter().all(|frame| frame == PICTURE));
    let requests = serving.await.unwrap();
    assert!(requests[0].starts_with("GET /video?x=1 HTTP/1.1\r\n"), "{}", requests[0]);
    assert!(requests[0].contains("authorization: Basic dTpw\r\n"), "{}", requests[0]);
}

#[tokio::test]
async fn snapshots_come_one_per_request() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", PICTURE.len());
    let answer = [head.as_bytes(), PICTURE].concat();
    let (port, serving) = camera(vec![answer.clone(), answer]).await;
    let camera = SnapshotCamera { address: address(port), period: Duration::from_millis(10) };
    assert!(frames(camera, 2).await.iter().all(|frame| frame == PICTURE));
    assert_eq!(serving.await.unwrap().len(), 2);
}

#[test]
fn addresses_hide_their_secrets() {
    let shown = address(8080);
    assert_eq!(
        format!("{shown} {shown:?}"),
        "http://127.0.0.1:8080/video CameraAddress(http://127.0.0.1:8080/video)"
    );
    assert_eq!(CameraAddress::parse("http://cam").unwrap().to_string(), "http://cam:80/");
    for wrong in ["", "cam", "https://cam/", "rtsp://cam/", "/x", "http://"] {
        assert_eq!(CameraAddress::parse(wrong), Err(AddressError), "{wrong}");
    }
}
