//! What every call goes through: its span and log lines, its time limit, and who is calling.

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration, time::Instant};

use cavs_certs::device_id_of;
use cavs_net::{Peer, Refusals};
use cavs_proto::{complete_error, error_reason};
use cavs_types::{DeviceId, ErrorReason, Role, SiteId, UserId};
use http::{HeaderMap, Request, Response, header::AUTHORIZATION, request::Parts};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tonic::{Code, Status, body::Body, service::Routes};
use tower::ServiceExt;
use tracing::{Instrument, debug, info_span, warn};
use uuid::Uuid;

use super::{
    Front,
    access::{Access, access},
    request_ids::RequestIds,
};
use crate::{
    error::ServiceError,
    people::{Accounts, SiteKey, SiteRole, User},
    text::printable,
};

/// Longest work on a call, or on a message of a stream. A query ends before it (`statement_timeout`),
/// so what takes longer is a database that does not even say so.
const LIMIT: Duration = Duration::from_secs(45);

/// When to try again: once a call of the same connection may have ended, and once a busy server may be less so.
const RETRY_CROWDED: Duration = Duration::from_secs(1);
const RETRY_SLOW: Duration = Duration::from_secs(10);

/// A large file is on its way for longer than other calls, and what follows from it takes longer.
const IMPORTS: [&str; 3] = [
    "/cavs.v1.StudentService/ImportStudents",
    "/cavs.v1.GroupService/ImportRosters",
    "/cavs.v1.SessionService/ImportClassSessions",
];
const IMPORT_LIMIT: Duration = Duration::from_secs(600);

/// Says more of a failure than is known here.
const LOGIN: &str = "/cavs.v1.AuthService/Login";

/// Bounds the work on a call, or on a message of a stream.
pub(super) async fn in_time<T>(work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    within(LIMIT, work).await
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = "the server could not answer in time; try again later";
        Err(cavs_proto::status_with_retry(ErrorReason::CallTimeout, message, RETRY_SLOW))
    })
}

/// Names the site that a call is about, by its id or its name; percent-encoded where that is not ASCII.
const SITE: &str = "cavs-site";

/// Who is calling: an extension of every request that needs a user and is about no site.
#[derive(Debug, Clone)]
pub(super) struct Account {
    /// The user.
    pub(super) user: User,
    /// The token in use.
    pub(super) token: Arc<secrecy::SecretString>,
}

/// Who is calling in which site: an extension of every request that is about a site.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    /// The user.
    pub(super) user: UserId,
    /// The site: all that the call is told and does is of it.
    pub(super) site: SiteId,
    /// What the user may do there.
    pub(super) role: Role,
}

/// Which device is calling: an extension of every request on the device listener.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallingDevice(pub(super) DeviceId);

/// What is known of a caller before a method has seen the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing, and nothing needs to be.
    Anybody,
    /// A certificate of the site names a device; whether it may speak, the method finds out.
    Claimed,
    /// A user who may call the method.
    Known,
}

/// Says who is calling, or why the call is refused.
pub(super) trait Check: Clone + Send + Sync + 'static {
    /// Puts who it is into the request's extensions, and into `name` for the security log.
    fn check(
        &self,
        peer: &Peer,
        parts: &mut Parts,
        name: &mut Option<String>,
    ) -> impl Future<Output = Result<Standing, Status>> + Send;
}

/// Authenticates users on the API listener.
#[derive(Clone)]
pub(super) struct UserCheck(pub(super) Accounts);

/// Reads devices' certificates on the device listener.
#[derive(Clone)]
pub(super) struct DeviceCheck;

impl Check for UserCheck {
    async fn check(
        &self,
        _: &Peer,
        parts: &mut Parts,
        name: &mut Option<String>,
    ) -> Result<Standing, Status> {
        let access = match access(parts.uri.path()) {
            None => return Err(cavs_proto::status(ErrorReason::Unimplemented, "no such method")),
            Some(Access::Public) => return Ok(Standing::Anybody),
            Some(access) => access,
        };
        let token = bearer(&parts.headers)
            .ok_or_else(|| cavs_proto::status(ErrorReason::Unauthenticated, "no token: log in first"))?;
        let session = self.0.authenticate(token, named_site(&parts.headers)).await?;
        *name = Some(session.user.id.to_string());
        let (role, changes) = match access {
            Access::Public | Access::Anyone | Access::Operator => {
                if access == Access::Operator && !session.user.is_operator {
                    return Err(insufficient(parts.uri.path(), "an operator"));
                }
                let token = Arc::new(token.to_owned().into());
                parts.extensions.insert(Account { user: session.user, token });
                return Ok(Standing::Known);
            }
            Access::Role(role) => ([role; 2], false),
            Access::Active(role) => ([role; 2], true),
            Access::ActiveEither(one, other) => ([one, other], true),
        };
        let user = session.user.id;
        let found = session.site()?;
        permit(parts.uri.path(), &found, role, changes)?;
        parts.extensions.insert(Caller { user, site: found.site.id, role: found.role });
        Ok(Standing::Known)
    }
}

/// Whether somebody with a role in a site, which has to include one of two, may call a method there.
fn permit(path: &str, found: &SiteRole, needed: [Role; 2], active: bool) -> Result<(), Status> {
    if !needed.iter().any(|needed| found.role.includes(*needed)) {
        let [one, other] = needed;
        let wanted = if one == other { format!("{one:?}") } else { format!("{one:?} or {other:?}") };
        return Err(insufficient(path, &format!("a role that includes {wanted}")));
    }
    if active && found.site.archived_at.is_some() {
        let message = "the site was archived: it can be looked at, and nothing of it can be changed";
        return Err(cavs_proto::status(ErrorReason::SiteArchived, message));
    }
    Ok(())
}

fn insufficient(path: &str, needed: &str) -> Status {
    let message = format!("{} needs {needed}", path.rsplit('/').next().unwrap_or(path));
    ServiceError::refused(ErrorReason::RoleInsufficient, message).into()
}

/// The site that a request names. What no site can be called is a name that none has.
fn named_site(headers: &HeaderMap) -> Option<SiteKey> {
    let value = headers.get(SITE)?.as_bytes();
    let text = percent_encoding::percent_decode(value).decode_utf8_lossy();
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    Some(SiteKey::read(SITE, text).unwrap_or_else(|_| SiteKey::Name(printable(text, 100))))
}

/// The token of a request. The scheme's case does not matter (RFC 9110, 11.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl Check for DeviceCheck {
    async fn check(
        &self,
        peer: &Peer,
        parts: &mut Parts,
        name: &mut Option<String>,
    ) -> Result<Standing, Status> {
        let refused = |message: String| cavs_proto::status(ErrorReason::DeviceIdentityMissing, message);
        let leaf = peer.certificates.as_ref().and_then(|chain| chain.first());
        let leaf = leaf.ok_or_else(|| refused("no client certificate".into()))?;
        let id = device_id_of(leaf).map_err(|error| refused(format!("the client certificate {error}")))?;
        *name = Some(id.to_string());
        parts.extensions.insert(CallingDevice(id.into()));
        Ok(Standing::Claimed)
    }
}

/// The calls of a connection.
pub(super) struct Calls<C> {
    context: Arc<Context<C>>,
    /// Answers what is not gRPC, and what was asked before, where there is one.
    front: Option<Arc<Front>>,
}

struct Context<C> {
    routes: Routes,
    check: C,
    peer: Peer,
    /// Calls that may be under way.
    calls: Arc<Semaphore>,
    refusals: Arc<Refusals>,
}

impl<C: Check> Calls<C> {
    pub(super) fn new(routes: Routes, check: C, peer: Peer, most: usize, refusals: Arc<Refusals>) -> Self {
        let calls = Arc::new(Semaphore::new(most));
        Self { context: Arc::new(Context { routes, check, peer, calls, refusals }), front: None }
    }

    pub(super) fn with_front(self, front: Option<Arc<Front>>) -> Self {
        Self { front, ..self }
    }
}

impl<C: Check> hyper::service::Service<Request<Incoming>> for Calls<C> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (context, front) = (Arc::clone(&self.context), self.front.clone());
        let span = info_span!("call", method = request.uri().path(), request = %Uuid::now_v7());
        let answering = async move {
            let request = request.map(Body::new);
            Ok(match &front {
                Some(front) => {
                    let ids = Some(&front.request_ids);
                    front.transcoder.answer(request, |request| context.answer(request, ids)).await
                }
                None => context.answer(request, None).await,
            })
        };
        Box::pin(answering.instrument(span))
    }
}

impl<C: Check> Context<C> {
    async fn answer(&self, request: Request<Body>, ids: Option<&RequestIds>) -> Response<Body> {
        let begun = Instant::now();
        let Ok(permit) = Arc::clone(&self.calls).try_acquire_owned() else {
            let message = "too many calls at a time on one connection; wait for some, or open another one";
            return cavs_proto::status_with_retry(ErrorReason::Overloaded, message, RETRY_CROWDED)
                .into_http();
        };
        self.peer.slot.made_progress();
        let (mut parts, body) = request.into_parts();
        let (method, mut name) = (parts.uri.path().to_owned(), None);
        parts.extensions.insert(self.peer.clone());
        let most = if IMPORTS.contains(&method.as_str()) { IMPORT_LIMIT } else { LIMIT };
        let limit = timeout_of(&parts.headers).map_or(most, |limit| limit.min(most));
        let answered = within(limit, async {
            let standing = self.check.check(&self.peer, &mut parts, &mut name).await?;
            let busy = match standing {
                Standing::Anybody => None,
                // Nobody is shut out because we take our time with them.
                Standing::Claimed => Some(self.peer.slot.processing()),
                Standing::Known => Some(self.peer.slot.authorised()),
            };
            let request = Request::from_parts(parts, body);
            let routes = self.routes.clone();
            let call = move |request| async move {
                let answered: Result<_, Infallible> = routes.oneshot(request).await;
                let Ok(response) = answered;
                response
            };
            let response = match ids {
                Some(ids) => ids.answer(request, call).await?,
                None => call(request).await,
            };
            Ok((response, standing, busy))
        });
        let (mut response, standing, mut busy) =
            answered.await.unwrap_or_else(|status| (status.into_http(), Standing::Anybody, None));
        complete_error(response.headers_mut());
        // A failure before the first message is in the headers; a later one is the stream's.
        let failed = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok);
        match failed {
            Some(status) => self.say_refused(&method, &status, name.as_deref(), begun.elapsed()),
            None => {
                if standing == Standing::Claimed {
                    busy = Some(self.peer.slot.authorised());
                }
                debug!(millis = begun.elapsed().as_millis(), "answered");
            }
        }
        response.map(|body| {
            Body::new(body.map_frame(move |mut frame| {
                // For as long as the answer lasts.
                let _ = (&permit, &busy);
                if let Some(trailers) = frame.trailers_mut() {
                    complete_error(trailers);
                }
                frame
            }))
        })
    }

    /// Messages may name people: they are for the caller.
    fn say_refused(&self, method: &str, status: &Status, name: Option<&str>, took: Duration) {
        let reason = error_reason(status).unwrap_or(ErrorReason::Internal).as_str();
        let millis = took.as_millis();
        debug!(message = status.message(), "refused");
        if method == LOGIN {
            return;
        }
        let no_access = matches!(status.code(), Code::Unauthenticated | Code::PermissionDenied);
        match name {
            Some(_) if !no_access => warn!(code = ?status.code(), reason, millis, "refused"),
            // What everybody can cause is no flood of lines.
            _ => self.refusals.log(self.peer.address, reason, name, format_args!("refused {method}")),
        }
    }
}

/// How long the caller waits (`grpc-timeout`: at most eight digits and a unit); who writes something
/// else waits as long as anybody.
fn timeout_of(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())])
    }

    #[test]
    fn a_scheme_has_no_case() {
        for text in ["Bearer abc", "bearer abc", "BEARER  abc ", "bEaReR abc"] {
            assert_eq!(bearer(&headers("authorization", text)), Some("abc"), "{text}");
        }
        for text in ["abc", "Basic abc", "Bearerabc", ""] {
            assert_eq!(bearer(&headers("authorization", text)), None, "{text}");
        }
    }

    #[test]
    fn a_site_is_named_by_id_or_name() {
        let id = SiteId::generate();
        let named = |text: &str| named_site(&headers(SITE, text));
        assert_eq!(named(&id.to_string()), Some(SiteKey::Id(id)));
        assert_eq!(named("North%20Campus"), Some(SiteKey::Name("North Campus".to_owned())));
        assert_eq!(named(" Zo%C3%AB "), Some(SiteKey::Name("Zo\u{eb}".to_owned())));
        assert_eq!(named("%FF"), Some(SiteKey::Name("\u{fffd}".to_owned())));
        assert_eq!(named("%20"), None);
        assert_eq!(named_site(&HeaderMap::new()), None);
    }

    #[test]
    fn a_callers_patience_is_understood() {
        let read = |text: &str| timeout_of(&headers("grpc-timeout", text));
        assert_eq!(read("5S"), Some(Duration::from_secs(5)));
        assert_eq!(read("250m"), Some(Duration::from_millis(250)));
        assert_eq!(read("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for text in ["", "S", "5", "+5S", "123456789S", "5s", "-5S"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
