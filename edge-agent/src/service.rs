//! What systemd is told: when the agent works, and that it still does.
//!
//! The watchdog is fed by what was got done, not by a clock: frames that reached the spool, and
//! acknowledgements, heartbeats or attempts of the uplink. Whichever of the two hangs has the agent
//! restarted.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::sleep;

use crate::{
    agent::Shared,
    config::{Config, SourceConfig, SourceKind},
    vitals::Vitals,
};

/// The rooms are open.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

/// The start takes longer, for this reason, by more than `longer`.
pub(crate) fn waiting(why: &str, longer: Duration) {
    tell(NotifyState::Status(why));
    let micros = u32::try_from(3 * longer.as_micros()).unwrap_or(u32::MAX);
    tell(NotifyState::ExtendTimeoutUsec(micros));
}

/// The agent is being stopped.
pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Does nothing where no systemd asked to be told.
fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd can't be told");
    }
}

/// Feeds the watchdog for as long as the agent runs, where systemd has one for it.
pub(crate) fn guard(config: &Config, shared: &Shared) {
    let Some(limit) = sd_notify::watchdog_enabled() else { return };
    let (vitals, abort) = (shared.vitals.clone(), shared.abort.clone());
    let steady = is_steady(&config.source, limit);
    let watch = async move {
        let mut fed = Pulse::of(&vitals);
        loop {
            sleep(limit / 4).await;
            let now = Pulse::of(&vitals);
            if now.is_alive_since(&fed, steady) {
                tell(NotifyState::Watchdog);
                fed = now;
            }
        }
    };
    shared.tracker.spawn(async move { abort.run_until_cancelled(watch).await });
}

/// Whether a source that works, or is opened again and again, shows it within a fraction of `limit`.
fn is_steady(source: &SourceConfig, limit: Duration) -> bool {
    let SourceKind::Camera(camera) = &source.kind else { return false };
    source.period.unwrap_or_default().max(camera.stall) < limit / 2
}

/// What had been got done at one moment.
#[derive(Debug, Clone, Copy)]
struct Pulse {
    taken: u64,
    done: u64,
    source_failures: u64,
    uplink_steps: u64,
}

impl Pulse {
    fn of(vitals: &Vitals) -> Self {
        let Vitals { taken, done, source_failures, uplink_steps, .. } = vitals;
        Self {
            // In this order, so that a frame that is done in between does not count as one more.
            done: done.get(),
            taken: taken.get(),
            source_failures: source_failures.get(),
            uplink_steps: uplink_steps.get(),
        }
    }

    fn is_alive_since(&self, before: &Self, steady: bool) -> bool {
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

    fn pulse(taken: u64, done: u64, source_failures: u64, uplink_steps: u64) -> Pulse {
        Pulse { taken, done, source_failures, uplink_steps }
    }

    #[test]
    fn only_progress_of_both_sides_feeds_the_watchdog() {
        let before = pulse(10, 10, 0, 5);
        for (now, steady, alive) in [
            (pulse(20, 19, 0, 6), true, true),
            (pulse(20, 19, 0, 5), true, false), // the uplink hangs
            (pulse(12, 10, 0, 9), true, false), // the vision hangs
            (pulse(12, 10, 3, 9), true, false), // however often the camera was opened
            (pulse(10, 10, 0, 9), true, false), // the source hangs
            (pulse(10, 10, 1, 9), true, true),  // the camera is away
            (pulse(10, 10, 0, 9), false, true), // a frame an hour
            (pulse(12, 10, 0, 9), false, false),
        ] {
            assert_eq!(now.is_alive_since(&before, steady), alive, "{now:?} {steady}");
        }
    }
}
