//! Keys stay with their owner: on disk, in memory, and on the screen.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cavs_certs::write_dev_set;
use cavs_tests::binary;
use nix::{
    sys::stat::Mode,
    unistd::{geteuid, mkfifo},
};
use uuid::Uuid;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What a program says that does not start.
fn refusal(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(binary(program)).args(arguments).env_remove("CAVS_VAULT_KEY").output().unwrap();
    assert!(!output.status.success(), "{program} {arguments:?}");
    [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat()
}

#[test]
fn keys_that_others_can_read_are_refused_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let certificates = directory.path().join("certs");
    let set = write_dev_set(&certificates, &["localhost".to_owned()], &[Uuid::now_v7()]).unwrap();
    let device = &set.devices[0];
    let server = directory.path().join("server.toml");
    let text = "api.listen = \"127.0.0.1:0\"\ndevices.listen = \"127.0.0.1:0\"\nvault.key_file = \"vault.key\"\n\
                database.url = \"postgres://cavs@127.0.0.1:1/cavs\"\n[tls]\ncertificate = \"certs/server.pem\"\n\
                key = \"certs/server.key\"\ndevice_authority = \"certs/ca.pem\"\n";
    fs::write(&server, text).unwrap();
    let vault = directory.path().join("vault.key");
    let made = Command::new(binary("cavs-server")).args(["key", "generate"]).arg(&vault).status();
    assert!(made.unwrap().success());
    let agent = directory.path().join("agent.toml");
    let text = format!(
        "[server]\naddress = \"https://localhost:1\"\nca = {:?}\ncertificate = {:?}\nkey = {:?}\n\
         [spool]\npath = \"spool.db\"\n",
        set.ca.certificate, device.certificate, device.key
    );
    let source = format!("{text}[source]\nkind = \"directory\"\npath = {:?}\n", directory.path());
    fs::write(&agent, source).unwrap();
    let proxy = directory.path().join("proxy.toml");
    let listener = format!(
        "{text}[proxy]\nlisten = \"127.0.0.1:0\"\ncertificate = {:?}\nkey = {:?}\n",
        set.server.certificate, set.server.key
    );
    fs::write(&proxy, listener).unwrap();

    let [server, agent, proxy] = [&server, &agent, &proxy].map(|path| path.to_str().unwrap());
    let serve = ["serve", "--config", server];
    let run = ["run", "--config", agent, "--check-config"];
    let speak_for = ["proxy", "--config", proxy, "--check-config"];
    let cases: [(&str, &[&str], &Path, u32); 6] = [
        ("cavs-server", &serve, &set.server.key, 0o644),
        ("cavs-server", &serve, &vault, 0o604),
        ("cavs-server", &serve, &set.ca.certificate, 0o666),
        ("cavs-edge-agent", &run, &device.key, 0o644),
        ("cavs-edge-agent", &speak_for, &set.server.key, 0o604),
        ("cavs-edge-agent", &speak_for, &set.ca.certificate, 0o646),
    ];
    for (program, arguments, path, mode) in cases {
        let before = fs::metadata(path).unwrap().permissions().mode();
        set_mode(path, mode);
        let error = refusal(program, arguments);
        assert!(error.contains(path.to_str().unwrap()) && error.contains("chmod"), "{path:?}: {error}");
        set_mode(path, before);
    }
    // What the project itself makes is good enough.
    let fine = Command::new(binary("cavs-edge-agent")).args(speak_for).status();
    assert!(fine.unwrap().success());
}

/// Whether the kernel lets nobody look into a process: what it has in `/proc` is root's then.
fn is_closed(child: &Child) -> bool {
    fs::metadata(format!("/proc/{}/environ", child.id())).unwrap().uid() == 0
}

#[test]
fn nobody_looks_into_a_process_that_holds_keys() {
    let directory = tempfile::tempdir().unwrap();
    set_mode(directory.path(), 0o755);
    // A configuration that never comes: the process is there, and waits.
    let config = directory.path().join("config.toml");
    mkfifo(&config, Mode::from_bits_truncate(0o666)).unwrap();
    set_mode(&config, 0o666);
    let start = |program: &str, command: &str, open: &str| {
        let mut process = Command::new(binary(program));
        process.args([command, "--config"]).arg(&config).env("CAVS_ALLOW_CORE_DUMPS", open);
        if geteuid().is_root() {
            process.uid(61_234).gid(61_234);
        }
        process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    for (program, command) in
        [("cavs-server", "serve"), ("cavs-edge-agent", "run"), ("cavs-edge-agent", "proxy")]
    {
        let (mut closed, mut open) = (start(program, command, "0"), start(program, command, "1"));
        let begun = Instant::now();
        while !is_closed(&closed) && begun.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(10));
        }
        let seen = (is_closed(&closed), is_closed(&open));
        for child in [&mut closed, &mut open] {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        assert_eq!(seen, (true, false), "{program} {command}");
    }
}

/// Reads until a text has come.
fn read_until(output: &mut impl Read, text: &str, read: &mut String) {
    let mut byte = [0];
    while !read.ends_with(text) && output.read(&mut byte).unwrap() == 1 {
        read.push(char::from(byte[0]));
    }
    assert!(read.ends_with(text), "no {text:?}: {read:?}");
}

/// Adds a user on a terminal, typing two passwords; what the terminal showed, and whether it worked.
pub(crate) fn add_user_on_a_terminal(config: &Path, typed: [&str; 2]) -> (String, bool) {
    let command = format!("{:?} user add --config {config:?} --role viewer eve", binary("cavs-server"));
    // bsdutils: a command on a terminal of its own.
    let mut script = Command::new("script")
        .args(["-q", "-e", "-c", &command, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut input, mut output) = (script.stdin.take().unwrap(), script.stdout.take().unwrap());
    let mut shown = String::new();
    for (prompt, password) in ["Password of eve: ", "The same again: "].into_iter().zip(typed) {
        read_until(&mut output, prompt, &mut shown);
        // The prompt is there a moment before the echo is off.
        thread::sleep(Duration::from_millis(300));
        writeln!(input, "{password}").unwrap();
    }
    output.read_to_string(&mut shown).unwrap();
    (shown, script.wait().unwrap().success())
}
