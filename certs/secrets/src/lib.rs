//! Files that only their owner reads, memory that is neither dumped nor swapped.

mod file;
mod memory;

pub use file::{FileError, Problem, read_own_secret, read_public, read_secret};
pub use memory::{Locked, forbid_core_dumps};
