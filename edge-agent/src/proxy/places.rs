//! How many connections there are, and which of them have to go.
//!
//! A connection is a newcomer until somebody on it has proved who they are, and for as long as that
//! only for a moment. Where there are too many, the oldest newcomer goes: whoever opens connections
//! and says nothing drives out others of the same kind, and no camera that works.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// How long a newcomer has to prove who it is, and how long a connection may be idle after that.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// How long a connection stays on which a frame did not come in time: for the answer to be sent. One
/// with others under way stays for them.
const FAREWELL: Duration = Duration::from_secs(1);

/// The places that there are for connections.
#[derive(Debug, Clone)]
pub(super) struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    next: u64,
    /// By age.
    newcomers: BTreeMap<u64, CancellationToken>,
}

/// A connection's place, left when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    shared: Arc<Shared>,
    number: u64,
    /// Somebody else needs the place.
    pub(super) driven_out: CancellationToken,
    activity: Mutex<Activity>,
    busy: AtomicUsize,
    slow: Notify,
}

#[derive(Debug, Clone, Copy)]
struct Activity {
    /// Somebody has proved who they are.
    known: bool,
    /// When the connection came, or did something last.
    last: Instant,
}

/// A request is under way on a connection until this is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Place>);

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self(Arc::new(Shared { most, taken: Mutex::default() }))
    }

    /// A place for a new connection; `None` where all are taken by those who are known.
    pub(super) fn enter(&self) -> Option<Arc<Place>> {
        let mut taken = self.0.lock();
        // Whoever is driven out leaves in a moment, and is not waited for.
        if taken.count >= self.0.most {
            taken.newcomers.pop_first()?.1.cancel();
        }
        taken.count += 1;
        taken.next += 1;
        let (number, driven_out) = (taken.next, CancellationToken::new());
        taken.newcomers.insert(number, driven_out.clone());
        drop(taken);
        let activity = Mutex::new(Activity { known: false, last: Instant::now() });
        let shared = Arc::clone(&self.0);
        let (busy, slow) = (AtomicUsize::new(0), Notify::new());
        Some(Arc::new(Place { shared, number, driven_out, activity, busy, slow }))
    }
}

impl Shared {
    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Somebody on the connection has proved who they are, and begins something.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.shared.lock().newcomers.remove(&self.number);
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.activity().known = true;
        Busy(Arc::clone(self))
    }

    /// A frame on the connection did not come in time: it is answered, and the connection closed.
    pub(super) fn too_slow(&self) {
        self.slow.notify_one();
    }

    /// Returns when the connection has been idle, or unknown, for too long, or was too slow.
    pub(super) async fn overstayed(&self) {
        loop {
            let last = self.activity().last;
            tokio::select! {
                () = sleep_until(last + PATIENCE) => {}
                () = self.slow.notified() => {
                    sleep(FAREWELL).await;
                    if self.busy.load(Ordering::Relaxed) == 0 {
                        return;
                    }
                }
            }
            // What is under way has time limits of its own.
            if self.busy.load(Ordering::Relaxed) > 0 {
                self.activity().last = Instant::now();
            } else if self.activity().last == last {
                return;
            }
        }
    }

    fn activity(&self) -> std::sync::MutexGuard<'_, Activity> {
        self.activity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.shared.lock();
        taken.count = taken.count.saturating_sub(1);
        taken.newcomers.remove(&self.number);
    }
}

impl Busy {
    /// As [`Place::too_slow`].
    pub(super) fn too_slow(&self) {
        self.0.too_slow();
    }
}

impl Clone for Busy {
    fn clone(&self) -> Self {
        self.0.busy.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.activity().last = Instant::now();
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn newcomers_make_room_and_the_known_stay() {
        let places = Places::new(3);
        let (one, two, three) = (places.enter().unwrap(), places.enter().unwrap(), places.enter().unwrap());
        drop(one.begin());
        let four = places.enter().unwrap();
        assert!(two.driven_out.is_cancelled(), "the oldest newcomer");
        assert!(!one.driven_out.is_cancelled() && !three.driven_out.is_cancelled());
        drop(two);
        let _busy = (three.begin(), four.begin());
        assert!(places.enter().is_none());
        drop(one);
        assert!(places.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn the_idle_and_the_silent_overstay() {
        let places = Places::new(3);
        let begun = Instant::now();
        let silent = places.enter().unwrap();
        silent.overstayed().await;
        assert_eq!(begun.elapsed(), PATIENCE);
        let working = places.enter().unwrap();
        let busy = working.begin();
        let again = busy.clone();
        let work = async {
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(busy);
            tokio::time::sleep(Duration::from_secs(60)).await;
            drop(again);
            Instant::now()
        };
        let ((), done) = tokio::join!(working.overstayed(), work);
        assert!(done.elapsed() >= PATIENCE && done.elapsed() <= 2 * PATIENCE, "{:?}", done.elapsed());
        let slow = places.enter().unwrap();
        let (busy, begun) = (slow.begin(), Instant::now());
        slow.too_slow();
        drop(busy);
        slow.overstayed().await;
        assert_eq!(begun.elapsed(), FAREWELL);
        // A gateway's other frames are not to suffer for one.
        let (_other, begun) = (slow.begin(), Instant::now());
        slow.too_slow();
        let stays = tokio::time::timeout(Duration::from_secs(60), slow.overstayed()).await;
        assert!(stays.is_err() && begun.elapsed() >= Duration::from_secs(60));
    }
}
