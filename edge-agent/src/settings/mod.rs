//! Settings that the server pushes: tried, kept where the agent goes on working, given up where not.
//!
//! [`SettingsState`] is the state machine, [`SettingsFile`] keeps it beside the spool, so that a trial that
//! ends the process is known of at the next start.

mod file;
mod state;

pub use file::SettingsFile;
pub use state::{PushedSettings, SettingsState};
