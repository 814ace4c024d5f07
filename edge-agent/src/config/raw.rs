//! The file as it is written. Nothing here is checked beyond names and types.

use std::{net::SocketAddr, path::PathBuf};

use serde::Deserialize;

use super::LogFormat;
use crate::{
    backup::BackupContent,
    vision::{ComputeDevice, LivenessCalibration},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default)]
    pub(super) server: Server,
    #[serde(default)]
    pub(super) device: Device,
    #[serde(default)]
    pub(super) source: Source,
    #[serde(default)]
    pub(super) motion: Motion,
    #[serde(default)]
    pub(super) vision: Vision,
    #[serde(default)]
    pub(super) tracking: Tracking,
    #[serde(default)]
    pub(super) spool: Spool,
    #[serde(default)]
    pub(super) evidence: Evidence,
    #[serde(default)]
    pub(super) logging: Logging,
    #[serde(default)]
    pub(super) settings: Settings,
    #[serde(default)]
    pub(super) backup: Backup,
    pub(super) proxy: Option<Proxy>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Proxy {
    pub(super) listen: Option<SocketAddr>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) client_ca: Option<PathBuf>,
    pub(super) allow_plaintext: Option<bool>,
    pub(super) grpc: Option<bool>,
    pub(super) grpc_web: Option<bool>,
    pub(super) http: Option<bool>,
    pub(super) max_connections: Option<usize>,
    pub(super) body_timeout: Option<f64>,
    pub(super) max_frame_bytes: Option<usize>,
    pub(super) max_bytes_in_flight: Option<usize>,
    pub(super) camera_rate: Option<f64>,
    pub(super) answer_timeout: Option<f64>,
    pub(super) workers: Option<usize>,
    pub(super) queue: Option<usize>,
    pub(super) cameras: Option<Vec<PulledCamera>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PulledCamera {
    pub(super) device: Option<String>,
    pub(super) kind: Option<PulledKind>,
    pub(super) url: Option<String>,
    pub(super) rate: Option<f64>,
    pub(super) stall_timeout: Option<f64>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PulledKind {
    Mjpeg,
    Snapshot,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Backup {
    pub(super) enabled: Option<bool>,
    pub(super) keep: Option<BackupContent>,
    pub(super) path: Option<PathBuf>,
    pub(super) max_files: Option<usize>,
    pub(super) max_bytes: Option<u64>,
    pub(super) retention_days: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    pub(super) accept: Option<bool>,
    pub(super) trial: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) address: Option<String>,
    pub(super) ca: Option<PathBuf>,
    pub(super) certificate: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    pub(super) server_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Device {
    pub(super) id: Option<String>,
    pub(super) classroom: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) kind: Option<SourceKind>,
    pub(super) path: Option<PathBuf>,
    pub(super) command: Option<Vec<String>>,
    pub(super) url: Option<String>,
    pub(super) device: Option<PathBuf>,
    pub(super) width: Option<u32>,
    pub(super) height: Option<u32>,
    pub(super) stall_timeout: Option<f64>,
    pub(super) rate: Option<f64>,
    #[serde(rename = "loop")]
    pub(super) repeat: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceKind {
    Directory,
    Command,
    Rpicam,
    Mjpeg,
    Snapshot,
    V4l2,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Motion {
    pub(super) enabled: Option<bool>,
    pub(super) threshold: Option<f32>,
    pub(super) heartbeat: Option<f64>,
    pub(super) hold: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tracking {
    pub(super) enabled: Option<bool>,
    pub(super) resend_interval: Option<f64>,
    pub(super) settle: Option<f64>,
    pub(super) forget_after: Option<f64>,
    pub(super) best_shots: Option<usize>,
    pub(super) same_person: Option<f32>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vision {
    pub(super) pack: Option<PathBuf>,
    pub(super) detect_long_side: Option<u32>,
    pub(super) min_score: Option<f32>,
    pub(super) threads: Option<usize>,
    pub(super) device: Option<ComputeDevice>,
    pub(super) max_pixels: Option<u64>,
    pub(super) liveness_calibration: Option<LivenessCalibration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spool {
    pub(super) path: Option<PathBuf>,
    pub(super) max_bytes: Option<u64>,
    pub(super) max_age_days: Option<f64>,
    pub(super) watch_interval: Option<f64>,
    pub(super) key_file: Option<PathBuf>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Evidence {
    pub(super) enabled: Option<bool>,
    pub(super) max_side: Option<u32>,
    pub(super) quality: Option<u8>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Logging {
    pub(super) filter: Option<String>,
    pub(super) format: Option<LogFormat>,
}
