use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Delay after the first failure.
const FIRST: Duration = Duration::from_millis(250);

/// Longest delay: after weeks without a network the first attempt comes this soon after its return.
pub(super) const LONGEST: Duration = Duration::from_secs(15);

/// Delay after a refusal that only a person can end.
pub(super) const REFUSED: Duration = Duration::from_secs(60);

/// Delays while another agent speaks for this device: each of the two has the server for a minute.
const CONTESTED: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(60));

/// Growing delays with jitter, so that a school's agents don't all come back at the same moment.
#[derive(Debug)]
pub(super) struct Backoff {
    longest: Duration,
    builder: ExponentialBuilder,
    delays: ExponentialBackoff,
}

impl Backoff {
    /// The same seed gives the same delays.
    pub(super) fn new(seed: u64) -> Self {
        Self::between(FIRST, LONGEST, seed)
    }

    /// For an agent that is one of two.
    pub(super) fn contested(seed: u64) -> Self {
        Self::between(CONTESTED.0, CONTESTED.1, seed)
    }

    fn between(first: Duration, longest: Duration, seed: u64) -> Self {
        let builder = ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(longest)
            .with_factor(2.0)
            .without_max_times()
            .with_jitter_seed(seed)
            .with_jitter();
        Self { longest, builder, delays: builder.build() }
    }

    /// Jitter comes on top of the library's maximum, so the cap is applied again.
    pub(super) fn next_delay(&mut self) -> Duration {
        self.delays.next().unwrap_or(self.longest).min(self.longest)
    }

    pub(super) fn reset(&mut self) {
        self.delays = self.builder.build();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_cap_and_begin_again() {
        let mut backoff = Backoff::new(3);
        assert!(backoff.next_delay() <= 2 * FIRST);
        for _ in 0..1000 {
            assert!(backoff.next_delay() <= LONGEST);
        }
        assert!(backoff.next_delay() > LONGEST / 2);
        backoff.reset();
        assert!(backoff.next_delay() <= 2 * FIRST);
        let mut contested = Backoff::contested(3);
        assert!(contested.next_delay() >= CONTESTED.0);
        assert!((0..10).map(|_| contested.next_delay()).all(|delay| delay <= CONTESTED.1));
    }
}
