use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::Command,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tracing::warn;

use crate::{ClusterError, parent_death};

/// A thread that owns the child process for as long as it lives.
///
/// The kernel sends the parent-death signal when the *thread* that forked ends, so the child must
/// be forked by a thread that stays, not by one of a runtime's pool.
#[derive(Debug)]
pub(crate) struct PostgresProcess {
    pid: Pid,
    thread: thread::JoinHandle<()>,
}

impl PostgresProcess {
    pub(crate) fn spawn(mut command: Command, program: &Path) -> Result<Self, ClusterError> {
        let failed = |cause| ClusterError::Spawn { program: program.to_owned(), cause };
        parent_death::signal_child(&mut command, Signal::SIGINT);
        // A terminal's Ctrl-C goes to the whole group: the server ends its calls first, then the cluster.
        command.process_group(0);
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("postgres-waiter".into())
            .spawn(move || match command.spawn() {
                Ok(mut child) => {
                    let _ = sender.send(Ok(child.id()));
                    if let Err(error) = child.wait() {
                        warn!(%error, "can't wait for PostgreSQL");
                    }
                }
                Err(error) => {
                    let _ = sender.send(Err(error));
                }
            })
            .map_err(failed)?;
        let id = receiver.recv().map_err(std::io::Error::other).flatten().map_err(failed)?;
        Ok(Self { pid: Pid::from_raw(id.cast_signed()), thread })
    }

    pub(crate) fn has_exited(&self) -> bool {
        self.thread.is_finished()
    }

    /// Asks for a fast shutdown, then for an immediate one, and waits for the end.
    pub(crate) fn stop(self, limit: Duration) {
        for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL] {
            if self.has_exited() {
                break;
            }
            let _ = kill(self.pid, signal);
            let begun = Instant::now();
            while !self.has_exited() && begun.elapsed() < limit {
                thread::sleep(Duration::from_millis(10));
            }
        }
        let _ = self.thread.join();
    }
}
