//! The one stream of each device that counts: the newest, as an older one is likely to be half dead.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use cavs_types::{DeviceId, ErrorReason};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::fleet::RunId;

/// The streams of devices, one each.
#[derive(Clone, Default)]
pub(super) struct Streams(Arc<Mutex<HashMap<DeviceId, Newest>>>);

struct Newest {
    run: Option<RunId>,
    taken: CancellationToken,
    by_another: Arc<AtomicBool>,
}

/// A stream's place, left when it is dropped.
pub(super) struct Place {
    streams: Streams,
    device: DeviceId,
    /// Cancelled when another stream takes the place.
    pub(super) taken: CancellationToken,
    by_another: Arc<AtomicBool>,
}

impl Streams {
    /// The place of a device for a stream of this start of its agent.
    pub(super) fn take_place(&self, device: DeviceId, run: Option<RunId>) -> Place {
        let (taken, by_another) = (CancellationToken::new(), Arc::new(AtomicBool::new(false)));
        let newest = Newest { run, taken: taken.clone(), by_another: Arc::clone(&by_another) };
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(older) = streams.insert(device, newest) {
            older.by_another.store(older.run != run, Relaxed);
            older.taken.cancel();
        }
        Place { streams: self.clone(), device, taken, by_another }
    }
}

impl Place {
    /// What the stream is told that had the place: if it is there to hear it, and another start of the
    /// agent took it, both are alive.
    pub(super) fn why_taken(&self) -> Status {
        if self.by_another.load(Relaxed) {
            let message = "another start of this device's agent has connected: unless this one is being \
                           restarted, the certificate is in use in two places";
            return cavs_proto::status(ErrorReason::DeviceConnectedTwice, message);
        }
        cavs_proto::status(ErrorReason::StreamReplaced, "the device has opened another stream")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever took the place has put a token of its own there.
        if !self.taken.is_cancelled() {
            self.streams.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use cavs_proto::error_reason;

    use super::*;

    #[test]
    fn the_newest_stream_has_the_place() {
        let (streams, device) = (Streams::default(), DeviceId::generate());
        let [one, other] = [1, 2].map(|epoch| Some(RunId::of_epoch(epoch)));
        let first = streams.take_place(device, one);
        let second = streams.take_place(device, one);
        assert!(first.taken.is_cancelled() && !second.taken.is_cancelled());
        assert_eq!(error_reason(&first.why_taken()), Some(ErrorReason::StreamReplaced));
        drop(first);
        assert_eq!(streams.0.lock().unwrap().len(), 1);
        let third = streams.take_place(device, other);
        assert_eq!(error_reason(&second.why_taken()), Some(ErrorReason::DeviceConnectedTwice));
        drop(second);
        drop(third);
        assert_eq!(streams.0.lock().unwrap().len(), 0);
    }
}
