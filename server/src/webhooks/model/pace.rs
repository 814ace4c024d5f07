//! When what failed is tried again. A receiver that is down is asked for one delivery of each type, at growing intervals,
//! and told all the rest once it is back; a delivery that it refuses while it takes others is tried at growing intervals of its
//! own, and given up after days.

use std::time::Duration;

use cavs_types::WebhookDeliveryId;
use jiff::Timestamp;

const HOUR: Duration = Duration::from_secs(3600);

/// How long after each attempt the next one comes: those that the specification proposes, over three days.
const PAUSES: [Duration; 11] = [
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(120),
    Duration::from_secs(600),
    Duration::from_secs(1800),
    HOUR,
    Duration::from_secs(3 * 3600),
    Duration::from_secs(6 * 3600),
    Duration::from_secs(12 * 3600),
    Duration::from_secs(24 * 3600),
    Duration::from_secs(24 * 3600),
];
/// How long a receiver rests after its first failure, and at most.
const RESTS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(600));
/// Rounds that failed before it is an outage and no single refusal.
const OUTAGE: u32 = 3;
/// A webhook is switched off that has taken nothing for so long, though it was tried so often: days in which nothing
/// happened are no failure of the receiver's.
const GIVEN_UP: (Duration, u32) = (Duration::from_secs(5 * 24 * 3600), 24);

/// What came of sending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The receiver has taken it: any 2xx.
    Accepted {
        /// As it answered.
        status: u16,
    },
    /// The receiver answered something else; redirections are not followed.
    Refused {
        /// As it answered.
        status: u16,
        /// What the receiver asks for by `Retry-After`.
        retry_after: Option<Duration>,
    },
    /// There was no answer.
    Unanswered {
        /// Why.
        problem: String,
    },
}

impl AttemptOutcome {
    /// Whether it was taken.
    #[must_use]
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    /// Whether the receiver wants nothing more, ever.
    #[must_use]
    pub const fn is_gone(&self) -> bool {
        matches!(self, Self::Refused { status: 410, .. })
    }

    /// What the receiver answered.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Accepted { status } | Self::Refused { status, .. } => Some(*status),
            Self::Unanswered { .. } => None,
        }
    }

    /// Why it was not taken; nothing of what the receiver has written.
    #[must_use]
    pub fn problem(&self) -> String {
        match self {
            Self::Accepted { .. } => String::new(),
            Self::Refused { status: status @ 300..=399, .. } => {
                format!("answered {status}: redirections are not followed")
            }
            Self::Refused { status, .. } => format!("answered {status}"),
            Self::Unanswered { problem } => problem.clone(),
        }
    }
}

/// One attempt at a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Which.
    pub delivery: WebhookDeliveryId,
    /// Attempts before.
    pub before: u32,
    /// When the first of them was.
    pub first_attempt_at: Option<Timestamp>,
    /// What came of it.
    pub outcome: AttemptOutcome,
}

/// How long after an attempt that failed the next one comes; `None`: it is given up, as the receiver has taken others
/// since the first.
#[must_use]
pub(crate) fn next_due(attempt: &Attempt, last_success_at: Option<Timestamp>) -> Option<Duration> {
    let pause = PAUSES.get(usize::try_from(attempt.before).unwrap_or(usize::MAX));
    let took_others =
        attempt.first_attempt_at.is_some_and(|first| last_success_at.is_some_and(|last| last > first));
    match pause {
        None if took_others => None,
        pause => Some(jittered(*pause.unwrap_or(&HOUR), attempt.delivery)),
    }
}

/// How long a receiver rests after so many rounds that failed, one after another.
#[must_use]
pub(crate) fn rest_after(failures: u32, retry_after: Option<Duration>) -> Duration {
    let (first, most) = RESTS;
    let rest = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(most);
    rest.max(retry_after.unwrap_or_default().min(HOUR))
}

/// Whether so many failures were an outage: what was tried in it is tried again at once, not at intervals of its own.
#[must_use]
pub(crate) const fn is_outage(failures: u32) -> bool {
    failures >= OUTAGE
}

/// Whether a webhook that has failed in so many rounds since then is switched off.
#[must_use]
pub(crate) fn disables_after(failures: u32, failing_since: Timestamp, now: Timestamp) -> bool {
    let (time, rounds) = GIVEN_UP;
    failures >= rounds && now.duration_since(failing_since).unsigned_abs() >= time && now > failing_since
}

/// Up to a fifth more, so that what failed together does not come together again.
fn jittered(pause: Duration, id: WebhookDeliveryId) -> Duration {
    let of_1024 = u32::try_from(id.uuid().as_u128() % 1024).unwrap_or(0);
    pause + pause / 5 * of_1024 / 1024
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn attempt(before: u32, first: Option<Timestamp>) -> Attempt {
        let outcome = AttemptOutcome::Refused { status: 500, retry_after: None };
        Attempt { delivery: WebhookDeliveryId::generate(), before, first_attempt_at: first, outcome }
    }

    #[test]
    fn pauses_grow_over_days_and_a_delivery_is_given_up_only_where_others_were_taken() {
        let (first, later) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + 1.hour());
        let pauses: Vec<Duration> =
            (0..11).map(|before| next_due(&attempt(before, Some(first)), None).unwrap()).collect();
        assert!(pauses.windows(2).take(9).all(|pair| pair[0] < pair[1]), "{pauses:?}");
        assert!(pauses[0] < Duration::from_secs(7), "{pauses:?}");
        assert!(pauses.iter().sum::<Duration>() > 3 * 24 * HOUR - HOUR);
        assert_eq!(next_due(&attempt(11, Some(first)), Some(later)), None);
        // The receiver was down all the time.
        assert!(next_due(&attempt(11, Some(later)), Some(first)).is_some());
        assert!(next_due(&attempt(5000, Some(later)), None).unwrap() < 2 * HOUR);
    }

    #[test]
    fn a_receiver_rests_longer_and_longer_to_a_limit() {
        let rests: Vec<u64> = (1..=12).map(|failures| rest_after(failures, None).as_secs()).collect();
        assert_eq!(rests[..5], [2, 4, 8, 16, 32]);
        assert_eq!(rests[11], 600);
        assert_eq!(rest_after(u32::MAX, None), RESTS.1);
        assert_eq!(rest_after(1, Some(Duration::from_secs(60))), Duration::from_secs(60));
        assert_eq!(rest_after(1, Some(100 * HOUR)), HOUR);
    }

    #[test]
    fn days_of_failure_end_it() {
        let since = Timestamp::UNIX_EPOCH + 1.hour();
        assert!(!disables_after(99, since, since + 119.hours()));
        assert!(disables_after(24, since, since + 121.hours()));
        // Nothing happened meanwhile.
        assert!(!disables_after(23, since, since + 500.hours()));
        // A clock that went back.
        assert!(!disables_after(99, since + 500.hours(), since));
    }
}
