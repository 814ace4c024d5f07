//! The agent's configuration: raw as written, then validated.
//!
//! A value comes from a `--set` flag, else from the environment, else from the file, else it is the
//! default. Unknown keys are refused. Relative paths are relative to the file's folder.

mod overlay;
mod raw;
mod validate;

use std::{io, path::PathBuf, time::Duration};

use thiserror::Error;

pub use overlay::{ENV_PREFIX, Override};

use crate::{spool::SpoolOptions, uplink::Endpoint};

/// The validated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The server and the certificates.
    pub server: Endpoint,
    /// The room, for log lines.
    pub classroom: Option<String>,
    /// Where frames come from.
    pub source: SourceConfig,
    /// The networks.
    pub vision: VisionConfig,
    /// The spool.
    pub spool: SpoolOptions,
    /// Face crops for reviewers; `None` where the site keeps none.
    pub evidence: Option<EvidenceConfig>,
    /// The log.
    pub logging: LoggingConfig,
}

/// A directory of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// The directory.
    pub path: PathBuf,
    /// Least time between two frames; `None` for as fast as possible.
    pub period: Option<Duration>,
    /// Begin again at the end, for ever.
    pub repeat: bool,
}

/// Which networks, and how they work.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Folder of the model pack.
    pub pack: PathBuf,
    /// The longer side to which a frame is shrunk for the detector, in pixels.
    pub detect_long_side: u32,
    /// Faces below this detector score are left out, 0 to 1.
    pub min_score: f32,
    /// Threads that work on one frame.
    pub threads: usize,
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
    /// The form.
    pub format: LogFormat,
}

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
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
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The text is no TOML, or has an unknown key or a value of the wrong type.
    #[error("{origin}: {problem}")]
    Parse {
        /// The file, flag or variable.
        origin: String,
        /// Where and what.
        problem: String,
    },
    /// A value is missing or makes no sense.
    #[error("{path}: {key}: {problem}")]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl Config {
    /// Reads and validates a configuration file, with overrides in increasing precedence.
    ///
    /// # Errors
    /// Any [`ConfigError`]; it names the file (or the override) and the key.
    pub fn load(path: &std::path::Path, overrides: &[Override]) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_path_buf(), source })?;
        let raw = overlay::parse(path, &text, overrides)?;
        validate::validate(path, raw)
    }
}

#[cfg(test)]
mod tests;
