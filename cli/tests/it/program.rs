//! Running the program.

use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

/// What a run of the program left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    /// The result as programs read it.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The error as programs read it.
    pub(crate) fn error(&self) -> serde_json::Value {
        serde_json::from_str(&self.stderr).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// Runs `cavs` with nothing of the environment but a home.
pub(crate) fn cavs(home: &Path, arguments: &[&str]) -> Ran {
    run(home, arguments, &[], "")
}

/// Runs `cavs` for a reader who is gone before anything is written.
pub(crate) fn unread(home: &Path, arguments: &[&str]) -> Ran {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = program(home, arguments);
    let output = command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    Ran { code: output.status.code().unwrap(), stdout: String::new(), stderr }
}

fn program(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cavs"));
    command.args(arguments).env_clear().env("HOME", home).env("TZ", "UTC").current_dir(home);
    command
}

/// Runs `cavs` with environment variables and standard input.
pub(crate) fn run(home: &Path, arguments: &[&str], env: &[(&str, &str)], stdin: &str) -> Ran {
    let mut child = program(home, arguments)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that fails early does not read it.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
