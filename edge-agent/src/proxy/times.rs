//! When a frame was taken, by cameras that may not know the time.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Stamp;

/// How long a camera may have held a frame back and still be believed.
const OLDEST: SignedDuration = SignedDuration::from_hours(24);

/// How far a camera's clock may be ahead of the proxy's.
const AHEAD: SignedDuration = SignedDuration::from_secs(5);

/// When a frame that came `now` was taken.
///
/// With the time of its sending by the same clock, the frame's age is known, however wrong that
/// clock is. Without, the camera's word is taken where it can be true: a clock that was never set is
/// decades off.
pub(super) fn of_capture(now: Stamp, captured: Option<Timestamp>, sent: Option<Timestamp>) -> Stamp {
    let Some(captured) = captured else { return now };
    let age = match sent {
        Some(sent) => sent.duration_since(captured),
        None => now.wall.duration_since(captured),
    };
    if age < -AHEAD || age > OLDEST {
        return now;
    }
    let age = age.max(SignedDuration::ZERO).unsigned_abs();
    Stamp {
        wall: now.wall.checked_sub(age).unwrap_or(now.wall),
        since_boot: now.since_boot.saturating_sub(age),
        ..now
    }
}

/// A time as small devices write it: RFC 3339, or Unix time in seconds or milliseconds.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(time) = text.parse() {
        return Some(time);
    }
    let number: f64 = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)?;
    // The year 5138 in seconds is 1973 in milliseconds.
    let seconds = if number >= 1e11 { number / 1000.0 } else { number };
    let since_1970 = Duration::try_from_secs_f64(seconds).ok()?;
    Timestamp::UNIX_EPOCH.checked_add(since_1970).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    #[test]
    fn a_wrong_clock_does_not_matter_where_it_says_when_it_sent() {
        let now =
            Stamp { wall: at(1_800_000_000), since_boot: Duration::from_secs(1000), synchronised: true };
        let taken = |captured: i64, sent: Option<i64>| of_capture(now, Some(at(captured)), sent.map(at)).wall;
        // Seconds since its start, and two seconds old.
        assert_eq!(taken(10, Some(12)), at(1_799_999_998));
        assert_eq!(of_capture(now, Some(at(10)), Some(at(12))).since_boot, Duration::from_secs(998));
        // A plausible clock is believed, others are not.
        assert_eq!(taken(1_799_999_000, None), at(1_799_999_000));
        for wrong in [0, 1_800_000_100, 1_700_000_000] {
            assert_eq!(taken(wrong, None), now.wall, "{wrong}");
        }
        assert_eq!(taken(1_800_000_003, None), now.wall, "a little ahead is now");
        assert_eq!(taken(100, Some(0)), now.wall, "sent before it was taken");
        assert_eq!(of_capture(now, None, None), now);
    }

    #[test]
    fn times_are_read_as_devices_write_them() {
        for text in ["2027-01-15T08:00:00Z", "1800000000", "1800000000000", " 1800000000.0 "] {
            assert_eq!(parse(text), Some(at(1_800_000_000)), "{text}");
        }
        for text in ["", "now", "-5", "NaN", "inf", "1e300"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_and_no_times_panic(text in "\\PC{0,40}", captured: i64, sent: i64) {
            let _ = parse(&text);
            let time = |seconds: i64| Timestamp::from_second(seconds % 200_000_000_000).ok();
            let stamp = of_capture(Stamp::now(), time(captured), time(sent));
            prop_assert!(stamp.wall <= Timestamp::now());
        }
    }
}
