//! Structured log lines on standard error. Personal data stays below INFO, embeddings and pictures
//! out of every log.

use std::io;

use thiserror::Error;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogFormat, LoggingConfig};

/// Why there is no log.
#[derive(Debug, Error)]
#[error("logging: {0}")]
pub struct LoggingError(String);

/// Sets up the process's log.
///
/// # Errors
/// The filter can't be understood, or there is a log already.
pub fn init(config: &LoggingConfig) -> Result<(), LoggingError> {
    let failed = |error: &dyn std::error::Error| LoggingError(error.to_string());
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| failed(&error))?;
    let lines = fmt().with_env_filter(filter).with_writer(io::stderr);
    let result = match config.format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    result.map_err(|error| failed(error.as_ref()))
}
