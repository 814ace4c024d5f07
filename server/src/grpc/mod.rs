//! gRPC: the only room that names generated types. Each method reads who is calling, converts,
//! calls one function of the application, and converts back.

mod access;
mod auth;
mod convert;
mod devices;
mod enrollment;
mod gallery;
mod heartbeat;
mod ingest;
mod layer;
mod proxy_to_wire;
mod review;
mod sighting_from_wire;
mod sightings;
mod status;
mod streams;
mod students;

use std::time::Duration;

use cavs_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        auth_service_server::AuthServiceServer, device_service_server::DeviceServiceServer,
        enrollment_service_server::EnrollmentServiceServer, gallery_service_server::GalleryServiceServer,
        ingest_service_server::IngestServiceServer, review_service_server::ReviewServiceServer,
        sighting_service_server::SightingServiceServer, student_service_server::StudentServiceServer,
    },
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tracing::error;

use crate::{app::App, security::Incoming};

/// Concurrent calls on one connection.
const STREAMS: u32 = 32;
/// How often a silent connection is asked whether it is alive, and how long the answer may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));
/// Longest enrollment message: an image of 16 MiB and its name.
const ENROLLMENT_MESSAGE: usize = (16 << 20) + 4096;
/// Longest message of a device: a full batch with evidence.
const DEVICE_MESSAGE: usize = ingest::MAX_BATCH * (ingest::MAX_EVIDENCE + 64 * 1024);

fn server() -> Server {
    Server::builder()
        .max_concurrent_streams(STREAMS)
        .concurrency_limit_per_connection(STREAMS as usize)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
}

/// Serves devices until `shutdown`.
///
/// # Errors
/// The transport's.
pub async fn serve_devices(
    app: App,
    incoming: Incoming,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let ingest = IngestServiceServer::new(ingest::Ingest::new(app, shutdown.clone()))
        .max_decoding_message_size(DEVICE_MESSAGE);
    server()
        .layer(layer::DeviceLayer)
        .add_service(ingest)
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
}

/// Serves people and integrators until `shutdown`.
///
/// # Errors
/// The transport's.
pub async fn serve_api(
    app: App,
    incoming: Incoming,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let (health, health_service) = tonic_health::server::health_reporter();
    // The empty name is the server as a whole, by the health protocol's convention.
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .build_v1();
    let reflection = match reflection {
        Ok(reflection) => Some(reflection),
        Err(error) => {
            error!(%error, "reflection is off");
            None
        }
    };
    let enrollment = EnrollmentServiceServer::new(enrollment::Enrollment::new(app.clone(), shutdown.clone()))
        .max_decoding_message_size(ENROLLMENT_MESSAGE);
    server()
        .layer(layer::ApiLayer::new(app.clone()))
        .add_service(health_service)
        .add_optional_service(reflection)
        .add_service(AuthServiceServer::new(auth::Auth::new(app.clone())))
        .add_service(StudentServiceServer::new(students::Students::new(app.clone())))
        .add_service(DeviceServiceServer::new(devices::Devices::new(app.clone())))
        .add_service(enrollment)
        .add_service(GalleryServiceServer::new(gallery::Galleries::new(app.clone())))
        .add_service(ReviewServiceServer::new(review::Reviews::new(app.clone())))
        .add_service(SightingServiceServer::new(sightings::Sightings::new(app)))
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled_owned())
        .await
}
