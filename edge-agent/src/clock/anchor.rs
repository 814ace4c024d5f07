use std::time::Duration;

use cavs_types::ClockTrust;
use jiff::Timestamp;

use super::Stamp;

/// What a wall clock may be off while a time server leads it: servers of the public pool keep
/// clients within fractions of this.
const SYNCHRONISED_UNCERTAINTY: Duration = Duration::from_secs(1);

/// How far a computer's quartz may be from its nominal rate, in parts per million; boards of the
/// Raspberry Pi's class specify less.
const DRIFT_PPM: u32 = 100;

/// What time it was at a known distance from the kernel's start, as the server said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockAnchor {
    /// The time at the kernel's start.
    pub boot: Timestamp,
    /// When this was learnt, since the kernel's start.
    pub learnt: Duration,
    /// How far off it was at most when it was learnt, if the server is right.
    pub uncertainty: Duration,
}

/// The best that is known of when a stamp was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EstimatedTime {
    /// The wall clock's reading, corrected where the server's time said better.
    pub wall: Timestamp,
    /// Where `wall` comes from.
    pub trust: ClockTrust,
    /// How far off it may be; `None` where nobody knows.
    pub uncertainty: Option<Duration>,
}

impl ClockAnchor {
    /// Learns from an answer of the server that was asked and answered at these times since the
    /// kernel's start. The server's time is of some moment in between.
    #[must_use]
    pub fn learn(server_time: Timestamp, asked: Duration, answered: Duration) -> Option<Self> {
        let half = answered.checked_sub(asked)? / 2;
        let boot = server_time.checked_sub(asked + half).ok()?;
        Some(Self { boot, learnt: answered, uncertainty: half })
    }

    /// The better of two anchors of the same start of the kernel: the later one, since the quartz
    /// drifts, unless it is much less certain.
    #[must_use]
    pub fn or_better(self, later: Self) -> Self {
        let aged = self.uncertainty + drift(later.learnt.abs_diff(self.learnt));
        if later.uncertainty <= aged { later } else { self }
    }

    fn wall(&self, since_boot: Duration) -> Option<Timestamp> {
        self.boot.checked_add(since_boot).ok()
    }
}

impl EstimatedTime {
    /// The estimate for a stamp, given what was learnt of the same start of the kernel.
    #[must_use]
    pub fn of(stamp: Stamp, anchor: Option<&ClockAnchor>) -> Self {
        let as_read = |trust, uncertainty| Self { wall: stamp.wall, trust, uncertainty };
        if stamp.synchronised {
            return as_read(ClockTrust::Synchronised, Some(SYNCHRONISED_UNCERTAINTY));
        }
        let computed = anchor.and_then(|anchor| Some((anchor, anchor.wall(stamp.since_boot)?)));
        let Some((anchor, wall)) = computed else { return as_read(ClockTrust::Unsynchronised, None) };
        let uncertainty = anchor.uncertainty + drift(anchor.learnt.abs_diff(stamp.since_boot));
        let off = stamp.wall.duration_since(wall).unsigned_abs();
        // A clock that agrees with the server was right, whether or not a time server leads it.
        if off <= uncertainty + SYNCHRONISED_UNCERTAINTY {
            return as_read(ClockTrust::Synchronised, Some(uncertainty + SYNCHRONISED_UNCERTAINTY));
        }
        Self { wall, trust: ClockTrust::Corrected, uncertainty: Some(uncertainty) }
    }
}

fn drift(over: Duration) -> Duration {
    over * DRIFT_PPM / 1_000_000
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn stamp(wall: i64, since_boot: u64) -> Stamp {
        let wall = Timestamp::from_second(wall).unwrap();
        Stamp { wall, since_boot: seconds(since_boot), synchronised: false }
    }

    #[test]
    fn a_clock_that_started_in_1970_is_corrected_once_the_server_is_heard() {
        let noon = Timestamp::from_second(1_800_000_000).unwrap();
        let early = stamp(40, 30);
        let before = EstimatedTime::of(early, None);
        assert_eq!(
            (before.wall, before.trust, before.uncertainty),
            (early.wall, ClockTrust::Unsynchronised, None)
        );
        let anchor = ClockAnchor::learn(noon, seconds(600), seconds(602)).unwrap();
        let after = EstimatedTime::of(early, Some(&anchor));
        assert_eq!((after.wall, after.trust), (noon - seconds(571), ClockTrust::Corrected));
        assert!(after.uncertainty.unwrap() >= seconds(1));
    }

    #[test]
    fn clocks_that_are_right_are_left_alone() {
        let anchor =
            ClockAnchor::learn(Timestamp::from_second(1_000_100).unwrap(), seconds(100), seconds(100));
        let right = stamp(1_000_050, 50);
        let believed = EstimatedTime::of(right, anchor.as_ref());
        assert_eq!((believed.wall, believed.trust), (right.wall, ClockTrust::Synchronised));
        let led = Stamp { synchronised: true, ..stamp(5, 50) };
        assert_eq!(EstimatedTime::of(led, anchor.as_ref()).wall, led.wall, "the time server knows better");
    }

    #[test]
    fn a_month_of_drift_is_part_of_the_uncertainty() {
        let anchor =
            ClockAnchor { boot: Timestamp::UNIX_EPOCH, learnt: seconds(2_592_000), uncertainty: seconds(0) };
        let believed = EstimatedTime::of(stamp(1_000_000, 0), Some(&anchor));
        assert_eq!(believed.uncertainty, Some(Duration::from_millis(259_200)));
        let fresh = ClockAnchor { learnt: seconds(2_592_600), uncertainty: seconds(3600), ..anchor };
        assert_eq!(anchor.or_better(fresh), anchor, "a fresh anchor that is worth nothing");
        assert_eq!(anchor.or_better(ClockAnchor { uncertainty: seconds(0), ..fresh }).learnt, fresh.learnt);
    }

    proptest! {
        #[test]
        fn no_reading_panics(wall: i32, boot: u64, asked: u64, answered: u64, server: i32) {
            let stamp = Stamp {
                wall: Timestamp::from_second(wall.into()).unwrap(),
                since_boot: Duration::from_millis(boot >> 16),
                synchronised: false,
            };
            let server = Timestamp::from_second(server.into()).unwrap();
            let (asked, answered) = (Duration::from_millis(asked >> 16), Duration::from_millis(answered >> 16));
            let anchor = ClockAnchor::learn(server, asked, answered);
            let _ = EstimatedTime::of(stamp, anchor.as_ref());
        }
    }
}
