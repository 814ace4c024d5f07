//! A line that says how far a long render is.

use std::io::{IsTerminal, Write};

/// Counts on standard error when somebody is watching.
pub(super) struct Counter {
    what: &'static str,
    watched: bool,
}

impl Counter {
    pub(super) fn new(what: &'static str) -> Counter {
        Counter { what, watched: std::io::stderr().is_terminal() }
    }

    pub(super) fn update(&mut self, done: usize, total: usize) {
        if self.watched {
            let end = if done == total { "\n" } else { "" };
            // Nobody is helped by an error about progress that could not be shown.
            let _ = write!(std::io::stderr(), "\r{} {done}/{total}{end}", self.what);
        }
    }
}

/// Tells the user what was made.
pub(super) fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}
