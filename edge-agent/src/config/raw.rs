//! The file as it is written. Nothing here is checked beyond names and types.

use std::path::PathBuf;

use serde::Deserialize;

use super::LogFormat;

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
    pub(super) vision: Vision,
    #[serde(default)]
    pub(super) spool: Spool,
    #[serde(default)]
    pub(super) evidence: Evidence,
    #[serde(default)]
    pub(super) logging: Logging,
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
    pub(super) classroom: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) kind: Option<SourceKind>,
    pub(super) path: Option<PathBuf>,
    pub(super) rate: Option<f64>,
    #[serde(rename = "loop")]
    pub(super) repeat: Option<bool>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SourceKind {
    Directory,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vision {
    pub(super) pack: Option<PathBuf>,
    pub(super) detect_long_side: Option<u32>,
    pub(super) min_score: Option<f32>,
    pub(super) threads: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Spool {
    pub(super) path: Option<PathBuf>,
    pub(super) max_bytes: Option<u64>,
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
