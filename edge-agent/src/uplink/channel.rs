use std::{io, path::PathBuf, time::Duration};

use cavs_certs::{Validity, check_chain, examine};
use cavs_proto::v1::{
    Hello, StreamRequest, StreamResponse, ingest_service_client::IngestServiceClient, stream_request::Message,
};
use cavs_secrets::{FileError, read_public, read_secret};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Streaming,
    transport::{self, Certificate, ClientTlsConfig, Identity},
};

use super::{Failure, failure::with_causes, machine::MAX_UNACKNOWLEDGED};

/// HTTP/2 pings find out that a silent network is gone.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Messages that wait for the network: every batch that may be under way, and some heartbeats. It
/// is never full unless the network has stopped taking anything.
const QUEUE: usize = MAX_UNACKNOWLEDGED + 8;

/// Where the server is and how both sides prove who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `https://HOST:PORT` of the device listener.
    pub address: http::Uri,
    /// PEM of the site's CA.
    pub ca: PathBuf,
    /// PEM of the device's certificate.
    pub certificate: PathBuf,
    /// PEM of its private key.
    pub key: PathBuf,
    /// The name in the server's certificate, where it is not the host of the address.
    pub server_name: Option<String>,
}

/// Why no connection can be attempted.
#[derive(Debug, Error)]
pub enum EndpointError {
    /// A file can't be read.
    #[error("server.{key}: {path}: {source}")]
    File {
        /// Key of the section `[server]`.
        key: &'static str,
        /// The file that the key names.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The files are no certificates and key that belong together.
    #[error("server.ca, server.certificate, server.key: {0}")]
    Tls(String),
}

/// An open stream to the server, both directions.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: mpsc::Sender<StreamRequest>,
    pub(super) incoming: Streaming<StreamResponse>,
}

impl Endpoint {
    /// Reads certificates and key and checks that they can be used.
    ///
    /// # Errors
    /// Any [`EndpointError`].
    pub fn check(&self) -> Result<(), EndpointError> {
        self.transport().map(drop)
    }

    /// Opens a stream that begins with `hello`. Certificates are read anew every time, so that
    /// renewed ones are taken up.
    pub(super) async fn open(&self, hello: Hello) -> Result<Connection, Failure> {
        let endpoint = self.transport().map_err(|error| Failure::Transport(error.to_string()))?;
        let connected = endpoint.connect().await;
        let channel =
            connected.map_err(|error| self.with_own_fault(Failure::Transport(with_causes(&error))))?;
        let (sender, outgoing) = mpsc::channel(QUEUE);
        // Before the call: a server may wait for it before it answers anything.
        let hello = StreamRequest { message: Some(Message::Hello(hello)) };
        sender.try_send(hello).map_err(|_| Failure::Closed)?;
        let mut client = IngestServiceClient::new(channel);
        // A server that does not believe the certificate says so only after its own was believed.
        let answered = client.stream(ReceiverStream::new(outgoing)).await;
        let response = answered.map_err(|status| self.with_own_fault(status.into()))?;
        Ok(Connection { sender, incoming: response.into_inner() })
    }

    /// A failure of the connection, and what is wrong with this side's certificate, where something is: the
    /// other side's word for it is often lost, and never says more than that it does not believe it.
    fn with_own_fault(&self, failure: Failure) -> Failure {
        let Failure::Transport(text) = failure else { return failure };
        let problem = match examine(&self.certificate) {
            Ok(examined) => {
                let now = jiff::Timestamp::now();
                match examined.validity(now) {
                    Validity::Holds | Validity::EndsSoon => {
                        check_chain(&self.certificate, &self.ca, false).err().map(|error| error.to_string())
                    }
                    Validity::NotYet | Validity::Expired => Some(examined.in_words(now)),
                }
            }
            Err(error) => Some(error.to_string()),
        };
        match problem {
            Some(problem) => Failure::Transport(format!("{text}; server.certificate: {problem}")),
            None => Failure::Transport(text),
        }
    }

    fn transport(&self) -> Result<transport::Endpoint, EndpointError> {
        let failed = |key| {
            move |FileError { path, problem }| EndpointError::File { key, path, source: problem.into() }
        };
        let key = read_secret(&self.key).map_err(failed("key"))?;
        let certificate = read_public(&self.certificate).map_err(failed("certificate"))?;
        let identity = Identity::from_pem(certificate, key.as_slice());
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read_public(&self.ca).map_err(failed("ca"))?))
            .identity(identity)
            .timeout(CONNECT_TIMEOUT);
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        transport::Endpoint::from(self.address.clone())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .tls_config(tls)
            .map_err(|error| EndpointError::Tls(with_causes(&error)))
    }
}
