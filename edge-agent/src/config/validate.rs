use std::{
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Uri;
use tracing_subscriber::EnvFilter;

use super::{
    Config, ConfigError, EvidenceConfig, LogFormat, LoggingConfig, SourceConfig, VisionConfig,
    raw::{self, Raw, SourceKind},
};
use crate::{spool::SpoolOptions, uplink::Endpoint};

/// Room for about 100,000 sightings without evidence.
const DEFAULT_SPOOL_BYTES: u64 = 512 << 20;

/// Below this, a busy minute would not fit.
const LEAST_SPOOL_BYTES: u64 = 1 << 20;

/// Checks every value. Destructured whole, so that no key can be forgotten.
pub(super) fn validate(path: &Path, raw: Raw) -> Result<Config, ConfigError> {
    let Raw { server, device, source, vision, spool, evidence, logging } = raw;
    let raw::Device { classroom } = device;
    let check = Check { path };
    Ok(Config {
        server: check.server(server)?,
        classroom,
        source: check.source(source)?,
        vision: check.vision(vision)?,
        spool: check.spool(spool)?,
        evidence: check.evidence(evidence)?,
        logging: check.logging(logging)?,
    })
}

struct Check<'a> {
    path: &'a Path,
}

impl Check<'_> {
    fn server(&self, raw: raw::Server) -> Result<Endpoint, ConfigError> {
        let raw::Server { address, ca, certificate, key, server_name } = raw;
        let address: Uri = self
            .required("server.address", address)?
            .parse()
            .map_err(|error| self.wrong("server.address", error))?;
        if address.scheme_str() != Some("https") || address.port().is_none() || address.path() != "/" {
            return Err(self.wrong("server.address", "must be of the form https://HOST:PORT"));
        }
        Ok(Endpoint {
            address,
            ca: self.path_of("server.ca", ca)?,
            certificate: self.path_of("server.certificate", certificate)?,
            key: self.path_of("server.key", key)?,
            server_name,
        })
    }

    fn source(&self, raw: raw::Source) -> Result<SourceConfig, ConfigError> {
        let raw::Source { kind, path, rate, repeat } = raw;
        match self.required("source.kind", kind)? {
            SourceKind::Directory => {}
        }
        let period = match rate {
            None => None,
            Some(rate) if (0.001..=1000.0).contains(&rate) => Some(Duration::from_secs_f64(1.0 / rate)),
            Some(_) => return Err(self.wrong("source.rate", "must be 0.001 to 1000 frames a second")),
        };
        let path = self.path_of("source.path", path)?;
        Ok(SourceConfig { path, period, repeat: repeat.unwrap_or(false) })
    }

    fn vision(&self, raw: raw::Vision) -> Result<VisionConfig, ConfigError> {
        let raw::Vision { pack, detect_long_side, min_score, threads } = raw;
        Ok(VisionConfig {
            pack: self.path_of("vision.pack", pack)?,
            detect_long_side: self.within(
                "vision.detect_long_side",
                detect_long_side.unwrap_or(640),
                64..=4096,
            )?,
            min_score: self.within("vision.min_score", min_score.unwrap_or(0.6), 0.0..=1.0)?,
            threads: self.within("vision.threads", threads.unwrap_or(1), 1..=64)?,
        })
    }

    fn spool(&self, raw: raw::Spool) -> Result<SpoolOptions, ConfigError> {
        let raw::Spool { path, max_bytes } = raw;
        let max_bytes = max_bytes.unwrap_or(DEFAULT_SPOOL_BYTES);
        Ok(SpoolOptions {
            path: self.path_of("spool.path", path)?,
            max_bytes: self.within("spool.max_bytes", max_bytes, LEAST_SPOOL_BYTES..=1 << 50)?,
        })
    }

    fn evidence(&self, raw: raw::Evidence) -> Result<Option<EvidenceConfig>, ConfigError> {
        let raw::Evidence { enabled, max_side, quality } = raw;
        let evidence = EvidenceConfig {
            max_side: self.within("evidence.max_side", max_side.unwrap_or(224), 32..=2048)?,
            quality: self.within("evidence.quality", quality.unwrap_or(80), 1..=100)?,
        };
        Ok(enabled.unwrap_or(true).then_some(evidence))
    }

    fn logging(&self, raw: raw::Logging) -> Result<LoggingConfig, ConfigError> {
        let raw::Logging { filter, format } = raw;
        let filter = filter.unwrap_or_else(|| "info".to_owned());
        EnvFilter::try_new(&filter).map_err(|error| self.wrong("logging.filter", error))?;
        Ok(LoggingConfig { filter, format: format.unwrap_or(LogFormat::Text) })
    }

    fn path_of(&self, key: &'static str, value: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
        let value = self.required(key, value)?;
        if value.as_os_str().is_empty() {
            return Err(self.wrong(key, "is empty"));
        }
        Ok(self.path.parent().map_or_else(|| value.clone(), |folder| folder.join(&value)))
    }

    fn within<T: PartialOrd + Display>(
        &self,
        key: &'static str,
        value: T,
        range: RangeInclusive<T>,
    ) -> Result<T, ConfigError> {
        if range.contains(&value) {
            return Ok(value);
        }
        Err(self.wrong(key, format!("{value} is not within {} to {}", range.start(), range.end())))
    }

    fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| self.wrong(key, "is required"))
    }

    fn wrong(&self, key: &'static str, problem: impl ToString) -> ConfigError {
        ConfigError::Invalid { path: self.path.to_path_buf(), key, problem: problem.to_string() }
    }
}
