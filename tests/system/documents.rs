//! The commands of the documents do what they say, in their order.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cavs_tests::{Process, Site, SiteOptions, binary, people};
use serde_json::Value;

/// A fenced block of a document.
pub(crate) struct Block {
    pub(crate) language: String,
    pub(crate) text: String,
}

pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let parts: Vec<&str> = document.split("\n```").collect();
    let fenced = parts.iter().skip(1).step_by(2);
    fenced
        .map(|part| {
            let (language, text) = part.split_once('\n').unwrap();
            Block { language: language.to_owned(), text: text.to_owned() }
        })
        .collect()
}

/// The words of a line as a shell has them: quotes group, `#` begins a comment.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            '#' if !quoted => break,
            c if c.is_whitespace() && !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// Runs a program in a folder, for what it prints.
fn run(directory: &Path, words: &[String]) -> String {
    let mut command = Command::new(binary(&words[0]));
    let output = command.args(&words[1..]).current_dir(directory).stdin(Stdio::null()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The names of an object's fields.
fn keys(object: &Value) -> Vec<&String> {
    object.as_object().unwrap().keys().collect()
}

#[test]
fn a_camera_is_set_up_as_its_document_says() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let site = Site::create(directory, None, &SiteOptions::default());
    fs::copy(&people(1)[0].portraits[0], directory.join("frame.jpg")).unwrap();
    let listen = format!("127.0.0.1:{}", free_port());
    let document = include_str!("../../docs/ESP32.md");
    let document = document
        .replace("cavs.example:7444", &format!("localhost:{}", site.device_port()))
        .replace("proxy.local:7446", &format!("proxy.local:{}", listen.split_once(':').unwrap().1));

    let (mut proxy_id, mut camera_id, mut token) = (String::new(), String::new(), String::new());
    let (mut proxy, mut answer) = (None, Value::Null);
    let config = directory.join("proxy.toml");
    for block in blocks(&document) {
        match block.language.as_str() {
            "toml" if !config.exists() => {
                fs::copy(site.path("certs/ca.pem"), directory.join("proxy/ca.pem")).unwrap();
                let text = block.text.replace("[proxy]", &format!("[proxy]\nlisten = {listen:?}"));
                fs::write(&config, text).unwrap();
                continue;
            }
            "toml" => {
                // The camera of the example has no address here, but the whole is a configuration.
                let more = fs::read_to_string(&config).unwrap() + "\n" + &block.text;
                fs::write(directory.join("pulling.toml"), more).unwrap();
                let check = words("cavs-edge-agent proxy --check-config --config pulling.toml");
                assert!(run(directory, &check).contains("ok"));
                continue;
            }
            "json" => {
                let shown: Value = serde_json::from_str(&block.text).unwrap();
                if shown["success"] == true {
                    assert_eq!(keys(&shown), keys(&answer));
                    assert_eq!(keys(&shown["faces"][0]), keys(&answer["faces"][0]));
                }
                continue;
            }
            _ => {}
        }
        for line in block.text.lines() {
            let line = line.replace("PROXY-ID", &proxy_id).replace("TOKEN", &token);
            let words = words(&line);
            let arguments: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
            match (words[0].as_str(), arguments.as_slice()) {
                ("cavs", ["devices", "add", "room-b12", ..]) => proxy_id = id(&site.cli.json(&arguments)),
                ("cavs", ["devices", "add", ..]) => camera_id = id(&site.cli.json(&arguments)),
                ("cavs", ["devices", "token", ..]) => {
                    site.cli.json(&arguments)["token"].as_str().unwrap().clone_into(&mut token);
                }
                ("cavs", ["devices", ..]) => drop(site.cli.json(&arguments)),
                ("cavs", _) => drop(run(directory, &words)),
                ("cavs-edge-agent", _) => proxy = Some(serve_cameras(directory, &arguments)),
                ("curl", _) => answer = curl(directory, &arguments, &listen),
                _ => panic!("{line}"),
            }
        }
    }
    assert_eq!((&answer["success"], &answer["status"]), (&true.into(), &"recorded".into()), "{answer:#}");
    assert_eq!(answer["device_id"], camera_id);
    assert_eq!(proxy.map(Process::terminate), Some(Some(0)));
}

fn id(device: &Value) -> String {
    device["id"].as_str().unwrap().to_owned()
}

/// Starts a proxy, and waits until it knows its cameras.
fn serve_cameras(directory: &Path, arguments: &[&str]) -> Process {
    let mut arguments = arguments.to_vec();
    let config = directory.join(arguments.pop().unwrap());
    arguments.push(config.to_str().unwrap());
    let mut proxy = Process::start("cavs-edge-agent", &arguments, &directory.join("proxy.log"));
    let begun = Instant::now();
    while !proxy.output().contains("the server told the cameras") {
        assert!(proxy.exit_code().is_none(), "the proxy ended:\n{}", proxy.output());
        assert!(begun.elapsed() < Duration::from_secs(60), "not told:\n{}", proxy.output());
        thread::sleep(Duration::from_millis(20));
    }
    proxy
}

/// The answer to a request, with the name of the proxy at the address where this one is.
fn curl(directory: &Path, arguments: &[&str], listen: &str) -> Value {
    let (host, port) = listen.split_once(':').unwrap();
    let mut command = Command::new("curl");
    command.args(["--silent", "--resolve", &format!("proxy.local:{port}:{host}")]).args(arguments);
    // scripts/test installs it.
    let output = command.current_dir(directory).output().unwrap();
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_schedule_is_made_as_its_document_says() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    site.add_user("olga", "operator", "correct horse battery");
    let operator = site.cli_of("olga", "correct horse battery");
    let (mut commands, mut files) = (0, ["roster.csv", "sessions.csv", "timetable.ics"].into_iter());
    for block in blocks(include_str!("../../docs/SCHEDULE.md")) {
        // The files that the next commands name, in their order.
        if matches!(block.language.as_str(), "csv" | "ics") {
            fs::write(directory.path().join(files.next().unwrap()), &block.text).unwrap();
        }
        for line in block.text.lines().filter(|_| block.language == "sh") {
            let words = words(line);
            let is_file = |word: &String| word.ends_with(".csv") || word.ends_with(".ics");
            let path = |word: &String| directory.path().join(word).to_str().unwrap().to_owned();
            let words: Vec<String> =
                words.iter().map(|word| if is_file(word) { path(word) } else { word.clone() }).collect();
            let arguments: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
            let cli = if arguments[0] == "sites" { &operator } else { &site.cli };
            let output = cli.run(&arguments);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            commands += 1;
        }
    }
    assert!(commands > 10, "{commands} commands");
    // 2 September to 16 December, but for the break.
    assert_eq!(site.cli.json(&["sessions", "list", "--group", "Maths 3b"])["total_size"], 28);
    assert_eq!(site.cli.json(&["sessions", "list", "--group", "Night shift"])["total_size"], 2);
    // Two of the table; four of the calendar, of which one has another form and one was left out.
    assert_eq!(site.cli.json(&["sessions", "list", "--group", "Physics 4a"])["total_size"], 6);
    let members = ["groups", "members", "list", "Physics 4a", "--on", "2026-10-01"];
    assert_eq!(site.cli.json(&members)["total_size"], 1);
}

#[test]
fn attendance_is_kept_as_its_document_says() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());
    let numbers = ["1001", "1002", "1003", "1004"];
    for number in numbers {
        site.cli.json(&["students", "add", number, "--name", number]);
    }
    let day = jiff::SignedDuration::from_hours(24);
    let (now, half_an_hour) = (jiff::Timestamp::now(), jiff::SignedDuration::from_mins(30));
    let yesterday = (now - day).strftime("%Y-%m-%d").to_string();
    site.cli.json(&["groups", "add", "7B"]);
    let members = ["groups", "members", "add", "7B"];
    assert!(site.cli.run(&[&members[..], &numbers, &["--from", &yesterday]].concat()).status.success());
    let (start, end) = ((now - half_an_hour).to_string(), (now + half_an_hour).to_string());
    site.cli.json(&["sessions", "add", "7B", "--start", &start, "--end", &end]);
    let begun = std::time::Instant::now();
    while site.cli.json(&["attendance", "show", "7B"])["marks"].as_array().unwrap().len() < numbers.len() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "the session does not open");
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    let mut commands = 0;
    for block in blocks(include_str!("../../docs/ATTENDANCE.md")) {
        for line in block.text.lines().filter(|_| block.language == "sh") {
            let words = words(line);
            let arguments: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
            commands += 1;
            if arguments[1] == "watch" {
                // It goes on for ever.
                site.cli.start(&arguments, &directory.path().join("watch.log")).kill();
                continue;
            }
            let output = site.cli.run(&arguments);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert!(commands > 10, "{commands} commands");
    let sheet = site.cli.json(&["attendance", "show", "7B"]);
    assert_eq!(sheet["marks"][0]["mark"], "present");
    reports_are_made_as_their_document_says(&site, directory.path());
}

/// Likewise; `sync.rs` sends to a server.
fn marks_are_exported_as_their_document_says(site: &Site, directory: &Path) {
    let mail = ["students", "update", "1001", "--email", "abebe@school.example", "--external-id", "s1"];
    site.cli.json(&mail);
    let secret = site.path("cli/erp.secret");
    fs::write(&secret, "s3cret").unwrap();
    fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let mut files = Vec::new();
    for block in blocks(include_str!("../../docs/EXPORTS.md")) {
        if block.language == "toml" {
            fs::write(site.path("cli/config.toml"), &block.text).unwrap();
        }
        for line in block.text.lines().filter(|_| block.language == "sh") {
            let mut arguments: Vec<String> = words(line).into_iter().skip(1).collect();
            if arguments[1] == "export" {
                let file = directory.join(arguments.last().unwrap());
                *arguments.last_mut().unwrap() = file.to_str().unwrap().to_owned();
                files.push(file);
            } else if arguments.last().unwrap() != "--dry-run" {
                // There is no such server.
                continue;
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let output = site.cli.run(&arguments);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    assert_eq!(files.len(), 3);
    let moodle = fs::read_to_string(&files[0]).unwrap();
    assert_eq!(moodle, "email,status,remarks\r\nabebe@school.example,P,\r\n");
    assert!(fs::read_to_string(&files[1]).unwrap().starts_with("email,scantime\r\n"));
    assert!(fs::read(&files[2]).unwrap().starts_with(b"PK"));
}

/// Of the session that attendance was kept of.
fn reports_are_made_as_their_document_says(site: &Site, directory: &Path) {
    let names = [
        ("1001", "Abebe Bikila"),
        ("1002", "\u{12a0}\u{1260}\u{1260}"),
        ("1003", "\u{645}\u{62d}\u{645}\u{62f}"),
    ];
    for (number, name) in names {
        site.cli.json(&["students", "update", number, "--name", name, "--section", "B"]);
    }
    let (day, today) = (jiff::SignedDuration::from_hours(24), jiff::Timestamp::now());
    let date = |days: i32| (today + day * days).strftime("%Y-%m-%d").to_string();
    site.cli.json(&["terms", "add", "Autumn", "--from", &date(-90), "--until", &date(30)]);
    let path = |word: &str| directory.join(word).to_str().unwrap().to_owned();
    let (mut commands, mut files) = (0, Vec::new());
    for block in blocks(include_str!("../../docs/REPORTS.md")) {
        for line in block.text.lines().filter(|_| block.language == "sh") {
            let words = words(line);
            let mut arguments: Vec<String> = words.into_iter().skip(1).collect();
            if arguments.iter().any(|word| word == "--file") {
                let file = path(arguments.last().unwrap());
                files.push(file.clone());
                *arguments.last_mut().unwrap() = file;
            }
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let output = site.cli.run(&arguments);
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            commands += 1;
        }
    }
    assert_eq!((commands, files.len()), (15, 5));
    let page = fs::read_to_string(&files[0]).unwrap();
    assert!(names.iter().all(|(_, name)| page.contains(name)) && page.contains("main"), "{page}");
    // scripts/test installs it, and fonts that have these letters.
    let text = Command::new("pdftotext").args(["-layout", &files[1], "-"]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("Week of 7B") && text.contains("Abebe Bikila") && text.contains(names[1].1),
        "{text}"
    );
    assert!(fs::read(&files[2]).unwrap().starts_with(b"PK"));
    assert!(fs::read_to_string(&files[3]).unwrap().starts_with("student_id,number,name,section,present,"));
    assert!(fs::read(&files[4]).unwrap().starts_with(b"PAR1"));
    // Nothing is written in the place of something, and no name of a file is guessed at.
    let again =
        |file: &str| site.cli.run(&["attendance", "report", "week", "7B", "--file", file]).status.code();
    assert_eq!((again(&files[1]), again(&path("week.doc"))), (Some(1), Some(2)));
    marks_are_exported_as_their_document_says(site, directory);
    let sheet = site.cli.json(&["attendance", "report", "sheet", "7B"]);
    assert_eq!((&sheet["report"], &sheet["rows"][0]["mark"]), (&"sheet".into(), &"present".into()));
}
