//! How the agent and its machine are: counters that every stage adds to, and what the kernel says.

mod reporter;
mod system;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

pub use reporter::HealthReporter;
pub(crate) use system::disk_free;

/// What went through the agent since its start. Stages add to it, heartbeats and the watchdog read it.
#[derive(Debug, Default)]
pub struct HealthCounters {
    /// Frames that a source handed over.
    pub taken: Counter,
    /// Frames that are taken care of: what they showed is in the spool.
    pub done: Counter,
    /// Those of `done` that could not be analysed.
    pub bad: Counter,
    /// Frames of a camera that came while the agent was busy.
    pub dropped: Counter,
    /// Faces that the detector found in them.
    pub faces: Counter,
    /// Failures of a camera, each followed by another opening.
    pub source_failures: Counter,
    /// What the uplink has got done: attempts to connect, heartbeats, acknowledgements settled.
    pub uplink_steps: Counter,
    /// Messages of the server that this agent does not know.
    pub unknown_messages: Counter,
    /// The disk is full, so that nothing can be stored.
    pub storing_fails: AtomicBool,
    /// The disk is full, so that nothing can be taken out of the spool.
    pub settling_fails: AtomicBool,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Counts `more` of what is counted.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// The number since the agent's start.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
