//! How much is taken in at a time: bytes of frames on their way, frames a second of a camera, time
//! that a frame may take to come.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use cavs_net::Slot;
use cavs_types::{DeviceId, ErrorReason};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};
use tonic::Status;

use super::Refusal;

/// Frames that a camera may send at once, in seconds of its rate: it may have been cut off for a while.
const BURST: f64 = 3.0;

/// Bytes of frames that are on their way through the proxy.
#[derive(Debug, Clone)]
pub(super) struct ByteBudget(Arc<Semaphore>);

/// What a request holds of the budget, until it is dropped.
#[derive(Debug, Clone, Default)]
pub(super) struct HeldBytes(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl ByteBudget {
    pub(super) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    fn take(&self, bytes: usize, hold: &HeldBytes) -> Result<(), Refusal> {
        let full = || Refusal::overloaded("too many frames are on their way");
        let count = u32::try_from(bytes).map_err(|_| full())?;
        let more = Arc::clone(&self.0).try_acquire_many_owned(count).map_err(|_| full())?;
        let mut held = hold.0.lock().unwrap_or_else(PoisonError::into_inner);
        match held.as_mut() {
            Some(held) => held.merge(more),
            None => *held = Some(more),
        }
        Ok(())
    }
}

impl HeldBytes {
    /// Takes over what was held so far: for the frame that it was taken for.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// A request's body that is counted as it comes. It ends with a status where there is too much of
/// it, where the proxy has no more room, or where it takes too long.
pub(super) struct MeteredBody {
    inner: Incoming,
    budget: ByteBudget,
    pub(super) hold: HeldBytes,
    /// Bytes that may still come; `None` where each message has a limit of its own.
    left: Option<usize>,
    deadline: Option<(Pin<Box<Sleep>>, Arc<Slot>)>,
}

impl MeteredBody {
    /// Bounds a body that is one frame, and closes the connection of one that takes too long.
    pub(super) fn whole(
        inner: Incoming,
        budget: &ByteBudget,
        most: usize,
        limit: Duration,
        slot: &Arc<Slot>,
    ) -> Self {
        let deadline = Some((Box::pin(sleep(limit)), Arc::clone(slot)));
        Self { inner, budget: budget.clone(), hold: HeldBytes::default(), left: Some(most), deadline }
    }

    /// Bounds a body of many messages; their reader bounds their size and their time.
    pub(super) fn stream(inner: Incoming, budget: &ByteBudget) -> Self {
        Self { inner, budget: budget.clone(), hold: HeldBytes::default(), left: None, deadline: None }
    }

    fn count(&mut self, bytes: usize) -> Result<(), Refusal> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(bytes).ok_or_else(too_large)?;
        }
        self.budget.take(bytes, &self.hold)
    }
}

pub(super) fn too_large() -> Refusal {
    Refusal::new(ErrorReason::FrameTooLarge, "the frame is larger than this proxy takes")
}

pub(super) fn too_slow() -> Refusal {
    Refusal::new(ErrorReason::RequestTooSlow, "the frame did not come in time")
}

impl Body for MeteredBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some((deadline, slot)) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            slot.too_slow();
            return Poll::Ready(Some(Err(too_slow().into())));
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(context)) {
            None => return Poll::Ready(None),
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                let problem = format!("the body was cut off: {error}");
                return Poll::Ready(Some(Err(Refusal::new(ErrorReason::FrameInvalid, problem).into())));
            }
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        Poll::Ready(Some(self.count(bytes).map(|()| frame).map_err(Status::from)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// How many frames a second each camera sends. There are as many buckets as cameras, which the
/// server knows.
#[derive(Debug)]
pub(super) struct CameraRates {
    /// Frames a second that each camera may send over time.
    rate: f64,
    buckets: Mutex<HashMap<DeviceId, Bucket>>,
}

#[derive(Debug)]
struct Bucket {
    frames: f64,
    at: Instant,
}

impl CameraRates {
    pub(super) fn new(rate: f64) -> Self {
        Self { rate, buckets: Mutex::default() }
    }

    /// Counts a frame of a camera that has proved who it is.
    pub(super) fn count(&self, camera: DeviceId, now: Instant) -> Result<(), Refusal> {
        let most = (self.rate * BURST).max(1.0);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.entry(camera).or_insert(Bucket { frames: most, at: now });
        let filled = now.saturating_duration_since(bucket.at).as_secs_f64() * self.rate;
        bucket.frames = (bucket.frames + filled).min(most);
        bucket.at = now;
        if bucket.frames >= 1.0 {
            bucket.frames -= 1.0;
            return Ok(());
        }
        let wait = Duration::from_secs_f64((1.0 - bucket.frames) / self.rate);
        let message = format!("more than {} frames a second", self.rate);
        Err(Refusal::new(ErrorReason::RateLimited, message).retry(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_has_its_rate_and_no_other_is_hindered() {
        let (rates, now) = (CameraRates::new(2.0), Instant::now());
        let (one, other) = (DeviceId::generate(), DeviceId::generate());
        assert!((0..6).all(|_| rates.count(one, now).is_ok()), "a burst");
        let refusal = rates.count(one, now).unwrap_err();
        assert_eq!((refusal.reason, refusal.retry_after_ms()), (ErrorReason::RateLimited, Some(500)));
        assert!(rates.count(other, now).is_ok());
        assert!(rates.count(one, now + Duration::from_millis(510)).is_ok());
        assert!(rates.count(one, now + Duration::from_millis(520)).is_err());
        let later = now + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| rates.count(one, later).is_ok()).count(), 6);
    }

    #[test]
    fn what_is_held_comes_back_when_it_is_dropped() {
        let budget = ByteBudget::new(100);
        let (one, other) = (HeldBytes::default(), HeldBytes::default());
        budget.take(40, &one).unwrap();
        budget.take(40, &one).unwrap();
        assert_eq!(budget.take(30, &other).unwrap_err().reason, ErrorReason::Overloaded);
        let taken = one.take();
        assert!(budget.take(30, &other).is_err(), "taken over, not given back");
        drop(taken);
        budget.take(30, &other).unwrap();
        drop(other);
        budget.take(100, &one).unwrap();
    }
}
