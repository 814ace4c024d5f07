use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{Frame, Source, SourceError};
use crate::health::HealthCounters;

/// How much earlier than its time a live frame may come and still be taken: cameras jitter.
const JITTER_SHARE: f64 = 0.2;

/// What a source gave while it was pumped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PumpCounts {
    /// Frames that were passed on.
    pub frames: u64,
    /// Frames that came while the agent was still busy with the one before.
    pub dropped: u64,
}

/// Passes frames on, at most one per `period`, until the source ends, nobody wants them, or `stop`.
/// The source waits for whoever takes the frames.
///
/// # Errors
/// The source can't go on.
pub async fn pump<S: Source>(
    mut source: S,
    period: Option<Duration>,
    frames: mpsc::Sender<Frame>,
    stop: CancellationToken,
    counters: Arc<HealthCounters>,
) -> Result<PumpCounts, SourceError> {
    let mut ticks = period.map(|period| {
        let mut ticks = interval(period);
        // A slow frame must not be followed by a burst: the rate bounds what the networks use of the processor.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    let mut pumped = PumpCounts::default();
    let pumping = async {
        loop {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            let Some(frame) = source.next_frame().await? else { return Ok(()) };
            if frames.send(frame).await.is_err() {
                return Ok(());
            }
            pumped.frames += 1;
            counters.taken.add(1);
        }
    };
    // Stopping between two awaits loses at most one frame that nobody has seen: its cursor is not
    // persisted, so it comes again.
    stop.run_until_cancelled(pumping).await.unwrap_or(Ok(()))?;
    Ok(pumped)
}

/// Passes frames of a source that does not wait on, at most one per `period`, and always the newest
/// one: what nobody was ready for is dropped and counted.
///
/// # Errors
/// The source can't go on.
pub async fn pump_live<S: Source>(
    source: S,
    period: Option<Duration>,
    frames: mpsc::Sender<Frame>,
    stop: CancellationToken,
    counters: Arc<HealthCounters>,
) -> Result<PumpCounts, SourceError> {
    let mut pumped = PumpCounts::default();
    let mut limiter = FrameRateLimiter { period, next: None };
    let mut waiting: Option<Frame> = None;
    // The future of the next frame owns the source and stays alive over everything else.
    let mut coming = Box::pin(take(source));
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(pumped),
            permit = frames.reserve(), if waiting.is_some() => {
                let (Ok(permit), Some(frame)) = (permit, waiting.take()) else { return Ok(pumped) };
                permit.send(frame);
                pumped.frames += 1;
                counters.taken.add(1);
            }
            (source, frame) = &mut coming => {
                let Some(frame) = frame? else { break };
                coming.set(take(source));
                if limiter.is_due(frame.taken.since_boot) && waiting.replace(frame).is_some() {
                    pumped.dropped += 1;
                    counters.dropped.add(1);
                }
            }
        }
    }
    if let Some(frame) = waiting
        && frames.send(frame).await.is_ok()
    {
        pumped.frames += 1;
        counters.taken.add(1);
    }
    Ok(pumped)
}

async fn take<S: Source>(mut source: S) -> (S, Result<Option<Frame>, SourceError>) {
    let frame = source.next_frame().await;
    (source, frame)
}

/// Lets one frame per period through, without drifting from the source's own rhythm.
struct FrameRateLimiter {
    period: Option<Duration>,
    next: Option<Duration>,
}

impl FrameRateLimiter {
    fn is_due(&mut self, now: Duration) -> bool {
        let Some(period) = self.period else { return true };
        let due = self.next.is_none_or(|next| now + period.mul_f64(JITTER_SHARE) >= next);
        if due {
            // After a pause the rhythm begins anew instead of catching up.
            self.next = Some(self.next.map_or(now, |next| next.max(now.saturating_sub(period))) + period);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Stamp;

    /// Gives numbered frames every 20 ms, `count` of them.
    struct Ticking {
        count: u64,
        given: u64,
    }

    impl Source for Ticking {
        async fn next_frame(&mut self) -> Result<Option<Frame>, SourceError> {
            tokio::time::sleep(Duration::from_millis(20)).await;
            self.given += 1;
            let taken = Stamp::default().after(Duration::from_millis(20 * self.given));
            let frame = Frame { name: self.given.to_string(), taken, image: Ok(vec![]), cursor: None };
            Ok((self.given <= self.count).then_some(frame))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_taker_gets_the_newest_frame() {
        let (sender, mut receiver) = mpsc::channel(1);
        let source = Ticking { count: 100, given: 0 };
        let pumping = tokio::spawn(pump_live(source, None, sender, CancellationToken::new(), Arc::default()));
        let mut names = Vec::new();
        while let Some(frame) = receiver.recv().await {
            names.push(frame.name.parse::<u64>().unwrap());
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let pumped = pumping.await.unwrap().unwrap();
        assert_eq!(pumped.frames + pumped.dropped, 100);
        assert_eq!(pumped.frames, names.len() as u64);
        assert!((8..20).contains(&names.len()) && names.is_sorted(), "{names:?}");
        assert_eq!(names.last(), Some(&100));
    }

    #[tokio::test(start_paused = true)]
    async fn the_period_is_kept() {
        let (sender, mut receiver) = mpsc::channel(100);
        let source = Ticking { count: 100, given: 0 };
        let period = Some(Duration::from_millis(100));
        pump_live(source, period, sender, CancellationToken::new(), Arc::default()).await.unwrap();
        let mut count = 0;
        while receiver.recv().await.is_some() {
            count += 1;
        }
        assert!((20..=21).contains(&count), "{count} in two seconds at ten a second");
    }
}
