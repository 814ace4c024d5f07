//! Between the wire's and our words for what devices watched.

use cavs_embedding::PackDigest;
use cavs_proto::{enum_from_wire, enum_to_wire, from_timestamp, to_timestamp, v1};
use cavs_types::{ClockTrust, ProtocolError, WatchState};
use jiff::Timestamp;

use super::convert::optional_id;
use crate::{
    fleet::{Coverage, Gap, GapReason, MOST_UNCERTAIN_MS, ReportedPeriod, WatchReport, WatchedPeriod},
    sightings::{MOST_AHEAD, MOST_BEHIND},
};

/// Most periods of one report.
pub(super) const MAX_PERIODS: usize = 256;

/// Reads a report. Times that can't be are left out: they say nothing of any time, and coming again they would be no
/// better. What can't be trusted is kept as a reason why nothing is proven.
pub(super) fn report_from_wire(
    report: &v1::WatchReport,
    served: PackDigest,
    received_at: Timestamp,
) -> Result<WatchReport, ProtocolError> {
    if report.periods.len() > MAX_PERIODS {
        let problem = format!("{} periods, at most {MAX_PERIODS}", report.periods.len());
        return Err(ProtocolError::invalid("watch.periods", problem));
    }
    let plausible = |time: Timestamp| {
        (-MOST_BEHIND..=MOST_AHEAD).contains(&time.duration_since(received_at)).then_some(time)
    };
    let time = |field, wire| from_timestamp(field, wire).ok().and_then(plausible);
    let mut periods = Vec::with_capacity(report.periods.len());
    for wire in &report.periods {
        // Those of a later agent, too: whatever it says, it is no claim that it was watching.
        let (Ok(camera), Ok(said)) =
            (optional_id("camera_id", &wire.camera_id), enum_from_wire::<WatchState>("state", wire.state))
        else {
            continue;
        };
        let (start, end) =
            (time("start_time", wire.start_time.as_ref()), time("end_time", wire.end_time.as_ref()));
        let Some((start, end)) = start.zip(end).filter(|(start, end)| start < end) else { continue };
        let state = match () {
            () if said != WatchState::Watching => said,
            () if !is_trusted(wire.clock.as_ref()) => WatchState::ClockWrong,
            () if wire.pack_digest.parse() != Ok(served) => WatchState::PackNotServed,
            () => said,
        };
        periods.push(ReportedPeriod { camera, period: WatchedPeriod { start, end, state } });
    }
    let delivered_until = time("delivered_until_time", report.delivered_until_time.as_ref());
    Ok(WatchReport { periods, delivered_until })
}

fn is_trusted(clock: Option<&v1::CaptureClock>) -> bool {
    let Some(clock) = clock else { return false };
    let trust = ClockTrust::from(clock.trust());
    let is_known = matches!(trust, ClockTrust::Synchronised | ClockTrust::Corrected);
    is_known && clock.uncertainty_ms.is_some_and(|off| off <= MOST_UNCERTAIN_MS)
}

pub(super) fn coverage_to_wire(coverage: Coverage) -> v1::DeviceCoverage {
    v1::DeviceCoverage {
        watched_share: coverage.watched,
        gaps: coverage.gaps.into_iter().map(Into::into).collect(),
        delivered_until_time: coverage.delivered_until.map(to_timestamp),
    }
}

impl From<Gap> for v1::CoverageGap {
    fn from(gap: Gap) -> Self {
        use v1::coverage_gap::Reason;
        let (reason, state) = match gap.reason {
            GapReason::State(state) => (Reason::State, enum_to_wire(state)),
            GapReason::NotWatched => (Reason::NotWatched, 0),
            GapReason::NotDelivered => (Reason::NotDelivered, 0),
        };
        Self {
            start_time: Some(to_timestamp(gap.start)),
            end_time: Some(to_timestamp(gap.end)),
            reason: reason.into(),
            state,
        }
    }
}

#[cfg(test)]
mod tests {
    use v1::capture_clock::Trust;

    use super::*;

    const NOON: i64 = 1_800_000_000;

    fn served() -> PackDigest {
        "ab".repeat(32).parse().unwrap()
    }

    fn period(start: i64, end: i64) -> v1::WatchedPeriod {
        let time = |second| Some(to_timestamp(Timestamp::from_second(NOON + second).unwrap()));
        v1::WatchedPeriod {
            state: enum_to_wire(WatchState::Watching),
            start_time: time(start),
            end_time: time(end),
            clock: Some(v1::CaptureClock {
                trust: Trust::Synchronised.into(),
                uncertainty_ms: Some(1000),
                since_boot_ms: 0,
            }),
            pack_digest: served().to_string(),
            ..Default::default()
        }
    }

    fn read(wire: v1::WatchedPeriod) -> Vec<WatchState> {
        let report = v1::WatchReport { periods: vec![wire], ..Default::default() };
        let read = report_from_wire(&report, served(), Timestamp::from_second(NOON).unwrap()).unwrap();
        read.periods.iter().map(|period| period.period.state).collect()
    }

    #[test]
    fn only_what_can_be_trusted_is_a_watch() {
        use WatchState::{CameraFailed, ClockWrong, PackNotServed, Watching};
        assert_eq!(read(period(-60, 0)), [Watching]);
        let clock = |trust: Trust, uncertainty_ms| {
            let clock = v1::CaptureClock { trust: trust.into(), uncertainty_ms, since_boot_ms: 0 };
            read(v1::WatchedPeriod { clock: Some(clock), ..period(-60, 0) })
        };
        assert_eq!(clock(Trust::Corrected, Some(29_000)), [Watching]);
        assert_eq!(clock(Trust::Corrected, Some(31_000)), [ClockWrong]);
        assert_eq!(clock(Trust::Corrected, None), [ClockWrong]);
        assert_eq!(clock(Trust::Unsynchronised, None), [ClockWrong]);
        assert_eq!(read(v1::WatchedPeriod { clock: None, ..period(-60, 0) }), [ClockWrong]);
        for pack_digest in ["cd".repeat(32), String::new()] {
            assert_eq!(read(v1::WatchedPeriod { pack_digest, ..period(-60, 0) }), [PackNotServed]);
        }
        let failed = enum_to_wire(CameraFailed);
        assert_eq!(read(v1::WatchedPeriod { state: failed, clock: None, ..period(-60, 0) }), [CameraFailed]);
    }

    #[test]
    fn times_that_can_not_be_are_left_out() {
        let quarter = 91 * 86_400;
        for (start, end) in [(0, 0), (10, 5), (-60, 301), (-quarter, 0), (-NOON, -NOON + 60)] {
            assert_eq!(read(period(start, end)), [], "{start} to {end}");
        }
        assert_eq!(read(v1::WatchedPeriod { end_time: None, ..period(-60, 0) }), []);
    }
}
