//! gRPC: the only room that names generated types. Each method reads who is calling, converts,
//! calls one function of the application, and converts back.

mod access;
mod attendance;
mod auth;
mod check_ins;
mod class_sessions;
mod connect;
mod convert;
mod device_feed;
mod devices;
mod enrollment;
mod gallery;
mod groups;
mod health;
mod heartbeat;
mod ingest;
mod late_matches;
mod layer;
mod matches;
mod proxy_to_wire;
mod reports;
mod request_ids;
mod retention;
mod review;
mod rooms;
mod sighting_from_wire;
mod sightings;
mod sites;
mod stats;
mod status;
mod streams;
mod students;
mod terms;
mod uploads;
mod warnings;
mod watch;
mod webhooks;

use std::{convert::Infallible, sync::Arc, time::Duration};

use cavs_net::{Http, Listener};
use cavs_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        attendance_service_server::AttendanceServiceServer, auth_service_server::AuthServiceServer,
        check_in_service_server::CheckInServiceServer, device_service_server::DeviceServiceServer,
        enrollment_service_server::EnrollmentServiceServer, gallery_service_server::GalleryServiceServer,
        group_service_server::GroupServiceServer, ingest_service_server::IngestServiceServer,
        late_match_service_server::LateMatchServiceServer, match_service_server::MatchServiceServer,
        report_service_server::ReportServiceServer, retention_service_server::RetentionServiceServer,
        review_service_server::ReviewServiceServer, room_service_server::RoomServiceServer,
        session_service_server::SessionServiceServer, sighting_service_server::SightingServiceServer,
        site_service_server::SiteServiceServer, stats_service_server::StatsServiceServer,
        student_service_server::StudentServiceServer, term_service_server::TermServiceServer,
        warning_service_server::WarningServiceServer, webhook_service_server::WebhookServiceServer,
    },
};
use http::{HeaderValue, Request, Response};
use tokio_util::sync::CancellationToken;
use tonic::{body::Body, server::NamedService, service::Routes};

use crate::services::Services;

/// Concurrent calls on one connection; the next one is told so.
const CALLS: usize = 100;
/// What one connection may take. Somewhat more streams than calls: who is above that is told why,
/// where HTTP/2 alone would say nothing.
const HTTP: Http = Http {
    http1: false,
    head_bytes: 16 << 10,
    headers: 64,
    streams: CALLS as u32 + 28,
    stream_window: Some(256 << 10),
    connection_window: Some(512 << 10),
    send_buffer: 256 << 10,
    keep_alive: Duration::from_secs(20),
    // Who runs the server ends it earlier.
    drain: Duration::from_secs(30),
};
/// The API's, which is called by JSON, too.
const API_HTTP: Http = Http { http1: true, ..HTTP };
/// Longest enrollment message: an image of 64 MiB and its name.
const ENROLLMENT_MESSAGE: usize = (64 << 20) + 4096;
/// Longest message of a device: a full batch with evidence.
const DEVICE_MESSAGE: usize = ingest::MAX_BATCH * (ingest::MAX_EVIDENCE + 64 * 1024);

/// Serves devices until `shutdown`.
pub async fn serve_devices(services: &Services, listener: Listener, shutdown: CancellationToken) {
    let ingest = IngestServiceServer::new(ingest::IngestApi::new(services, shutdown.clone()))
        .max_decoding_message_size(DEVICE_MESSAGE);
    serve(listener, HTTP, Routes::new(ingest), layer::DeviceCheck, None, shutdown).await;
}

/// The descriptors of the protocol are damaged: a fault of the build.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// They make no reflection.
    #[error(transparent)]
    Reflection(#[from] tonic_reflection::server::Error),
    /// They make no JSON.
    #[error(transparent)]
    Descriptors(#[from] prost_reflect::DescriptorError),
}

/// Serves people and integrators until `shutdown`; pages of `origins` may call from browsers.
///
/// # Errors
/// The descriptors of the protocol are damaged: a fault of the build.
pub async fn serve_api(
    services: &Services,
    listener: Listener,
    origins: &[HeaderValue],
    shutdown: CancellationToken,
) -> Result<(), ApiError> {
    let database = services.database().clone();
    let Services {
        accounts,
        sites,
        students,
        enrollment,
        pairs,
        reviews,
        feed,
        candidates,
        galleries,
        keys,
        retention,
        statistics,
        terms,
        groups,
        rooms,
        class_sessions,
        matching,
        answers,
        sheets,
        check_ins,
        late_matches,
        corrections,
        excuses,
        appeals,
        policies,
        reports,
        warning_mails,
        mark_feed,
        webhooks,
        ..
    } = services.clone();
    let (reporter, health_service) = tonic_health::server::health_reporter();
    let enrollment = enrollment::EnrollmentApi::new(enrollment, candidates, shutdown.clone());
    let attendance = attendance::AttendanceApi {
        sheets,
        corrections,
        excuses,
        appeals,
        policies,
        feed: mark_feed,
        shutdown: shutdown.clone(),
    };
    let check_ins =
        check_ins::CheckInApi { check_ins, keys: Arc::clone(&keys), refusals: listener.refusals() };
    let auth = auth::AuthApi::new(accounts.clone(), sites.clone(), keys, listener.refusals());
    let mut api = Api::default();
    api.add(health_service)
        .add(AuthServiceServer::new(auth))
        .add(SiteServiceServer::new(sites::SiteApi::new(sites)))
        .add(StatsServiceServer::new(stats::StatsApi::new(statistics)))
        .add(StudentServiceServer::new(students::StudentApi::new(students)))
        .add(AttendanceServiceServer::new(attendance))
        .add(CheckInServiceServer::new(check_ins))
        .add(LateMatchServiceServer::new(late_matches::LateMatchApi(late_matches)))
        .add(TermServiceServer::new(terms::TermApi::new(terms)))
        .add(GroupServiceServer::new(groups::GroupApi::new(groups)))
        .add(RoomServiceServer::new(rooms::RoomApi::new(rooms)))
        .add(SessionServiceServer::new(class_sessions::SessionApi::new(class_sessions)))
        .add(DeviceServiceServer::new(devices::DeviceApi::new(services, shutdown.clone())))
        .add(EnrollmentServiceServer::new(enrollment).max_decoding_message_size(ENROLLMENT_MESSAGE))
        .add(GalleryServiceServer::new(gallery::GalleryApi::new(galleries, reviews.clone(), pairs)))
        .add(MatchServiceServer::new(matches::MatchApi::new(matching)))
        .add(WarningServiceServer::new(warnings::WarningApi::new(warning_mails)))
        .add(ReportServiceServer::new(reports::ReportApi::new(reports)))
        .add(RetentionServiceServer::new(retention::RetentionApi::new(retention)))
        .add(ReviewServiceServer::new(review::ReviewApi::new(reviews.clone())))
        .add(WebhookServiceServer::new(webhooks::WebhookApi::new(webhooks)))
        .add(SightingServiceServer::new(sightings::SightingApi::new(reviews, feed, shutdown.clone())));
    let transcoder = connect::Transcoder::new(&api.names, origins)?;
    let (routes, check) = (api.with_reflection()?, layer::UserCheck(accounts));
    let front = Arc::new(Front { transcoder, request_ids: request_ids::RequestIds::new(answers)? });
    let serving = serve(listener, API_HTTP, routes, check, Some(Arc::clone(&front)), shutdown.clone());
    tokio::join!(serving, health::follow(reporter, database, shutdown));
    front.request_ids.finish().await;
    Ok(())
}

/// What is before the methods of the API, and of no other listener.
struct Front {
    /// Answers what is not gRPC.
    transcoder: connect::Transcoder,
    /// Does requests with an id once.
    request_ids: request_ids::RequestIds,
}

async fn serve(
    listener: Listener,
    http: Http,
    routes: Routes,
    check: impl layer::Check,
    front: Option<Arc<Front>>,
    shutdown: CancellationToken,
) {
    let (routes, refusals) = (routes.prepare(), listener.refusals());
    let calls = move |peer| {
        let calls = layer::Calls::new(routes.clone(), check.clone(), peer, CALLS, Arc::clone(&refusals));
        calls.with_front(front.clone())
    };
    listener.serve(http, shutdown, calls).await;
}

/// The services of a listener, and their names.
#[derive(Default)]
struct Api {
    routes: tonic::service::RoutesBuilder,
    names: Vec<&'static str>,
}

impl Api {
    fn add<S>(&mut self, service: S) -> &mut Self
    where
        S: tower::Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + NamedService
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        self.names.push(S::NAME);
        self.routes.add_service(service);
        self
    }

    /// Adds both versions of the reflection protocol. They list what there is here, and no service
    /// that only devices or proxies have.
    fn with_reflection(mut self) -> Result<Routes, tonic_reflection::server::Error> {
        let builder = |of_reflection: &str| {
            let mut builder = tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
                .with_service_name(of_reflection);
            for name in &self.names {
                builder = builder.with_service_name(*name);
            }
            builder
        };
        let v1 = builder("grpc.reflection.v1.ServerReflection").build_v1()?;
        let v1alpha = builder("grpc.reflection.v1alpha.ServerReflection").build_v1alpha()?;
        self.routes.add_service(v1);
        self.routes.add_service(v1alpha);
        Ok(self.routes.routes())
    }
}
