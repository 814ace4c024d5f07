//! Settings that the server pushes: tried, kept where the agent goes on working, given up where not.
//!
//! [`Ledger`] is the state machine, [`LedgerFile`] keeps it beside the spool, so that a trial that
//! ends the process is known of at the next start.

mod file;
mod ledger;

pub use file::LedgerFile;
pub use ledger::{Ledger, Pushed};
