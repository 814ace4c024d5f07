use std::{net::SocketAddr, num::NonZero, path::PathBuf, thread, time::Duration};

use cavs_types::DeviceId;

use super::{CameraConfig, CameraKind, ConfigError, SourceConfig, SourceKind, raw, validate::Validator};
use crate::source::camera::CameraAddress;

/// Where cameras send their frames to, where nothing is said.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 7446);

/// Largest frame, where nothing is said: twice what the largest ESP32-CAM picture takes.
const FRAME_BYTES: usize = 2 << 20;

/// Frames a second of a camera that is pulled, where nothing is said.
const PULL_RATE: f64 = 1.0;

/// How the agent takes frames of cameras that run no networks.
#[derive(Debug, Clone, PartialEq)]
pub struct ProxyConfig {
    /// Where cameras send frames to; `None` where all three ways are off.
    pub listener: Option<ListenerConfig>,
    /// What is taken in, and how much of it at a time.
    pub intake: IntakeConfig,
    /// Cameras that are asked for frames.
    pub pulled: Vec<PulledCamera>,
}

/// Where and how cameras send frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerConfig {
    /// Where it listens; port 0 for any that is free.
    pub address: SocketAddr,
    /// `None` for plain text, on a network that is trusted.
    pub tls: Option<ProxyTls>,
    /// gRPC over HTTP/2.
    pub grpc: bool,
    /// gRPC-Web over HTTP/1.1.
    pub grpc_web: bool,
    /// `POST /v1/capture`.
    pub http: bool,
    /// Most connections at a time.
    pub max_connections: usize,
    /// How long a frame may take to come.
    pub body_timeout: Duration,
    /// Most bytes of frames that are on their way through the proxy.
    pub max_bytes_in_flight: usize,
}

/// The proxy's certificate, and whose certificates cameras may show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyTls {
    /// PEM of the certificate.
    pub certificate: PathBuf,
    /// PEM of its private key.
    pub key: PathBuf,
    /// PEM of the root that signs the cameras' certificates.
    pub client_ca: PathBuf,
}

/// What is taken in, and how much of it at a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct IntakeConfig {
    /// Largest frame, in bytes.
    pub max_frame_bytes: usize,
    /// Frames a second that a camera may send, for longer than a moment.
    pub camera_rate: f64,
    /// How long a camera waits for what the server makes of its frame.
    pub answer_timeout: Duration,
    /// Threads that run the networks, each with networks of its own.
    pub workers: usize,
    /// Frames that wait for one of them.
    pub queue: usize,
}

/// A camera that is asked for frames.
#[derive(Debug, Clone, PartialEq)]
pub struct PulledCamera {
    /// Which registered device it is.
    pub device: DeviceId,
    /// Its address, and how long it may be silent.
    pub camera: CameraConfig,
    /// Least time between two frames.
    pub period: Duration,
}

impl Validator<'_> {
    /// The proxy, where the file has one; then there is no other source.
    pub(super) fn proxy(
        &self,
        raw: Option<raw::Proxy>,
        site_ca: &std::path::Path,
    ) -> Result<Option<ProxyConfig>, ConfigError> {
        let Some(raw) = raw else { return Ok(None) };
        let raw::Proxy { listen, certificate, key, client_ca, allow_plaintext, .. } = raw.clone();
        let raw::Proxy { grpc, grpc_web, http, max_connections, body_timeout, .. } = raw.clone();
        let raw::Proxy { max_frame_bytes, max_bytes_in_flight, camera_rate, answer_timeout, .. } =
            raw.clone();
        let raw::Proxy { workers, queue, cameras, .. } = raw;
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let max_frame_bytes = max_frame_bytes.unwrap_or(FRAME_BYTES);
        let intake = IntakeConfig {
            max_frame_bytes: self.within("proxy.max_frame_bytes", max_frame_bytes, 16 << 10..=16 << 20)?,
            camera_rate: self.within("proxy.camera_rate", camera_rate.unwrap_or(10.0), 0.01..=1000.0)?,
            answer_timeout: self.seconds(
                "proxy.answer_timeout",
                answer_timeout,
                Duration::from_secs(2),
                0.0..=60.0,
            )?,
            workers: self.within("proxy.workers", workers.unwrap_or(cores), 1..=64)?,
            queue: self.within("proxy.queue", queue.unwrap_or(64), 1..=4096)?,
        };
        let tls = match (certificate, key) {
            (None, None) => None,
            (certificate, key) => Some(ProxyTls {
                certificate: self.path_of("proxy.certificate", certificate)?,
                key: self.path_of("proxy.key", key)?,
                client_ca: match client_ca {
                    Some(path) => self.path_of("proxy.client_ca", Some(path))?,
                    None => site_ca.to_path_buf(),
                },
            }),
        };
        let address = listen.unwrap_or(LISTEN);
        let (grpc, grpc_web, http) = (grpc.unwrap_or(true), grpc_web.unwrap_or(true), http.unwrap_or(true));
        let listening = grpc || grpc_web || http;
        if listening && tls.is_none() && !address.ip().is_loopback() && !allow_plaintext.unwrap_or(false) {
            let problem = "is required where others than this machine may connect, or else \
                           proxy.allow_plaintext = true, on a network that is trusted";
            return Err(self.wrong("proxy.certificate", problem));
        }
        let bytes = max_bytes_in_flight.unwrap_or(64 << 20);
        let listener = ListenerConfig {
            address,
            tls,
            grpc,
            grpc_web,
            http,
            max_connections: self.within(
                "proxy.max_connections",
                max_connections.unwrap_or(1024),
                1..=65_536,
            )?,
            body_timeout: self.seconds(
                "proxy.body_timeout",
                body_timeout,
                Duration::from_secs(12),
                0.1..=600.0,
            )?,
            max_bytes_in_flight: self.within(
                "proxy.max_bytes_in_flight",
                bytes,
                2 * max_frame_bytes..=1 << 31,
            )?,
        };
        let pulled = cameras.unwrap_or_default();
        let pulled = pulled.into_iter().map(|camera| self.pulled(camera)).collect::<Result<Vec<_>, _>>()?;
        if !listening && pulled.is_empty() {
            return Err(self.wrong("proxy.cameras", "are required where nobody may send frames"));
        }
        Ok(Some(ProxyConfig { listener: listening.then_some(listener), intake, pulled }))
    }

    fn pulled(&self, raw: raw::PulledCamera) -> Result<PulledCamera, ConfigError> {
        let raw::PulledCamera { device, kind, url, rate, stall_timeout } = raw;
        let device: String = self.required("proxy.cameras.device", device)?;
        let device = device.parse().map_err(|error| self.wrong("proxy.cameras.device", error))?;
        let url: String = self.required("proxy.cameras.url", url)?;
        let address = CameraAddress::parse(&url).map_err(|error| self.wrong("proxy.cameras.url", error))?;
        let kind = match kind.unwrap_or(raw::PulledKind::Mjpeg) {
            raw::PulledKind::Mjpeg => CameraKind::Mjpeg(address),
            raw::PulledKind::Snapshot => CameraKind::Snapshot(address),
        };
        let rate = self.within("proxy.cameras.rate", rate.unwrap_or(PULL_RATE), 0.001..=100.0)?;
        let stall = self.seconds(
            "proxy.cameras.stall_timeout",
            stall_timeout,
            Duration::from_secs(10),
            0.5..=3600.0,
        )?;
        let period = Duration::from_secs_f64(1.0 / rate);
        Ok(PulledCamera { device, camera: CameraConfig { kind, stall }, period })
    }

    /// What stands in the place of a source where there is a proxy.
    pub(super) fn no_source(&self, raw: &raw::Source) -> Result<SourceConfig, ConfigError> {
        if raw.kind.is_some() {
            return Err(self.wrong("source.kind", "does not go with [proxy]: its cameras are the source"));
        }
        Ok(SourceConfig { kind: SourceKind::Proxied, period: None })
    }
}
