//! What a process that holds keys and faces asks of the system.

use nix::sys::prctl::set_dumpable;

/// A variable for who has to look into a process with a debugger: `1` lets it be dumped.
const VARIABLE: &str = "CAVS_ALLOW_CORE_DUMPS";

/// Neither a core dump nor another process of the same user reads this one's memory: it holds keys
/// and faces in the clear. The first thing that a `main` does.
pub fn forbid_core_dumps() {
    if std::env::var_os(VARIABLE).is_some_and(|value| value == "1") {
        return;
    }
    // Fails for another argument than 0 and 1 only.
    let _ = set_dumpable(false);
}
