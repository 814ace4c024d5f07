use std::time::{Duration, Instant};

use super::Failure;

/// How often a failure that stays the same is repeated in the log.
const REPEAT: Duration = Duration::from_secs(600);

/// Says what is wrong once and clearly, not at every attempt of a night without a network.
#[derive(Debug, Default)]
pub(super) struct FailureLog {
    last: Option<(Failure, Instant)>,
    attempts: u64,
}

impl FailureLog {
    pub(super) fn failed(&mut self, failure: &Failure, retry_in: Duration, now: Instant) {
        self.attempts += 1;
        let known = self.last.as_ref().is_some_and(|(last, at)| last == failure && now < *at + REPEAT);
        if known {
            tracing::debug!(%failure, ?retry_in, attempts = self.attempts, "still not connected");
            return;
        }
        match failure.advice() {
            Some(advice) => tracing::error!(%failure, ?retry_in, "refused: {advice}"),
            None => tracing::warn!(%failure, ?retry_in, attempts = self.attempts, "not connected"),
        }
        self.last = Some((failure.clone(), now));
    }

    pub(super) fn recovered(&mut self, device_id: &str) {
        tracing::info!(device_id, attempts = self.attempts, "connected");
        *self = Self::default();
    }
}
