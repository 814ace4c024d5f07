//! Children that end with their parent, however that ends. The one `unsafe` of this crate.
#![allow(unsafe_code)]

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command},
    sync::{
        LazyLock,
        mpsc::{self, Sender},
    },
    thread,
};

use nix::sys::{prctl, signal::Signal};

type SpawnRequest = (Command, Sender<io::Result<Child>>);

/// The thread that starts children: the kernel ends them with the *thread* that forked, so it must
/// be one that stays as long as the process.
static SPAWNER: LazyLock<io::Result<Sender<SpawnRequest>>> = LazyLock::new(|| {
    let (requests, inbox) = mpsc::channel::<SpawnRequest>();
    thread::Builder::new().name("spawner".into()).spawn(move || {
        while let Ok((mut command, answer)) = inbox.recv() {
            // Fails only where nobody waits for the child any more.
            let _ = answer.send(command.spawn());
        }
    })?;
    Ok(requests)
});

/// Starts a child that the kernel kills when this process ends, `kill -9` included.
///
/// # Errors
/// It can't be started.
pub fn spawn(mut command: Command) -> io::Result<Child> {
    signal_child(&mut command, Signal::SIGKILL);
    let (answer, child) = mpsc::channel();
    let requests = SPAWNER.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))?;
    requests.send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}

/// Has the kernel send `signal` to the child when the thread that spawns it ends, however it ends.
pub(crate) fn signal_child(command: &mut Command, signal: Signal) {
    // SAFETY: the closure runs in the forked child before `exec` and makes one system call, which
    // is async-signal-safe; it neither allocates nor locks. std applies uid and gid before it,
    // which would otherwise clear the setting.
    unsafe {
        command.pre_exec(move || prctl::set_pdeathsig(signal).map_err(io::Error::from));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        env, fs,
        io::{BufRead, BufReader},
        process::Stdio,
        time::{Duration, Instant},
    };

    use super::*;

    const CHILD: &str = "CAVS_TEST_PARENT";

    #[test]
    fn a_child_ends_with_a_parent_that_is_killed() {
        if env::var_os(CHILD).is_some() {
            let mut command = Command::new("sleep");
            command.arg("600");
            // From a thread that ends at once, which is no reason to kill the child.
            let mut child = thread::spawn(|| spawn(command).unwrap()).join().unwrap();
            println!("child {}", child.id());
            child.wait().unwrap();
        }
        let mut command = Command::new(env::current_exe().unwrap());
        let test = "parent_death::tests::a_child_ends_with_a_parent_that_is_killed";
        command.args(["--exact", "--nocapture", test]).env(CHILD, "1").stdout(Stdio::piped());
        let mut parent = spawn(command).unwrap();
        let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
        let child =
            lines.map_while(Result::ok).find_map(|line| line.split_once("child ")?.1.parse::<u32>().ok());
        let alive = || fs::exists(format!("/proc/{}/fd", child.unwrap())).unwrap_or(false);
        thread::sleep(Duration::from_millis(200));
        assert!(alive());
        parent.kill().unwrap();
        parent.wait().unwrap();
        let begun = Instant::now();
        while alive() {
            assert!(begun.elapsed() < Duration::from_secs(10), "the child lives on");
            thread::sleep(Duration::from_millis(10));
        }
    }
}
