//! The API as those call it who have no gRPC: by JSON and the Connect protocol.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use cavs_proto::v1;
use cavs_tests::{Site, SiteOptions, flood::channel, people};
use prost::Message;
use serde_json::{Value, json};

const ORIGIN: &str = "https://attendance.example.org";

/// A caller of a site's API.
struct Caller<'a> {
    site: &'a Site,
    token: String,
}

/// What came back.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}{text}", self.head))
    }

    /// The reason of an error, as it can be read without the protocol.
    fn reason(&self) -> String {
        reason(&self.json())
    }
}

fn reason(error: &Value) -> String {
    let details = error["details"].as_array().unwrap_or_else(|| panic!("{error:#}"));
    let info = details.iter().find(|detail| detail["type"] == "google.rpc.ErrorInfo").unwrap();
    assert_eq!(info["debug"]["domain"], "cavs.v1");
    info["debug"]["reason"].as_str().unwrap().to_owned()
}

impl Caller<'_> {
    fn send(&self, path: &str, arguments: &[&str], body: &[u8]) -> Answer {
        let mut command = Command::new("curl");
        command.args(["-sS", "-i", "--max-time", "60", "--data-binary", "@-", "-H", "Expect:"]);
        command.arg("--cacert").arg(self.site.path("certs/ca.pem")).args(arguments);
        if !self.token.is_empty() {
            command.arg("-H").arg(format!("Authorization: Bearer {}", self.token));
        }
        command.arg(format!("https://localhost:{}{path}", self.site.api_port()));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // Where the server answers without having read it, the rest of a body goes nowhere.
        let _ = child.stdin.take().unwrap().write_all(body);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{path} {arguments:?}: {}", output.status);
        let end = output.stdout.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        let head = String::from_utf8_lossy(&output.stdout[..end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: output.stdout[end + 4..].to_vec() }
    }

    fn call(&self, method: &str, arguments: &[&str], body: &Value) -> Answer {
        let arguments = [&["-H", "Content-Type: application/json"], arguments].concat();
        self.send(&format!("/cavs.v1.{method}"), &arguments, body.to_string().as_bytes())
    }

    fn gives(&self, method: &str, body: &Value) -> Value {
        let answer = self.call(method, &[], body);
        assert_eq!(answer.status, 200, "{method}: {:#}", answer.json());
        answer.json()
    }
}

fn envelope(message: &Value) -> Vec<u8> {
    let json = message.to_string();
    [&[0], &u32::try_from(json.len()).unwrap().to_be_bytes()[..], json.as_bytes()].concat()
}

/// The messages of a stream, and what its end says.
fn read_stream(mut body: &[u8]) -> (Vec<Value>, Value) {
    let mut messages = Vec::new();
    loop {
        let (head, rest) = body.split_at(5);
        let length = u32::from_be_bytes(head[1..].try_into().unwrap());
        let (json, rest) = rest.split_at(length.try_into().unwrap());
        let message = serde_json::from_slice(json).unwrap();
        if head[0] == 2 {
            assert!(rest.is_empty());
            return (messages, message);
        }
        messages.push(message);
        body = rest;
    }
}

#[test]
fn the_api_can_be_called_by_json() {
    let directory = tempfile::tempdir().unwrap();
    let server_toml = format!("api.allow_origins = [\"{ORIGIN}\"]");
    let site = Site::create(directory.path(), None, &SiteOptions { server_toml, ..Default::default() });
    let mut caller = Caller { site: &site, token: String::new() };
    let login = json!({"username": "admin", "password": "correct horse battery"});
    let session = caller.gives("AuthService/Login", &login);
    assert!(session["expireTime"].as_str().unwrap().ends_with('Z'), "{session:#}");
    caller.token = session["accessToken"].as_str().unwrap().to_owned();

    let added = caller.gives("StudentService/CreateStudent", &json!({"number": "007", "name": "Zo\u{eb}"}));
    let id = added["student"]["id"].as_str().unwrap();
    for version in ["--http1.1", "--http2"] {
        let listed =
            caller.call("StudentService/ListStudents", &[version], &json!({"with_total_size": true}));
        assert!(listed.head.contains("content-type: application/json"), "{}", listed.head);
        let listed = listed.json();
        assert_eq!((&listed["totalSize"], &listed["nextPageToken"]), (&json!("1"), &json!("")), "{listed:#}");
        assert_eq!(listed["students"][0]["name"], "Zo\u{eb}");
        assert_eq!(listed["students"][0]["active"], true);
    }
    let change = json!({"student": {"id": id, "section": "7b"}, "updateMask": "section"});
    assert_eq!(caller.gives("StudentService/UpdateStudent", &change)["student"]["section"], "7b");

    refusals(&caller);
    protobuf_goes_as_well(&caller);
    streams(&caller, id);
    browsers(&caller);

    let described = caller.send("/openapi.json", &["-X", "GET"], b"");
    assert_eq!((described.status, &described.json()["openapi"]), (200, &json!("3.1.0")));
}

fn refusals(caller: &Caller<'_>) {
    let students = "StudentService/ListStudents";
    let nobody = Caller { site: caller.site, token: String::new() };
    let refused = nobody.call(students, &[], &json!({}));
    assert_eq!((refused.status, refused.reason().as_str()), (401, "UNAUTHENTICATED"));
    assert_eq!(refused.json()["code"], "unauthenticated");
    assert!(refused.head.contains("www-authenticate: bearer"), "{}", refused.head);

    caller.site.add_user("vera", "viewer", "correct horse battery");
    let login = json!({"username": "vera", "password": "correct horse battery"});
    let token = nobody.gives("AuthService/Login", &login)["accessToken"].as_str().unwrap().to_owned();
    let viewer = Caller { site: caller.site, token };
    let refused = viewer.call("StudentService/CreateStudent", &[], &json!({"number": "8", "name": "Eight"}));
    assert_eq!((refused.status, refused.reason().as_str()), (403, "ROLE_INSUFFICIENT"));

    let json = |method: &str, headers: &[&str], body: Value| {
        let answer = caller.call(method, headers, &body);
        (answer.status, answer.reason())
    };
    let is = |status, reason: &str| (status, reason.to_owned());
    assert_eq!(json(students, &[], json!({"pagesize": 1})), is(400, "MESSAGE_INVALID"));
    assert_eq!(json("StudentService/CreateStudent", &[], json!({})), is(400, "INVALID_ARGUMENT"));
    assert_eq!(json("StudentService/GetStudent", &[], json!({"number": "9"})), is(404, "STUDENT_NOT_FOUND"));
    let twice = json!({"number": "007", "name": "Seven"});
    assert_eq!(json("StudentService/CreateStudent", &[], twice), is(409, "STUDENT_EXISTS"));
    for nothing in ["StudentService/Burn", "IngestService/Stream"] {
        assert_eq!(json(nothing, &[], json!({})), is(501, "UNIMPLEMENTED"));
    }
    assert_eq!(json(students, &["-H", "cavs-site: elsewhere"], json!({})), is(404, "SITE_NOT_FOUND"));
    assert_eq!(json(students, &["-H", "Content-Encoding: gzip"], json!({})), is(501, "UNIMPLEMENTED"));
    assert_eq!(json(students, &["-H", "Connect-Protocol-Version: 2"], json!({})), is(400, "MESSAGE_INVALID"));
    assert_eq!(json(students, &["-H", "Connect-Timeout-Ms: soon"], json!({})), is(400, "MESSAGE_INVALID"));
    let (json_type, large) = (["-H", "Content-Type: application/json"], vec![b' '; 7 << 20]);
    let too_large = caller.send("/cavs.v1.StudentService/ListStudents", &json_type, &large);
    assert_eq!((too_large.status, too_large.reason().as_str()), (400, "MESSAGE_TOO_LARGE"));

    let path = "/cavs.v1.StudentService/ListStudents";
    let text = caller.send(path, &["-H", "Content-Type: text/plain"], b"{}");
    assert!(text.status == 415 && text.head.contains("accept-post: application/json"), "{}", text.head);
    let stream = caller.send(path, &["-H", "Content-Type: application/connect+json"], b"{}");
    assert_eq!(stream.status, 415);
    let read = caller.send(path, &["-X", "GET"], b"");
    assert!(read.status == 405 && read.head.contains("allow: post"), "{}", read.head);
    let grpc = caller.send(path, &["--http1.1", "-H", "Content-Type: application/grpc"], b"\0\0\0\0\0");
    assert_eq!(grpc.status, 505);
}

fn protobuf_goes_as_well(caller: &Caller<'_>) {
    let request = v1::ListStudentsRequest { with_total_size: true, ..Default::default() };
    let proto = ["-H", "Content-Type: application/proto", "-H", "Connect-Protocol-Version: 1"];
    let answer = caller.send("/cavs.v1.StudentService/ListStudents", &proto, &request.encode_to_vec());
    assert!(answer.head.contains("content-type: application/proto"), "{}", answer.head);
    assert_eq!(v1::ListStudentsResponse::decode(&*answer.body).unwrap().total_size, 1);
}

fn streams(caller: &Caller<'_>, student: &str) {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let picture = fs::read(people(1)[0].portraits[0].clone()).unwrap();
    let images = [("good", picture.as_slice()), ("bad", b"no picture".as_slice())];
    let messages = images.map(|(name, data)| {
        envelope(&json!({"image": {"name": name, "data": BASE64_STANDARD.encode(data)}}))
    });
    let body = [envelope(&json!({"studentId": student})), messages.concat()].concat();
    let path = "/cavs.v1.EnrollmentService/EnrollFromImages";
    let connect = ["-H", "Content-Type: application/connect+json"];
    for version in ["--http1.1", "--http2"] {
        let answer = caller.send(path, &[&connect[..], &[version]].concat(), &body);
        assert!(answer.status == 200 && answer.head.contains("application/connect+json"), "{}", answer.head);
        let (verdicts, end) = read_stream(&answer.body);
        assert_eq!((verdicts.len(), end), (2, json!({})), "{verdicts:#?}");
        assert_eq!(
            (&verdicts[1]["name"], &verdicts[1]["reason"]),
            (&json!("bad"), &json!("IMAGE_FORMAT_UNSUPPORTED"))
        );
        // The second time it is there already.
        let expected = if version == "--http1.1" { "" } else { "DUPLICATE_TEMPLATE" };
        assert_eq!((&verdicts[0]["name"], &verdicts[0]["reason"]), (&json!("good"), &json!(expected)));
    }
    let templates = caller.gives("EnrollmentService/ListTemplates", &json!({"studentId": student}));
    assert_eq!(templates["templates"].as_array().unwrap().len(), 1);

    let refused = |body: &[u8], reason_of_it: &str| {
        let (messages, end) = read_stream(&caller.send(path, &connect, body).body);
        assert_eq!((messages.len(), reason(&end["error"]).as_str()), (0, reason_of_it), "{end:#}");
    };
    refused(&envelope(&json!({"studentId": "01890000-0000-7000-8000-000000000000"})), "STUDENT_NOT_FOUND");
    refused(&envelope(&json!({"student": student})), "MESSAGE_INVALID");
    refused(&[0, 0, 0, 0, 9, b'{'], "MESSAGE_INVALID");
    refused(&[0, 255, 255, 255, 255], "MESSAGE_TOO_LARGE");
    let nobody = Caller { site: caller.site, token: String::new() };
    let (_, end) = read_stream(&nobody.send(path, &connect, &body).body);
    assert_eq!(reason(&end["error"]), "UNAUTHENTICATED");
    let unary = caller.send(path, &["-H", "Content-Type: application/json"], b"{}");
    assert_eq!(unary.status, 415);
}

/// Pages of the origin that the configuration names may call, and others may not.
fn browsers(caller: &Caller<'_>) {
    let path = "/cavs.v1.StudentService/ListStudents";
    let asks = ["-X", "OPTIONS", "-H", "Access-Control-Request-Method: POST"];
    let ours = format!("Origin: {ORIGIN}");
    let allowed = format!("access-control-allow-origin: {ORIGIN}");
    let preflight = caller.send(path, &[&asks[..], &["-H", &ours]].concat(), b"");
    assert!(preflight.status == 200 && preflight.head.contains(&allowed), "{}", preflight.head);
    assert!(preflight.head.contains("authorization"), "{}", preflight.head);
    let others = caller.send(path, &[&asks[..], &["-H", "Origin: https://example.com"]].concat(), b"");
    assert!(!others.head.contains("access-control-allow-origin"), "{}", others.head);
    let called = caller.call("StudentService/ListStudents", &["-H", &ours], &json!({}));
    assert!(called.status == 200 && called.head.contains(&allowed), "{}", called.head);
}

#[test]
fn what_is_asked_again_is_done_once() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    let mut caller = Caller { site: &site, token: String::new() };
    let login = json!({"username": "admin", "password": "correct horse battery"});
    caller.token = caller.gives("AuthService/Login", &login)["accessToken"].as_str().unwrap().to_owned();
    let id = "0d6f7b8e-5b0c-4c6e-9a53-3f4f0a1d2c3b";
    let create = |number: &str, id: &str| json!({"number": number, "name": "Ada", "requestId": id});
    let first = caller.gives("StudentService/CreateStudent", &create("17", id));
    assert_eq!(caller.gives("StudentService/CreateStudent", &create("17", id)), first);
    assert_eq!(
        caller.gives("StudentService/ListStudents", &json!({}))["students"].as_array().unwrap().len(),
        1
    );
    let refusal = |method: &str, body: &Value| {
        let refused = caller.call(method, &[], body);
        (refused.status, refused.reason())
    };
    let other = create("18", id);
    assert_eq!(refusal("StudentService/CreateStudent", &other), (400, "REQUEST_ID_REUSED".to_owned()));
    let elsewhere = json!({"name": "door", "kind": "DEVICE_KIND_AGENT", "requestId": id});
    assert_eq!(refusal("DeviceService/CreateDevice", &elsewhere), (400, "REQUEST_ID_REUSED".to_owned()));
    let wrong = create("19", "17");
    assert_eq!(refusal("StudentService/CreateStudent", &wrong), (400, "INVALID_ARGUMENT".to_owned()));
    // What failed may be tried again, and then is done.
    let again = "0d6f7b8e-5b0c-4c6e-9a53-3f4f0a1d2c3c";
    assert_eq!(refusal("StudentService/CreateStudent", &create("17", again)).1, "STUDENT_EXISTS");
    let done = caller.gives("StudentService/CreateStudent", &create("19", again));
    assert_eq!(done["student"]["number"], "19");
    // By gRPC as well.
    let by_grpc = || {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let (number, name, request_id) =
                ("20".to_owned(), "Bob".to_owned(), uuid::Uuid::from_u128(20).to_string());
            let mut request = tonic::Request::new(v1::CreateStudentRequest {
                number,
                name,
                request_id,
                ..Default::default()
            });
            request
                .metadata_mut()
                .insert("authorization", format!("Bearer {}", caller.token).parse().unwrap());
            let channel = channel(&site, site.api_port(), None).await;
            let mut students = v1::student_service_client::StudentServiceClient::new(channel);
            students.create_student(request).await.unwrap().into_inner()
        })
    };
    assert_eq!(by_grpc(), by_grpc());
    // An erasure leaves no answer with a name behind; what was done is not done again.
    site.cli.json(&["students", "erase", "19", "--yes"]);
    let gone = refusal("StudentService/CreateStudent", &create("19", again));
    assert_eq!(gone, (400, "REQUEST_ID_REUSED".to_owned()));
}
