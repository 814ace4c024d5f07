//! Drops frames in which nothing moves, so that an empty room costs almost nothing.

mod bits;
mod cover;
mod freeze;
mod luma;
mod motion;

use std::time::Duration;

pub use cover::CoverDetector;
pub use freeze::{FreezeDetector, Repetition};
pub use luma::Luma;
pub use motion::{MotionGate, MotionResult};

/// When a frame is worth analysing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MotionOptions {
    /// Share of the picture that has to change, 0 to 1; with 0 every frame passes.
    pub threshold: f32,
    /// A frame passes at least this often, whatever it shows.
    pub heartbeat: Duration,
    /// How long frames pass after the last motion.
    pub hold: Duration,
}

impl Default for MotionOptions {
    fn default() -> Self {
        // 0.5 % of a picture of 1640x1232 is a square of 100 pixels: a head, not a fly.
        Self { threshold: 0.005, heartbeat: Duration::from_secs(30), hold: Duration::from_secs(3) }
    }
}
