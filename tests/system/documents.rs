//! The commands of the README do what it says, in its order.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cavs_tests::{Process, SharedData, binary};

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
