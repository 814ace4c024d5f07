//! Who should be enrolled anew, as their sightings become less and less similar to their templates.

use std::{sync::Arc, time::Duration};

use cavs_types::SiteId;
use jiff::tz::TimeZone;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    biometrics::BiometricStore,
    db::Database,
    error::ServiceError,
    recognition::Galleries,
    sightings::{MonthSimilarity, SightingStore, needs_re_enrollment},
};

/// How often is looked whether a site's similarities are due, which they are once a day.
const INTERVAL: Duration = Duration::from_secs(3600);
/// A server that has just begun has other things to do.
const FIRST: Duration = Duration::from_secs(300);

/// Notes who should be enrolled anew.
#[derive(Clone)]
pub struct ReEnrollment {
    store: SightingStore,
    templates: BiometricStore,
    galleries: Arc<Galleries>,
}

impl ReEnrollment {
    /// Over these connections to the database.
    #[must_use]
    pub fn new(db: &Database, galleries: &Arc<Galleries>) -> Self {
        let (store, templates) = (SightingStore::new(db), BiometricStore::new(db));
        Self { store, templates, galleries: Arc::clone(galleries) }
    }

    /// Looks at each site once a day, until `shutdown`.
    pub async fn run(&self, shutdown: CancellationToken) {
        let working = async {
            tokio::time::sleep(FIRST).await;
            loop {
                for gallery in self.galleries.all() {
                    let site = gallery.site();
                    match self.look(site, false).await {
                        Ok(done) => debug!(%site, done, "looked at similarities over months"),
                        Err(cause) => warn!(%site, %cause, "nobody knows who should be enrolled anew"),
                    }
                }
                tokio::time::sleep(INTERVAL).await;
            }
        };
        shutdown.run_until_cancelled(working).await;
    }

    /// Looks at a site, at once or where that is due; whether it did.
    ///
    /// # Errors
    /// `Database`; as of [`Galleries::of`].
    pub async fn look(&self, site: SiteId, at_once: bool) -> Result<bool, ServiceError> {
        let pack = self.galleries.of(site).await?.pack();
        let newest = self.templates.newest_templates(site, pack).await?;
        let wanted = |student, months: &[MonthSimilarity]| {
            // Of who has no template, nothing is to be made anew.
            newest.get(&student).is_some_and(|enrolled| {
                let since = enrolled.to_zoned(TimeZone::UTC).date().first_of_month();
                // The month of the enrollment is of the templates before, too.
                let later = months.partition_point(|month| month.month < since);
                needs_re_enrollment(&months[later..])
            })
        };
        Ok(self.store.note_re_enrollments(site, pack, at_once, wanted).await?)
    }
}
