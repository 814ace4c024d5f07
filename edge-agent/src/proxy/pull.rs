//! Cameras that are asked for frames: stock firmware on a trusted network.
//!
//! They go through motion gate and tracker as an agent's own camera does: nobody waits for an answer.

use std::sync::{Arc, Mutex, PoisonError};

use cavs_embedding::PackDigest;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Refusal, intake::Intake, workers::AnalysisJob};
use crate::{
    config::PulledCamera,
    sighting::Sighting,
    source::{self, AnySource, Frame},
    spool::FrameRecord,
    stages::Stages,
};

/// Takes frames of a camera until `stop`; the camera is opened again whenever it fails.
pub(super) async fn pull(
    intake: Arc<Intake>,
    pulled: PulledCamera,
    stages: Stages,
    pack: PackDigest,
    stop: CancellationToken,
) {
    let PulledCamera { device, camera, period } = pulled;
    let stages = Arc::new(Mutex::new(stages));
    let source = AnySource::camera(&camera, Some(period), &intake.counters);
    let (frames, mut inbox) = mpsc::channel(1);
    let counters = Arc::clone(&intake.counters);
    let pumping = source::pump_live(source, Some(period), frames, stop, counters);
    let taking = async {
        // Said once, not at every frame.
        let mut refused = None;
        while let Some(frame) = inbox.recv().await {
            let taken = take(&intake, device, frame, &stages).await;
            intake.counters.done.add(1);
            let refusal = taken.err();
            if let Some(refusal) = refusal.as_ref().filter(|refusal| refused.as_ref() != Some(*refusal)) {
                let reason = refusal.reason.as_str();
                tracing::warn!(camera = %device, reason, message = refusal.message, "a frame was left out");
            }
            refused = refusal;
        }
        let last = stages.lock().unwrap_or_else(PoisonError::into_inner).tracker.as_mut().map(|t| t.finish());
        let last = last.unwrap_or_default().into_iter();
        let sightings: Vec<_> = last
            .map(|tracked| Sighting { camera: Some(device), ..Sighting::of_track(tracked, pack) })
            .collect();
        store(&intake, sightings).await
    };
    let (pumped, stored) = tokio::join!(pumping, taking);
    if let Err(error) = pumped {
        tracing::error!(camera = %device, %error, "the camera can't be pulled");
    }
    if let Err(refusal) = stored {
        tracing::warn!(camera = %device, message = refusal.message, "the last sightings could not be kept");
    }
}

async fn take(
    intake: &Intake,
    device: cavs_types::DeviceId,
    frame: Frame,
    stages: &Arc<Mutex<Stages>>,
) -> Result<(), Refusal> {
    let camera = intake.cameras.by_id(device)?.id;
    let (reply, outcome) = oneshot::channel();
    intake.enqueue(AnalysisJob { camera, frame, stages: Some(Arc::clone(stages)), reply, hold: None })?;
    // Only a panic of the networks, which are guarded, would drop it.
    let Ok(outcome) = outcome.await else { return Ok(()) };
    intake.counters.faces.add(outcome.faces as u64);
    match outcome.result {
        Ok(sightings) => store(intake, sightings).await,
        Err(failure) => {
            intake.counters.bad.add(1);
            tracing::debug!(camera = %device, reason = failure.reason, message = failure.message, "a bad frame");
            Ok(())
        }
    }
}

async fn store(intake: &Intake, sightings: Vec<Sighting>) -> Result<(), Refusal> {
    if sightings.is_empty() {
        return Ok(());
    }
    intake.store(FrameRecord { sightings, ..FrameRecord::default() }).await.map(drop)
}
