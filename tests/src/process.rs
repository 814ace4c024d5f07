use std::{
    env,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use cavs_pg_cluster::parent_death;
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// A binary of the workspace, built beside this test.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    // A binary lies in the profile's folder, a test in `deps` below it.
    let program = env::current_exe().unwrap();
    let found =
        program.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: run cargo build --workspace --bins"))
}

/// A process that is killed when dropped, and with this one; its output goes to a file.
pub struct Process {
    child: Child,
    /// Where standard output and error go.
    pub log: PathBuf,
    /// How much others had written there.
    before: usize,
}

impl Process {
    /// Starts a binary of the workspace.
    pub fn start(name: &str, arguments: &[&str], log: &Path) -> Self {
        Self::start_with(name, arguments, log, &[])
    }

    /// As [`Self::start`], with some variables of its environment.
    pub fn start_with(name: &str, arguments: &[&str], log: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary(name));
        command.args(arguments).envs(environment.iter().copied());
        Self::start_command(command, log)
    }

    /// Starts any program.
    pub fn start_command(mut command: Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log).unwrap();
        command.env_remove("RUST_LOG").stdin(Stdio::null());
        let before = output.metadata().unwrap().len().try_into().unwrap();
        command.stdout(output.try_clone().unwrap()).stderr(output);
        Self { child: parent_death::spawn(command).unwrap(), log: log.to_owned(), before }
    }

    /// Number of the process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What is in its log, of those before it, too.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it has printed itself.
    #[must_use]
    pub fn own_output(&self) -> String {
        let output = self.output();
        output.get(self.before..).unwrap_or_default().to_owned()
    }

    /// Its resident memory and the most it has been since [`Self::forget_peak`], in bytes.
    #[must_use]
    pub fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse().unwrap()
        };
        (kib("VmRSS:") * 1024, kib("VmHWM:") * 1024)
    }

    /// Lets the peak of [`Self::memory`] begin anew.
    pub fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
    }

    /// Its exit code, if it has ended.
    pub fn exit_code(&mut self) -> Option<Option<i32>> {
        self.child.try_wait().unwrap().map(|status| status.code())
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> Option<i32> {
        let begun = Instant::now();
        loop {
            if let Some(code) = self.exit_code() {
                return code;
            }
            assert!(begun.elapsed() < limit, "still running after {limit:?}:\n{}", self.output());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// `kill -9`, as a power cut does it.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// SIGTERM, as systemd does it; its exit code.
    pub fn terminate(mut self) -> Option<i32> {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        self.wait(Duration::from_secs(30))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The `cavs` command line as a user has it: logged in, with a configuration of its own.
#[derive(Clone)]
pub struct Cli {
    pub(crate) config: PathBuf,
    pub(crate) server: String,
    pub(crate) authority: PathBuf,
}

impl Cli {
    /// Runs a command.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with_input(arguments, "")
    }

    /// Starts a command that goes on for a while; what it says goes into a file.
    pub fn start(&self, arguments: &[&str], log: &Path) -> Process {
        Process::start_command(self.command(arguments), log)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary("cavs"));
        command
            .args(arguments)
            .env("CAVS_CONFIG", &self.config)
            .env("CAVS_SERVER", &self.server)
            .env("CAVS_CA", &self.authority)
            .env_remove("CAVS_TOKEN");
        command
    }

    /// Runs a command with something on standard input.
    pub fn run_with_input(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = parent_death::spawn(command).unwrap();
        // A command that reads nothing may have ended by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Runs a command that must succeed, for its JSON.
    ///
    /// # Panics
    /// It fails, or prints no JSON.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let mut all = arguments.to_vec();
        all.extend(["-o", "json"]);
        let output = self.run(&all);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cavs {}: {error}", arguments.join(" "));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
            panic!("cavs {}: {e}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stdout))
        })
    }

    /// Runs a command that must fail with a code, for its standard error.
    pub fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "cavs {}: {error}", arguments.join(" "));
        error
    }
}
