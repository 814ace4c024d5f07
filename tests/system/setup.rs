//! From the programs to the first recognised face: `cavs setup`, and four commands more.

use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use cavs_tests::{Process, binary, lay_out, people};
use serde_json::Value;

use crate::documents::free_port;

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs `cavs` in somebody's home: its exit code, what it printed, and its remarks.
fn cavs(home: &Path, arguments: &[&str], input: &str) -> (i32, Value, String) {
    let mut child = Command::new(binary("cavs"))
        .args(arguments)
        .args(["-o", "json"])
        .env("HOME", home)
        .env_remove("XDG_CONFIG_HOME")
        .current_dir(home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Whoever fails early does not read it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let printed = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), printed, String::from_utf8(output.stderr).unwrap())
}

/// Asks until there is an answer.
fn wait_for<T>(process: &mut Process, mut ask: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(process.exit_code().is_none_or(|code| code == Some(0)), "it ended:\n{}", process.output());
        assert!(begun.elapsed() < PATIENCE, "no answer:\n{}", process.output());
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn five_commands_lead_to_the_first_recognised_face() {
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path();
    // The server's database runs as another user when this is root, and must be able to pass.
    fs::set_permissions(home, PermissionsExt::from_mode(0o755)).unwrap();
    let person = people(1).remove(0);
    let pictures = || (1..).map(|number| format!("{number}.jpg")).zip(&person.portraits);
    lay_out(&home.join("photos").join(&person.number), pictures());
    lay_out(&home.join("frames"), pictures().take(1));
    fs::write(home.join("students.csv"), format!("number,name\n{},Ada Lovelace\n", person.number)).unwrap();
    let [api, devices] = [free_port(), free_port()];
    let answers = format!(
        "name = \"north\"\nadmin = \"ada\"\nserver_names = [\"cavs.example\"]\nroom = \"B12\"\ncamera = \"frames\"\n\
         api_listen = \"127.0.0.1:{api}\"\ndevices_listen = \"127.0.0.1:{devices}\"\n"
    );
    fs::write(home.join("setup.toml"), answers).unwrap();
    let setup = ["setup", "--dir", "site", "--file", "setup.toml", "--no-input", "--password-stdin"];

    for folder in ["a site", "100%", "it's"] {
        let setup = ["setup", "--dir", folder, "--file", "setup.toml", "--no-input", "--password-stdin"];
        let (code, _, error) = cavs(home, &setup, "correct horse battery\n");
        assert!(code == 2 && error.contains("without blanks"), "{error}");
    }

    // What fails on the way leaves nothing.
    let (code, _, error) = cavs(home, &setup, "x\n");
    assert!(code == 1 && error.contains("assword"), "{error}");
    assert!(!home.join("site").exists() && !home.join(".config").exists());

    let (code, done, error) = cavs(home, &setup, "correct horse battery\n");
    assert_eq!(code, 0, "{error}");
    assert_eq!((&done["context"], &done["admin"]), (&"north".into(), &"ada".into()), "{done:#}");
    let begin = format!("sudo install -m 644 -o root -g root {}/site/cavs-server.service /", home.display());
    assert!(done["next"][0].as_str().unwrap().starts_with(&begin), "{done:#}");
    for secret in
        ["site/vault.key", "site/ca/ca.key", "site/server/server.key", ".config/cavs/sessions/north.json"]
    {
        let mode = fs::metadata(home.join(secret)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let unit = fs::read_to_string(home.join("site/cavs-server.service")).unwrap();
    let begin = format!("ExecStart={} serve --config {}", binary("cavs-server").display(), home.display());
    assert!(unit.contains(&begin), "{unit}");
    let (code, _, error) = cavs(home, &setup, "correct horse battery\n");
    assert!(code == 1 && error.contains("is not empty"), "{error}");

    let (config, ready) = (home.join("site/server.toml"), home.join("ready"));
    let serve = ["serve", "--config", config.to_str().unwrap(), "--ready-file", ready.to_str().unwrap()];
    let mut server = Process::start("cavs-server", &serve, &home.join("server.log"));
    wait_for(&mut server, || ready.exists().then_some(()));
    let (code, enrolled, error) =
        cavs(home, &["enroll", "--photos", "photos", "--roster", "students.csv"], "");
    assert_eq!((code, &enrolled["students_enrolled"]), (0, &1.into()), "{error}{enrolled:#}");
    let agent = home.join("site/device/agent.toml");
    let agent = ["run", "--config", agent.to_str().unwrap()];
    let mut agent = Process::start("cavs-edge-agent", &agent, &home.join("agent.log"));
    let seen = wait_for(&mut agent, || {
        let (code, listed, error) = cavs(home, &["sightings", "list"], "");
        assert_eq!(code, 0, "{error}");
        listed["sightings"].as_array().unwrap().first().cloned()
    });
    assert_eq!(seen["student"]["number"], person.number, "{seen:#}");
    assert_eq!((&seen["prediction"]["decision"], &seen["classroom"]), (&"accepted".into(), &"B12".into()));
    let _ = agent.terminate();
    assert_eq!(server.terminate(), Some(0));
}
