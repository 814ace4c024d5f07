//! What it means that a device did not see somebody: from when to when it was watching, and why it was not.

use std::collections::BTreeSet;

use cavs_types::{DeviceId, WatchState};
use jiff::Timestamp;

/// Most periods that are kept of what one report touches: those of a camera that comes and goes every few seconds. Of
/// more, the shortest are not kept, so that nothing is claimed of them.
pub const MOST_PERIODS: usize = 5_000;

/// How far a clock may be off for what it times to prove anything: sessions begin and end by the minute.
pub const MOST_UNCERTAIN_MS: u64 = 30_000;

/// From when to when a device was in one state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchedPeriod {
    /// The first moment.
    pub start: Timestamp,
    /// The moment after the last one.
    pub end: Timestamp,
    /// The state in between.
    pub state: WatchState,
}

/// A part of a report, of the device itself or of a camera that it speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReportedPeriod {
    /// The camera; `None` where the device speaks for itself.
    pub camera: Option<DeviceId>,
    /// What is said of it.
    pub period: WatchedPeriod,
}

/// What a device says of what it watched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchReport {
    /// Up to the end of each, everything that was captured is stored.
    pub periods: Vec<ReportedPeriod>,
    /// Everything that was captured up to this time is stored.
    pub delivered_until: Option<Timestamp>,
}

/// What is known of a device's watch in a window of time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeviceWatch {
    /// Everything that it captured up to this time is stored; `None` where it has never said so, as agents before
    /// this do: they prove nothing.
    pub delivered_until: Option<Timestamp>,
    /// In order, without overlaps; each meets the window.
    pub periods: Vec<WatchedPeriod>,
}

/// Why a device was not watching, as far as anybody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GapReason {
    /// It said so.
    State(WatchState),
    /// It has delivered what came later, and claims nothing of this time: it was off, or was not there yet.
    NotWatched,
    /// It has not delivered so far: it is offline, or still sending.
    NotDelivered,
}

/// A part of a window in which a device was not watching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The first moment.
    pub start: Timestamp,
    /// The moment after the last one.
    pub end: Timestamp,
    /// Why.
    pub reason: GapReason,
}

/// How much of a window of time a device has watched and delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Coverage {
    /// Share of the window in which it was watching, 0 to 1; 1 of an empty window.
    pub watched: f64,
    /// The rest, in order.
    pub gaps: Vec<Gap>,
    /// Everything that it captured up to this time is stored.
    pub delivered_until: Option<Timestamp>,
}

/// How much of the window from `start` to `end` a device has watched and delivered. Of periods that overlap, the worse
/// state holds.
#[must_use]
pub fn coverage(watch: &DeviceWatch, start: Timestamp, end: Timestamp) -> Coverage {
    let (delivered_until, mut gaps) = (watch.delivered_until, Vec::new());
    let mut at = start;
    let unclaimed = |from: Timestamp, to: Timestamp| {
        let delivered = delivered_until.unwrap_or(Timestamp::MIN).clamp(from, to);
        let parts = [(from, delivered, GapReason::NotWatched), (delivered, to, GapReason::NotDelivered)];
        parts
            .into_iter()
            .filter(|(from, to, _)| from < to)
            .map(|(start, end, reason)| Gap { start, end, reason })
            .collect::<Vec<_>>()
    };
    let periods = merge(&watch.periods, &[]);
    for period in periods.iter().filter(|period| period.start < end && period.end > start) {
        let (from, to) = (period.start.max(start), period.end.min(end));
        if at < from {
            gaps.extend(unclaimed(at, from));
        }
        if period.state != WatchState::Watching {
            gaps.push(Gap { start: from, end: to, reason: GapReason::State(period.state) });
        }
        at = to;
    }
    if at < end {
        gaps.extend(unclaimed(at, end));
    }
    let missing: f64 = gaps.iter().map(|gap| gap.end.duration_since(gap.start).as_secs_f64()).sum();
    let whole = end.duration_since(start).as_secs_f64();
    let watched = if whole > 0.0 { (1.0 - missing / whole).clamp(0.0, 1.0) } else { 1.0 };
    Coverage { watched, gaps, delivered_until }
}

/// Lays periods over others. Where two meet, the worse state holds, so that it does not matter in which order, in which
/// parts and how often they come. Neighbours of one state become one.
#[must_use]
pub fn merge(known: &[WatchedPeriod], more: &[WatchedPeriod]) -> Vec<WatchedPeriod> {
    let mut all: Vec<WatchedPeriod> = known.iter().chain(more).filter(|p| p.start < p.end).copied().collect();
    all.sort_unstable_by_key(|period| period.start);
    let moments: BTreeSet<Timestamp> = all.iter().flat_map(|period| [period.start, period.end]).collect();
    let mut merged: Vec<WatchedPeriod> = Vec::new();
    let (mut open, mut next) = (Vec::<WatchedPeriod>::new(), 0);
    for (start, end) in moments.iter().zip(moments.iter().skip(1)) {
        open.retain(|period| period.end > *start);
        while let Some(period) = all.get(next).filter(|period| period.start <= *start) {
            open.push(*period);
            next += 1;
        }
        let Some(state) = open.iter().map(|period| period.state).max() else { continue };
        match merged.last_mut() {
            Some(last) if last.end == *start && last.state == state => last.end = *end,
            _ => merged.push(WatchedPeriod { start: *start, end: *end, state }),
        }
    }
    merged
}

/// The longest periods, [`MOST_PERIODS`] at most, in order.
#[must_use]
pub(crate) fn longest(mut periods: Vec<WatchedPeriod>) -> Vec<WatchedPeriod> {
    if periods.len() > MOST_PERIODS {
        periods.sort_by_key(|period| period.start.duration_since(period.end));
        periods.truncate(MOST_PERIODS);
        periods.sort_by_key(|period| period.start);
    }
    periods
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use WatchState::{CameraFrozen, Watching};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn period(start: i64, end: i64, state: WatchState) -> WatchedPeriod {
        WatchedPeriod { start: at(start), end: at(end), state }
    }

    fn gap(start: i64, end: i64, reason: GapReason) -> Gap {
        Gap { start: at(start), end: at(end), reason }
    }

    #[test]
    fn what_was_not_watched_has_a_reason() {
        let periods =
            vec![period(100, 200, Watching), period(200, 250, CameraFrozen), period(260, 300, Watching)];
        let watch = DeviceWatch { delivered_until: Some(at(310)), periods };
        let found = coverage(&watch, at(90), at(330));
        let expected = [
            gap(90, 100, GapReason::NotWatched),
            gap(200, 250, GapReason::State(CameraFrozen)),
            gap(250, 260, GapReason::NotWatched),
            gap(300, 310, GapReason::NotWatched),
            gap(310, 330, GapReason::NotDelivered),
        ];
        assert_eq!(found.gaps, expected);
        assert!((found.watched - 140.0 / 240.0).abs() < 1e-9, "{found:?}");
        let inside = coverage(&watch, at(110), at(200));
        assert_eq!((inside.watched, inside.gaps.len()), (1.0, 0));
    }

    #[test]
    fn a_device_that_says_nothing_has_watched_nothing() {
        let silent = coverage(&DeviceWatch::default(), at(0), at(10));
        assert_eq!((silent.watched, &*silent.gaps), (0.0, &[gap(0, 10, GapReason::NotDelivered)][..]));
    }

    #[test]
    fn the_worse_state_holds_where_periods_meet() {
        let known = [period(0, 100, Watching)];
        let merged = merge(&known, &[period(40, 60, CameraFrozen), period(100, 120, Watching)]);
        assert_eq!(
            merged,
            [period(0, 40, Watching), period(40, 60, CameraFrozen), period(60, 120, Watching)]
        );
        assert_eq!(merge(&merged, &[period(40, 60, Watching)]), merged, "said again, and otherwise");
    }

    #[test]
    fn of_too_many_the_shortest_go() {
        let long = period(-100, -50, Watching);
        let short = (0..6000).map(|n| period(2 * n, 2 * n + 1, Watching));
        let kept = longest(std::iter::once(long).chain(short).collect());
        assert_eq!((kept.len(), kept[0]), (MOST_PERIODS, long));
        assert!(kept.is_sorted_by_key(|period| period.start));
    }

    fn some_periods() -> impl Strategy<Value = Vec<WatchedPeriod>> {
        let one = (0..60_i64, 1..20_i64, 0..WatchState::ALL.len());
        let one =
            one.prop_map(|(start, length, state)| period(start, start + length, WatchState::ALL[state]));
        prop::collection::vec(one, 0..12)
    }

    proptest! {
        #[test]
        fn neither_order_nor_repetition_nor_parts_change_what_is_known(
            periods in some_periods(), cut in 0..60_i64, swap in any::<u64>(),
        ) {
            let whole = merge(&periods, &[]);
            let mut parts: Vec<_> = periods.iter().flat_map(|p| {
                let cut = at(cut).clamp(p.start, p.end);
                [WatchedPeriod { end: cut, ..*p }, WatchedPeriod { start: cut, ..*p }]
            }).chain(periods.clone()).collect();
            let length = parts.len().max(1);
            parts.rotate_left(usize::try_from(swap % length as u64).unwrap());
            let one_by_one = parts.iter().fold(Vec::new(), |known, more| merge(&known, &[*more]));
            prop_assert_eq!(&one_by_one, &whole);
            prop_assert!(whole.windows(2).all(|pair| pair[0].end <= pair[1].start));
            for moment in 0..80 {
                let worst = |all: &[WatchedPeriod]| {
                    all.iter().filter(|p| p.start <= at(moment) && at(moment) < p.end).map(|p| p.state).max()
                };
                prop_assert_eq!(worst(&periods), worst(&whole), "at {}", moment);
            }
        }

        #[test]
        fn what_is_watched_and_what_is_not_fill_the_window(
            periods in some_periods(), delivered in 0..80_i64, start in 0..40_i64, length in 1..40_i64,
        ) {
            let watch = DeviceWatch { delivered_until: Some(at(delivered)), periods };
            let (start, end) = (at(start), at(start + length));
            let found = coverage(&watch, start, end);
            prop_assert!(found.gaps.iter().all(|gap| start <= gap.start && gap.start < gap.end && gap.end <= end));
            prop_assert!(found.gaps.windows(2).all(|pair| pair[0].end <= pair[1].start));
            let missing: f64 = found.gaps.iter().map(|gap| gap.end.duration_since(gap.start).as_secs_f64()).sum();
            prop_assert!((found.watched * length as f64 + missing - length as f64).abs() < 1e-6);
        }
    }
}
