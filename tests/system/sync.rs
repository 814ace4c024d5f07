//! Attendance goes to another system, each mark once, whatever the other system and the connection do.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::Path,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use cavs_tests::TestSite;
use jiff::{SignedDuration, Timestamp};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    TooMany,
    /// Before anything is written, and after.
    FailsBefore,
    FailsAfter,
    /// The connection is dropped before anything is written, and after.
    DropsBefore,
    DropsAfter,
    /// It is written, and nothing is said for long.
    Hangs,
}

/// What Frappe HR keeps of check-ins.
#[derive(Default)]
struct Kept {
    /// By employee and time: the marks of where they come from.
    logs: BTreeMap<(String, String), Vec<String>>,
    faults: VecDeque<Fault>,
    posts: usize,
}

/// A server that behaves like Frappe HR, with employees 1001 and 1002.
#[derive(Clone)]
struct Frappe {
    port: u16,
    kept: Arc<Mutex<Kept>>,
}

impl Frappe {
    fn start(certs: &Path) -> Self {
        let certificates = CertificateDer::pem_file_iter(certs.join("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(certs.join("server.key")).unwrap();
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(certificates.collect::<Result<_, _>>().unwrap(), key)
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let frappe = Self { port: listener.local_addr().unwrap().port(), kept: Arc::default() };
        let served = frappe.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (served, config) = (served.clone(), Arc::clone(&config));
                thread::spawn(move || served.serve(stream, config));
            }
        });
        frappe
    }

    fn fail(&self, faults: &[Fault]) {
        self.kept.lock().unwrap().faults.extend(faults);
    }

    fn posts(&self) -> usize {
        self.kept.lock().unwrap().posts
    }

    /// Logs, none of them twice.
    fn logs(&self) -> usize {
        let kept = self.kept.lock().unwrap();
        assert!(kept.logs.values().all(|marks| marks.len() == 1), "{:?}", kept.logs);
        kept.logs.len()
    }

    /// One request a connection.
    fn serve(&self, stream: TcpStream, config: Arc<ServerConfig>) {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut stream = BufReader::new(StreamOwned::new(ServerConnection::new(config).unwrap(), stream));
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            head.push(line);
        }
        let header = |name: &str| {
            let of = head.iter().filter_map(|line| line.split_once(": "));
            of.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
        };
        let length = header("content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        let authorised = header("authorization").as_deref() == Some("token the-key:s3cret");
        let Some((status, answer)) = self.answer(&head[0], &body, authorised) else { return };
        let more = if status == 429 { "Retry-After: 1\r\n" } else { "" };
        let answer = answer.to_string();
        let text = format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nConnection: close\r\n{more}Content-Length: {}\r\n\r\n{answer}",
            answer.len()
        );
        let stream = stream.get_mut();
        let _ = stream.write_all(text.as_bytes());
        stream.conn.send_close_notify();
        let _ = stream.flush();
    }

    /// What is answered; `None`: the connection is dropped.
    fn answer(&self, request: &str, body: &[u8], authorised: bool) -> Option<(u16, Value)> {
        if !authorised {
            return Some((401, json!({"exc_type": "AuthenticationError"})));
        }
        if request.starts_with("GET /api/resource/Employee%20Checkin?filters=") {
            let kept = self.kept.lock().unwrap();
            let asked = |mark: &&String| request.contains(&escaped(mark));
            let found: Vec<_> =
                kept.logs.values().flatten().filter(asked).map(|mark| json!({"name": mark})).collect();
            return Some((200, json!({"data": found})));
        }
        assert!(
            request.starts_with("POST /api/method/hrms.hr.doctype.employee_checkin.employee_checkin.add_log"),
            "{request}"
        );
        let body: Value = serde_json::from_slice(body).unwrap();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        self.kept.lock().unwrap().posts += 1;
        assert_eq!(text("employee_fieldname"), "attendance_device_id");
        if !["1001", "1002"].contains(&text("employee_field_value").as_str()) {
            let message = json!({"message": "No Employee found for the given employee field value. 'attendance_device_id': <b>9</b>"});
            let messages = json!([message.to_string()]).to_string();
            return Some((417, json!({"exc_type": "ValidationError", "_server_messages": messages})));
        }
        let fault = self.kept.lock().unwrap().faults.pop_front();
        match fault {
            Some(Fault::TooMany) => return Some((429, json!({"exc_type": "RateLimitExceededError"}))),
            Some(Fault::FailsBefore) => {
                return Some((500, json!({"exception": "OperationalError: gone away"})));
            }
            Some(Fault::DropsBefore) => return None,
            Some(Fault::FailsAfter | Fault::DropsAfter | Fault::Hangs) | None => {}
        }
        {
            let mut kept = self.kept.lock().unwrap();
            let logs = kept.logs.entry((text("employee_field_value"), text("timestamp"))).or_default();
            if !logs.is_empty() {
                let message = json!({"message": "This employee already has a log with the same timestamp."});
                let messages = json!([message.to_string()]).to_string();
                return Some((417, json!({"exc_type": "ValidationError", "_server_messages": messages})));
            }
            logs.push(text("device_id"));
        }
        match fault {
            Some(Fault::FailsAfter) => Some((502, json!({}))),
            Some(Fault::DropsAfter) => None,
            Some(Fault::Hangs) => {
                thread::sleep(LIMIT);
                None
            }
            _ => Some((200, json!({"message": {"name": "EMP-CKIN-1"}}))),
        }
    }
}

/// As a filter has it in its address.
fn escaped(mark: &str) -> String {
    mark.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("%{:02X}", u32::from(c)) })
        .collect()
}

/// A session that is over, with everybody there, and final.
fn final_session(site: &TestSite, minutes_ago: i64, students: &[&str]) {
    let cli = &site.cli;
    let at = |minutes: i64| (Timestamp::now() - SignedDuration::from_mins(minutes)).to_string();
    let (start, end) = (at(minutes_ago), at(minutes_ago - 10));
    let session = cli.json(&["sessions", "add", "7B", "--start", &start, "--end", &end])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let begun = Instant::now();
    loop {
        let sheet = cli.json(&["attendance", "show", &session]);
        if sheet["session"]["state"] == "closing"
            && sheet["marks"].as_array().unwrap().len() == students.len()
        {
            break;
        }
        assert!(begun.elapsed() < LIMIT, "{sheet:#}");
        thread::sleep(Duration::from_millis(200));
    }
    let marks: Vec<String> = students.iter().map(|number| format!("{number}=present")).collect();
    let mut said = vec!["attendance", "roll-call", &session];
    said.extend(marks.iter().map(String::as_str));
    cli.json(&said);
    cli.json(&["attendance", "finalise", &session, "--yes"]);
}

#[test]
fn what_is_sent_is_there_once_whatever_happens() {
    let site = TestSite::start();
    let frappe = Frappe::start(&site.path("certs"));
    let cli = &site.cli;
    let students = ["1001", "1002", "9"];
    let yesterday = (Timestamp::now() - SignedDuration::from_hours(24)).strftime("%Y-%m-%d").to_string();
    cli.json(&["groups", "add", "7B"]);
    for number in students {
        cli.json(&["students", "add", number, "--name", number]);
        assert!(cli.run(&["groups", "members", "add", "7B", number, "--from", &yesterday]).status.success());
    }
    final_session(&site, 90, &students);

    let secret = site.path("cli/erp.secret");
    fs::write(&secret, "s3cret\n").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let target = |key: &str| {
        let text = format!(
            "[targets.erp]\nkind = \"employee-checkins\"\nurl = \"https://localhost:{}\"\nkey = \"{key}\"\n\
             secret_file = \"erp.secret\"\nca = \"../certs/ca.pem\"\n",
            frappe.port
        );
        fs::write(site.path("cli/config.toml"), text).unwrap();
    };
    target("the-key");
    let sync = |more: &[&str]| -> (Option<i32>, Value) {
        let output = cli.run(&[&["attendance", "sync", "erp", "-o", "json"], more].concat());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}")))
    };
    let counts = |report: &Value| {
        ["sent", "skipped", "already_there", "refused", "left"].map(|of| report[of].as_u64().unwrap())
    };

    let (code, dry) = sync(&["--dry-run"]);
    assert_eq!((code, counts(&dry), frappe.posts()), (Some(0), [0, 0, 0, 0, 6], 0));
    // A key that is not let in ends the run, and nothing is taken for sent.
    target("another-key");
    let (code, refused) = sync(&[]);
    assert_eq!((code, counts(&refused)), (Some(1), [0, 0, 0, 0, 6]));
    assert!(refused["items"][0]["why"].as_str().unwrap().contains("not let in"), "{refused}");

    // Everything that can go wrong, and somebody whom the other system doesn't know.
    target("the-key");
    use Fault::{DropsAfter, DropsBefore, FailsAfter, FailsBefore, TooMany};
    frappe.fail(&[TooMany, FailsBefore, DropsAfter, DropsBefore, FailsAfter]);
    let (code, first) = sync(&[]);
    let [sent, skipped, there, refused, left] = counts(&first);
    assert_eq!((code, sent + there, skipped, refused, left), (Some(1), 4, 0, 2, 0), "{first}");
    assert!(there >= 1, "what came although nothing was answered was found: {first}");
    assert_eq!(frappe.logs(), 4);
    let nobody = first["items"].as_array().unwrap().iter().find(|item| item["number"] == "9").unwrap();
    assert_eq!(
        nobody["why"],
        "No Employee found for the given employee field value. 'attendance_device_id': 9 (417)"
    );

    // Again: what was refused is asked again, and nothing else.
    let before = frappe.posts();
    let (_, again) = sync(&[]);
    assert_eq!((counts(&again), frappe.posts() - before, frappe.logs()), ([0, 4, 0, 2, 0], 2, 4));
    // On another machine, where nothing is remembered.
    fs::remove_file(site.path("cli/sync-erp.jsonl")).unwrap();
    let (_, elsewhere) = sync(&[]);
    assert_eq!((counts(&elsewhere), frappe.logs()), ([0, 0, 4, 2, 0], 4));

    // Killed while the other system has it and has not answered.
    final_session(&site, 60, &students);
    frappe.fail(&[Fault::Hangs]);
    let run = cli.start(&["attendance", "sync", "erp"], &site.path("sync.log"));
    let begun = Instant::now();
    while frappe.logs() < 5 {
        assert!(begun.elapsed() < LIMIT, "{}", run.output());
        thread::sleep(Duration::from_millis(50));
    }
    run.kill();
    let (_, after) = sync(&[]);
    let [sent, skipped, there, refused, left] = counts(&after);
    assert_eq!((sent, skipped, there, refused, left, frappe.logs()), (3, 4, 1, 4, 0, 8), "{after}");
    let ledger = fs::read_to_string(site.path("cli/sync-erp.jsonl")).unwrap();
    assert!(!ledger.contains("s3cret"), "{ledger}");
}
