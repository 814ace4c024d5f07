//! What every call goes through: its span and log lines, and who is calling.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use cavs_certs::device_id_of;
use cavs_proto::{DeviceId, ErrorReason};
use http::{Request, Response, header::AUTHORIZATION};
use rustls::pki_types::CertificateDer;
use tonic::{
    Status,
    body::Body,
    transport::server::{TcpConnectInfo, TlsConnectInfo},
};
use tower::{Layer, Service};
use tracing::{Instrument, debug, info_span, warn};
use uuid::Uuid;

use super::access::{Access, access};
use crate::{
    app::{App, AppError},
    domain::User,
};

/// Longest work on a call, or on a message of a stream. A query ends before it (`statement_timeout`),
/// so what takes longer is a database that does not even say so.
const LIMIT: Duration = Duration::from_secs(45);

/// Bounds the work on a call, or on a message of a stream.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| {
        let message = "the server could not answer in time; try again later";
        Err(cavs_proto::status(ErrorReason::CallTimeout, message))
    })
}

/// Who is calling: an extension of every request that needs a user.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// The user.
    pub(super) user: User,
    /// The token in use.
    pub(super) token: Arc<secrecy::SecretString>,
}

/// Which device is calling: an extension of every request on the device listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallingDevice(pub(super) DeviceId);

/// Authenticates users on the API listener.
#[derive(Clone)]
pub(super) struct ApiLayer(App);

/// Reads devices' certificates on the device listener.
#[derive(Clone)]
pub(super) struct DeviceLayer;

impl ApiLayer {
    pub(super) fn new(app: App) -> Self {
        Self(app)
    }
}

impl<S> Layer<S> for ApiLayer {
    type Service = Checked<S, Self>;

    fn layer(&self, inner: S) -> Checked<S, Self> {
        Checked { inner, check: self.clone() }
    }
}

impl<S> Layer<S> for DeviceLayer {
    type Service = Checked<S, Self>;

    fn layer(&self, inner: S) -> Checked<S, Self> {
        Checked { inner, check: self.clone() }
    }
}

/// Says who is calling, or why the call is refused.
pub(super) trait Check: Clone + Send + 'static {
    fn check(
        self,
        parts: http::request::Parts,
    ) -> impl Future<Output = Result<http::request::Parts, Status>> + Send;
}

impl Check for ApiLayer {
    async fn check(self, mut parts: http::request::Parts) -> Result<http::request::Parts, Status> {
        let path = parts.uri.path();
        let role = match access(path) {
            None => return Err(Status::unimplemented("no such method")),
            Some(Access::Public) => return Ok(parts),
            Some(Access::Role(role)) => role,
        };
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = header
            .and_then(|text| text.strip_prefix("Bearer "))
            .map(str::trim)
            .ok_or_else(|| cavs_proto::status(ErrorReason::Unauthenticated, "no token: log in first"))?;
        let user = self.0.authenticate(token).await?;
        if !user.role.includes(role) {
            let message =
                format!("{} needs a role that includes {role:?}", path.rsplit('/').next().unwrap_or(path));
            return Err(AppError::refused(ErrorReason::RoleInsufficient, message).into());
        }
        let token = Arc::new(token.to_owned().into());
        parts.extensions.insert(Caller { user, token });
        Ok(parts)
    }
}

impl Check for DeviceLayer {
    async fn check(self, mut parts: http::request::Parts) -> Result<http::request::Parts, Status> {
        let refused = |message: String| cavs_proto::status(ErrorReason::DeviceIdentityMissing, message);
        let connection = parts.extensions.get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificates: Option<Arc<Vec<CertificateDer<'static>>>> =
            connection.and_then(TlsConnectInfo::peer_certs);
        let leaf = certificates.as_deref().and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| refused("no client certificate".into()))?;
        let id = device_id_of(leaf).map_err(|error| refused(format!("the client certificate {error}")))?;
        parts.extensions.insert(CallingDevice(id.into()));
        Ok(parts)
    }
}

/// A service behind a check.
#[derive(Clone)]
pub(super) struct Checked<S, C> {
    inner: S,
    check: C,
}

impl<S, C> Service<Request<Body>> for Checked<S, C>
where
    S: Service<Request<Body>, Response = Response<Body>> + Clone + Send + 'static,
    S::Future: Send,
    C: Check,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The service that was polled ready is the one to call.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let check = self.check.clone();
        let method = request.uri().path().to_owned();
        let span = info_span!("call", %method, request = %Uuid::now_v7());
        Box::pin(
            async move {
                let begun = Instant::now();
                let (parts, body) = request.into_parts();
                let response = match in_time(check.check(parts)).await {
                    Ok(parts) => {
                        match in_time(async { Ok(inner.call(Request::from_parts(parts, body)).await) }).await
                        {
                            Ok(response) => response?,
                            Err(status) => status.into_http(),
                        }
                    }
                    Err(status) => status.into_http(),
                };
                let millis = begun.elapsed().as_millis();
                // A failure before the first message is in the headers; a later one is the stream's.
                match Status::from_header_map(response.headers()).filter(|s| s.code() != tonic::Code::Ok) {
                    Some(status) => {
                        warn!(code = ?status.code(), message = status.message(), millis, "refused")
                    }
                    None => debug!(millis, "answered"),
                }
                Ok(response)
            }
            .instrument(span),
        )
    }
}
