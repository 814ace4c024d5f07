//! What the server does: one file per part of the main job. Knows neither gRPC nor SQL.

mod accounts;
mod enrollment;
mod error;
mod executor;
mod gallery;
mod ingest;
mod keys;
mod people;
mod proxies;
mod recognition;
mod review;
mod vision;

use std::sync::Arc;

pub use accounts::{Accounts, LoggedIn, create_user};
pub use enrollment::{Enrolled, Enrollment, Refusal, portrait};
pub use error::AppError;
pub use gallery::{DecisionCounts, GalleryReport, Suggestion, ThresholdEffect};
pub use ingest::{EvidencePolicy, IngestOutcome};
pub use keys::Keys;
pub use proxies::DevicesChanged;
pub use recognition::{Calibrated, GalleryState, Recognition, RecognitionSetup};
pub use vision::{Vision, VisionFailure};

use crate::{
    metrics::Metrics,
    store::{Connections, Store},
};

/// Everything that the services share.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// The parts of an [`App`].
pub struct Parts {
    /// The database, for what people ask.
    pub store: Store,
    /// The database, for what devices send: neither can take the other's connections.
    pub device_store: Store,
    /// Data keys.
    pub keys: Arc<Keys>,
    /// Matching and policy.
    pub recognition: Recognition,
    /// The networks that enrollment runs on.
    pub vision: Vision,
    /// What of the evidence that devices send is kept.
    pub evidence: EvidencePolicy,
    /// Limits of enrollment.
    pub enrollment: Enrollment,
    /// Logins.
    pub accounts: Accounts,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Tells streams of changes of devices.
    pub devices_changed: DevicesChanged,
}

impl App {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }

    /// How the connections to the database are used, by whom they are for.
    #[must_use]
    pub fn connections(&self) -> [(&'static str, Connections); 3] {
        [
            ("people", self.store.connections()),
            ("devices", self.device_store.connections()),
            ("background", self.recognition.connections()),
        ]
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Runs computation on a thread where it may take its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| AppError::Stopped("a computation"))
}
