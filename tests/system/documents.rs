//! The commands of the documents do what they say, in their order.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cavs_tests::{Process, SharedData, Site, SiteOptions, binary};
use serde_json::Value;

/// A fenced block of a document.
struct Block {
    language: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
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
fn words(line: &str) -> Vec<String> {
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

/// Runs one of our programs in a folder as somebody would who types its name.
fn run(directory: &Path, words: &[String], input: &str) -> String {
    use std::io::Write;
    let mut child = Command::new(binary(&words[0]))
        .args(&words[1..])
        .current_dir(directory)
        .env("HOME", directory)
        .env_remove("XDG_CONFIG_HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {error}", words.join(" "));
    String::from_utf8(output.stdout).unwrap()
}

/// What the README takes for granted: pictures of student 17, frames, and weights where there are some.
fn prepare(directory: &Path, shared: Option<&SharedData>) {
    // PostgreSQL runs as another user when this is root, and must be able to pass.
    fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (file, name) in [("yunet_n_dynamic", "yunet"), ("mobilefacenet_y1", "mobilefacenet")] {
        if let Some(shared) = shared {
            let model = shared.path(&format!("models/{file}.onnx")).canonicalize().unwrap();
            std::os::unix::fs::symlink(model, directory.join(format!("{name}.onnx"))).unwrap();
        }
    }
    let rendered = directory.join("rendered");
    let arguments = ["roster", "--count", "1", "--seed", "17", "--portraits", "3", "--out"];
    let done = Command::new(binary("synthface")).args(arguments).arg(&rendered).status();
    assert!(done.unwrap().success(), "no pictures were rendered");
    let student = fs::read_dir(rendered.join("portraits")).unwrap().next().unwrap().unwrap().path();
    let mut pictures: Vec<_> = fs::read_dir(student).unwrap().map(|entry| entry.unwrap().path()).collect();
    pictures.sort();
    // The same pictures are played: this is not about accuracy.
    for (folder, taken) in [("pictures/17", &pictures[..]), ("frames", &pictures[..2])] {
        fs::create_dir_all(directory.join(folder)).unwrap();
        for picture in taken {
            fs::copy(picture, directory.join(folder).join(picture.file_name().unwrap())).unwrap();
        }
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_site_by_hand_works_as_the_readme_says() {
    let shared = SharedData::locate();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    prepare(directory, shared.as_ref());
    let (api, devices) = (format!(":{}", free_port()), format!(":{}", free_port()));
    let readme = include_str!("../../README.md").replace(":7443", &api).replace(":7444", &devices);

    let mut files = ["server.toml", "agent.toml"].into_iter();
    let (mut device, mut sighting) = (String::new(), String::new());
    let mut server = None;
    let mut done = 0;
    for block in blocks(&readme) {
        if block.language == "toml" {
            let text = block.text.replace("DEVICE-ID", &device);
            fs::write(directory.join(files.next().unwrap()), text).unwrap();
            continue;
        }
        for line in block.text.lines() {
            let line = line.replace("DEVICE-ID", &device).replace("SIGHTING-ID", &sighting);
            let mut words = words(&line);
            let Some(program) = words.first() else { continue };
            if !program.starts_with("cavs") {
                // scripts/demo and scripts/test, which run this test.
                assert!(program.starts_with("scripts/"), "{line}");
                continue;
            }
            let json = |words: &[&str]| -> serde_json::Value {
                let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
                serde_json::from_str(&run(directory, &words, "")).unwrap()
            };
            done += 1;
            // There is nothing to import without the weights.
            if shared.is_none() && line.starts_with("cavs models") {
                continue;
            }
            match words.join(" ").as_str() {
                "cavs-server serve --config server.toml" => {
                    server = Some(serve(directory));
                    continue;
                }
                "cavs-edge-agent run --config agent.toml" => words.push("--until-drained".to_owned()),
                command if command.starts_with("cavs login") => words.push("--password-stdin".to_owned()),
                _ => {}
            }
            let output = run(directory, &words, "a long password\n");
            if line.starts_with("cavs devices add") {
                let found = json(&["cavs", "devices", "show", "room-b12", "-o", "json"]);
                device = found["id"].as_str().unwrap().to_owned();
            }
            if line.starts_with("cavs sightings list") {
                assert!(output.contains("Grace Hopper"), "{output}");
                let found = json(&["cavs", "sightings", "list", "-o", "json"]);
                sighting = found["sightings"][0]["id"].as_str().unwrap().to_owned();
            }
        }
    }
    assert!(done > 14, "only {done} commands were found in the README");
    assert_eq!(server.map(Process::terminate), Some(Some(0)));
}

/// Starts the server with the one option more that says when it is ready.
fn serve(directory: &Path) -> Process {
    let (config, ready) = (directory.join("server.toml"), directory.join("ready"));
    let arguments = ["serve", "--config", config.to_str().unwrap(), "--ready-file", ready.to_str().unwrap()];
    let mut server = Process::start("cavs-server", &arguments, &directory.join("server.log"));
    let begun = Instant::now();
    while !ready.exists() {
        assert!(server.exit_code().is_none(), "the server ended:\n{}", server.output());
        assert!(begun.elapsed() < Duration::from_secs(60), "not ready:\n{}", server.output());
        thread::sleep(Duration::from_millis(20));
    }
    server
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
    prepare(directory, None);
    let frame = fs::read_dir(directory.join("frames")).unwrap().next().unwrap().unwrap().path();
    fs::copy(frame, directory.join("frame.jpg")).unwrap();
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
                assert!(run(directory, &check, "").contains("ok"));
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
                ("cavs", _) => drop(run(directory, &words, "")),
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
