//! Requests to another system: bounded in time and size, to the one address that the configuration names.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client as Pool, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer};
use rustls_pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};

use crate::{client::read_roots, error::CliError};

/// Longest answer that is read.
const MOST: usize = 1 << 20;
/// How long an answer may take.
const WITHIN: Duration = Duration::from_secs(30);

/// What came back, or that nothing did.
#[derive(Debug)]
pub(crate) enum Reply {
    /// An answer, and how long the other system wants to be left alone where it says so.
    Answer { status: StatusCode, body: Bytes, retry_after: Option<Duration> },
    /// The connection could not be made, so nothing was sent.
    NotSent(String),
    /// Something may have been sent, and nobody knows what became of it.
    Lost(String),
}

/// Speaks to another system as whoever has its key.
pub(crate) struct Client {
    pool: Pool<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: String,
    authorisation: header::HeaderValue,
}

impl Client {
    /// # Errors
    /// The authority's file can't be used, or the key is none.
    pub(crate) fn new(
        url: &str,
        key: &str,
        secret: &SecretString,
        ca: Option<&Path>,
    ) -> Result<Self, CliError> {
        let builder = HttpsConnectorBuilder::new();
        let builder = match ca {
            Some(ca) => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(read_roots(ca)?.as_bytes()).flatten() {
                    roots.add(certificate).map_err(|error| {
                        CliError::failure("CA_UNUSABLE", format!("{}: {error}", ca.display()))
                    })?;
                }
                builder.with_tls_config(
                    ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(),
                )
            }
            None => builder.with_native_roots().map_err(|error| {
                let message = format!(
                    "this machine knows no authorities ({error}): install ca-certificates, or say ca"
                );
                CliError::failure("CA_UNUSABLE", message)
            })?,
        };
        let connector = builder.https_or_http().enable_http1().build();
        // A connection that the other side has closed is not tried again on another: what was sent on it may have come.
        let pool = Pool::builder(TokioExecutor::new()).retry_canceled_requests(false).build(connector);
        let authorisation = format!("token {key}:{}", secret.expose_secret());
        let mut authorisation: header::HeaderValue = authorisation
            .parse()
            .map_err(|_| CliError::usage("the target's key or secret has characters that no key has"))?;
        authorisation.set_sensitive(true);
        Ok(Self { pool, url: url.to_owned(), authorisation })
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&serde_json::Value>) -> Reply {
        let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.url))
            .header(header::AUTHORIZATION, self.authorisation.clone())
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body));
        let request = match request {
            Ok(request) => request,
            Err(error) => return Reply::NotSent(error.to_string()),
        };
        match tokio::time::timeout(WITHIN, self.answer(request)).await {
            Ok(reply) => reply,
            Err(_) => Reply::Lost(format!("no answer within {} s", WITHIN.as_secs())),
        }
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Reply {
        let answer = match self.pool.request(request).await {
            Ok(answer) => answer,
            Err(error) if error.is_connect() => return Reply::NotSent(deepest(&error)),
            Err(error) => return Reply::Lost(deepest(&error)),
        };
        let status = answer.status();
        let seconds =
            answer.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        match Limited::new(answer.into_body(), MOST).collect().await {
            Ok(body) => {
                Reply::Answer { status, body: body.to_bytes(), retry_after: seconds.map(Duration::from_secs) }
            }
            Err(error) => Reply::Lost(error.to_string()),
        }
    }
}

fn deepest(error: &(dyn std::error::Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
