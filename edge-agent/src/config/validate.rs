use std::{
    fmt::Display,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Uri;
use tracing_subscriber::EnvFilter;

use super::{
    Config, ConfigError, EvidenceConfig, LogFormat, LoggingConfig, SettingsConfig, TrackingConfig,
    VisionConfig,
    overlay::Layers,
    raw::{self, Raw},
    source::SourceKind,
};
use crate::{
    backup::{BackupConfig, BackupContent},
    files::folder_of,
    gate::MotionOptions,
    spool::{SpoolOptions, WATCH_INTERVAL},
    track::TrackingOptions,
    uplink::Endpoint,
};

/// Room for about 100,000 sightings without evidence.
const DEFAULT_SPOOL_BYTES: u64 = 512 << 20;

/// The pictures of eight-megapixel cameras; while a progressive one is decoded it takes 100 MiB.
const DEFAULT_MAX_PIXELS: u64 = 8 << 20;

/// Below this, a busy minute would not fit.
const LEAST_SPOOL_BYTES: u64 = 1 << 20;

/// Room for a thousand frames of two megapixels.
const DEFAULT_BACKUP_BYTES: u64 = 1 << 30;

/// Twice the largest frame, in bytes, so that one picture always fits.
const LEAST_BACKUP_BYTES: u64 = 64 << 20;

/// Long enough for the camera to come up again and a few frames to go through.
const DEFAULT_TRIAL: Duration = Duration::from_secs(30);

/// Checks every value. Destructured whole, so that no key can be forgotten.
pub(super) fn validate(raw: Raw, layers: Layers) -> Result<Config, ConfigError> {
    let Raw {
        server,
        device,
        source,
        motion,
        vision,
        tracking,
        spool,
        evidence,
        logging,
        settings,
        backup,
        proxy,
    } = raw;
    let raw::Device { id, classroom } = device;
    let validator = Validator { path: &layers.path };
    let server = validator.server(server)?;
    let proxy = validator.proxy(proxy, &server.ca)?;
    let source = match &proxy {
        Some(_) => validator.no_source(&source)?,
        None => validator.source(source)?,
    };
    // A directory is read whole; a camera shows the same place again and again.
    let live = !matches!(source.kind, SourceKind::Directory { .. });
    let spool = validator.spool(spool)?;
    let evidence = validator.evidence(evidence)?;
    Ok(Config {
        server,
        device_id: id,
        classroom,
        source,
        motion: validator.motion(motion, live)?,
        vision: validator.vision(vision)?,
        tracking: validator.tracking(tracking, live)?,
        backup: validator.backup(backup, &spool, evidence)?,
        spool,
        evidence,
        logging: validator.logging(logging)?,
        settings: validator.settings(settings)?,
        proxy,
        warnings: Vec::new(),
        layers,
    })
}

pub(super) struct Validator<'a> {
    path: &'a Path,
}

impl Validator<'_> {
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

    fn motion(&self, raw: raw::Motion, default: bool) -> Result<Option<MotionOptions>, ConfigError> {
        let raw::Motion { enabled, threshold, heartbeat, hold } = raw;
        let defaults = MotionOptions::default();
        let options = MotionOptions {
            threshold: self.within("motion.threshold", threshold.unwrap_or(defaults.threshold), 0.0..=1.0)?,
            heartbeat: self.seconds("motion.heartbeat", heartbeat, defaults.heartbeat, 1.0..=3600.0)?,
            hold: self.seconds("motion.hold", hold, defaults.hold, 0.0..=3600.0)?,
        };
        Ok(enabled.unwrap_or(default).then_some(options))
    }

    fn tracking(&self, raw: raw::Tracking, default: bool) -> Result<Option<TrackingConfig>, ConfigError> {
        let raw::Tracking { enabled, resend_interval, settle, forget_after, best_shots, same_person } = raw;
        let defaults = TrackingOptions::default();
        let interval = defaults.resend_interval;
        let options = TrackingOptions {
            resend_interval: self.seconds(
                "tracking.resend_interval",
                resend_interval,
                interval,
                1.0..=86_400.0,
            )?,
            settle: self.seconds("tracking.settle", settle, defaults.settle, 0.0..=60.0)?,
            forget_after: self.seconds(
                "tracking.forget_after",
                forget_after,
                defaults.forget_after,
                0.5..=3600.0,
            )?,
            best_shots: self.within(
                "tracking.best_shots",
                best_shots.unwrap_or(defaults.best_shots),
                1..=20,
            )?,
            same_person: defaults.same_person,
        };
        let same_person = same_person
            .map(|similarity| self.within("tracking.same_person", similarity, 0.0..=1.0))
            .transpose()?;
        Ok(enabled.unwrap_or(default).then_some(TrackingConfig { options, same_person }))
    }

    fn vision(&self, raw: raw::Vision) -> Result<VisionConfig, ConfigError> {
        let raw::Vision {
            pack,
            detect_long_side,
            min_score,
            threads,
            max_pixels,
            device,
            liveness_calibration,
        } = raw;
        Ok(VisionConfig {
            pack: pack.map(|folder| self.path_of("vision.pack", Some(folder))).transpose()?,
            detect_long_side: detect_long_side
                .map(|side| self.within("vision.detect_long_side", side, 64..=4096))
                .transpose()?,
            min_score: self.within("vision.min_score", min_score.unwrap_or(0.6), 0.0..=1.0)?,
            threads: self.within("vision.threads", threads.unwrap_or(1), 1..=64)?,
            device: device.unwrap_or_default(),
            max_pixels: self.within(
                "vision.max_pixels",
                max_pixels.unwrap_or(DEFAULT_MAX_PIXELS),
                100_000..=100_000_000,
            )?,
            liveness_calibration,
        })
    }

    fn spool(&self, raw: raw::Spool) -> Result<SpoolOptions, ConfigError> {
        let raw::Spool { path, max_bytes, max_age_days, watch_interval, key_file } = raw;
        let max_bytes = max_bytes.unwrap_or(DEFAULT_SPOOL_BYTES);
        let max_age = max_age_days
            .map(|days| self.within("spool.max_age_days", days, 0.01..=36_500.0))
            .transpose()?
            .map(|days| Duration::from_secs_f64(days * 86_400.0));
        Ok(SpoolOptions {
            path: self.path_of("spool.path", path)?,
            max_bytes: self.within("spool.max_bytes", max_bytes, LEAST_SPOOL_BYTES..=1 << 50)?,
            max_age,
            watch_interval: self.seconds(
                "spool.watch_interval",
                watch_interval,
                WATCH_INTERVAL,
                0.1..=60.0,
            )?,
            key_file: key_file.map(|path| self.path_of("spool.key_file", Some(path))).transpose()?,
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

    fn backup(
        &self,
        raw: raw::Backup,
        spool: &SpoolOptions,
        evidence: Option<EvidenceConfig>,
    ) -> Result<Option<BackupConfig>, ConfigError> {
        let raw::Backup { enabled, keep, path, max_files, max_bytes, retention_days } = raw;
        let path = path.map(|path| self.path_of("backup.path", Some(path))).transpose()?;
        let days = self.within("backup.retention_days", retention_days.unwrap_or(7.0), 0.01..=3650.0)?;
        let max_bytes = max_bytes.unwrap_or(DEFAULT_BACKUP_BYTES);
        let backup = BackupConfig {
            content: keep.unwrap_or(BackupContent::Frames),
            path: path.unwrap_or_else(|| folder_of(&spool.path).join("backup")),
            max_files: self.within("backup.max_files", max_files.unwrap_or(1000), 1..=1_000_000)?,
            max_bytes: self.within("backup.max_bytes", max_bytes, LEAST_BACKUP_BYTES..=1 << 50)?,
            retention: Duration::from_secs_f64(days * 86_400.0),
        };
        let enabled = enabled.unwrap_or(false);
        if enabled && backup.content == BackupContent::Crops && evidence.is_none() {
            return Err(self.wrong("backup.keep", "there are no crops without evidence.enabled"));
        }
        Ok(enabled.then_some(backup))
    }

    fn logging(&self, raw: raw::Logging) -> Result<LoggingConfig, ConfigError> {
        let raw::Logging { filter, format } = raw;
        let filter = filter.unwrap_or_else(|| "info".to_owned());
        EnvFilter::try_new(&filter).map_err(|error| self.wrong("logging.filter", error))?;
        Ok(LoggingConfig { filter, format: format.unwrap_or(LogFormat::Text) })
    }

    fn settings(&self, raw: raw::Settings) -> Result<SettingsConfig, ConfigError> {
        let raw::Settings { accept, trial } = raw;
        let trial = self.seconds("settings.trial", trial, DEFAULT_TRIAL, 1.0..=3600.0)?;
        Ok(SettingsConfig { accept: accept.unwrap_or(true), trial })
    }

    pub(super) fn path_of(&self, key: &'static str, value: Option<PathBuf>) -> Result<PathBuf, ConfigError> {
        let value = self.required(key, value)?;
        if value.as_os_str().is_empty() {
            return Err(self.wrong(key, "is empty"));
        }
        Ok(self.path.parent().map_or_else(|| value.clone(), |folder| folder.join(&value)))
    }

    pub(super) fn within<T: PartialOrd + Display>(
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

    pub(super) fn seconds(
        &self,
        key: &'static str,
        value: Option<f64>,
        default: Duration,
        range: RangeInclusive<f64>,
    ) -> Result<Duration, ConfigError> {
        value.map_or(Ok(default), |value| self.within(key, value, range).map(Duration::from_secs_f64))
    }

    pub(super) fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| self.wrong(key, "is required"))
    }

    pub(super) fn wrong(&self, key: &'static str, problem: impl ToString) -> ConfigError {
        ConfigError::Invalid { path: self.path.to_path_buf(), key, problem: problem.to_string() }
    }
}
