//! The connection to the server.

use std::{
    error::Error,
    future::Future,
    path::{Path, PathBuf},
    time::Duration,
};

use cavs_certs::{TlsFault, tls_fault};
use cavs_proto::{
    OneResource,
    v1::{
        attendance_service_client::AttendanceServiceClient, auth_service_client::AuthServiceClient,
        check_in_service_client::CheckInServiceClient, device_service_client::DeviceServiceClient,
        enrollment_service_client::EnrollmentServiceClient, gallery_service_client::GalleryServiceClient,
        group_service_client::GroupServiceClient, late_match_service_client::LateMatchServiceClient,
        match_service_client::MatchServiceClient, report_service_client::ReportServiceClient,
        retention_service_client::RetentionServiceClient, review_service_client::ReviewServiceClient,
        room_service_client::RoomServiceClient, session_service_client::SessionServiceClient,
        sighting_service_client::SightingServiceClient, site_service_client::SiteServiceClient,
        stats_service_client::StatsServiceClient, student_service_client::StudentServiceClient,
        term_service_client::TermServiceClient, warning_service_client::WarningServiceClient,
        webhook_service_client::WebhookServiceClient,
    },
};
use jiff::Timestamp;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use crate::{
    config::{Config, ServerUrl, read_limited},
    error::CliError,
};

/// A page of 1000 sightings with long notes stays below it.
const MAX_MESSAGE_BYTES: usize = 32 * 1024 * 1024;
/// A dead connection is noticed even while a stream says nothing.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// What a character of a site's name is that the metadata can't hold as it is.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

type Authorised = InterceptedService<Channel, Identity>;

/// The server, ready for calls.
pub struct Api {
    channel: Channel,
    identity: Identity,
    server: ServerUrl,
    timeout: Duration,
}

/// Puts the token and the site, where there are any, into every request.
#[derive(Clone)]
pub struct Identity {
    bearer: Option<MetadataValue<Ascii>>,
    site: Option<MetadataValue<Ascii>>,
}

impl Interceptor for Identity {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.bearer {
            request.metadata_mut().insert("authorization", token.clone());
        }
        if let Some(site) = &self.site {
            request.metadata_mut().insert("cavs-site", site.clone());
        }
        Ok(request)
    }
}

macro_rules! services {
    ($($name:ident: $client:ident,)*) => {
        impl Api {$(
            #[doc = concat!("A `", stringify!($client), "`.")]
            #[must_use]
            pub fn $name(&self) -> $client<Authorised> {
                $client::with_interceptor(self.channel.clone(), self.identity.clone())
                    .max_decoding_message_size(MAX_MESSAGE_BYTES)
            }
        )*}
    };
}

services! {
    attendance: AttendanceServiceClient,
    auth: AuthServiceClient,
    check_ins: CheckInServiceClient,
    class_sessions: SessionServiceClient,
    devices: DeviceServiceClient,
    enrollment: EnrollmentServiceClient,
    galleries: GalleryServiceClient,
    groups: GroupServiceClient,
    late_matches: LateMatchServiceClient,
    matches: MatchServiceClient,
    retention: RetentionServiceClient,
    reports: ReportServiceClient,
    reviews: ReviewServiceClient,
    rooms: RoomServiceClient,
    sightings: SightingServiceClient,
    sites: SiteServiceClient,
    stats: StatsServiceClient,
    students: StudentServiceClient,
    terms: TermServiceClient,
    warnings: WarningServiceClient,
    webhooks: WebhookServiceClient,
}

impl Api {
    /// Connects as the person who is logged in.
    ///
    /// # Errors
    /// Where nobody is logged in at this server, or it can't be reached or trusted.
    pub async fn connect(config: &Config) -> Result<Self, CliError> {
        let token = token(config, Timestamp::now())?;
        let text = format!("Bearer {}", token.expose_secret());
        let mut bearer = MetadataValue::try_from(text)
            .map_err(|_| CliError::usage("the session token holds characters that no token has"))?;
        bearer.set_sensitive(true);
        let site = config.site.as_deref().map(site_value).transpose()?;
        Self::open(config, Identity { bearer: Some(bearer), site }).await
    }

    /// Connects as nobody.
    ///
    /// # Errors
    /// Where the server can't be reached or trusted.
    pub async fn connect_anonymously(config: &Config) -> Result<Self, CliError> {
        Self::open(config, Identity { bearer: None, site: None }).await
    }

    async fn open(config: &Config, identity: Identity) -> Result<Self, CliError> {
        let pem = read_roots(&config.ca)?;
        // The site's root alone: a certificate of any public authority is no proof here.
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(pem))
            .domain_name(config.server.host())
            .timeout(config.timeout);
        let endpoint = Endpoint::from(config.server.uri().clone())
            .tls_config(tls)
            .map_err(|error| CliError::usage(format!("{}: {}", config.server, deepest(&error))))?
            .connect_timeout(config.timeout)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(config.timeout);
        // The connect timeout does not cover the HTTP/2 preface, so the whole is bounded once more.
        let channel = match timeout(config.timeout, endpoint.connect()).await {
            Ok(connected) => connected.map_err(|error| connect_error(&error, config))?,
            Err(_) => return Err(timed_out(&config.server, config.timeout)),
        };
        Ok(Self { channel, identity, server: config.server.clone(), timeout: config.timeout })
    }

    /// Waits for an answer, but not for ever.
    ///
    /// # Errors
    /// The server's error, or that there was no answer.
    pub async fn call<T>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CliError> {
        self.bounded(answer).await.map(Response::into_inner)
    }

    /// As [`Self::call`], where the answer is one resource.
    ///
    /// # Errors
    /// The server's error, or that there was no answer, or nothing in it.
    pub async fn one<T: OneResource>(
        &self,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T::Resource, CliError> {
        let resource = self.call(answer).await?.into_resource();
        resource.ok_or_else(|| CliError::protocol("the server's answer has nothing in it"))
    }

    /// As [`Self::call`], for what takes longer than other calls.
    ///
    /// # Errors
    /// The server's error, or that there was no answer.
    pub async fn call_within<T>(
        &self,
        least: Duration,
        answer: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, CliError> {
        let limit = self.timeout.max(least);
        match timeout(limit, answer).await {
            Ok(result) => result.map(Response::into_inner).map_err(|status| self.status_error(&status)),
            Err(_) => Err(timed_out(&self.server, limit)),
        }
    }

    /// Waits for a step of a stream, but not for ever.
    ///
    /// # Errors
    /// The server's error, or that there was no answer.
    pub async fn bounded<T>(&self, step: impl Future<Output = Result<T, Status>>) -> Result<T, CliError> {
        match timeout(self.timeout, step).await {
            Ok(result) => result.map_err(|status| self.status_error(&status)),
            Err(_) => Err(timed_out(&self.server, self.timeout)),
        }
    }

    /// Why a call, or a stream, failed.
    #[must_use]
    pub fn status_error(&self, status: &Status) -> CliError {
        // What came over the wire has no source: with one, the connection itself broke.
        match status.source() {
            Some(source) => {
                CliError::Unreachable { server: self.server.to_string(), problem: broken(source) }
            }
            None => CliError::rpc(status),
        }
    }
}

/// A site's name or id as metadata hold it.
fn site_value(site: &str) -> Result<MetadataValue<Ascii>, CliError> {
    let text = utf8_percent_encode(site, ESCAPED).to_string();
    text.parse().map_err(|_| CliError::usage(format!("site {site:?}: no site is called so")))
}

/// The token for this server: from the environment, or of a session with this very server.
fn token(config: &Config, now: Timestamp) -> Result<SecretString, CliError> {
    if let Some(token) = &config.token {
        return Ok(token.clone());
    }
    let server = config.server.to_string();
    match &config.session {
        Some(session) if session.server == server => match session.expires {
            Some(at) if at <= now => Err(CliError::SessionExpired { server, at }),
            _ => Ok(session.token.clone()),
        },
        _ => Err(CliError::NotLoggedIn { server }),
    }
}

/// The certificates of a root file, checked to be some.
pub(crate) fn read_roots(path: &Path) -> Result<String, CliError> {
    let pem = read_limited(path).map_err(|error| CliError::file(path, error))?;
    let unusable = |problem| CliError::failure("CA_UNUSABLE", format!("{}: {problem}", path.display()));
    let roots: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| unusable("holds a damaged certificate"))?;
    if roots.is_empty() {
        return Err(unusable("holds no certificate in PEM form"));
    }
    Ok(pem)
}

fn timed_out(server: &ServerUrl, timeout: Duration) -> CliError {
    CliError::TimedOut { server: server.to_string(), seconds: timeout.as_secs() }
}

fn connect_error(error: &tonic::transport::Error, config: &Config) -> CliError {
    let server = config.server.to_string();
    match tls_fault(error) {
        Some(fault @ TlsFault::NotTrusted(_)) => {
            CliError::NotTrusted { server, problem: fault.to_string(), ca: PathBuf::from(&config.ca) }
        }
        Some(_) | None => CliError::Unreachable { server, problem: broken(error) },
    }
}

/// What kept a call from being answered on a connection that was there.
fn broken(error: &(dyn Error + 'static)) -> String {
    let problem = tls_fault(error).map_or_else(|| deepest(error), |fault| fault.to_string());
    // Whoever shows no certificate is cut off there, often before the reason arrives.
    if ["broken pipe", "connection closed", "connection reset"].iter().any(|sign| problem.contains(sign)) {
        return format!(
            "{problem}; is this the port of `api.listen`? The one of `devices.listen` is for devices"
        );
    }
    problem
}

/// The error at the bottom: "connection refused" rather than "transport error".
fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
