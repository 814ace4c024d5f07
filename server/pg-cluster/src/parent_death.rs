//! The one `unsafe` of this crate: asking the kernel to end a child together with its parent.
#![allow(unsafe_code)]

use std::{io, os::unix::process::CommandExt, process::Command};

use nix::sys::{prctl, signal::Signal};

/// Has the kernel send `signal` to the child when the thread that spawns it ends, however it ends.
pub(crate) fn signal_child(command: &mut Command, signal: Signal) {
    // SAFETY: the closure runs in the forked child before `exec` and makes one system call, which
    // is async-signal-safe; it neither allocates nor locks. std applies uid and gid before it,
    // which would otherwise clear the setting.
    unsafe {
        command.pre_exec(move || prctl::set_pdeathsig(signal).map_err(io::Error::from));
    }
}
