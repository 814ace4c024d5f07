use std::time::Duration;

use cavs_embedding::PackDigest;
use cavs_types::WatchState;
use jiff::SignedDuration;

use super::{CameraView, Observation, WatchedPeriod};
use crate::clock::Stamp;

/// How much a wall clock may be set between two frames and still count as running evenly.
const EVEN: SignedDuration = SignedDuration::from_secs(2);

/// Periods that wait to be stored, at most: of a disk that is full.
const MOST_PERIODS: usize = 1000;

/// Makes periods of what is observed of one camera, without clock or I/O.
///
/// A picture that is repeated may be the first of a frozen camera: what it proves is only known when another one
/// comes, or when it has not changed for a minute.
#[derive(Debug, Default)]
pub struct WatchLog {
    last: Option<Last>,
    /// Since when the camera has given the same picture, where that is not yet called frozen.
    repeated_since: Option<Stamp>,
    periods: Vec<WatchedPeriod>,
    complete_until: Option<Stamp>,
}

/// Up to where it is known what the camera did.
#[derive(Debug, Clone, Copy)]
struct Last {
    at: Stamp,
    /// When the last frame was taken that could be read.
    frame: Stamp,
    view: CameraView,
    dropped: u64,
}

impl WatchLog {
    /// Takes an observation in, in the order of their times. `disk_was_full`: what was seen before this one had to
    /// wait for room on the disk.
    pub fn observe(&mut self, seen: &Observation, disk_was_full: bool) {
        let Observation { at, view, dropped, .. } = *seen;
        let Some(last) = self.last else {
            self.last = Some(Last { at, frame: at, view, dropped });
            return self.complete(seen.complete_until);
        };
        if at.since_boot <= last.at.since_boot {
            return self.complete(seen.complete_until);
        }
        let has_frame = !matches!(view, CameraView::Silent | CameraView::Unreadable);
        let is_late = at.since_boot.saturating_sub(last.frame.since_boot) > seen.patience;
        let state = match view {
            // One bad frame, or a short silence, is none.
            CameraView::Silent | CameraView::Unreadable if !is_late => {
                return self.complete(seen.complete_until);
            }
            _ if is_late && disk_was_full => WatchState::DiskFull,
            CameraView::Silent | CameraView::Unreadable => WatchState::CameraFailed,
            _ if is_late && dropped > last.dropped => WatchState::Overloaded,
            _ if is_late => WatchState::CameraFailed,
            CameraView::Frozen => WatchState::CameraFrozen,
            CameraView::Covered => WatchState::CameraCovered,
            CameraView::Clear | CameraView::Repeated => state_after(last.view),
        };
        let is_open = view == CameraView::Repeated && !is_late;
        let from = match self.repeated_since.take() {
            Some(since) if is_open => {
                self.repeated_since = Some(since);
                since
            }
            // It did change in time.
            Some(since) if matches!(view, CameraView::Clear | CameraView::Covered) && !is_late => {
                self.append(since, last.at, state_after(last.view), seen.pack);
                last.at
            }
            Some(since) => since,
            None => last.at,
        };
        if is_open {
            self.repeated_since = Some(from);
        } else {
            self.append(from, at, state, seen.pack);
        }
        // What a repeated picture shows is what the one before it showed.
        let view = if is_open { last.view } else { view };
        let frame = if has_frame { at } else { last.frame };
        self.last = Some(Last { at, frame, view, dropped });
        self.complete(seen.complete_until);
    }

    /// Nothing is waiting to be stored.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.periods.is_empty() && self.complete_until.is_none()
    }

    /// The periods that are to be stored, and up to when no sighting is still to come.
    #[must_use]
    pub fn waiting(&self) -> (&[WatchedPeriod], Option<Stamp>) {
        (&self.periods, self.complete_until)
    }

    /// What waited is stored.
    pub fn on_stored(&mut self) {
        self.periods.clear();
        self.complete_until = None;
    }

    /// Nothing is said to be complete of which it is not known what the camera did.
    fn complete(&mut self, until: Stamp) {
        let known = self.repeated_since.or(self.last.map(|last| last.at));
        let earliest = known.filter(|known| known.since_boot < until.since_boot).unwrap_or(until);
        self.complete_until = Some(earliest);
    }

    fn append(&mut self, start: Stamp, end: Stamp, state: WatchState, pack: PackDigest) {
        if end.since_boot <= start.since_boot {
            return;
        }
        // A clock that was set in between is believed as it is now.
        let start = if is_even(start, end) { start } else { counted_back(end, start.since_boot) };
        match self.periods.last_mut() {
            Some(open)
                if (open.state, open.pack, open.end.since_boot) == (state, pack, start.since_boot)
                    && is_even(open.end, end) =>
            {
                open.end = end;
            }
            _ => self.periods.push(WatchedPeriod { start, end, state, pack }),
        }
        if self.periods.len() > MOST_PERIODS {
            self.periods.remove(0);
        }
    }
}

/// What holds from a frame of this view to a clear one.
fn state_after(view: CameraView) -> WatchState {
    match view {
        CameraView::Covered => WatchState::CameraCovered,
        CameraView::Frozen => WatchState::CameraFrozen,
        CameraView::Clear | CameraView::Repeated | CameraView::Unreadable | CameraView::Silent => {
            WatchState::Watching
        }
    }
}

fn is_even(earlier: Stamp, later: Stamp) -> bool {
    let ran = SignedDuration::try_from(later.since_boot.saturating_sub(earlier.since_boot));
    let off = ran.map(|ran| later.wall.duration_since(earlier.wall) - ran);
    earlier.synchronised == later.synchronised && off.is_ok_and(|off| off.abs() <= EVEN)
}

/// The stamp of an earlier moment on the clock of a later one.
pub(crate) fn counted_back(later: Stamp, since_boot: Duration) -> Stamp {
    let wall = later.wall.checked_sub(later.since_boot.saturating_sub(since_boot)).unwrap_or(later.wall);
    Stamp { wall, since_boot, ..later }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::vision::{Vision, fake::FakeVision};
    use CameraView::{Clear, Covered, Frozen, Repeated, Silent, Unreadable};

    fn at(seconds: u64) -> Stamp {
        Stamp { synchronised: true, ..Stamp::default().after(Duration::from_secs(1_800_000_000 + seconds)) }
    }

    fn seen(second: u64, view: CameraView) -> Observation {
        Observation {
            at: at(second),
            view,
            complete_until: at(second),
            dropped: 0,
            patience: Duration::from_secs(10),
            pack: FakeVision.pack_digest(),
        }
    }

    fn said(log: &WatchLog) -> Vec<(u64, u64, WatchState)> {
        let second = |stamp: Stamp| stamp.since_boot.as_secs() - 1_800_000_000;
        log.waiting().0.iter().map(|p| (second(p.start), second(p.end), p.state)).collect()
    }

    fn log(views: &[(u64, CameraView)]) -> WatchLog {
        let mut log = WatchLog::default();
        views.iter().for_each(|(second, view)| log.observe(&seen(*second, *view), false));
        log
    }

    #[test]
    fn a_camera_that_gives_frames_is_watched_between_them_only() {
        assert_eq!(said(&log(&[(0, Clear)])), [], "one frame is no period");
        assert_eq!(said(&log(&[(0, Clear), (5, Clear), (9, Clear)])), [(0, 9, WatchState::Watching)]);
        let gap = log(&[(0, Clear), (5, Clear), (65, Clear), (66, Clear)]);
        let failed = (5, 65, WatchState::CameraFailed);
        assert_eq!(said(&gap), [(0, 5, WatchState::Watching), failed, (65, 66, WatchState::Watching)]);
    }

    #[test]
    fn silence_is_a_failure_after_a_while_and_one_bad_frame_is_none() {
        let short = log(&[(0, Clear), (5, Silent), (8, Unreadable), (9, Clear)]);
        assert_eq!(said(&short), [(0, 9, WatchState::Watching)]);
        let dead = log(&[(0, Clear), (5, Silent), (11, Silent), (21, Silent)]);
        assert_eq!(said(&dead), [(0, 21, WatchState::CameraFailed)]);
        let never = log(&[(0, Silent), (11, Silent)]);
        assert_eq!(said(&never), [(0, 11, WatchState::CameraFailed)], "it never gave any");
        let damaged = log(&[(0, Clear), (6, Unreadable), (12, Unreadable)]);
        assert_eq!(said(&damaged), [(0, 12, WatchState::CameraFailed)]);
    }

    #[test]
    fn the_first_minute_of_a_frozen_camera_is_not_claimed() {
        let mut frozen = log(&[(0, Clear), (1, Clear)]);
        (2..61).for_each(|second| frozen.observe(&seen(second, Repeated), false));
        assert_eq!(said(&frozen), [(0, 1, WatchState::Watching)], "nobody knows yet");
        assert_eq!(frozen.waiting().1, Some(at(1)), "nor is it called complete");
        frozen.observe(&seen(61, Frozen), false);
        assert_eq!(said(&frozen), [(0, 1, WatchState::Watching), (1, 61, WatchState::CameraFrozen)]);
        frozen.observe(&seen(62, Clear), false);
        frozen.observe(&seen(63, Clear), false);
        assert_eq!(said(&frozen)[1..], [(1, 62, WatchState::CameraFrozen), (62, 63, WatchState::Watching)]);
        let still = log(&[(0, Clear), (5, Repeated), (10, Repeated), (15, Clear)]);
        assert_eq!(said(&still), [(0, 15, WatchState::Watching)], "it was a still room");
        let died = log(&[(0, Clear), (5, Repeated), (50, Silent)]);
        assert_eq!(said(&died), [(0, 50, WatchState::CameraFailed)]);
    }

    #[test]
    fn a_covered_lens_is_one_from_its_first_frame_to_the_next_clear_one() {
        let covered = log(&[(0, Clear), (1, Covered), (2, Covered), (3, Clear), (4, Clear)]);
        let states = [(0, 3, WatchState::CameraCovered), (3, 4, WatchState::Watching)];
        assert_eq!(said(&covered), states);
    }

    #[test]
    fn a_busy_device_and_a_full_disk_say_so() {
        let mut busy = log(&[(0, Clear)]);
        busy.observe(&Observation { dropped: 3, ..seen(30, Clear) }, false);
        assert_eq!(said(&busy), [(0, 30, WatchState::Overloaded)]);
        busy.observe(&Observation { dropped: 9, ..seen(60, Clear) }, true);
        assert_eq!(said(&busy)[1..], [(30, 60, WatchState::DiskFull)]);
    }

    #[test]
    fn a_clock_that_is_set_begins_another_period() {
        let mut log = log(&[(0, Clear), (5, Clear)]);
        let set = Stamp { wall: at(3606).wall, ..at(6) };
        log.observe(&Observation { at: set, ..seen(6, Clear) }, false);
        let later = Stamp { wall: at(3608).wall, ..at(8) };
        log.observe(&Observation { at: later, ..seen(8, Clear) }, false);
        let [before, after] = log.waiting().0 else { panic!("{:?}", log.waiting()) };
        assert_eq!((before.end.wall, after.start.wall), (at(5).wall, at(3605).wall));
        assert_eq!((before.end.since_boot, after.start.since_boot), (at(5).since_boot, at(5).since_boot));
        assert_eq!(after.end.wall, at(3608).wall);
    }

    proptest! {
        /// Periods follow one another without overlaps, none lasts beyond what was observed, and while a camera is
        /// watched no two frames of it are further apart than the patience.
        #[test]
        fn periods_are_in_order_and_claim_no_more_than_was_seen(
            steps in prop::collection::vec((1..30u64, 0..6usize), 0..60),
        ) {
            let views = [Clear, Repeated, Frozen, Covered, Unreadable, Silent];
            let (mut now, mut log, mut frames) = (0, WatchLog::default(), Vec::new());
            for (step, view) in steps {
                now += step;
                log.observe(&seen(now, views[view]), false);
                if views[view] != Silent && views[view] != Unreadable {
                    frames.push(now);
                }
                let said = said(&log);
                prop_assert!(said.iter().all(|(start, end, _)| start < end && *end <= now));
                prop_assert!(said.windows(2).all(|pair| pair[0].1 <= pair[1].0));
                for (start, end, _) in said.iter().filter(|p| p.2 == WatchState::Watching) {
                    let gap = frames.windows(2).find(|f| f[1] - f[0] > 10 && f[0] < *end && f[1] > *start);
                    prop_assert!(gap.is_none(), "{gap:?} in {start}..{end}");
                }
            }
        }
    }
}
