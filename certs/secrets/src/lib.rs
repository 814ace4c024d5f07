//! Files that only their owner reads, memory that is neither dumped nor swapped.

mod file;
mod locked;
mod process;

pub use file::{FileError, Problem, read_own_secret, read_public, read_secret};
pub use locked::Locked;
pub use process::forbid_core_dumps;
