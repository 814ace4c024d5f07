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

/// The answer's head with a stream of two pictures behind it.
fn stream_behind(head: &[u8]) -> Vec<u8> {
    let part = [b"--b\r\nContent-Type: image/jpeg\r\n\r\n".as_slice(), PICTURE, b"\r\n"].concat();
    [head, b"\r\n", &part, &part].concat()
}

#[tokio::test]
async fn what_cameras_servers_write_is_read() {
    let kind = "Content-Type: multipart/x-mixed-replace; boundary=b\r\n";
    for head in [
        format!("HTTP/1.1 200 OK\r\nServer: GoaHead\r\nTue, 12 Jun 2012 01:56:34 GMT\r\n{kind}"),
        format!("HTTP/1.1 200 OK\r\n{}", kind.replace(": multi", " : multi")),
        format!("HTTP/1.1 200 OK\r\n{}", kind.replace("; b", ";\r\n\tb")),
        format!("HTTP/1.0 200 OK\r\nHTTP/1.0 200 OK\r\nConnection: close\r\n{kind}"),
    ] {
        let (port, _serving) = camera(vec![stream_behind(head.as_bytes())]).await;
        assert_eq!(frames(MjpegCamera { address: address(port) }, 2).await, [PICTURE, PICTURE], "{head}");
    }
}

/// How a camera that gives this answer fails, as a stream and asked for single pictures.
async fn failures(answer: &[u8]) -> [String; 2] {
    async fn failure<C: Camera>(camera: C) -> String {
        let mut source = Supervised::new(camera, Duration::from_secs(5), Default::default());
        // It goes on trying for ever.
        let _ = timeout(Duration::from_millis(500), source.next_frame()).await;
        source.last_failure().unwrap_or("it did not fail").to_owned()
    }
    let (stream, _serving) = camera(vec![answer.to_vec(); 20]).await;
    let (single, _serving_too) = camera(vec![answer.to_vec(); 20]).await;
    let period = Duration::from_millis(10);
    [
        failure(MjpegCamera { address: address(stream) }).await,
        failure(SnapshotCamera { address: address(single), period }).await,
    ]
}

#[tokio::test]
async fn a_cameras_own_error_is_told() {
    let page = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 13\r\n\r\n<html></html>";
    let digest =
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Digest realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
    let basic =
        "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n";
    let away = "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.example/x?token=secret\r\nContent-Length: 0\r\n\r\n";
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n";
    for (answer, says) in [
        (page, "text/html"),
        (digest, "Digest"),
        (basic, "user or password"),
        (away, "sends to \"http://elsewhere.example/x\""),
        ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", "500"),
        (length, "content-length"),
    ] {
        for failure in failures(answer.as_bytes()).await {
            assert!(failure.contains(says), "{says}: {failure}");
            assert!(!failure.contains("secret"), "{failure}");
        }
    }
    // Without end markers no picture is whole.
    let cut = &PICTURE[..PICTURE.len() - 2];
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n".as_slice();
    let parts: Vec<u8> = [b"--b\r\n\r\n".as_slice(), cut, b"\r\n"].concat().repeat(4);
    let [stream, _] = failures(&[head, &parts].concat()).await;
    assert!(stream.contains("4 pictures were cut off"), "{stream}");
}

#[tokio::test]
async fn redirections_are_followed_on_the_same_camera() {
    let moved = b"HTTP/1.1 301 Moved Permanently\r\nLocation: /new?y=2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", PICTURE.len());
    let (port, serving) = camera(vec![moved.to_vec(), [head.as_bytes(), PICTURE].concat()]).await;
    let camera = SnapshotCamera { address: address(port), period: Duration::from_millis(10) };
    assert_eq!(frames(camera, 1).await, [PICTURE]);
    assert!(serving.await.unwrap()[1].starts_with("GET /new?y=2 HTTP/1.1\r\n"));
    let here = CameraAddress::parse("http://u:p@cam:81/a").unwrap();
    let to = |location| here.redirected(location).map(|address| address.to_string());
    assert_eq!(to("/b").as_deref(), Some("http://cam:81/b"));
    assert_eq!(to("http://CAM:81/b?x").as_deref(), Some("http://cam:81/b"));
    for other in [
        "http://cam/b",
        "https://cam:81/b",
        "http://other:81/b",
        "//other/b",
        "b",
        "",
        "http://x:y@other:81/",
    ] {
        assert_eq!(to(other), None, "{other}");
    }
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
