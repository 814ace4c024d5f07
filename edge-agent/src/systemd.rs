//! What systemd is told: when the agent works, and that it still does.
//!
//! The watchdog is fed by what was got done, not by a clock: frames that reached the spool, and
//! acknowledgements, heartbeats or attempts of the uplink. Whichever of the two hangs has the agent
//! restarted.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::sleep;

use crate::{
    agent::AgentRuntime,
    config::{Config, SourceConfig, SourceKind},
    health::HealthCounters,
};

/// Tells systemd that the agent is at work.
pub(crate) fn ready() {
    notify(NotifyState::Ready);
}

/// The start takes longer, for this reason, by more than `longer`.
pub(crate) fn extend_start(why: &str, longer: Duration) {
    notify(NotifyState::Status(why));
    let micros = u32::try_from(3 * longer.as_micros()).unwrap_or(u32::MAX);
    notify(NotifyState::ExtendTimeoutUsec(micros));
}

/// Tells systemd that the agent is being stopped.
pub(crate) fn stopping() {
    notify(NotifyState::Stopping);
}

/// Does nothing where no systemd asked to be told.
fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd can't be told");
    }
}

/// Feeds the watchdog for as long as the agent runs, where systemd has one for it.
pub(crate) fn start_watchdog(config: &Config, runtime: &AgentRuntime) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let (counters, abort) = (runtime.counters.clone(), runtime.abort.clone());
    let steady = is_steady(&config.source, limit);
    let watch = async move {
        let mut fed = Progress::of(&counters);
        loop {
            sleep(limit / 4).await;
            let now = Progress::of(&counters);
            if now.has_advanced_since(&fed, steady) {
                notify(NotifyState::Watchdog);
                fed = now;
            }
        }
    };
    runtime.tasks.spawn(async move { abort.run_until_cancelled(watch).await });
}

/// Whether a source that works, or is opened again and again, shows it within a fraction of `limit`.
fn is_steady(source: &SourceConfig, limit: Duration) -> bool {
    let SourceKind::Camera(camera) = &source.kind else { return false };
    source.period.unwrap_or_default().max(camera.stall) < limit / 2
}

/// What had been got done at one moment.
#[derive(Debug, Clone, Copy)]
struct Progress {
    taken: u64,
    done: u64,
    source_failures: u64,
    uplink_steps: u64,
}

impl Progress {
    fn of(counters: &HealthCounters) -> Self {
        let HealthCounters { taken, done, source_failures, uplink_steps, .. } = counters;
        Self {
            // In this order, so that a frame that is done in between does not count as one more.
            done: done.get(),
            taken: taken.get(),
            source_failures: source_failures.get(),
            uplink_steps: uplink_steps.get(),
        }
    }

    fn has_advanced_since(&self, before: &Self, steady: bool) -> bool {
        let frames = self.done > before.done;
        // With nothing under way it is the source's turn. A camera that fails is opened again, which
        // no restart of the agent would do better; a directory may have nothing more to give.
        let waits = self.taken <= self.done && (!steady || self.source_failures > before.source_failures);
        (frames || waits) && self.uplink_steps > before.uplink_steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(taken: u64, done: u64, source_failures: u64, uplink_steps: u64) -> Progress {
        Progress { taken, done, source_failures, uplink_steps }
    }

    #[test]
    fn only_progress_of_both_sides_feeds_the_watchdog() {
        let before = progress(10, 10, 0, 5);
        for (now, steady, alive) in [
            (progress(20, 19, 0, 6), true, true),
            (progress(20, 19, 0, 5), true, false), // the uplink hangs
            (progress(12, 10, 0, 9), true, false), // the vision hangs
            (progress(12, 10, 3, 9), true, false), // however often the camera was opened
            (progress(10, 10, 0, 9), true, false), // the source hangs
            (progress(10, 10, 1, 9), true, true),  // the camera is away
            (progress(10, 10, 0, 9), false, true), // a frame an hour
            (progress(12, 10, 0, 9), false, false),
        ] {
            assert_eq!(now.has_advanced_since(&before, steady), alive, "{now:?} {steady}");
        }
    }
}
