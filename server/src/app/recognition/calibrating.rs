//! What the gallery's own faces say about false matches.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use cavs_gallery::Calibration;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{AppError, Recognition, blocking};

/// Templates that are looked up: the rate at which one in 1,000 strangers is accepted is known to about a third.
const SAMPLES: usize = 1000;
/// How often the job looks whether the gallery is another one.
const INTERVAL: Duration = Duration::from_secs(600);

/// A calibration of the running gallery.
#[derive(Debug)]
pub struct Calibrated {
    /// What was found.
    pub calibration: Calibration,
    /// When.
    pub at: Timestamp,
    since: Instant,
    templates: usize,
}

impl Calibrated {
    /// Whether it says enough of a gallery of so many templates.
    fn holds(&self, templates: usize) -> bool {
        self.since.elapsed() < INTERVAL && templates.abs_diff(self.templates) * 100 <= self.templates
    }
}

impl Recognition {
    /// Calibrates the gallery until `shutdown`, so that monitoring knows the rate of false matches.
    pub async fn calibrate_regularly(&self, shutdown: CancellationToken) {
        let calibrating = async {
            loop {
                match self.calibration().await {
                    Ok(Some(now)) => {
                        let thresholds = self.thresholds();
                        let rate = now.calibration.false_matches_per_thousand(thresholds.thresholds.accept);
                        info!(
                            version = thresholds.version,
                            accept = thresholds.thresholds.accept.get(),
                            rate,
                            "expected false matches per 1,000 strangers"
                        );
                    }
                    Ok(None) => {}
                    Err(cause) => warn!(%cause, "the gallery was not calibrated"),
                }
                tokio::time::sleep(INTERVAL).await;
            }
        };
        shutdown.run_until_cancelled(calibrating).await;
    }

    /// How similar the gallery's students are to each other; `None` where there are too few. Measured anew
    /// where the last time was long ago or the gallery's size was another; that takes up to seconds.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn calibration(&self) -> Result<Option<Arc<Calibrated>>, AppError> {
        // One at a time: whoever waited finds what the other has measured.
        let _turn = self.calibrating.lock().await;
        let gallery = self.gallery();
        if let Some(last) = self.last_calibration().filter(|last| last.holds(gallery.len())) {
            return Ok(Some(last));
        }
        let grouping = self.setup.grouping;
        let (templates, found) =
            blocking(move || (gallery.len(), gallery.calibrate(SAMPLES, grouping))).await?;
        let found = found.map(|calibration| {
            Arc::new(Calibrated { calibration, at: Timestamp::now(), since: Instant::now(), templates })
        });
        self.calibrated.write().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
        Ok(found)
    }

    /// The last calibration, if there was one.
    pub fn last_calibration(&self) -> Option<Arc<Calibrated>> {
        self.calibrated.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
