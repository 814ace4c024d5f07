//! What whoever runs the server sees: its start and its end, what it says of certificates and databases.

mod certificates;
mod database;
mod start;

use std::{
    fs,
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use cavs_tests::{Process, Site, binary};

/// Writes a configuration that differs from the site's in its database, and gives its path.
fn configure(site: &Site, name: &str, database: &str) -> String {
    let text = fs::read_to_string(site.path("server.toml")).unwrap();
    let is_other = |line: &&str| !line.starts_with("database");
    let kept: Vec<&str> = text.lines().filter(is_other).collect();
    let path = site.path(&format!("{name}.toml"));
    fs::write(&path, format!("{}\n{database}\n", kept.join("\n"))).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Starts a server that may not come up.
fn serve(config: &str) -> Process {
    Process::start("cavs-server", &["serve", "--config", config], &Path::new(config).with_extension("log"))
}

/// Waits until a process has said something.
fn hears(process: &Process, word: &str) {
    let begun = Instant::now();
    while !process.output().contains(word) {
        assert!(begun.elapsed() < Duration::from_secs(30), "no {word}:\n{}", process.output());
        thread::sleep(Duration::from_millis(20));
    }
}

/// Starts a server that has to fail within some seconds; what it said.
fn fails(site: &Site, name: &str, database: &str) -> String {
    let config = configure(site, name, database);
    let mut server = serve(&config);
    assert_eq!(server.wait(Duration::from_secs(15)), Some(1), "{}", server.output());
    server.output()
}

/// Runs `--check-config` of a program; whether it found everything in order, and what it said.
fn check_config(program: &str, command: &str, config: &Path) -> (bool, String) {
    let arguments = [command, "--config", config.to_str().unwrap(), "--check-config"];
    let output = Command::new(binary(program)).args(arguments).env_remove("RUST_LOG").output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}
