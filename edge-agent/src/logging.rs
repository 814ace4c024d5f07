//! Structured log lines on standard error. Personal data stays below INFO, embeddings and pictures
//! out of every log.

use std::{io, sync::OnceLock};

use thiserror::Error;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, registry, reload, util::SubscriberInitExt,
};

use crate::config::{LogFormat, LoggingConfig};

/// By which the filter of the process's log is changed.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

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
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = match config.format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    registry().with(filter).with(lines).try_init().map_err(|error| failed(&error))?;
    // A second log would have failed above.
    let _ = FILTER.set(handle);
    Ok(())
}

/// Has the process's log follow other directives from now on, where there is one.
///
/// # Errors
/// The filter can't be understood.
pub fn set_filter(directives: &str) -> Result<(), LoggingError> {
    let failed = |error: &dyn std::error::Error| LoggingError(error.to_string());
    let filter = EnvFilter::try_new(directives).map_err(|error| failed(&error))?;
    FILTER.get().map_or(Ok(()), |handle| handle.reload(filter).map_err(|error| failed(&error)))
}
