//! What the health protocol says of the server: whether a call would be answered.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::{ServingStatus, server::HealthReporter};

use super::{
    AuthServiceServer, DeviceServiceServer, EnrollmentServiceServer, GalleryServiceServer,
    RetentionServiceServer, ReviewServiceServer, SightingServiceServer, SiteServiceServer,
    StudentServiceServer, auth, devices, enrollment, gallery, retention, review, sightings, sites, students,
};

use crate::db::Database;

/// The services of the API listener. The empty name is the server as a whole, by the protocol's convention.
const SERVICES: [&str; 10] = [
    "",
    AuthServiceServer::<auth::AuthApi>::NAME,
    SiteServiceServer::<sites::SiteApi>::NAME,
    StudentServiceServer::<students::StudentApi>::NAME,
    DeviceServiceServer::<devices::DeviceApi>::NAME,
    EnrollmentServiceServer::<enrollment::EnrollmentApi>::NAME,
    GalleryServiceServer::<gallery::GalleryApi>::NAME,
    RetentionServiceServer::<retention::RetentionApi>::NAME,
    ReviewServiceServer::<review::ReviewApi>::NAME,
    SightingServiceServer::<sightings::SightingApi>::NAME,
];
/// How often the database is asked, and how long its answer may take.
const EVERY: Duration = Duration::from_secs(2);

/// Follows the database until `shutdown`; then nothing is served any more.
pub(super) async fn follow(reporter: HealthReporter, database: Database, shutdown: CancellationToken) {
    let asking = async {
        loop {
            let answered = timeout(EVERY, database.ping()).await;
            let serves = matches!(answered, Ok(Ok(())));
            let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
            say(&reporter, status).await;
            sleep(EVERY).await;
        }
    };
    let _: Option<()> = shutdown.run_until_cancelled(asking).await;
    say(&reporter, ServingStatus::NotServing).await;
}

async fn say(reporter: &HealthReporter, status: ServingStatus) {
    for service in SERVICES {
        reporter.set_service_status(service, status).await;
    }
}
