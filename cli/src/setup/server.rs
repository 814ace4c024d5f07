//! Running the server's program.

use std::{
    env,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::error::CliError;

/// How long a server may take until it serves: a cluster is made before.
const START: Duration = Duration::from_secs(120);
/// How long it may take to stop.
const STOP: Duration = Duration::from_secs(60);
/// How often is looked.
const PAUSE: Duration = Duration::from_millis(50);

/// The program `cavs-server`.
pub(crate) struct ServerProgram(PathBuf);

/// A server that serves until this is dropped.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
    addresses: Addresses,
}

#[derive(Debug, Deserialize)]
struct Addresses {
    api: std::net::SocketAddr,
    devices: std::net::SocketAddr,
}

impl ServerProgram {
    /// The one beside this program, or else the one in PATH.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn find() -> Result<Self, CliError> {
        let beside = env::current_exe().ok().map(|path| path.with_file_name("cavs-server"));
        let folders = env::var_os("PATH").unwrap_or_default();
        let in_path = env::split_paths(&folders).map(|folder| folder.join("cavs-server"));
        let found = beside.into_iter().chain(in_path).find(|path| path.is_file());
        found.map(Self).ok_or_else(|| CliError::NotFound {
            reason: "SERVER_PROGRAM_NOT_FOUND",
            message: "cavs-server is neither beside this program nor in PATH: install it first".to_owned(),
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Runs one of its commands to the end.
    ///
    /// # Errors
    /// What it said.
    pub(crate) fn run(&self, arguments: &[&str], input: Option<&SecretString>) -> Result<(), CliError> {
        let failed = |error| CliError::file(&self.0, error);
        let mut child = Command::new(&self.0)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            // Should it have ended already, its exit says why.
            let _ = writeln!(stdin, "{}", text.expose_secret());
        }
        let Output { status, stdout, stderr } = child.wait_with_output().map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).trim().to_owned());
        let said = said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
        Err(CliError::failure("SERVER_PROGRAM", format!("cavs-server {}: {said}", arguments.join(" "))))
    }

    /// Serves a site until what it gives is dropped; waits until it does.
    ///
    /// # Errors
    /// It ended, or took too long; names its log.
    pub(crate) async fn serve(&self, dir: &Path) -> Result<Running, CliError> {
        let (ready, log) = (dir.join("ready.json"), dir.join("setup.log"));
        let file = File::create(&log).map_err(|error| CliError::file(&log, error))?;
        let child = Command::new(&self.0)
            .arg("serve")
            .arg("--config")
            .arg(dir.join("server.toml"))
            .arg("--ready-file")
            .arg(&ready)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| CliError::file(&self.0, error))?;
        let addresses = Addresses {
            api: std::net::SocketAddr::from(([0, 0, 0, 0], 0)),
            devices: std::net::SocketAddr::from(([0, 0, 0, 0], 0)),
        };
        let mut running = Running { child, log, addresses };
        let begun = Instant::now();
        loop {
            if let Ok(text) = fs::read(&ready)
                && let Ok(addresses) = serde_json::from_slice(&text)
            {
                running.addresses = addresses;
                // It says where a server is that ends soon.
                fs::remove_file(&ready).map_err(|error| CliError::file(&ready, error))?;
                return Ok(running);
            }
            if running.has_ended() || begun.elapsed() > START {
                let log = fs::read_to_string(&running.log).unwrap_or_default();
                let last: Vec<_> = log.lines().rev().take(5).collect();
                let last = last.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(CliError::failure(
                    "SERVER_PROGRAM",
                    format!("the server did not start:\n{last}"),
                ));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

impl Running {
    /// The port on which people are served.
    pub(crate) fn api_port(&self) -> u16 {
        self.addresses.api.port()
    }

    /// The port on which devices are served.
    pub(crate) fn devices_port(&self) -> u16 {
        self.addresses.devices.port()
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.terminate();
        let begun = Instant::now();
        while !self.has_ended() && begun.elapsed() < STOP {
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn terminate(&self) {
        if let Ok(id) = i32::try_from(self.child.id()) {
            // Where it has ended already there is nobody to ask.
            let _ = kill(Pid::from_raw(id), Signal::SIGTERM);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        self.terminate();
        let begun = Instant::now();
        while !self.has_ended() {
            if begun.elapsed() > STOP {
                let _ = self.child.kill();
            }
            std::thread::sleep(PAUSE);
        }
    }
}
