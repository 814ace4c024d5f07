//! Calls receivers: by TLS, to addresses that are allowed, once, for a limited time, and reads as little as can be of what
//! they answer.

use std::{
    error::Error as StdError,
    fmt, io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{
        Client,
        connect::{
            HttpConnector,
            dns::{GaiResolver, Name},
        },
    },
    rt::{TokioExecutor, TokioTimer},
};
use jiff::Timestamp;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;
use tower::Service;
use tracing::warn;

use crate::{
    authorities,
    webhooks::{AddressRefused, AttemptOutcome, ReceiverPolicy, SigningSecret, WebhookUrl},
};

/// How long a receiver may take to be reached, TLS and all.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a receiver may take until it says whether it has taken a message.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long it may take for what it says beside.
pub(super) const READ_LIMIT: Duration = Duration::from_secs(2);
/// Most of an answer that is read, so that its connection can be used again. Nothing of it is kept or shown.
const READ: usize = 64 << 10;
/// How long a connection is kept that nothing is sent on.
const IDLE: Duration = Duration::from_secs(20);
/// Connections that are kept to one receiver.
const IDLE_CONNECTIONS: usize = 8;

/// Why there is no client.
#[derive(Debug, Error)]
#[error("webhooks.authority: {0}")]
pub struct ReceiverError(String);

/// Calls receivers.
#[derive(Clone)]
pub struct ReceiverClient {
    encrypted: Calls,
    plain: Calls,
    policy: ReceiverPolicy,
}

type Calls = Client<TimedConnector, Full<Bytes>>;

/// What is sent.
pub struct Sent<'a> {
    /// Where.
    pub url: &'a WebhookUrl,
    /// The delivery's id.
    pub id: &'a str,
    /// The message.
    pub body: Bytes,
    /// Each signs.
    pub secrets: &'a [SigningSecret],
}

impl ReceiverClient {
    /// Believes the machine's authorities, and those of a file.
    ///
    /// # Errors
    /// The file holds none.
    pub fn new(policy: ReceiverPolicy, authority: Option<&Path>) -> Result<Self, ReceiverError> {
        let mut roots = RootCertStore::empty();
        if let Some(file) = authority {
            authorities::add(&mut roots, file).map_err(ReceiverError)?;
        }
        let of_machine = authorities::of_machine().ok_or_else(|| "none is known".to_owned());
        if let Err(problem) = of_machine.and_then(|file| authorities::add(&mut roots, file))
            && authority.is_none()
        {
            warn!(%problem, "no webhook can be sent: this machine knows no authorities (Debian: ca-certificates)");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| ReceiverError(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let calls = |is_encrypted| {
            let mut tcp = HttpConnector::new_with_resolver(CheckedResolver {
                resolver: GaiResolver::new(),
                policy,
                is_encrypted,
            });
            tcp.enforce_http(false);
            tcp.set_connect_timeout(Some(CONNECT_LIMIT));
            tcp.set_nodelay(true);
            let builder = HttpsConnectorBuilder::new().with_tls_config(tls.clone());
            let connector = if is_encrypted { builder.https_only() } else { builder.https_or_http() };
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .pool_max_idle_per_host(IDLE_CONNECTIONS)
                .build(TimedConnector(connector.enable_http1().wrap_connector(tcp)))
        };
        Ok(Self { encrypted: calls(true), plain: calls(false), policy })
    }

    /// What is allowed.
    #[must_use]
    pub const fn policy(&self) -> ReceiverPolicy {
        self.policy
    }

    /// Sends a message once.
    pub async fn send(&self, message: Sent<'_>) -> AttemptOutcome {
        let answer = self.call(message).await;
        answer.unwrap_or_else(|problem| AttemptOutcome::Unanswered { problem })
    }

    async fn call(&self, Sent { url, id, body, secrets }: Sent<'_>) -> Result<AttemptOutcome, String> {
        let is_encrypted = url.is_encrypted();
        // Names are checked when they are resolved; an address is not resolved.
        if let Some(address) = url.literal() {
            self.policy.check(address, is_encrypted).map_err(|refused| refused.to_string())?;
        }
        let timestamp = Timestamp::now().as_second();
        let signatures: Vec<String> =
            secrets.iter().map(|secret| secret.sign(id, timestamp, &body)).collect();
        let request = Request::builder()
            .method(Method::POST)
            .uri(url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, concat!("CAVS/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signatures.join(" "))
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let calls = if is_encrypted { &self.encrypted } else { &self.plain };
        let answer = tokio::time::timeout(CALL_LIMIT, calls.request(request)).await;
        let answer = answer.map_err(|_| format!("did not answer within {} s", CALL_LIMIT.as_secs()))?;
        let (head, answer) = answer.map_err(|error| deepest(&error))?.into_parts();
        // A receiver that says more, or says it slowly, has its connection closed; what it has taken it has taken.
        let _read = tokio::time::timeout(READ_LIMIT, Limited::new(answer, READ).collect()).await;
        let status = head.status.as_u16();
        if head.status.is_success() {
            return Ok(AttemptOutcome::Accepted { status });
        }
        let seconds =
            head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(AttemptOutcome::Refused { status, retry_after: seconds.map(Duration::from_secs) })
    }
}

/// The error at the bottom: what the system, TLS or the policy said.
fn deepest(error: &(dyn StdError + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    // Of ours, or of the system's; never of what a receiver has written.
    error.to_string().chars().take(200).collect()
}

/// Connects within the limit, with TLS: a connection is made to its end also where nobody waits for it any more.
#[derive(Clone)]
struct TimedConnector(HttpsConnector<HttpConnector<CheckedResolver>>);

impl Service<Uri> for TimedConnector {
    type Response = <HttpsConnector<HttpConnector<CheckedResolver>> as Service<Uri>>::Response;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.0.call(uri);
        Box::pin(async move {
            let connected = tokio::time::timeout(CONNECT_LIMIT, connecting).await;
            connected.map_err(|_| format!("is not reached within {} s", CONNECT_LIMIT.as_secs()))?
        })
    }
}

/// Resolves names to addresses that may be called: the very ones that are connected to.
#[derive(Clone)]
struct CheckedResolver {
    resolver: GaiResolver,
    policy: ReceiverPolicy,
    is_encrypted: bool,
}

impl Service<Name> for CheckedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.resolver.poll_ready(context)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (policy, is_encrypted) = (self.policy, self.is_encrypted);
        let resolving = self.resolver.call(name);
        Box::pin(async move {
            let mut refused: Option<AddressRefused> = None;
            let found = resolving.await.map_err(|error| io::Error::other(Unresolved(error)))?;
            let allowed: Vec<SocketAddr> = found
                .filter(|address| match policy.check(address.ip(), is_encrypted) {
                    Ok(()) => true,
                    Err(error) => {
                        refused = Some(error.of_name());
                        false
                    }
                })
                .collect();
            match refused {
                Some(refused) if allowed.is_empty() => Err(io::Error::other(refused)),
                _ => Ok(allowed.into_iter()),
            }
        })
    }
}

#[derive(Debug)]
struct Unresolved(io::Error);

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host's name is not found: {}", self.0)
    }
}

impl StdError for Unresolved {}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;

    const HERE: ReceiverPolicy = ReceiverPolicy { private_addresses: true, plain_http: false };

    /// A receiver that answers each connection so, and what it was sent.
    async fn receiver(answer: &'static str) -> (WebhookUrl, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://localhost:{}/hook", listener.local_addr().unwrap().port());
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 4096];
            let read = stream.read(&mut heard).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8_lossy(&heard[..read]).into_owned()
        });
        (WebhookUrl::new("url", &url, HERE).unwrap(), heard)
    }

    async fn send(policy: ReceiverPolicy, url: &WebhookUrl) -> AttemptOutcome {
        let client = ReceiverClient::new(policy, None).unwrap();
        let secrets = [SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()];
        client.send(Sent { url, id: "msg_1", body: Bytes::from_static(b"{}"), secrets: &secrets }).await
    }

    #[tokio::test]
    async fn what_is_sent_is_signed_and_the_answer_says_what_became_of_it() {
        let (url, heard) = receiver("HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(send(HERE, &url).await, AttemptOutcome::Accepted { status: 204 });
        let heard = heard.await.unwrap().to_lowercase();
        assert!(heard.starts_with("post /hook http/1.1\r\n"), "{heard}");
        for header in
            ["webhook-id: msg_1", "webhook-timestamp: ", "webhook-signature: v1,", "host: localhost:"]
        {
            assert!(heard.contains(header), "{header}: {heard}");
        }
    }

    #[tokio::test]
    async fn redirections_are_not_followed_and_waits_are_heard() {
        let (url, _heard) = receiver("HTTP/1.1 302 Found\r\nLocation: http://localhost:1/\r\n\r\n").await;
        let outcome = send(HERE, &url).await;
        assert_eq!(outcome, AttemptOutcome::Refused { status: 302, retry_after: None });
        assert_eq!(outcome.problem(), "answered 302: redirections are not followed");
        let (url, _heard) =
            receiver("HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n").await;
        let wait = Some(Duration::from_secs(7));
        assert_eq!(send(HERE, &url).await, AttemptOutcome::Refused { status: 503, retry_after: wait });
    }

    #[tokio::test]
    async fn a_name_that_leads_into_the_machine_is_refused_when_it_is_called() {
        let (url, heard) = receiver("HTTP/1.1 200 OK\r\n\r\n").await;
        let problem = send(ReceiverPolicy::default(), &url).await.problem();
        assert!(problem.contains("is no public address"), "{problem}");
        assert!(!problem.contains("127.0.0.1") && !problem.contains("::1"), "{problem}");
        assert!(!heard.is_finished());
        let stored = WebhookUrl::stored("https://127.0.0.1:1/").unwrap();
        assert!(send(ReceiverPolicy::default(), &stored).await.problem().contains("127.0.0.1"));
    }

    #[tokio::test]
    async fn an_answer_that_does_not_end_is_one() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://127.0.0.1:{}/", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 4096];
            assert!(stream.read(&mut heard).await.unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n...").await.unwrap();
            // Until the other side has enough.
            while stream.read(&mut heard).await.is_ok_and(|read| read > 0) {}
        });
        let outcome = send(HERE, &WebhookUrl::stored(&url).unwrap()).await;
        assert_eq!(outcome, AttemptOutcome::Accepted { status: 200 });
    }

    #[tokio::test]
    async fn who_says_nothing_of_tls_is_not_reached() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port());
        let outcome = send(HERE, &WebhookUrl::stored(&url).unwrap()).await;
        assert_eq!(outcome.problem(), "is not reached within 5 s");
    }

    #[tokio::test]
    async fn who_is_not_there_is_no_answer() {
        let stored = WebhookUrl::stored("http://127.0.0.1:1/").unwrap();
        let outcome = send(HERE, &stored).await;
        assert!(outcome.status().is_none() && outcome.problem().contains("refused"), "{outcome:?}");
        let stored = WebhookUrl::stored("https://name.invalid/").unwrap();
        assert!(send(HERE, &stored).await.problem().contains("is not found"));
    }
}
