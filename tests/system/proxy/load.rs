//! Many cameras, many slow connections, many broken requests: short here, long in `scripts/torture`.
//!
//! One line `BAR name figure bar ok|SHORT` each.

#![allow(clippy::print_stdout, reason = "bars")]

use std::{
    env, fs,
    io::Write,
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use cavs_proto::v1;
use cavs_tests::jpeg_without_face;
use prost::Message;

use super::site::{Camera, ProxySite, read_answer};

/// How often or how long, where `scripts/torture` says nothing.
fn asked(variable: &str, otherwise: usize) -> (usize, bool) {
    let asked = env::var(variable).ok().and_then(|text| text.parse().ok());
    (asked.unwrap_or(otherwise), asked.is_some())
}

/// Prints a bar, and holds it where it was asked for: a busy machine says nothing about speed.
fn bar(name: &str, figure: u128, most: u128, hold: bool) {
    println!("BAR {name} {figure} {most} {}", if figure <= most { "ok" } else { "SHORT" });
    assert!(figure <= most || !hold, "{name}: {figure}");
}

/// Connections that say nothing, or begin and do not go on.
fn slow_connection(site: &ProxySite, camera: &Camera, kind: usize) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", site.port)).unwrap();
    let head = format!(
        "POST /v1/capture HTTP/1.1\r\nHost: p\r\nAuthorization: Bearer {}\r\nContent-Type: image/jpeg\r\n",
        camera.token
    );
    let said = match kind % 4 {
        0 => String::new(),
        1 => head[..30].to_owned(),
        2 => format!("{head}Content-Length: 50000\r\n\r\n"),
        _ => "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
    };
    stream.write_all(said.as_bytes()).unwrap();
    stream
}

/// How long a frame takes: the median of several.
fn latency(site: &ProxySite, camera: &Camera, image: &[u8]) -> Duration {
    let mut times: Vec<_> = (0..9)
        .map(|_| {
            let begun = Instant::now();
            let answer = site.post(camera, "image/jpeg", "", image);
            assert_eq!(answer.status, 200, "{answer:?}");
            let took = begun.elapsed();
            thread::sleep(Duration::from_millis(120));
            took
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

#[test]
fn slow_connections_are_closed_and_hinder_nobody() {
    let (count, hold) = asked("CAVS_TORTURE_CONNECTIONS", 200);
    let mut site = ProxySite::start("max_connections = 2000\ncamera_rate = 1000\n");
    site.start_proxy();
    let (slow, honest) = (site.add_camera("slow"), site.add_camera("honest"));
    let portrait = site.portrait();
    let before = latency(&site, &honest, &portrait);
    let begun = Instant::now();
    let mut streams: Vec<_> = (0..count).map(|kind| slow_connection(&site, &slow, kind)).collect();
    let opened = Instant::now();
    let (during, closed) = thread::scope(|scope| {
        let closing = scope.spawn(|| {
            for (kind, stream) in streams.iter_mut().enumerate() {
                // One more byte now and then does not help.
                let _ = stream.write_all(b"a");
                stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                read_answer(stream);
                assert!(opened.elapsed() < Duration::from_secs(19), "kind {} is still open", kind % 4);
            }
            opened.elapsed()
        });
        (latency(&site, &honest, &portrait), closing.join().unwrap())
    });
    println!("INFO {count} connections: a frame took {before:?} before, {during:?} beside them");
    bar("proxy-honest-latency-percent", during.as_micros() * 100 / before.as_micros(), 200, hold);
    bar("proxy-slow-connections-closed-ms", closed.as_millis(), 15_000, true);
    println!("INFO all of it took {:?}", begun.elapsed());
    // And a newcomer never drives out a camera that works.
    assert_eq!(site.post(&honest, "image/jpeg", "", &portrait).status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn torture_thirty_two_cameras() {
    const CAMERAS: usize = 32;
    let (seconds, hold) = asked("CAVS_TORTURE_SECONDS", 3);
    let mut site = ProxySite::start("");
    let cameras: Vec<_> = (0..CAMERAS).map(|index| site.add_camera(&format!("camera-{index}"))).collect();
    site.start_proxy();
    let portrait = site.portrait();
    super::until("the proxy knows its cameras", || {
        cameras.iter().all(|camera| site.post(camera, "image/jpeg", "", b"x").status == 400)
    });
    let begun = Instant::now();
    let mut times: Vec<(Duration, u16)> = thread::scope(|scope| {
        let send = |index: usize, camera| {
            let (site, portrait) = (&site, &portrait);
            move || {
                let first = Duration::from_millis(1000 * index as u64 / CAMERAS as u64);
                let turn = |turn| {
                    let due = begun + first + Duration::from_secs(turn as u64);
                    thread::sleep(due.saturating_duration_since(Instant::now()));
                    let sent = Instant::now();
                    let answer = site.post_frame(camera, &format!("{turn}"), portrait);
                    assert!(matches!(answer.status, 200 | 202), "{answer:?}");
                    (sent.elapsed(), answer.status)
                };
                (0..seconds).map(turn).collect::<Vec<_>>()
            }
        };
        let senders: Vec<_> =
            cameras.iter().enumerate().map(|(index, camera)| scope.spawn(send(index, camera))).collect();
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    times.sort();
    let sent = CAMERAS * seconds;
    let late = times.iter().filter(|(_, status)| *status == 202).count();
    println!("INFO {sent} frames: median {:?}, {late} answered before the server", times[sent / 2].0);
    bar("proxy-32-cameras-p95-ms", times[sent * 95 / 100].0.as_millis(), 300, hold);
    let waited = Instant::now();
    let mut stored = 0;
    while stored < sent as i64 && waited.elapsed() < Duration::from_secs(30) {
        stored = site.count("SELECT count(*) FROM sightings").await;
    }
    bar("proxy-32-cameras-lost", (sent as i64 - stored).unsigned_abs().into(), 0, true);
}

/// A small generator: the same requests in every run.
struct RandomSource(u64);

impl RandomSource {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % below.max(1)
    }

    /// Changes a few bytes, cuts, or repeats.
    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len());
            match self.below(5) {
                0 => bytes.truncate(at.max(1)),
                1 => {
                    let again = bytes[at..].to_vec();
                    bytes.extend(again.iter().take(300));
                }
                2 => drop(bytes.splice(at..at, [0xFF; 5])),
                _ => bytes[at] = self.below(256) as u8,
            }
        }
    }
}

/// A good request of each path, as bytes on a connection.
fn good_requests(camera: &Camera, image: &[u8]) -> [(&'static str, Vec<u8>); 4] {
    let http = |path: &str, kind: &str, body: &[u8]| {
        let (token, length) = (&camera.token, body.len());
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: p\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\n\
             X-Frame-Id: 1\r\nX-Captured-At: 1800000000\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
        );
        [head.as_bytes(), body].concat()
    };
    let form = [
        b"--B\r\nContent-Disposition: form-data; name=\"timestamp\"\r\n\r\n1800000000\r\n".as_slice(),
        b"--B\r\nContent-Disposition: form-data; name=\"image\"\r\n\r\n",
        image,
        b"\r\n--B--\r\n",
    ]
    .concat();
    let request =
        v1::SubmitFrameRequest { frame_id: "1".into(), image: image.to_vec().into(), ..Default::default() };
    let message = request.encode_to_vec();
    let message = [&[0], (message.len() as u32).to_be_bytes().as_slice(), &message].concat();
    let submit = "/cavs.v1.CaptureService/SubmitFrame";
    [
        ("plain", http("/v1/capture", "image/jpeg", image)),
        ("form", http("/v1/capture", "multipart/form-data; boundary=B", &form)),
        ("grpc-web", http(submit, "application/grpc-web+proto", &message)),
        ("grpc", http2(submit, &camera.token, &message)),
    ]
}

/// RFC 9113: preface, SETTINGS, HEADERS with literal fields, DATA.
fn http2(path: &str, token: &str, message: &[u8]) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = (payload.len() as u32).to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut fields = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "p"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &format!("Bearer {token}")),
    ] {
        fields.extend([0, name.len() as u8]);
        fields.extend(name.bytes());
        fields.push(value.len() as u8);
        fields.extend(value.bytes());
    }
    let data = message.chunks(16_384).collect::<Vec<_>>();
    let last = data.len().saturating_sub(1);
    let data = data.iter().enumerate().flat_map(|(at, part)| frame(0, u8::from(at == last), 1, part));
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 4, 1, &fields));
    bytes.extend(data);
    bytes
}

/// Memory of a process that is in RAM, in bytes.
fn resident(process: u32) -> u128 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u128>().unwrap() * 1024
}

#[test]
fn torture_mutated_requests() {
    let (count, _) = asked("CAVS_TORTURE_REQUESTS", 150);
    let mut site = ProxySite::start("camera_rate = 1000\n");
    site.start_proxy();
    let camera = site.add_camera("door");
    let (image, mut random) = (jpeg_without_face(), RandomSource(0x2545_F491_4F6C_DD1D));
    let send = |bytes: &[u8]| {
        let begun = Instant::now();
        let mut stream = loop {
            match TcpStream::connect(("127.0.0.1", site.port)) {
                Ok(stream) => break stream,
                // No ports are left for a moment.
                Err(error) => assert!(begun.elapsed() < Duration::from_secs(90), "{error}"),
            }
            thread::sleep(Duration::from_millis(50));
        };
        let begun = Instant::now();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let answer = read_answer(&mut stream);
        assert!(begun.elapsed() < Duration::from_secs(16), "hangs: {answer:?}");
        answer
    };
    let process = site.agent.as_ref().unwrap().id();
    let good = good_requests(&camera, &image);
    for (path, request) in &good {
        let answer = send(request);
        assert!(answer.status == 200 || *path == "grpc", "{path}: {answer:?}");
    }
    // What the networks and the pools take once is no growth.
    (0..50).for_each(|_| drop(send(&good[0].1)));
    let before = resident(process);
    for (path, request) in &good {
        for _ in 0..count {
            let mut request = request.clone();
            random.mutate(&mut request);
            send(&request);
        }
        println!("INFO {count} mutated requests over {path}: {} MiB resident", resident(process) >> 20);
    }
    bar("proxy-mutated-growth-mib", resident(process).saturating_sub(before) >> 20, 64, true);
    assert!(!site.log().contains("panicked"), "{}", site.log());
    assert_eq!(send(&good[0].1).status, 200);
}
