//! How the agent and its machine are: counters that every room adds to, and what the kernel says.

mod machine;
mod reporter;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

pub(crate) use machine::disk_free;
pub use reporter::Reporter;

/// What went through the agent since its start. Rooms add to it, heartbeats and the watchdog read it.
#[derive(Debug, Default)]
pub struct Vitals {
    /// Frames that a source handed over.
    pub taken: Count,
    /// Frames that are taken care of: what they showed is in the spool.
    pub done: Count,
    /// Those of `done` that could not be analysed.
    pub bad: Count,
    /// Frames of a camera that came while the agent was busy.
    pub dropped: Count,
    /// Faces found.
    pub faces: Count,
    /// Failures of a camera, each followed by another opening.
    pub source_failures: Count,
    /// What the uplink has got done: attempts to connect, heartbeats, acknowledgements settled.
    pub uplink_steps: Count,
    /// Messages of the server that this agent does not know.
    pub unknown_messages: Count,
    /// The disk is full, so that nothing can be stored.
    pub storing_fails: AtomicBool,
    /// The disk is full, so that nothing can be taken out of the spool.
    pub settling_fails: AtomicBool,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds to it.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// What it is now.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
