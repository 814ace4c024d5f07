use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use cavs_proto::v1::DeviceHealth;

use super::{
    HealthCounters,
    system::{self, CpuTimes},
};
use crate::{clock::Stamp, files::folder_of};

/// Rates over less time than this say nothing.
const SHORTEST: Duration = Duration::from_secs(1);

/// Says how the agent and its machine are; rates are from one report to the next.
#[derive(Debug)]
pub struct HealthReporter {
    counters: Arc<HealthCounters>,
    /// A folder on the spool's file system.
    folder: PathBuf,
    began: Instant,
    last: Sample,
    rates: Rates,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Instant,
    cpu: Option<CpuTimes>,
    done: u64,
    faces: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Rates {
    cpu_percent: Option<f32>,
    frames: Option<f32>,
    faces: Option<f32>,
}

impl HealthReporter {
    /// A reporter over counters, and of the file system on which the spool at `path` is.
    #[must_use]
    pub fn new(counters: Arc<HealthCounters>, path: &Path) -> Self {
        let folder = folder_of(path).to_path_buf();
        let now = Instant::now();
        let last = Sample::take(&counters, now);
        Self { counters, folder, began: now, last, rates: Rates::default() }
    }

    /// The counters that it reads.
    #[must_use]
    pub fn counters(&self) -> Arc<HealthCounters> {
        Arc::clone(&self.counters)
    }

    /// Reads counters and kernel; rates are new where at least a second has passed.
    pub fn report(&mut self, now: Instant) -> DeviceHealth {
        if now.saturating_duration_since(self.last.at) >= SHORTEST {
            let sample = Sample::take(&self.counters, now);
            self.rates = sample.since(&self.last);
            self.last = sample;
        }
        let HealthCounters {
            done,
            bad,
            dropped,
            source_failures,
            unknown_messages,
            storing_fails,
            settling_fails,
            ..
        } = &*self.counters;
        DeviceHealth {
            temperature: system::temperature(),
            cpu_percent: self.rates.cpu_percent,
            memory_resident: system::memory_resident(),
            memory_available: system::memory_available(),
            disk_free: system::disk_free(&self.folder),
            frames_per_second: self.rates.frames,
            faces_per_second: self.rates.faces,
            frames: done.get(),
            frames_bad: bad.get(),
            frames_dropped: dropped.get(),
            source_failures: source_failures.get(),
            uptime_seconds: now.saturating_duration_since(self.began).as_secs(),
            clock_synchronised: Stamp::now().synchronised,
            unknown_messages: unknown_messages.get(),
            disk_full: storing_fails.load(Relaxed) || settling_fails.load(Relaxed),
        }
    }
}

impl Sample {
    fn take(counters: &HealthCounters, at: Instant) -> Self {
        Self { at, cpu: system::cpu_times(), done: counters.done.get(), faces: counters.faces.get() }
    }

    fn since(&self, earlier: &Self) -> Rates {
        let seconds = self.at.saturating_duration_since(earlier.at).as_secs_f32();
        let rate = |now: u64, before: u64| Some(now.saturating_sub(before) as f32 / seconds);
        let busy = self.cpu.zip(earlier.cpu).and_then(|(now, before)| {
            let all = now.all.checked_sub(before.all).filter(|all| *all > 0)?;
            Some(100.0 * now.busy.saturating_sub(before.busy) as f32 / all as f32)
        });
        Rates {
            cpu_percent: busy.map(|busy| busy.min(100.0)),
            frames: rate(self.done, earlier.done),
            faces: rate(self.faces, earlier.faces),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_time_since_the_last_report() {
        let counters = Arc::new(HealthCounters::default());
        let mut reporter = HealthReporter::new(Arc::clone(&counters), Path::new("/tmp/spool.db"));
        let began = reporter.last.at;
        counters.done.add(50);
        counters.faces.add(20);
        let first = reporter.report(began + Duration::from_secs(10));
        assert_eq!((first.frames_per_second, first.faces_per_second), (Some(5.0), Some(2.0)));
        assert_eq!((first.frames, first.uptime_seconds), (50, 10));
        // Too soon for new rates.
        let second = reporter.report(began + Duration::from_millis(10_001));
        assert_eq!(second.frames_per_second, Some(5.0));
        let third = reporter.report(began + Duration::from_secs(20));
        assert_eq!(third.frames_per_second, Some(0.0));
        assert!(third.disk_free.is_some() && third.memory_resident.is_some());
    }
}
