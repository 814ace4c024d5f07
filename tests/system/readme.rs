//! README's site by hand, followed literally: by whoever runs the tests, and by root and by another user
//! with the agent on the same machine and on one of its own.
//!
//! What only root may do is ignored, and `scripts/test` runs it where it can: it says so where it can't.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cavs_tests::{Process, binary, lay_out, people};
use nix::unistd::{Uid, User};
use tempfile::TempDir;

use crate::{
    documents::{blocks, free_port, words},
    onnx_writer::Writer,
};

const README: &str = include_str!("../../README.md");
/// What is typed.
const PASSWORD: &str = "a long password\n";
/// Somebody without rights whom every Debian has.
const OTHER_USER: &str = "daemon";

/// Where the machine in the room is.
enum AgentMachine {
    /// It is the server's machine.
    Local,
    /// Beyond a network.
    Remote(Network),
}

/// A network namespace with a cable to this one: a machine of its own, as far as the network goes.
struct Network {
    name: String,
    /// This end of the cable.
    server: String,
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {arguments}: {error}");
}

impl Network {
    /// Needs root and the right to make namespaces.
    fn create() -> Self {
        let process = std::process::id();
        // Each test is a process of its own; two of them at the same time have different ids.
        let [a, b] = [process >> 6 & 0xff, process << 2 & 0xfc];
        let network = Self { name: format!("cavs-{process}"), server: format!("10.213.{a}.{}", b | 1) };
        let (name, here) = (&network.name, format!("cavs{process}"));
        ip(&format!("netns add {name}"));
        ip(&format!("link add {here} type veth peer name room netns {name}"));
        ip(&format!("address add {}/30 dev {here}", network.server));
        ip(&format!("link set {here} up"));
        ip(&format!("-n {name} address add 10.213.{a}.{}/30 dev room", b | 2));
        ip(&format!("-n {name} link set room up"));
        network
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The cable goes with it.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}

/// Somebody who follows the README.
struct Reader {
    desk: PathBuf,
    /// The folder in the room.
    room: PathBuf,
    agent_machine: AgentMachine,
    user: Option<User>,
    _directory: TempDir,
}

impl Reader {
    /// Prepares what the README takes for granted: the programs, pictures of student 17, frames, networks.
    fn new(user: Option<User>, agent_machine: AgentMachine) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let desk = directory.path().join("desk");
        let room = match agent_machine {
            AgentMachine::Local => desk.clone(),
            AgentMachine::Remote(_) => directory.path().join("room"),
        };
        // The server's database runs as another user when this is root, and must be able to pass.
        fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let portraits = &people(1)[0].portraits;
        let pictures = || (1..).map(|number| format!("{number}.jpg")).zip(portraits);
        lay_out(&desk.join("pictures/17"), pictures());
        // The same pictures are played: this is not about accuracy.
        lay_out(&room.join("frames"), pictures().take(2));
        fs::write(desk.join("yunet.onnx"), detector()).unwrap();
        fs::write(desk.join("mobilefacenet.onnx"), embedder()).unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        for program in ["cavs", "cavs-server", "cavs-edge-agent"] {
            // Where another user may read them, whatever folder they were built in.
            let (built, here) = (binary(program), bin.join(program));
            fs::hard_link(&built, &here).or_else(|_| fs::copy(&built, &here).map(|_| ())).unwrap();
        }
        if let Some(user) = &user {
            give(directory.path(), user);
        }
        Self { desk, room, agent_machine, user, _directory: directory }
    }

    /// A program as its reader types it: at the desk, or in the room if it is the agent.
    fn command(&self, words: &[&str]) -> Command {
        let in_the_room = words[0] == "cavs-edge-agent";
        let mut before: Vec<String> = Vec::new();
        if let (AgentMachine::Remote(network), true) = (&self.agent_machine, in_the_room) {
            before.extend(["ip", "netns", "exec", &network.name].map(str::to_owned));
        }
        if let Some(user) = &self.user {
            let (uid, gid) = (user.uid, user.gid);
            let account = format!("setpriv --reuid {uid} --regid {gid} --clear-groups --pdeathsig KILL --");
            before.extend(account.split(' ').map(str::to_owned));
        }
        // By its path: `setpriv` and `ip` look for programs elsewhere.
        before.push(self.program(words[0]));
        let mut command = Command::new(&before[0]);
        command.args(&before[1..]).args(&words[1..]);
        command.current_dir(if in_the_room { &self.room } else { &self.desk });
        command.env("HOME", &self.desk).env_remove("XDG_CONFIG_HOME");
        command
    }

    fn program(&self, name: &str) -> String {
        self.desk.with_file_name("bin").join(name).to_str().unwrap().to_owned()
    }

    fn run(&self, words: &[&str]) -> String {
        use std::io::Write;
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(PASSWORD.as_bytes());
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {error}", words.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    fn json(&self, words: &[&str]) -> serde_json::Value {
        serde_json::from_str(&self.run(&[words, &["-o", "json"]].concat())).unwrap()
    }

    /// Starts the server with the one option more that says when it is ready.
    fn serve(&self, words: &[&str]) -> Process {
        let ready = self.desk.join("ready");
        let command = self.command(&[words, &["--ready-file", ready.to_str().unwrap()]].concat());
        let mut server = Process::start_command(command, &self.desk.with_file_name("server.log"));
        let begun = Instant::now();
        while !ready.exists() {
            assert!(server.exit_code().is_none(), "the server ended:\n{}", server.output());
            assert!(begun.elapsed() < Duration::from_secs(60), "not ready:\n{}", server.output());
            thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Takes the folder `device` to the machine in the room, as the README says.
    fn carry_to_the_room(&self) {
        if self.room == self.desk {
            return;
        }
        let device = self.room.join("device");
        let files = fs::read_dir(self.desk.join("device")).unwrap().map(|entry| entry.unwrap().path());
        let files: Vec<PathBuf> = files.collect();
        lay_out(
            &device,
            files.iter().map(|file| (file.file_name().unwrap().to_str().unwrap().to_owned(), file)),
        );
        if let Some(user) = &self.user {
            give(&device, user);
        }
    }

    /// Does what the README says, in its order.
    fn follow(&self) {
        let (api, devices) = (format!(":{}", free_port()), format!(":{}", free_port()));
        let server = match &self.agent_machine {
            AgentMachine::Local => "localhost",
            AgentMachine::Remote(network) => &network.server,
        };
        let readme = README.replace(":7443", &api).replace(":7444", &devices).replace("SERVER", server);
        let mut files = [self.desk.join("server.toml"), self.room.join("agent.toml")].into_iter();
        let (mut device, mut sighting) = (String::new(), String::new());
        let (mut running, mut done) = (None, 0);
        for block in blocks(&readme) {
            if block.language == "toml" {
                fs::write(files.next().unwrap(), block.text).unwrap();
                continue;
            }
            for line in block.text.lines() {
                let line = line.replace("DEVICE-ID", &device).replace("SIGHTING-ID", &sighting);
                let words = words(&line);
                let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
                let Some(program) = words.first() else { continue };
                if !program.starts_with("cavs") {
                    // scripts/demo and scripts/test, which run this test.
                    assert!(program.starts_with("scripts/"), "{line}");
                    continue;
                }
                done += 1;
                match words.join(" ").as_str() {
                    "cavs-server serve --config server.toml" => {
                        running = Some(self.serve(&words));
                        continue;
                    }
                    "cavs-edge-agent run --config agent.toml" => words.push("--until-drained"),
                    command if command.starts_with("cavs login") => words.push("--password-stdin"),
                    _ => {}
                }
                let output = self.run(&words);
                match words[..3] {
                    ["cavs", "devices", "add"] => {
                        let found = self.json(&["cavs", "devices", "show", "room-b12"]);
                        device = found["id"].as_str().unwrap().to_owned();
                    }
                    ["cavs", "certs", "device"] => self.carry_to_the_room(),
                    ["cavs", "sightings", "list"] => {
                        assert!(output.contains("Grace Hopper"), "{output}");
                        let found = self.json(&["cavs", "sightings", "list"]);
                        sighting = found["sightings"][0]["id"].as_str().unwrap().to_owned();
                    }
                    _ => {}
                }
            }
        }
        assert!(done > 14, "only {done} commands were found in the README");
        assert!(files.next().is_none(), "the README has no agent.toml");
        assert_eq!(running.map(Process::terminate), Some(Some(0)));
    }
}

/// Makes a folder and all that is in it a user's.
fn give(path: &Path, user: &User) {
    // The programs may be links to what was built.
    if path.file_name().is_some_and(|name| name == "bin") {
        return;
    }
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path(), user));
    }
}

fn other_user() -> User {
    assert!(Uid::effective().is_root(), "only root can be another user and make networks");
    User::from_name(OTHER_USER).unwrap().unwrap()
}

/// A detector of YuNet's form that has learned nothing.
fn detector() -> Vec<u8> {
    let mut w = Writer::new([3, 0, 0]);
    let (mut x, mut channels) = ("input".to_owned(), 3);
    for (level, stride) in [8, 16, 32].into_iter().enumerate() {
        let step = if level == 0 { 8 } else { 2 };
        x = w.conv(&x, channels, 8, 3, step, 1, 1, true);
        channels = 8;
        for (kind, width) in [("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10)] {
            let y = w.conv(&x, channels, width, 1, 1, 0, 1, true);
            w.output_as(&format!("{kind}_{stride}"), &y);
        }
    }
    w.finish()
}

/// An embedder of MobileFaceNet's form that has learned nothing.
fn embedder() -> Vec<u8> {
    let mut w = Writer::new([3, 112, 112]);
    let mut x = w.conv("input", 3, 8, 3, 8, 1, 1, true);
    x = w.node("Flatten", &[&x], &[("axis", vec![1])]);
    x = w.gemm(&x, 8 * 14 * 14, 128);
    w.output(&x);
    w.finish()
}

#[test]
fn a_site_by_hand_works_as_the_readme_says() {
    Reader::new(None, AgentMachine::Local).follow();
}

#[test]
#[ignore = "only root can be another user: scripts/test runs it"]
fn a_site_by_hand_works_for_another_user() {
    Reader::new(Some(other_user()), AgentMachine::Local).follow();
}

#[test]
#[ignore = "only root can make networks: scripts/test runs it"]
fn a_site_by_hand_works_with_the_agent_on_a_machine_of_its_own() {
    Reader::new(None, AgentMachine::Remote(Network::create())).follow();
}

#[test]
#[ignore = "only root can be another user and make networks: scripts/test runs it"]
fn a_site_by_hand_works_for_another_user_with_the_agent_on_a_machine_of_its_own() {
    Reader::new(Some(other_user()), AgentMachine::Remote(Network::create())).follow();
}
