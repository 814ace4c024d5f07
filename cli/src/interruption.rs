//! What ends the program from outside, for commands that have something to clean up.

use std::{fs, future::pending};

use tokio::signal::unix::{SignalKind, signal};

use crate::error::CliError;

/// Comes when the program is asked to end. `what_stays` tells what is there of what was done.
pub(crate) async fn interruption(what_stays: &str) -> CliError {
    tokio::select! {
        () = received(SignalKind::interrupt()) => {}
        () = received(SignalKind::terminate()) => {}
        () = hung_up() => {}
    }
    CliError::failure("INTERRUPTED", format!("interrupted; {what_stays}"))
}

async fn received(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        // No signal can be waited for: then none ends it here.
        Err(_) => pending::<()>().await,
    }
}

/// Whoever starts the program with `nohup` wants it to go on.
async fn hung_up() {
    if is_hangup_ignored() {
        pending::<()>().await;
    }
    received(SignalKind::hangup()).await;
}

fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // The lowest bit is that of signal 1 (proc_pid_status(5)).
    ignored.and_then(|set| u64::from_str_radix(set.trim(), 16).ok()).is_some_and(|set| set & 1 == 1)
}
