//! The agent's configuration: raw as written, then validated.
//!
//! A value comes from a `--set` flag, else from the environment, else from the file, else it is the
//! default. Unknown keys are refused. Relative paths are relative to the file's folder.

mod legacy;
mod overlay;
mod proxy;
mod raw;
mod source;
mod validate;

use std::{collections::BTreeMap, io, path::PathBuf, time::Duration};

use thiserror::Error;

pub use overlay::{ENV_PREFIX, Override};

use overlay::Layers;

pub use proxy::{IntakeConfig, ListenerConfig, ProxyConfig, ProxyTls, PulledCamera};

pub use source::{CameraConfig, CameraKind, SourceConfig, SourceKind};

use crate::{
    backup::BackupConfig,
    gate::MotionOptions,
    spool::SpoolOptions,
    track::TrackingOptions,
    uplink::Endpoint,
    vision::{ComputeDevice, LivenessCalibration},
};

/// The validated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The server and the certificates.
    pub server: Endpoint,
    /// The device's name, for log lines; the certificate says which device it is.
    pub device_id: Option<String>,
    /// The classroom in which the device is, for log lines.
    pub classroom: Option<String>,
    /// Where frames come from.
    pub source: SourceConfig,
    /// Which frames are analysed; `None` for all of them.
    pub motion: Option<MotionOptions>,
    /// The model pack, and how its networks are run.
    pub vision: VisionConfig,
    /// How faces become sightings; `None` where every face of every frame is one.
    pub tracking: Option<TrackingConfig>,
    /// Where the spool is, and its bounds in bytes and age.
    pub spool: SpoolOptions,
    /// Face crops for reviewers; `None` where the site keeps none.
    pub evidence: Option<EvidenceConfig>,
    /// What is logged, and in which form.
    pub logging: LoggingConfig,
    /// Pictures that stay on the device; `None` where none do.
    pub backup: Option<BackupConfig>,
    /// Whether the server may push settings, and how long they are tried.
    pub settings: SettingsConfig,
    /// How cameras that run no networks are served; `None` where the agent is no proxy.
    pub proxy: Option<ProxyConfig>,
    /// What of the file was understood but should be written otherwise.
    pub warnings: Vec<String>,
    layers: Layers,
}

/// How pushed settings are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsConfig {
    /// Settings of the server are tried; otherwise each is refused.
    pub accept: bool,
    /// How long pushed settings are on trial.
    pub trial: Duration,
}

/// How faces are joined into tracks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrackingConfig {
    /// Times and numbers of shots; its `same_person` is replaced by the field below, or by the pack's.
    pub options: TrackingOptions,
    /// Cosine similarity of one person's faces; `None` for the pack's own.
    pub same_person: Option<f32>,
}

/// Which networks, and how they work.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Folder of the model pack; the built-in pack where `None`.
    pub pack: Option<PathBuf>,
    /// The longer side to which a frame is scaled for the detector, in pixels; what the pack says where
    /// `None`.
    pub detect_long_side: Option<u32>,
    /// Faces below this detector score are left out, 0 to 1.
    pub min_score: f32,
    /// Threads that work on one frame.
    pub threads: usize,
    /// On what the networks run.
    pub device: ComputeDevice,
    /// Most pixels of a frame: a few bytes of memory each, and more while it is decoded.
    pub max_pixels: u64,
    /// What the camera's liveness scores mean; `None` leaves them as the networks give them.
    pub liveness_calibration: Option<LivenessCalibration>,
}

/// How face crops are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceConfig {
    /// Longest side, in pixels.
    pub max_side: u32,
    /// JPEG quality, 1 to 100.
    pub quality: u8,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggingConfig {
    /// Directives such as `info` or `info,cavs_edge_agent=debug`.
    pub filter: String,
    /// Text for people or JSON for programs.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One line of text per event, without colours.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why a configuration can't be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{path}: {source}")]
    Read {
        /// The configuration file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is no TOML, or has an unknown key or a value of the wrong type.
    #[error("{origin}: {problem}")]
    Parse {
        /// The file, flag or variable.
        origin: String,
        /// Line and column where the file is wrong, and what is; never a value, which may be a password.
        problem: String,
    },
    /// A value is missing or makes no sense.
    #[error("{path}: {key}: {problem}")]
    Invalid {
        /// The configuration file.
        path: PathBuf,
        /// Such as `source.rate`.
        key: &'static str,
        /// What is wrong, to stand behind the key.
        problem: String,
    },
}

impl Config {
    /// Reads and validates a configuration file, with overrides in increasing precedence. A JSON
    /// file of the original system is translated; [`Config::warnings`] says how.
    ///
    /// # Errors
    /// Any [`ConfigError`]; it names the file (or the override) and the key.
    pub fn load(path: &std::path::Path, overrides: &[Override]) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        let (text, warnings) =
            if legacy::is_legacy(path, &text) { legacy::translate(path, &text)? } else { (text, Vec::new()) };
        let layers = Layers { path: path.to_path_buf(), text, overrides: overrides.to_vec() };
        let config = validate::validate(overlay::parse(&layers)?, layers)?;
        Ok(Self { warnings, ..config })
    }

    /// This configuration with settings that the server pushed laid over it.
    ///
    /// # Errors
    /// `Parse` for a setting that may not be pushed, any other for what does not go together.
    pub fn with_pushed(&self, pushed: &BTreeMap<String, String>) -> Result<Self, ConfigError> {
        if pushed.is_empty() {
            return Ok(self.clone());
        }
        let mut layers = self.layers.clone();
        for (key, value) in pushed {
            layers.overrides.push(Override::pushed(key, value)?);
        }
        let layered = validate::validate(overlay::parse(&layers)?, layers)?;
        // What was there before stays the ground that the next settings are laid over.
        Ok(Self { layers: self.layers.clone(), warnings: Vec::new(), ..layered })
    }
}

#[cfg(test)]
mod tests;
