//! What the gallery's own faces say about false matches.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use cavs_gallery::{Calibration, Gallery};
use jiff::Timestamp;
use tracing::{info, warn};

use crate::{
    error::{ServiceError, blocking},
    recognition::Recognition,
};

/// Templates that are looked up: the rate at which one in 1,000 strangers is accepted is known to about a third.
const SAMPLES: usize = 1000;
/// How long a calibration holds while little changes.
const INTERVAL: Duration = Duration::from_secs(600);

/// A calibration of the running gallery.
#[derive(Debug)]
pub struct Calibrated {
    /// What was found.
    pub calibration: Calibration,
    /// When.
    pub at: Timestamp,
    since: Instant,
    of: Measured,
}

/// What a calibration was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Measured {
    /// Times that the gallery was loaded, and changes applied since.
    version: (u64, u64),
    templates: usize,
}

impl Measured {
    /// Whether a calibration of so long ago says enough of a gallery as it is now: for ever where nothing has
    /// changed, and for a while where little has.
    fn holds(&self, now: &Self, age: Duration) -> bool {
        self.version == now.version
            || (age < INTERVAL && now.templates.abs_diff(self.templates) * 100 <= self.templates)
    }
}

impl Recognition {
    /// Calibrates the gallery where it has changed, lets the accept threshold follow, and says the rate of false
    /// matches in the log.
    pub(super) async fn calibrate_and_tell(&self) {
        let before = self.last_calibration();
        if let Err(cause) = self.follow_wanted_rate().await {
            warn!(%cause, site = %self.site(), "the accept threshold does not follow the wanted rate; trying again");
        }
        match self.calibration().await {
            Ok(Some(now)) if before.is_some_and(|before| Arc::ptr_eq(&before, &now)) => {}
            Ok(Some(now)) => {
                let thresholds = self.thresholds();
                let accept = thresholds.thresholds.accept;
                let rate = now.calibration.false_matches_per_thousand(accept);
                info!(
                    site = %self.site(),
                    version = thresholds.version,
                    accept = accept.get(),
                    rate,
                    "expected false matches per 1,000 strangers"
                );
            }
            Ok(None) => {}
            Err(cause) => warn!(%cause, site = %self.site(), "the gallery was not calibrated"),
        }
    }

    /// How similar the gallery's students are to each other; `None` where there are too few. Measured anew
    /// where the gallery has changed since the last time, and that was long ago or its size was another; that
    /// takes up to seconds.
    ///
    /// # Errors
    /// `Stopped`.
    pub async fn calibration(&self) -> Result<Option<Arc<Calibrated>>, ServiceError> {
        // One at a time: whoever waited finds what the other has measured.
        let _turn = self.calibrating.lock().await;
        let (gallery, of) = self.measured();
        if let Some(last) = self.last_calibration().filter(|last| last.of.holds(&of, last.since.elapsed())) {
            return Ok(Some(last));
        }
        let grouping = self.shared.setup.grouping;
        let found = blocking(move || gallery.calibrate(SAMPLES, grouping)).await?;
        let found = found.map(|calibration| {
            Arc::new(Calibrated { calibration, at: Timestamp::now(), since: Instant::now(), of })
        });
        self.calibrated.write().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
        Ok(found)
    }

    /// The gallery, and which one it is.
    fn measured(&self) -> (Arc<dyn Gallery>, Measured) {
        let running = self.running.read().unwrap_or_else(PoisonError::into_inner);
        let gallery = Arc::clone(&running.replica.gallery);
        // Read before it is measured: a change meanwhile has it measured again.
        let of = Measured { version: (running.loads, gallery.epoch()), templates: gallery.len() };
        (gallery, of)
    }

    /// The last calibration, if there was one.
    pub fn last_calibration(&self) -> Option<Arc<Calibrated>> {
        self.calibrated.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_changed_gallery_is_measured_again() {
        let measured = Measured { version: (1, 7), templates: 1000 };
        let (soon, late) = (INTERVAL / 2, 10 * INTERVAL);
        for (version, templates, age, holds) in [
            ((1, 7), 1000, soon, true),
            ((1, 7), 1000, late, true),
            ((1, 8), 1001, soon, true),
            ((1, 8), 1001, late, false),
            ((1, 9), 1020, soon, false),
            ((2, 7), 1000, late, false),
        ] {
            assert_eq!(measured.holds(&Measured { version, templates }, age), holds, "{version:?} {age:?}");
        }
    }
}
