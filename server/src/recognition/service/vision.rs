use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, Weak},
    thread,
    time::Duration,
};

use bytes::Bytes;
use cavs_models::{FacePipeline, ImageError, PhotographReader, Upright, VisionError};
use cavs_types::ErrorReason;
use thiserror::Error;
use tokio::{
    sync::{Mutex, Semaphore, mpsc, oneshot},
    time::timeout,
};
use tracing::{error, warn};

use crate::error::{ServiceError, blocking};

/// Pictures that wait for the networks.
const QUEUE: usize = 64;
/// Longest work on one picture. It takes well below a second; the limit of a call is longer.
const LIMIT: Duration = Duration::from_secs(30);
/// Threads that are given up, as they don't come back from a picture, at a time: each may use a core.
const GIVEN_UP: usize = 2;
/// When it is worth while to try again where too many pictures wait.
const RETRY: Duration = Duration::from_secs(5);

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

type Seen = Result<Upright, VisionFailure>;
/// Looks at an encoded picture.
type Look = Box<dyn FnMut(&Bytes) -> Seen + Send>;
/// Loads the networks. Called again where they broke down.
type Load = Box<dyn Fn() -> Result<Look, VisionError> + Send + Sync>;
type Job = (Bytes, oneshot::Sender<Seen>);

/// The networks, on a thread of their own. Where they break down over a picture, or don't come back from it, that
/// picture is refused, and the next one has a new thread with networks loaded anew. The thread ends when the last
/// handle is dropped.
#[derive(Clone)]
pub struct Vision(Arc<Shared>);

struct Shared {
    load: Arc<Load>,
    photographs: PhotographReader,
    limit: Duration,
    waiting: Semaphore,
    /// Held while a picture is looked at. `None`: networks have to be loaded first.
    worker: Mutex<Option<Worker>>,
    /// Threads that have not come back yet.
    given_up: std::sync::Mutex<Vec<Weak<()>>>,
}

/// A thread with networks.
struct Worker {
    jobs: mpsc::Sender<Job>,
    /// As long as the thread lives.
    alive: Weak<()>,
}

impl Vision {
    /// Loads the networks, on a thread of their own.
    ///
    /// # Errors
    /// Whatever `load` says.
    pub fn start(
        load: impl Fn() -> Result<FacePipeline, VisionError> + Send + Sync + 'static,
        photographs: PhotographReader,
    ) -> Result<Self, VisionError> {
        let reader = photographs.clone();
        let load = move || {
            let (mut pipeline, photographs) = (load()?, reader.clone());
            let look: Look =
                Box::new(move |bytes: &Bytes| Ok(pipeline.analyze_upright(&photographs.read(bytes)?)?));
            Ok(look)
        };
        Self::with(Box::new(load), photographs, LIMIT)
    }

    /// What reads the photographs that it is shown.
    #[must_use]
    pub fn photographs(&self) -> PhotographReader {
        self.0.photographs.clone()
    }

    /// Networks to which all pictures show nobody.
    #[cfg(test)]
    pub(crate) fn blind() -> Result<Self, VisionError> {
        let load = || {
            let look: Look = Box::new(|_: &Bytes| Ok(Upright::default()));
            Ok(look)
        };
        Self::with(Box::new(load), PhotographReader::default(), LIMIT)
    }

    fn with(load: Load, photographs: PhotographReader, limit: Duration) -> Result<Self, VisionError> {
        let worker = Worker::start(load()?)
            .inspect_err(|cause| error!(%cause, "the thread of the networks does not start"))
            .ok();
        Ok(Self(Arc::new(Shared {
            load: Arc::new(load),
            photographs,
            limit,
            waiting: Semaphore::new(QUEUE),
            worker: Mutex::new(worker),
            given_up: std::sync::Mutex::default(),
        })))
    }

    /// The faces of an encoded picture, the right way up, largest first. What is wrong with the picture is in the result.
    ///
    /// # Errors
    /// `Busy`; `VISION_UNAVAILABLE`: the networks have failed and can't be loaded.
    pub async fn faces(&self, image: Bytes) -> Result<Seen, ServiceError> {
        let shared = &self.0;
        let busy = |_| ServiceError::Busy { what: "enrollment", retry_in: RETRY };
        let _place = shared.waiting.try_acquire().map_err(busy)?;
        let mut worker = shared.worker.lock().await;
        let current = shared.revived(&mut worker).await?;
        let (answer, seen) = oneshot::channel();
        let asked = async {
            // A picture whose caller has gone may still be worked on.
            current.jobs.send((image, answer)).await.ok()?;
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
                shared.given_up.lock().unwrap_or_else(PoisonError::into_inner).push(current.alive.clone());
                VisionFailure::TooSlow(shared.limit)
            }
        };
        *worker = None;
        // At once, so that monitoring sees whether it succeeds. This picture has its answer in any case.
        let _ = shared.revived(&mut worker).await;
        Ok(Err(failure))
    }

    /// Whether pictures can be looked at. Networks that have failed are loaded anew where that is possible.
    pub async fn is_alive(&self) -> bool {
        match self.0.worker.try_lock() {
            Ok(mut worker) => self.0.revived(&mut worker).await.is_ok(),
            // A picture is being looked at, with a limit.
            Err(_) => true,
        }
    }
}

impl Shared {
    /// The worker, started anew where there is none.
    async fn revived<'a>(&self, worker: &'a mut Option<Worker>) -> Result<&'a Worker, ServiceError> {
        if worker.as_ref().is_some_and(|worker| worker.alive.strong_count() == 0) {
            *worker = None;
        }
        if worker.is_none() {
            let given_up = {
                let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
                given_up.retain(|alive| alive.strong_count() > 0);
                given_up.len()
            };
            if given_up >= GIVEN_UP {
                return Err(unavailable("too many pictures were not come back from"));
            }
            let load = Arc::clone(&self.load);
            let look = blocking(move || catch_unwind(AssertUnwindSafe(|| load()))).await?;
            let look = look.map_err(|_| unavailable("the networks can't be loaded"))?.map_err(|cause| {
                error!(%cause, "the networks can't be loaded");
                unavailable("the networks can't be loaded")
            })?;
            *worker = Some(Worker::start(look).map_err(|cause| {
                error!(%cause, "the thread of the networks does not start");
                unavailable("the networks' thread does not start")
            })?);
            warn!("the networks are loaded anew");
        }
        worker.as_ref().ok_or(ServiceError::Stopped("the networks' thread"))
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
            while let Some((bytes, answer)) = jobs.blocking_recv() {
                if answer.is_closed() {
                    continue;
                }
                // What a panic leaves behind is not used again: the thread ends with it.
                let Ok(seen) = catch_unwind(AssertUnwindSafe(|| look(&bytes))) else { return };
                let _ = answer.send(seen);
            }
        })?;
        Ok(Self { jobs: sender, alive })
    }
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
                let look: Look = Box::new(move |bytes: &Bytes| match &bytes[..] {
                    b"panic" => panic!("on purpose"),
                    b"hang" => {
                        let _ = gate.lock().unwrap().recv();
                        Ok(Upright::default())
                    }
                    _ => Ok(Upright::default()),
                });
                Ok(look)
            };
            let vision = Vision::with(Box::new(load), PhotographReader::default(), limit).unwrap();
            Self { vision, loads, broken, go_on }
        }

        async fn look(&self, picture: &'static str) -> Result<(), &'static str> {
            let seen = self.vision.faces(Bytes::from_static(picture.as_bytes())).await;
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
}
