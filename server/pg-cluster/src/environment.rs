//! What the cluster's programs see of this process's environment.

use std::{env, process::Command};

/// Variables that they may need. All others stay here: they may hold keys and passwords, and those that
/// begin with `PG` would change what the programs do.
const KEPT: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "TZDIR", "TMPDIR"];

/// Leaves a command nothing but what is on the list.
pub(crate) fn reduce(command: &mut Command) {
    command.env_clear().env("LC_ALL", "C");
    for name in KEPT {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
}
