use std::time::Duration;

/// Delay after the first failure.
const FIRST: Duration = Duration::from_millis(200);

/// Longest delay while the camera has never given a picture: nobody waits for it yet.
const LONGEST: Duration = Duration::from_secs(15);

/// Longest delay while it gives pictures now and then: they are to be back within three seconds.
const LONGEST_WORKING: Duration = Duration::from_secs(2);

/// From when on an opening counts as a success, so that the next failure is the first one again.
const STEADY: Duration = Duration::from_secs(10);

/// When a camera that failed is opened again. Without a clock of its own.
#[derive(Debug, Clone, Default)]
pub struct RestartBackoff {
    failures: u32,
    opened: Option<Duration>,
    /// The camera has given a picture since it was opened.
    gave_picture: bool,
    /// The camera gave a picture in this or the opening before.
    worked_before: bool,
}

impl RestartBackoff {
    /// The camera was opened `now`; it has not given a picture yet.
    pub fn on_open(&mut self, now: Duration) {
        self.opened = Some(now);
        self.gave_picture = false;
    }

    /// The camera has given a picture; true for the first one of an opening.
    pub fn on_picture(&mut self) -> bool {
        !std::mem::replace(&mut self.gave_picture, true)
    }

    /// The camera has failed, or did not open; the delay until the next attempt.
    pub fn on_failure(&mut self, now: Duration) -> Duration {
        let steady = self.opened.take().is_some_and(|opened| now.saturating_sub(opened) >= STEADY);
        if self.gave_picture && steady {
            self.failures = 0;
        }
        self.worked_before = self.gave_picture || (self.worked_before && self.failures < 8);
        self.gave_picture = false;
        let longest = if self.worked_before { LONGEST_WORKING } else { LONGEST };
        let delay = FIRST.saturating_mul(1 << self.failures.min(10)).min(longest);
        self.failures = self.failures.saturating_add(1);
        delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_works_is_back_soon_however_often_it_is_killed() {
        let mut restarts = RestartBackoff::default();
        let mut now = Duration::ZERO;
        for _ in 0..50 {
            restarts.on_open(now);
            assert!(restarts.on_picture() && !restarts.on_picture());
            now += Duration::from_secs(1);
            let delay = restarts.on_failure(now);
            assert!(delay <= LONGEST_WORKING);
            now += delay;
        }
        restarts.on_open(now);
        restarts.on_picture();
        assert_eq!(restarts.on_failure(now + STEADY), FIRST);
    }

    #[test]
    fn a_camera_that_is_not_there_is_tried_seldom() {
        let mut restarts = RestartBackoff::default();
        let delays: Vec<_> = (0..12).map(|_| restarts.on_failure(Duration::ZERO)).collect();
        assert_eq!(delays[0], FIRST);
        assert!(delays.is_sorted());
        assert_eq!(delays[11], LONGEST);
    }
}
