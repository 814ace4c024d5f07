use std::time::Duration;

use super::{Luma, MotionOptions};
use crate::clock::Stamp;

/// By how many of 255 levels a cell has to differ. A cell averages hundreds of pixels, so sensor
/// noise is far below this, and a face against a wall far above.
const CELL_CHANGE: f32 = 4.0;

/// How fast what stands still becomes background.
const ADAPTATION: Duration = Duration::from_secs(2);

/// Without motion for so long, a room is expected to stay empty for a while.
const IDLE_AFTER: Duration = Duration::from_secs(60);

/// Least time between two frames that are compared in such a room: every second one of five a second.
const IDLE_PERIOD: Duration = Duration::from_millis(350);

/// What the gate makes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MotionResult {
    /// Something moves, or moved a moment ago.
    Motion,
    /// Nothing moves, but it is time to look.
    Heartbeat,
    /// The picture can't be judged; the decoder will say more.
    Unclear,
    /// Nothing moves, and no heartbeat is due: the frame is not analysed.
    Still,
}

impl MotionResult {
    /// The frame is to be analysed.
    #[must_use]
    pub const fn passes(self) -> bool {
        !matches!(self, Self::Still)
    }
}

/// Compares every frame with a slowly adapting background.
#[derive(Debug)]
pub struct MotionGate {
    options: MotionOptions,
    background: Option<Background>,
    last_motion: Option<Duration>,
    last_passed: Option<Duration>,
}

#[derive(Debug)]
struct Background {
    cells: Vec<f32>,
    at: Duration,
}

impl MotionGate {
    /// A gate that lets the first frame pass.
    #[must_use]
    pub fn new(options: MotionOptions) -> Self {
        Self { options, background: None, last_motion: None, last_passed: None }
    }

    /// Nothing has moved for long, and a frame was judged a moment ago: this one need not even be read.
    #[must_use]
    pub fn can_skip(&self, taken: Stamp) -> bool {
        let since = |then: Duration| taken.since_boot.saturating_sub(then);
        self.last_motion.is_some_and(|then| since(then) > IDLE_AFTER)
            && self.background.as_ref().is_some_and(|background| since(background.at) < IDLE_PERIOD)
    }

    /// Judges a frame by its reduced brightness; `None` where it could not be read.
    pub fn classify(&mut self, taken: Stamp, luma: Option<&Luma>) -> MotionResult {
        let now = taken.since_boot;
        let Some(luma) = luma else {
            self.last_passed = Some(now);
            return MotionResult::Unclear;
        };
        if self.changed(now, luma) >= self.options.threshold {
            self.last_motion = Some(now);
        }
        let within = |then: Option<Duration>, span| then.is_some_and(|then| now.saturating_sub(then) <= span);
        let result = if within(self.last_motion, self.options.hold) {
            MotionResult::Motion
        } else if within(self.last_passed, self.options.heartbeat) {
            MotionResult::Still
        } else {
            MotionResult::Heartbeat
        };
        if result.passes() {
            self.last_passed = Some(now);
        }
        result
    }

    /// Share of cells that differ from the background, which takes the frame in.
    fn changed(&mut self, now: Duration, luma: &Luma) -> f32 {
        let cells = luma.cells();
        // Another size is another camera mode: everything is new.
        let Some(background) = self.background.as_mut().filter(|b| b.cells.len() == cells.len()) else {
            self.background = Some(Background { cells: cells.to_vec(), at: now });
            return 1.0;
        };
        let elapsed = now.saturating_sub(background.at).as_secs_f32() / ADAPTATION.as_secs_f32();
        background.at = now;
        let share = 1.0 - (-elapsed).exp();
        let count = cells.len() as f32;
        // Light that changes for the whole room (a lamp, the camera's own gain) is no motion.
        let shift = cells.iter().zip(&background.cells).map(|(c, b)| c - b).sum::<f32>() / count;
        let mut changed = 0_u32;
        for (cell, background) in cells.iter().zip(&mut background.cells) {
            changed += u32::from((cell - *background - shift).abs() > CELL_CHANGE);
            *background += share * (cell - *background);
        }
        changed as f32 / count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: MotionOptions =
        MotionOptions { threshold: 0.01, heartbeat: Duration::from_secs(30), hold: Duration::from_secs(3) };

    fn at(millis: u64) -> Stamp {
        Stamp::default().after(Duration::from_millis(millis))
    }

    /// A grey room with noise, and with a bright square of `size` cells a side at `x`.
    fn room(frame: u64, level: f32, size: usize, x: usize) -> Luma {
        Luma::from_cells(64, 48, |column, row| {
            let noise = ((column as u64 * 31 + row as u64 * 17 + frame * 7) % 11) as f32 / 10.0;
            let inside = (x..x + size).contains(&column) && (10..10 + size).contains(&row);
            level + noise + if inside { 60.0 } else { 0.0 }
        })
    }

    fn passed(gate: &mut MotionGate, frames: std::ops::Range<u64>, room: impl Fn(u64) -> Luma) -> usize {
        frames.filter(|frame| gate.classify(at(frame * 200), Some(&room(*frame))).passes()).count()
    }

    #[test]
    fn an_empty_room_passes_little_more_than_heartbeats() {
        let mut gate = MotionGate::new(OPTIONS);
        assert!(passed(&mut gate, 0..25, |frame| room(frame, 90.0, 0, 0)) > 0, "the first frame passes");
        // Ten minutes at five frames a second; dusk falls.
        let passed = passed(&mut gate, 25..3025, |frame| room(frame, 90.0 - frame as f32 / 60.0, 0, 0));
        assert!((15..=25).contains(&passed), "{passed}");
    }

    #[test]
    fn somebody_who_walks_in_is_seen_at_once_and_for_a_while_after() {
        let mut gate = MotionGate::new(OPTIONS);
        passed(&mut gate, 0..50, |frame| room(frame, 90.0, 0, 0));
        assert_eq!(gate.classify(at(10_000), Some(&room(50, 90.0, 6, 2))), MotionResult::Motion);
        assert_eq!(passed(&mut gate, 51..60, |frame| room(frame, 90.0, 6, frame as usize % 50)), 9);
        let after = passed(&mut gate, 60..200, |frame| room(frame, 90.0, 6, 9));
        assert!((15..60).contains(&after), "{after} frames: the hold and the adaptation, no more");
    }

    #[test]
    fn a_room_that_stays_empty_is_looked_at_half_as_often_and_wakes_at_once() {
        let mut gate = MotionGate::new(OPTIONS);
        let mut judged = |frames: std::ops::Range<u64>, size| {
            let look = |frame: u64| {
                let taken = at(frame * 200);
                (!gate.can_skip(taken)).then(|| gate.classify(taken, Some(&room(frame, 90.0, size, 2))))
            };
            frames.filter_map(look).collect::<Vec<_>>()
        };
        assert_eq!(judged(0..300, 0).len(), 300, "for a minute");
        assert_eq!(judged(320..1320, 0).len(), 500);
        assert_eq!(
            judged(1321..1323, 6),
            [MotionResult::Motion; 2],
            "from the first frame that is judged on"
        );
        assert_eq!(judged(1323..1623, 6).len(), 300, "awake for a minute");
    }

    #[test]
    fn a_lamp_for_the_whole_room_is_no_motion() {
        let mut gate = MotionGate::new(OPTIONS);
        passed(&mut gate, 0..50, |frame| room(frame, 90.0, 0, 0));
        assert_eq!(gate.classify(at(10_000), Some(&room(50, 140.0, 0, 0))), MotionResult::Still);
    }

    #[test]
    fn what_cannot_be_judged_passes() {
        let mut gate = MotionGate::new(OPTIONS);
        assert_eq!(gate.classify(at(0), None), MotionResult::Unclear);
        let mut open = MotionGate::new(MotionOptions { threshold: 0.0, ..OPTIONS });
        assert_eq!(passed(&mut open, 0..100, |_| room(0, 90.0, 0, 0)), 100);
    }
}
