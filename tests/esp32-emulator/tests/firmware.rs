//! What the firmware writes and reads, compiled for this machine, against what prost and the wire's description say.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    fmt::Write as _,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use cavs_esp32_emulator::{check_board_part, firmware_on_host};
use cavs_proto::v1;
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use prost::Message;
use prost_types::Timestamp;
use tempfile::TempDir;

struct Firmware {
    program: PathBuf,
    _folder: TempDir,
}

impl Firmware {
    fn compile() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { program: firmware_on_host(folder.path()).unwrap(), _folder: folder }
    }

    /// Puts cases to it, one a line, for as many answers.
    fn ask(&self, cases: &[String]) -> Vec<String> {
        let mut child = Command::new(&self.program)
            .arg("cases")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let text = cases.join("\n") + "\n";
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()).unwrap());
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(output.status.success(), "{output:?}");
        let answers: Vec<String> =
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        assert_eq!(answers.len(), cases.len(), "{answers:?}");
        answers
    }

    fn ask_one(&self, case: &str) -> String {
        self.ask(&[case.to_owned()]).remove(0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// What gRPC-Web says before the picture's own bytes, by prost.
fn head_by_prost(request: &v1::SubmitFrameRequest) -> String {
    let message = request.encode_to_vec();
    let prefix = [&[0], u32::try_from(message.len()).unwrap().to_be_bytes().as_slice()].concat();
    hex(&[&prefix, &message[..message.len() - request.image.len()]].concat())
}

fn case_of(request: &v1::SubmitFrameRequest) -> String {
    let word = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let time = |time: &Option<Timestamp>| {
        time.as_ref().map_or("- -".to_owned(), |time| format!("{} {}", time.seconds, time.nanos))
    };
    let (captured, sent) = (time(&request.capture_time), time(&request.send_time));
    let (device, frame) = (word(&request.device_id), word(&request.frame_id));
    format!("head {device} {frame} {captured} {sent} {}", request.image.len())
}

fn any_time() -> impl Strategy<Value = Option<Timestamp>> {
    let seconds = prop_oneof![Just(0), Just(-1), 0..4_000_000_000_i64, -62_135_596_800..=253_402_300_799_i64];
    let nanos = prop_oneof![Just(0), Just(999_999_999), 0..1_000_000_000_i32];
    prop::option::of((seconds, nanos).prop_map(|(seconds, nanos)| Timestamp { seconds, nanos }))
}

#[test]
fn requests_are_those_of_prost() {
    let strategy = (
        prop_oneof![Just(String::new()), "[!-,.-~]{1,64}"],
        "[!-,.-~]{1,64}",
        any_time(),
        any_time(),
        prop_oneof![Just(1), 100..200_usize, 16_000..17_000_usize, 1..100_000_usize],
    )
        .prop_map(|(device_id, frame_id, captured_at, sent_at, length)| v1::SubmitFrameRequest {
            device_id,
            frame_id,
            capture_time: captured_at,
            send_time: sent_at,
            classroom: String::new(),
            image: vec![7; length].into(),
        });
    let firmware = Firmware::compile();
    let mut runner = TestRunner::new(Config::with_cases(4));
    runner
        .run(&prop::collection::vec(strategy, 300), |requests| {
            let cases: Vec<String> = requests.iter().map(case_of).collect();
            for (request, answer) in requests.iter().zip(firmware.ask(&cases)) {
                prop_assert_eq!(answer, head_by_prost(request));
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_can_not_be_sent_is_not_written() {
    let firmware = Firmware::compile();
    let long = "x".repeat(65);
    for case in [
        "head cam - 0 0 0 0 10".to_owned(),
        format!("head cam {long} 0 0 0 0 10"),
        format!("head {long} frame 0 0 0 0 10"),
        "head cam frame 0 0 0 0 0".to_owned(),
        "head cam fr\u{e4}me 0 0 0 0 10".to_owned(),
        "head cam frame 0 0 0 0 4294967295".to_owned(),
    ] {
        assert_eq!(firmware.ask_one(&case), "none", "{case}");
    }
}

fn frame(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind], u32::try_from(bytes.len()).unwrap().to_be_bytes().as_slice(), bytes].concat()
}

fn http(head: &str, body: &[u8]) -> String {
    hex(&[head.as_bytes(), format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat())
}

fn verdict(status: v1::submit_frame_response::Status, faces: usize) -> Vec<u8> {
    let face = v1::FaceVerdict { rejection: "x".repeat(300), ..Default::default() };
    v1::SubmitFrameResponse {
        status: status.into(),
        device_id: "0199c0de-0000-7000-8000-000000000003".into(),
        frame_id: "00000001-00000002-00000003".into(),
        faces_detected: u32::try_from(faces).unwrap(),
        faces: vec![face; faces],
        ..Default::default()
    }
    .encode_to_vec()
}

#[test]
fn answers_are_understood_in_any_pieces() {
    use v1::submit_frame_response::Status::{Recorded, Stored};
    let ok = "HTTP/1.1 200 OK\r\n";
    let trailers = |text: &str| frame(0x80, text.as_bytes());
    let good = |verdict: Vec<u8>| [frame(0, &verdict), trailers("grpc-status:0\r\n")].concat();
    let busy = trailers("grpc-status: 8\r\ngrpc-message: busy\r\nretry-after-ms: 1500\r\n");
    let chunked = {
        let body = good(verdict(Recorded, 1));
        let (one, two) = body.split_at(9);
        let head = format!("{ok}Transfer-Encoding: chunked\r\n\r\n9;x=y\r\n");
        let middle = format!("\r\n{:X}\r\n", two.len());
        hex(&[head.as_bytes(), one, middle.as_bytes(), two, b"\r\n0\r\nTrailer: 1\r\n\r\n"].concat())
    };
    let cases = [
        (
            "web",
            http(ok, &good(verdict(Recorded, 2))),
            "keep next-frame arrived http=200 grpc=0 faces=2 retry=0",
        ),
        // A room full of faces: longer than what is kept of it.
        (
            "web",
            http(ok, &good(verdict(Stored, 60))),
            "keep next-frame arrived http=200 grpc=0 faces=60 retry=0",
        ),
        ("web", chunked, "keep next-frame arrived http=200 grpc=0 faces=1 retry=0"),
        ("web", http(ok, &busy), "keep same-frame not-arrived http=200 grpc=8 faces=0 retry=1500"),
        // Without a body, as in-stack errors are answered.
        (
            "web",
            http("HTTP/1.1 200 OK\r\ngrpc-status: 14\r\nretry-after-ms: 700\r\n", b""),
            "keep same-frame not-arrived http=200 grpc=14 faces=0 retry=700",
        ),
        (
            "web",
            http("HTTP/1.1 200 OK\r\ngrpc-status: 7\r\n", b""),
            "keep ask-a-person not-arrived http=200 grpc=7 faces=0 retry=0",
        ),
        (
            "web",
            http(ok, &trailers("grpc-status:16\r\n")),
            "keep ask-a-person not-arrived http=200 grpc=16 faces=0 retry=0",
        ),
        (
            "web",
            http(ok, &trailers("grpc-status:12")),
            "keep other-path not-arrived http=200 grpc=12 faces=0 retry=0",
        ),
        (
            "web",
            http(ok, &trailers("grpc-status:11\r\n")),
            "keep smaller-picture not-arrived http=200 grpc=11 faces=0 retry=0",
        ),
        (
            "web",
            http(ok, &trailers("grpc-status:3\r\n")),
            "keep next-frame not-arrived http=200 grpc=3 faces=0 retry=0",
        ),
        // No status, no verdict, or a compressed one: nothing says that it arrived.
        (
            "web",
            http(ok, &trailers("grpc-status:0\r\n")),
            "keep same-frame not-arrived http=200 grpc=0 faces=0 retry=0",
        ),
        (
            "web",
            http(ok, &frame(1, b"\x08\x01")),
            "close same-frame not-arrived http=200 grpc=-1 faces=0 retry=0",
        ),
        ("web", http(ok, b"<html>welcome"), "close same-frame not-arrived http=200 grpc=-1 faces=0 retry=0"),
        (
            "web",
            http("HTTP/1.1 404 Not Found\r\n", b""),
            "keep other-path not-arrived http=404 grpc=-1 faces=0 retry=0",
        ),
        ("plain", http(ok, b"{}"), "keep next-frame arrived http=200 grpc=-1 faces=0 retry=0"),
        (
            "plain",
            http("HTTP/1.1 202 Accepted\r\n", b"{}"),
            "keep next-frame arrived http=202 grpc=-1 faces=0 retry=0",
        ),
        (
            "plain",
            http("HTTP/1.1 400 Bad\r\n", b"{}"),
            "keep next-frame not-arrived http=400 grpc=-1 faces=0 retry=0",
        ),
        (
            "plain",
            http("HTTP/1.1 401 No\r\nConnection: close\r\n", b"{}"),
            "close ask-a-person not-arrived http=401 grpc=-1 faces=0 retry=0",
        ),
        (
            "plain",
            http("HTTP/1.1 413 Large\r\n", b"{}"),
            "keep smaller-picture not-arrived http=413 grpc=-1 faces=0 retry=0",
        ),
        (
            "plain",
            http("HTTP/1.1 429 ThrottledStream\r\nRetry-After: 2\r\n", b"{}"),
            "keep same-frame not-arrived http=429 grpc=-1 faces=0 retry=2000",
        ),
        // A retry time that nobody can wait for, and one that is none.
        (
            "plain",
            http("HTTP/1.1 503 Full\r\nRetry-After: 99999999999999999999\r\n", b""),
            "keep same-frame not-arrived http=503 grpc=-1 faces=0 retry=3600000",
        ),
        (
            "plain",
            http("HTTP/1.1 503 Full\r\nRetry-After: -5\r\n", b""),
            "keep same-frame not-arrived http=503 grpc=-1 faces=0 retry=0",
        ),
        // Cut off, not HTTP, far too long.
        (
            "plain",
            hex(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"),
            "close same-frame not-arrived http=200 grpc=-1 faces=0 retry=0",
        ),
        // An early refusal whose end was lost is one all the same.
        (
            "web",
            hex(b"HTTP/1.1 404 Not Found\r\nContent-Length: 90\r\n\r\n{"),
            "close other-path not-arrived http=404 grpc=-1 faces=0 retry=0",
        ),
        ("plain", hex(b"SSH-2.0-x\r\n"), "close same-frame not-arrived http=0 grpc=-1 faces=0 retry=0"),
        (
            "plain",
            hex(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"),
            "close same-frame not-arrived http=200 grpc=-1 faces=0 retry=0",
        ),
        // To the end of the connection.
        (
            "plain",
            hex(b"HTTP/1.0 200 OK\r\n\r\n{\"success\": true}"),
            "close next-frame arrived http=200 grpc=-1 faces=0 retry=0",
        ),
        (
            "plain",
            http("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n", b"{}"),
            "keep next-frame arrived http=200 grpc=-1 faces=0 retry=0",
        ),
    ];
    let firmware = Firmware::compile();
    for piece in [1, 2, 7, 64, 100_000] {
        let asked: Vec<String> =
            cases.iter().map(|(kind, answer, _)| format!("answer {kind} {piece} {answer}")).collect();
        for ((asked, answer), (_, _, expected)) in asked.iter().zip(firmware.ask(&asked)).zip(&cases) {
            assert_eq!(answer, *expected, "{asked}");
        }
    }
}

#[test]
fn pauses_double_up_to_a_minute_and_heed_the_proxy() {
    let firmware = Firmware::compile();
    let asked = ["pause 0 0", "pause 0 0", "pause 3000 0", "pause 3000 4294967295", "reset", "pause 0 0"];
    let answers = firmware.ask(&asked.map(str::to_owned));
    assert_eq!(answers, ["500", "1000", "3000", "3750", "reset", "500"]);
    let many = vec!["pause 0 4294967295".to_owned(); 20];
    assert_eq!(firmware.ask(&many).last().unwrap(), "75000");
    // An hour, the most that an answer can name, does not overflow.
    assert_eq!(firmware.ask_one("pause 3600000 4294967295"), "4500000");
}

#[test]
fn frame_ids_times_and_pictures() {
    let firmware = Firmware::compile();
    let asked = [
        "id 4294967295 7 1",
        "before 1790000000 250000000 500000",
        "before 1790000000 999999999 -1",
        "before 0 0 1",
        "jpeg ffd8010203ffd9",
        "jpeg ffd801ffd9000000",
        "jpeg ffd80102ff",
        "jpeg 0000ffd9",
        "jpeg ffd9",
    ];
    let expected = [
        "ffffffff-00000007-00000001",
        "1789999999 750000000",
        "1790000001 999",
        "-1 999999000",
        "7",
        "5",
        "0",
        "0",
        "0",
    ];
    assert_eq!(firmware.ask(&asked.map(str::to_owned)), expected);
}

#[test]
fn damaged_answers_do_no_harm() {
    let firmware = Firmware::compile();
    let output = Command::new(&firmware.program).args(["fuzz", "11", "300000"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    // Some mutations change nothing that matters; most do.
    let arrived: u32 = text.split(' ').nth(2).unwrap().parse().unwrap();
    assert!((10_000..200_000).contains(&arrived), "{text}");
}

#[test]
fn the_board_part_has_good_syntax_and_types() {
    check_board_part(tempfile::tempdir().unwrap().path()).unwrap();
}
