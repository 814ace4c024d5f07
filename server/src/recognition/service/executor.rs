//! Where the gallery's searches run: on as many threads as there are cores, with a bounded queue before them.

use std::{sync::Arc, thread, time::Duration};

use tokio::{sync::Semaphore, time::timeout};

use crate::error::{ServiceError, blocking};

/// Searches of people that may wait.
const PEOPLE: usize = 64;
/// Batches of devices that may wait. A batch of 64 takes tens of milliseconds of a core.
const DEVICES: usize = 256;
/// Longest wait: far below the limit of a call, so that whoever waited in vain is told so.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// When it is worth while to try again: a full queue has moved on by then.
const RETRY: Duration = Duration::from_secs(2);

/// For whom something is computed. Each has a queue, so that no flood of sightings turns people away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// Enrollment.
    People,
    /// Batches of sightings.
    Devices,
}

/// Runs computations, as many at a time as there are workers. Each runs to its end, also where its caller has
/// gone; what still waits is forgotten with its caller.
pub(super) struct Executor {
    workers: Arc<Semaphore>,
    people: Semaphore,
    devices: Semaphore,
    longest_wait: Duration,
}

impl Executor {
    /// One with a worker a core.
    pub(super) fn new() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self::with(cores, PEOPLE, DEVICES, LONGEST_WAIT)
    }

    fn with(workers: usize, people: usize, devices: usize, longest_wait: Duration) -> Self {
        let [people, devices] = [people, devices].map(Semaphore::new);
        Self { workers: Arc::new(Semaphore::new(workers)), people, devices, longest_wait }
    }

    /// Runs a computation once a worker is free.
    ///
    /// # Errors
    /// `Busy`: the queue is full, or does not move. `Stopped`: it panicked.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ServiceError> {
        let busy = || ServiceError::Busy { what: "matching", retry_in: RETRY };
        let queue = match lane {
            Lane::People => &self.people,
            Lane::Devices => &self.devices,
        };
        let place = queue.try_acquire().map_err(|_| busy())?;
        let worker = timeout(self.longest_wait, Arc::clone(&self.workers).acquire_owned()).await;
        let Ok(Ok(worker)) = worker else { return Err(busy()) };
        drop(place);
        blocking(move || {
            let _worker = worker;
            work()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicUsize, Ordering},
        mpsc,
    };

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn never_more_than_the_workers_run_and_what_has_no_place_is_shed() {
        let executor = Arc::new(Executor::with(2, 1, 3, Duration::from_secs(60)));
        let running = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let (open, gate) = mpsc::channel::<()>();
        let gate = Arc::new(std::sync::Mutex::new(gate));
        let job = |lane| {
            let (executor, running) = (Arc::clone(&executor), Arc::clone(&running));
            let (most, gate) = (Arc::clone(&most), Arc::clone(&gate));
            tokio::spawn(async move {
                let work = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let _ = gate.lock().map(|gate| gate.recv());
                    running.fetch_sub(1, Ordering::SeqCst);
                };
                executor.run(lane, work).await
            })
        };
        let mut jobs = Vec::new();
        // Two run and three wait.
        for waiting in [0, 0, 1, 2, 3] {
            jobs.push(job(Lane::Devices));
            while executor.devices.available_permits() != 3 - waiting
                || executor.workers.available_permits() != 2_usize.saturating_sub(jobs.len())
            {
                tokio::task::yield_now().await;
            }
        }
        let shed = job(Lane::Devices).await.unwrap();
        assert!(matches!(shed, Err(ServiceError::Busy { .. })), "{shed:?}");
        // Devices take no place of people's.
        jobs.push(job(Lane::People));
        while executor.people.available_permits() != 0 {
            tokio::task::yield_now().await;
        }
        // Who has a worker may still wait for its thread.
        while running.load(Ordering::SeqCst) != 2 {
            tokio::task::yield_now().await;
        }
        jobs.iter().for_each(|_| open.send(()).unwrap());
        for job in jobs {
            job.await.unwrap().unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn who_waits_for_too_long_is_told_and_leaves_no_work_behind() {
        let executor = Executor::with(1, 1, 1, Duration::from_millis(10));
        let (open, gate) = mpsc::channel::<()>();
        let held = executor.run(Lane::Devices, move || gate.recv());
        let mut held = Box::pin(held);
        assert!(timeout(Duration::from_millis(1), &mut held).await.is_err());
        let waited = executor.run::<()>(Lane::People, || panic!("nobody waits for this")).await;
        assert!(matches!(waited, Err(ServiceError::Busy { .. })), "{waited:?}");
        open.send(()).unwrap();
        held.await.unwrap().unwrap();
        executor.run(Lane::People, || ()).await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_frees_its_worker() {
        let executor = Executor::with(1, 1, 1, Duration::from_secs(60));
        let panicked = executor.run::<()>(Lane::Devices, || panic!("on purpose")).await;
        assert!(matches!(panicked, Err(ServiceError::Stopped(_))), "{panicked:?}");
        executor.run(Lane::Devices, || ()).await.unwrap();
    }
}
