use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cavs_models::{FacePipeline, ImageError, PhotographReader, Upright, VisionError};
use cavs_types::ErrorReason;
use thiserror::Error;
use tokio::{
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};
use tracing::{error, warn};
use zeroize::Zeroizing;

use crate::error::{ServiceError, blocking};

/// Pictures that wait for the networks.
const QUEUE: usize = 64;
/// Longest work on one picture. It takes well below a second; the limit of a call is longer.
const LIMIT: Duration = Duration::from_secs(30);
/// Threads that are given up, as they don't come back from a picture, at a time: each may use a core.
const GIVEN_UP: usize = 2;
/// How long a thread that could not be started anew is done without, where others look at pictures meanwhile.
const PARKED: Duration = Duration::from_secs(10);
/// When it is worth while to try again where too many pictures wait.
const RETRY: Duration = Duration::from_secs(5);
/// How much of what is around a face is cut out with it, as a part of its box.
const PORTRAIT_MARGIN: f32 = 0.25;
/// Most pixels of a side of what is cut out: as many as any network looks at.
const PORTRAIT_SIDE: u32 = 256;
/// JPEG quality of what is cut out, 1 to 100.
const PORTRAIT_QUALITY: u8 = 90;

/// Why a picture gave no faces.
#[derive(Debug, Error)]
pub enum VisionFailure {
    /// The picture can't be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The networks can't work on it.
    #[error(transparent)]
    Network(#[from] VisionError),
    /// The networks broke down over it.
    #[error("the networks broke down over this picture; the server's log has the cause")]
    Panicked,
    /// The networks did not come back from it.
    #[error("the networks took longer than {} seconds for this picture", .0.as_secs())]
    TooSlow(Duration),
}

impl VisionFailure {
    /// The stable reason.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Image(error) => error.reason(),
            Self::Network(error) => error.reason(),
            Self::Panicked => "VISION_FAILED",
            Self::TooSlow(_) => "VISION_TOO_SLOW",
        }
    }
}

/// What was seen in a photograph.
#[derive(Default)]
pub struct Looked {
    /// The faces, the right way up, largest first.
    pub upright: Upright,
    /// JPEG of the face with something around it, where it was asked for and there is exactly one.
    pub portrait: Option<Zeroizing<Vec<u8>>>,
}

type Seen = Result<Looked, VisionFailure>;
/// Looks at an encoded picture, and cuts out its face where that is asked for.
type Look = Box<dyn FnMut(&Bytes, bool) -> Seen + Send>;
/// Loads the networks. Called again where they broke down.
type Load = Box<dyn Fn() -> Result<Look, VisionError> + Send + Sync>;

struct Job {
    picture: Bytes,
    cut_out: bool,
    answer: oneshot::Sender<Seen>,
}

/// The networks, several times, each on a thread of its own. Where they break down over a picture, or don't come back
/// from it, that picture is refused, and the next one has a new thread with networks loaded anew; the other threads
/// go on meanwhile. The threads end when the last handle is dropped.
#[derive(Clone)]
pub struct Vision(Arc<Shared>);

struct Shared {
    load: Arc<Load>,
    limit: Duration,
    waiting: Semaphore,
    /// As many as there are workers in `idle` or at work: who has one finds a worker there.
    turns: Semaphore,
    workers: std::sync::Mutex<Workers>,
}

struct Workers {
    /// Those that nobody uses, longest unused first. `None`: networks have to be loaded first.
    idle: VecDeque<Option<Worker>>,
    /// Workers in `idle` or at work: never none.
    in_use: usize,
    /// Those that could not be started anew, and when that is tried again.
    parked: usize,
    parked_until: Instant,
    /// Threads that have not come back yet.
    given_up: Vec<Weak<()>>,
}

/// A thread with networks.
struct Worker {
    jobs: mpsc::Sender<Job>,
    /// As long as the thread lives.
    alive: Weak<()>,
}

impl Vision {
    /// Loads the networks, for so many pictures at a time.
    ///
    /// # Errors
    /// Whatever `load` says.
    pub fn start(
        load: impl Fn() -> Result<FacePipeline, VisionError> + Send + Sync + 'static,
        photographs: PhotographReader,
        workers: usize,
    ) -> Result<Self, VisionError> {
        let load = move || {
            let (mut pipeline, photographs) = (load()?, photographs.clone());
            let look: Look =
                Box::new(move |bytes, cut_out| look(&mut pipeline, &photographs, bytes, cut_out));
            Ok(look)
        };
        Self::with(Box::new(load), LIMIT, workers)
    }

    /// Networks to which all pictures show nobody.
    #[cfg(test)]
    pub(crate) fn blind() -> Result<Self, VisionError> {
        let load = || {
            let look: Look = Box::new(|_, _| Ok(Looked::default()));
            Ok(look)
        };
        Self::with(Box::new(load), LIMIT, 1)
    }

    fn with(load: Load, limit: Duration, workers: usize) -> Result<Self, VisionError> {
        let workers = workers.max(1);
        let started = (0..workers).map(|_| {
            let worker = Worker::start(load()?)
                .inspect_err(|cause| error!(%cause, "the thread of the networks does not start"));
            Ok(worker.ok())
        });
        let idle = started.collect::<Result<_, VisionError>>()?;
        Ok(Self(Arc::new(Shared {
            load: Arc::new(load),
            limit,
            waiting: Semaphore::new(QUEUE),
            turns: Semaphore::new(workers),
            workers: std::sync::Mutex::new(Workers {
                idle,
                in_use: workers,
                parked: 0,
                parked_until: Instant::now(),
                given_up: Vec::new(),
            }),
        })))
    }

    /// The faces of an encoded picture, and the only one cut out where that is asked for. What is wrong with the
    /// picture is in the result.
    ///
    /// # Errors
    /// `Busy`; `VISION_UNAVAILABLE`: the networks have failed and can't be loaded.
    pub async fn look(&self, picture: Bytes, cut_out: bool) -> Result<Seen, ServiceError> {
        let shared = &self.0;
        let busy = |_| ServiceError::Busy { what: "enrollment", retry_in: RETRY };
        let _place = shared.waiting.try_acquire().map_err(busy)?;
        let mut turn = shared.turn().await?;
        let Some(worker) = &turn.worker else { return Err(ServiceError::Stopped("the networks' thread")) };
        let (answer, seen) = oneshot::channel();
        let asked = async {
            // A picture whose caller has gone may still be worked on.
            worker.jobs.send(Job { picture, cut_out, answer }).await.ok()?;
            seen.await.ok()
        };
        let failure = match timeout(shared.limit, asked).await {
            Ok(Some(seen)) => return Ok(seen),
            Ok(None) => {
                error!("the networks broke down over a picture; they are loaded anew");
                VisionFailure::Panicked
            }
            Err(_) => {
                error!(limit = ?shared.limit, "the networks do not come back from a picture; they are loaded anew");
                shared.workers().given_up.push(worker.alive.clone());
                VisionFailure::TooSlow(shared.limit)
            }
        };
        turn.worker = None;
        // At once, so that monitoring sees whether it succeeds. This picture has its answer in any case.
        let _ = turn.revive().await;
        Ok(Err(failure))
    }

    /// Whether pictures can be looked at. Networks that have failed are loaded anew where that is possible.
    pub async fn is_alive(&self) -> bool {
        match self.0.turns.try_acquire() {
            Ok(permit) => {
                permit.forget();
                self.0.taken().revive().await.is_ok()
            }
            // Pictures are being looked at, with a limit.
            Err(_) => true,
        }
    }
}

/// Who has it uses a worker. It goes back when this is dropped.
struct Turn<'a> {
    shared: &'a Shared,
    worker: Option<Worker>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.workers().idle.push_back(self.worker.take());
        self.shared.turns.add_permits(1);
    }
}

impl Shared {
    fn workers(&self) -> MutexGuard<'_, Workers> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A worker that lives, started anew where none does. Who is first has the first that is free.
    async fn turn(&self) -> Result<Turn<'_>, ServiceError> {
        loop {
            self.unpark();
            let permit = self.turns.acquire().await.map_err(|_| ServiceError::Stopped("the networks"))?;
            permit.forget();
            let mut turn = self.taken();
            match turn.revive().await {
                Ok(()) => return Ok(turn),
                // As long as there is another one, pictures wait for it.
                Err(_) if self.workers().park() => std::mem::forget(turn),
                Err(error) => return Err(error),
            }
        }
    }

    /// The worker of a permit that the caller has: one that lives, if there is one.
    fn taken(&self) -> Turn<'_> {
        let mut workers = self.workers();
        let living = workers.idle.iter().position(|worker| worker.as_ref().is_some_and(Worker::is_alive));
        let worker = workers.idle.remove(living.unwrap_or(0)).flatten();
        Turn { shared: self, worker }
    }

    /// Tries again with a worker that was done without.
    fn unpark(&self) {
        let mut workers = self.workers();
        if workers.parked > 0 && Instant::now() >= workers.parked_until && workers.hanging() < GIVEN_UP {
            workers.parked -= 1;
            workers.in_use += 1;
            workers.idle.push_back(None);
            self.turns.add_permits(1);
        }
    }
}

impl Workers {
    /// Does without a worker that can't be started, where there is another one.
    fn park(&mut self) -> bool {
        if self.in_use < 2 {
            return false;
        }
        self.in_use -= 1;
        self.parked += 1;
        self.parked_until = Instant::now() + PARKED;
        true
    }

    /// Threads that don't come back from a picture.
    fn hanging(&mut self) -> usize {
        self.given_up.retain(|alive| alive.strong_count() > 0);
        self.given_up.len()
    }
}

impl Turn<'_> {
    /// Starts the worker anew where it does not live.
    async fn revive(&mut self) -> Result<(), ServiceError> {
        if self.worker.as_ref().is_some_and(Worker::is_alive) {
            return Ok(());
        }
        self.worker = None;
        if self.shared.workers().hanging() >= GIVEN_UP {
            return Err(unavailable("too many pictures were not come back from"));
        }
        let load = Arc::clone(&self.shared.load);
        let look = blocking(move || catch_unwind(AssertUnwindSafe(|| load()))).await?;
        let look = look.map_err(|_| unavailable("the networks can't be loaded"))?.map_err(|cause| {
            error!(%cause, "the networks can't be loaded");
            unavailable("the networks can't be loaded")
        })?;
        self.worker = Some(Worker::start(look).map_err(|cause| {
            error!(%cause, "the thread of the networks does not start");
            unavailable("the networks' thread does not start")
        })?);
        warn!("the networks are loaded anew");
        Ok(())
    }
}

impl Worker {
    fn start(mut look: Look) -> io::Result<Self> {
        // One that is worked on; one more only where its caller has gone.
        let (sender, mut jobs) = mpsc::channel::<Job>(1);
        let living = Arc::new(());
        let alive = Arc::downgrade(&living);
        thread::Builder::new().name("vision".into()).spawn(move || {
            let _living = living;
            while let Some(Job { picture, cut_out, answer }) = jobs.blocking_recv() {
                if answer.is_closed() {
                    continue;
                }
                // What a panic leaves behind is not used again: the thread ends with it.
                let Ok(seen) = catch_unwind(AssertUnwindSafe(|| look(&picture, cut_out))) else { return };
                let _ = answer.send(seen);
            }
        })?;
        Ok(Self { jobs: sender, alive })
    }

    fn is_alive(&self) -> bool {
        self.alive.strong_count() > 0
    }
}

/// Decodes a photograph once, for the networks and for what is cut out of it.
fn look(pipeline: &mut FacePipeline, photographs: &PhotographReader, bytes: &[u8], cut_out: bool) -> Seen {
    let image = photographs.read(bytes)?;
    let upright = pipeline.analyze_upright(&image)?;
    let portrait = match upright.faces.as_slice() {
        [face] if cut_out => {
            let turned = (upright.quarters > 0).then(|| image.turned(upright.quarters));
            let upright = turned.as_ref().unwrap_or(&image);
            let jpeg =
                upright.crop_jpeg(face.bounding_box, PORTRAIT_MARGIN, PORTRAIT_SIDE, PORTRAIT_QUALITY)?;
            Some(Zeroizing::new(jpeg))
        }
        _ => None,
    };
    Ok(Looked { upright, portrait })
}

fn unavailable(why: &str) -> ServiceError {
    let message = format!("pictures can't be looked at now: {why}; see the server's log");
    ServiceError::refused(ErrorReason::VisionUnavailable, message)
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc::Receiver,
    };

    use super::*;

    /// Networks that break down over "panic", and over "hang" wait until told to go on.
    struct Networks {
        vision: Vision,
        loads: Arc<AtomicUsize>,
        /// The next load fails.
        broken: Arc<AtomicBool>,
        go_on: std::sync::mpsc::Sender<()>,
    }

    impl Networks {
        fn with_limit(limit: Duration) -> Self {
            Self::with(limit, 1)
        }

        fn with(limit: Duration, workers: usize) -> Self {
            let (go_on, gate) = std::sync::mpsc::channel();
            let gate: Arc<std::sync::Mutex<Receiver<()>>> = Arc::new(std::sync::Mutex::new(gate));
            let (loads, broken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
            let (counted, fails) = (Arc::clone(&loads), Arc::clone(&broken));
            let load = move || {
                counted.fetch_add(1, Ordering::SeqCst);
                if fails.load(Ordering::SeqCst) {
                    return Err(VisionError::Option { option: "pack", problem: "is gone".into() });
                }
                let gate = Arc::clone(&gate);
                let look: Look = Box::new(move |bytes, _| {
                    match &bytes[..] {
                        b"panic" => panic!("on purpose"),
                        b"hang" => drop(gate.lock().unwrap().recv()),
                        _ => {}
                    }
                    Ok(Looked::default())
                });
                Ok(look)
            };
            let vision = Vision::with(Box::new(load), limit, workers).unwrap();
            Self { vision, loads, broken, go_on }
        }

        async fn look(&self, picture: &'static str) -> Result<(), &'static str> {
            let seen = self.vision.look(Bytes::from_static(picture.as_bytes()), false).await;
            match seen {
                Ok(seen) => seen.map(drop).map_err(|failure| failure.reason()),
                Err(error) => Err(error.reason().as_str()),
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panic_costs_its_picture_only() {
        let networks = Networks::with_limit(Duration::from_secs(60));
        assert_eq!(networks.look("face").await, Ok(()));
        for panics in 1..=5 {
            assert_eq!(networks.look("panic").await, Err("VISION_FAILED"));
            assert!(networks.vision.is_alive().await);
            assert_eq!(networks.look("face").await, Ok(()));
            assert_eq!(networks.loads.load(Ordering::SeqCst), 1 + panics);
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_hang_costs_its_picture_and_too_many_cost_readiness_until_they_are_over() {
        let networks = Networks::with_limit(Duration::from_secs(2));
        assert_eq!(networks.look("hang").await, Err("VISION_TOO_SLOW"));
        assert!(networks.vision.is_alive().await);
        assert_eq!(networks.look("face").await, Ok(()));
        assert_eq!(networks.look("hang").await, Err("VISION_TOO_SLOW"));
        assert!(!networks.vision.is_alive().await, "two threads hang");
        assert_eq!(networks.look("face").await, Err("VISION_UNAVAILABLE"));
        networks.go_on.send(()).unwrap();
        while !networks.vision.is_alive().await {
            tokio::task::yield_now().await;
        }
        assert_eq!(networks.look("face").await, Ok(()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn networks_that_cannot_be_loaded_again_cost_readiness_until_they_can() {
        let networks = Networks::with_limit(Duration::from_secs(60));
        networks.broken.store(true, Ordering::SeqCst);
        assert_eq!(networks.look("panic").await, Err("VISION_FAILED"));
        assert!(!networks.vision.is_alive().await);
        assert_eq!(networks.look("face").await, Err("VISION_UNAVAILABLE"));
        networks.broken.store(false, Ordering::SeqCst);
        assert!(networks.vision.is_alive().await);
        assert_eq!(networks.look("face").await, Ok(()));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn as_many_pictures_are_looked_at_as_there_are_threads() {
        let networks = Networks::with(Duration::from_secs(60), 2);
        assert_eq!(networks.loads.load(Ordering::SeqCst), 2);
        // One thread hangs, the other one goes on, also over a picture that ends it.
        let held = networks.look("hang");
        let mut held = std::pin::pin!(held);
        let first = timeout(Duration::from_millis(20), &mut held).await;
        assert!(first.is_err(), "{first:?}");
        for _ in 0..3 {
            assert_eq!(networks.look("face").await, Ok(()));
            assert_eq!(networks.look("panic").await, Err("VISION_FAILED"));
        }
        assert!(networks.vision.is_alive().await);
        networks.go_on.send(()).unwrap();
        assert_eq!(held.await, Ok(()));
        assert_eq!(networks.loads.load(Ordering::SeqCst), 5);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_hangs_costs_its_thread_and_the_last_one_goes_on() {
        let networks = Networks::with(Duration::from_millis(300), 3);
        let (a, b) = tokio::join!(networks.look("hang"), networks.look("hang"));
        assert_eq!((a, b), (Err("VISION_TOO_SLOW"), Err("VISION_TOO_SLOW")));
        // The first was started anew; as two threads hang, the second was not: all pictures wait for two.
        let looks = (0..8).map(|_| networks.look("face"));
        let looks = futures_util::future::join_all(looks).await;
        assert_eq!(looks, vec![Ok(()); 8]);
        assert_eq!(networks.loads.load(Ordering::SeqCst), 4);
        for _ in 0..2 {
            assert!(networks.vision.is_alive().await);
            assert_eq!(networks.look("panic").await, Err("VISION_FAILED"));
        }
        assert_eq!(networks.look("face").await, Err("VISION_UNAVAILABLE"));
        assert!(!networks.vision.is_alive().await);
        (0..2).for_each(|_| networks.go_on.send(()).unwrap());
        while !networks.vision.is_alive().await {
            tokio::task::yield_now().await;
        }
        let looks = (0..8).map(|_| networks.look("face"));
        assert_eq!(futures_util::future::join_all(looks).await, vec![Ok(()); 8]);
    }
}
