//! The server's one configuration file: parsed with unknown keys refused, then checked as a whole.

mod database;
mod mail;
mod monitoring;
mod retention;
mod syntax;
mod webhooks;
mod workers;

use std::{
    fs,
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use cavs_embedding::Similarity;
use cavs_gallery::{GalleryMode, Grouping};
use cavs_models::ComputeDevice;
use cavs_types::Decision;
use http::{HeaderValue, Uri};
use serde::Deserialize;
use thiserror::Error;

use self::{
    database::RawDatabase, mail::RawMail, monitoring::RawMonitoring, retention::RawRetention,
    webhooks::RawWebhooks,
};
pub use self::{
    database::{DatabaseConfig, DatabasePlace},
    mail::{MailConfig, MailSecurity},
    webhooks::WebhookConfig,
};
use crate::{biometrics::RetentionPolicy, sightings::EvidencePolicy};

/// Length of a day.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Why a configuration is refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file can't be read.
    #[error("{}: {cause}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Not TOML, an unknown key, a missing key, or a value of the wrong type.
    #[error("{}: {problem}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Line, column and what is wrong, without any value: it may be a password.
        problem: String,
    },
    /// A value that can't be.
    #[error("{}: {key}: {problem}", path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
}

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// Where people and integrators connect.
    pub api_listen: SocketAddr,
    /// Pages of these origins may call the API from browsers (CORS); `*` for all of them.
    pub api_origins: Vec<HeaderValue>,
    /// Where devices connect.
    pub devices_listen: SocketAddr,
    /// Where monitoring connects, if anywhere.
    pub monitoring_listen: Option<SocketAddr>,
    /// Certificates and keys.
    pub tls: Tls,
    /// The database.
    pub database: DatabaseConfig,
    /// The file of the key-encryption key; elsewhere where it is `None`.
    pub key_file: Option<PathBuf>,
    /// How long an epoch of the keyring is in use before the server makes the next one by itself; `None` where it
    /// never does.
    pub rotate_keys_after: Option<Duration>,
    /// Matching.
    pub recognition: RecognitionConfig,
    /// Limits of enrollment.
    pub enrollment: EnrollmentConfig,
    /// Which evidence is kept, and how much of it is audited.
    pub evidence: EvidencePolicy,
    /// How long faces and sightings are kept, unless the site has set something else.
    pub retention: RetentionPolicy,
    /// How often a minute each user may ask whose face it is.
    pub match_calls: NonZeroU32,
    /// How mails are sent; `None`: none are.
    pub mail: Option<MailConfig>,
    /// Programs that are told of what happens.
    pub webhooks: WebhookConfig,
    /// Log lines.
    pub logging: Logging,
}

/// Certificates and keys, as PEM files.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate, with intermediates.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authority whose certificates devices must have.
    pub device_authority: PathBuf,
}

/// Lowest `unified_score` that is matched, unless the configuration says otherwise.
const DEFAULT_MIN_QUALITY: u8 = 10;

/// Strangers, of 1,000, that may be accepted, unless the configuration says otherwise.
const DEFAULT_WANTED_RATE: f64 = 0.1;
/// Calls a minute of each user that ask whose face it is: two a second, more than a door with one camera asks.
const DEFAULT_MATCH_CALLS: NonZeroU32 = NonZeroU32::new(120).unwrap();

/// Matching. Thresholds that are not set are the pack's.
#[derive(Debug, Clone)]
pub struct RecognitionConfig {
    /// The model pack's folder; the built-in pack where `None`.
    pub pack: Option<PathBuf>,
    /// How the gallery searches.
    pub gallery: GalleryMode,
    /// How the similarities of a student's templates become one.
    pub grouping: Grouping,
    /// Lowest similarity that is accepted without a person; with a wanted rate, the lowest that it may lead to.
    pub accept: Option<Similarity>,
    /// Strangers, of 1,000, that may be accepted. `None`: the accept threshold follows no rate.
    pub wanted_rate: Option<f64>,
    /// Lowest similarity that is worth a reviewer's time.
    pub review: Option<Similarity>,
    /// Least distance to any other student.
    pub margin: Option<f32>,
    /// Least liveness that is accepted without a person, 0 to 1; 0 for nobody asks.
    pub liveness: Option<f32>,
    /// Least unified quality score that is accepted without a person, 0 to 100.
    pub min_quality: u8,
    /// Threads that one picture is worked on by during enrollment.
    pub threads: usize,
    /// On what the networks run (`vision.device`).
    pub device: ComputeDevice,
    /// Pictures that are looked at at a time (`vision.workers`).
    pub workers: usize,
}

/// Limits of enrollment.
#[derive(Debug, Clone)]
pub struct EnrollmentConfig {
    /// Most templates of one student.
    pub templates_per_student: u32,
    /// Least unified quality score, 0 to 100.
    pub min_quality: u8,
    /// From this similarity on, a face belongs to the student who has it already.
    pub same_person: Option<Similarity>,
    /// Below this similarity to all of a student's own pictures, a face is somebody else's.
    pub unlike_below: Option<Similarity>,
    /// Whether the pictures of faces are kept beside their templates.
    pub keep_portraits: bool,
    /// Whether HEIC and AVIF are read, where libheif's program is installed.
    pub read_heif: bool,
}

/// Log lines.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Logging {
    /// Levels, as `RUST_LOG` has them (`info`, `cavs_server=debug`); that variable goes first.
    pub level: String,
    /// For people or for programs.
    pub format: LogFormat,
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: "info".into(), format: LogFormat::Text }
    }
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// A line for people.
    Text,
    /// A JSON object a line.
    Json,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    api: RawApi,
    devices: RawListener,
    #[serde(default)]
    monitoring: RawMonitoring,
    tls: Tls,
    #[serde(default)]
    database: RawDatabase,
    #[serde(default)]
    vault: RawVault,
    #[serde(default)]
    recognition: RawRecognition,
    #[serde(default)]
    vision: RawVision,
    #[serde(default)]
    enrollment: RawEnrollment,
    #[serde(default)]
    evidence: RawEvidence,
    #[serde(default)]
    retention: RawRetention,
    #[serde(default)]
    matching: RawMatching,
    mail: Option<RawMail>,
    #[serde(default)]
    webhooks: RawWebhooks,
    #[serde(default)]
    logging: Logging,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawMatching {
    calls_per_minute: NonZeroU32,
}

impl Default for RawMatching {
    fn default() -> Self {
        Self { calls_per_minute: DEFAULT_MATCH_CALLS }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListener {
    listen: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawApi {
    listen: SocketAddr,
    #[serde(default)]
    allow_origins: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVault {
    key_file: Option<PathBuf>,
    rotate_days: Option<u16>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRecognition {
    pack: Option<PathBuf>,
    gallery: Option<GalleryMode>,
    grouping: Option<Grouping>,
    accept: Option<f32>,
    false_matches_per_1000: Option<f64>,
    review: Option<f32>,
    margin: Option<f32>,
    min_liveness: Option<f32>,
    min_quality: Option<u8>,
    threads: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawVision {
    #[serde(default)]
    device: ComputeDevice,
    workers: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawEnrollment {
    templates_per_student: u32,
    min_quality: u8,
    same_person: Option<f32>,
    unlike_below: Option<f32>,
    keep_portraits: bool,
    read_heif: bool,
}

impl Default for RawEnrollment {
    fn default() -> Self {
        Self {
            templates_per_student: 20,
            min_quality: 15,
            same_person: None,
            unlike_below: None,
            keep_portraits: false,
            read_heif: true,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawEvidence {
    keep: Vec<RawDecision>,
    audit_one_in: u32,
}

impl Default for RawEvidence {
    fn default() -> Self {
        Self { keep: vec![RawDecision::Pending], audit_one_in: 0 }
    }
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum RawDecision {
    Accepted,
    Pending,
    Unknown,
}

impl RawDecision {
    const fn decision(self) -> Decision {
        match self {
            Self::Accepted => Decision::Accepted,
            Self::Pending => Decision::Pending,
            Self::Unknown => Decision::Unknown,
        }
    }
}

impl Config {
    /// Reads and checks a file. Relative paths in it are relative to it.
    ///
    /// # Errors
    /// [`ConfigError`], naming the file and the key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let file = |cause| ConfigError::File { path: path.to_owned(), cause };
        let text = fs::read_to_string(path).map_err(file)?;
        let base = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, path, base)
    }

    fn parse(text: &str, path: &Path, base: &Path) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            problem: syntax::without_values(text, &error),
        })?;
        let value = |key, problem: &str| ConfigError::Value {
            path: path.to_owned(),
            key,
            problem: problem.to_owned(),
        };
        let Raw {
            api,
            devices,
            monitoring,
            tls,
            database,
            vault,
            recognition,
            vision,
            enrollment,
            evidence,
            retention,
            matching,
            mail,
            webhooks,
            logging,
        } = raw;
        let api_origins = api.allow_origins.iter().map(|text| origin(text)).collect::<Result<_, _>>();
        let api_origins = api_origins.map_err(|problem| value("api.allow_origins", &problem))?;
        let monitoring_listen =
            monitoring.checked().map_err(|problem| value("monitoring.listen", problem))?;
        let database = database.checked(base).map_err(|(key, problem)| value(key, &problem))?;
        let mail = mail.map(|mail| mail.checked(|file| base.join(file))).transpose();
        let mail = mail.map_err(|(key, problem)| value(key, &problem))?;
        let retention = retention.checked().map_err(|(key, problem)| value(key, problem))?;
        let similarity = |key, number: Option<f32>| match number {
            Some(number) if !(-1.0..=1.0).contains(&number) => Err(value(key, "must be -1 to 1")),
            other => Ok(other.map(Similarity::clamped)),
        };
        let accept = similarity("recognition.accept", recognition.accept)?;
        let wanted_rate = match (recognition.false_matches_per_1000, accept) {
            (Some(wanted), _) => Some(
                crate::recognition::wanted_rate(wanted)
                    .map_err(|_| value("recognition.false_matches_per_1000", "must be 0.001 to 100"))?,
            ),
            // Who says the threshold has said it.
            (None, Some(_)) => None,
            (None, None) => Some(DEFAULT_WANTED_RATE),
        };
        let review = similarity("recognition.review", recognition.review)?;
        if let (Some(accept), Some(review)) = (accept, review)
            && review > accept
        {
            return Err(value("recognition.review", "must not exceed `recognition.accept`"));
        }
        if recognition.margin.is_some_and(|m| !(0.0..=2.0).contains(&m)) {
            return Err(value("recognition.margin", "must be 0 to 2"));
        }
        if recognition.min_liveness.is_some_and(|least| !(0.0..=1.0).contains(&least)) {
            return Err(value("recognition.min_liveness", "must be 0 to 1"));
        }
        for (key, quality) in [
            ("recognition.min_quality", recognition.min_quality.unwrap_or(DEFAULT_MIN_QUALITY)),
            ("enrollment.min_quality", enrollment.min_quality),
        ] {
            if quality > 100 {
                return Err(value(key, "must be 0 to 100"));
            }
        }
        if vision.workers.is_some_and(|workers| !(1..=workers::MOST).contains(&workers)) {
            return Err(value("vision.workers", "must be 1 to 64"));
        }
        if !(1..=64).contains(&enrollment.templates_per_student) {
            return Err(value("enrollment.templates_per_student", "must be 1 to 64"));
        }
        Ok(Self {
            api_listen: api.listen,
            api_origins,
            devices_listen: devices.listen,
            monitoring_listen,
            tls: Tls {
                certificate: base.join(tls.certificate),
                key: base.join(tls.key),
                device_authority: base.join(tls.device_authority),
            },
            database,
            key_file: vault.key_file.map(|file| base.join(file)),
            rotate_keys_after: vault.rotate_days.filter(|days| *days > 0).map(|days| DAY * days.into()),
            recognition: RecognitionConfig {
                pack: recognition.pack.map(|folder| base.join(folder)),
                gallery: recognition.gallery.unwrap_or(GalleryMode::Auto),
                grouping: recognition.grouping.unwrap_or(Grouping::Best),
                accept,
                wanted_rate,
                review,
                margin: recognition.margin,
                liveness: recognition.min_liveness,
                min_quality: recognition.min_quality.unwrap_or(DEFAULT_MIN_QUALITY),
                threads: recognition.threads.unwrap_or(1).clamp(1, 64),
                device: vision.device,
                workers: vision.workers.unwrap_or_else(workers::default_workers),
            },
            enrollment: EnrollmentConfig {
                templates_per_student: enrollment.templates_per_student,
                min_quality: enrollment.min_quality,
                same_person: similarity("enrollment.same_person", enrollment.same_person)?,
                unlike_below: similarity("enrollment.unlike_below", enrollment.unlike_below)?,
                keep_portraits: enrollment.keep_portraits,
                read_heif: enrollment.read_heif,
            },
            evidence: EvidencePolicy {
                keep: evidence.keep.into_iter().map(RawDecision::decision).collect(),
                audit_one_in: NonZeroU32::new(evidence.audit_one_in),
            },
            retention,
            match_calls: matching.calls_per_minute,
            mail,
            webhooks: webhooks.checked(base),
            logging,
        })
    }
}

/// What a browser says of where a page comes from: scheme, host, and a port that is not the scheme's own.
fn origin(text: &str) -> Result<HeaderValue, String> {
    let read = || {
        let uri: Uri = text.parse().ok()?;
        let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
        let is_origin = matches!(scheme, "http" | "https") && format!("{scheme}://{authority}") == text;
        is_origin.then(|| HeaderValue::from_str(text).ok())?
    };
    if text == "*" {
        return Ok(HeaderValue::from_static("*"));
    }
    read().ok_or_else(|| {
        format!("{text:?} is no origin as https://app.example.org or https://app.example.org:8443")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = r#"
        api.listen = "127.0.0.1:7443"
        devices.listen = "0.0.0.0:7444"
        tls = { certificate = "server.pem", key = "server.key", device_authority = "ca.pem" }
        database = { embedded = true, data_dir = "db" }
        recognition.pack = "/packs/a"
    "#;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text, Path::new("server.toml"), Path::new("/etc/cavs")).map_err(|e| e.to_string())
    }

    #[test]
    fn the_built_in_pack_is_the_default() {
        let recognition =
            parse(&MINIMAL.replace(r#"recognition.pack = "/packs/a""#, "")).unwrap().recognition;
        assert_eq!((recognition.pack, recognition.min_quality), (None, DEFAULT_MIN_QUALITY));
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = parse(MINIMAL).unwrap();
        assert_eq!(config.tls.key, Path::new("/etc/cavs/server.key"));
        assert_eq!(config.recognition.pack.as_deref(), Some(Path::new("/packs/a")));
        assert!(
            matches!(config.database.place, DatabasePlace::Embedded(d) if d == Path::new("/etc/cavs/db"))
        );
        assert_eq!(config.evidence, EvidencePolicy { keep: vec![Decision::Pending], audit_one_in: None });
    }

    #[test]
    fn without_an_address_the_server_runs_a_private_cluster() {
        let text = MINIMAL.replace(r#"database = { embedded = true, data_dir = "db" }"#, "");
        let config = parse(&text).unwrap();
        assert!(
            matches!(config.database.place, DatabasePlace::Embedded(d) if d == Path::new("/etc/cavs/data"))
        );
    }

    #[test]
    fn errors_name_the_file_and_the_key() {
        let with = |line: &str| parse(&format!("{MINIMAL}\n{line}")).unwrap_err();
        assert!(with("wrong = 1").starts_with("server.toml: line 8, column "), "{}", with("wrong = 1"));
        assert!(with("wrong = 1").contains("unknown field `wrong`"));
        assert_eq!(with("recognition.accept = 1.5"), "server.toml: recognition.accept: must be -1 to 1");
        assert_eq!(with("vision.workers = 0"), "server.toml: vision.workers: must be 1 to 64");
        assert_eq!(
            with("recognition.accept = 0.3\nrecognition.review = 0.4"),
            "server.toml: recognition.review: must not exceed `recognition.accept`"
        );
        let both = MINIMAL.replace("embedded = true", "embedded = true, url = \"x\"");
        assert!(parse(&both).unwrap_err().contains("database.url: goes neither with"));
    }

    #[test]
    fn pages_may_call_where_their_origin_is_named() {
        let with = |list: &str| {
            let listen = r#"api.listen = "127.0.0.1:7443""#;
            parse(&MINIMAL.replace(listen, &format!("{listen}\napi.allow_origins = {list}")))
        };
        assert_eq!(parse(MINIMAL).unwrap().api_origins.len(), 0);
        let two = with(r#"["https://a.example", "http://localhost:5173"]"#).unwrap().api_origins;
        assert_eq!(two, ["https://a.example", "http://localhost:5173"]);
        for wrong in ["a.example", "https://a.example/", "https://a.example/x", "ftp://a.example", "null", ""]
        {
            let refused = with(&format!("[{wrong:?}]")).unwrap_err();
            assert!(refused.contains("api.allow_origins"), "{refused}");
        }
    }

    #[test]
    fn what_is_kept_is_kept_for_days_or_for_ever() {
        let with = |line: &str| parse(&format!("{MINIMAL}\n{line}"));
        let common = with("").unwrap().retention;
        assert_eq!(common, RetentionPolicy::default());
        assert_eq!((common.unknown_probes, common.evidence, common.portraits), (Some(7), Some(30), None));
        let set = "retention = { unknown_probes = 1, evidence = 0, sightings = \"forever\" }";
        let set = with(set).unwrap().retention;
        assert_eq!((set.unknown_probes, set.evidence, set.sightings), (Some(1), None, None));
        assert_eq!(set.reviewed_probes, common.reviewed_probes);
        for wrong in ["-1", "36501"] {
            let refused = with(&format!("retention.evidence = {wrong}")).unwrap_err();
            assert!(refused.contains("retention.evidence: must be 1 to 36500 days"), "{refused}");
        }
        assert!(with("retention.evidence = \"never\"").is_err());
        assert!(with("retention.evidences = 1").unwrap_err().contains("unknown field"));
    }

    #[test]
    fn monitoring_stays_on_the_machine_unless_told_otherwise() {
        let with = |line: &str| parse(&format!("{MINIMAL}\n{line}"));
        assert_eq!(with("").unwrap().monitoring_listen, None);
        let here = with("monitoring.listen = \"127.0.0.1:7445\"").unwrap();
        assert_eq!(here.monitoring_listen.map(|a| a.port()), Some(7445));
        let everywhere = "monitoring.listen = \"0.0.0.0:7445\"";
        assert!(with(everywhere).unwrap_err().contains("monitoring.listen: is no loopback address"));
        assert!(with(&format!("{everywhere}\nmonitoring.allow_remote = true")).is_ok());
    }

    #[test]
    fn a_password_in_the_address_is_never_shown() {
        let text = MINIMAL.replace(
            r#"{ embedded = true, data_dir = "db" }"#,
            r#"{ url = "postgres://u:hunter2@db/cavs" }"#,
        );
        assert!(!format!("{:?}", parse(&text).unwrap()).contains("hunter2"));
    }

    #[test]
    fn an_error_beside_the_address_shows_where_it_is_and_no_password() {
        let embedded = r#"database = { embedded = true, data_dir = "db" }"#;
        for (line, word) in [
            (r#"database = { urll = "postgres://u:hunter2@db/cavs" }"#, "unknown field `urll`"),
            (r#"database = { url = "postgres://u:hunter2@db/cavs", connections = "a" }"#, "invalid type"),
            (r#"database = { url = "postgres://u:hunter2@db/cavs" extra = 1 }"#, "column"),
            (r#"database = { url = "postgres://u:hunter2@db/cavs }"#, "column"),
            (r#"database = { connections = "postgres://u:hunter2, expected@db/cavs" }"#, "invalid type"),
            (r#"database = "postgres://u:hunter2@db/cavs""#, "invalid type"),
            (r#"database = { embedded = true, url = "postgres://u:hunter2@db/cavs" }"#, "goes neither"),
        ] {
            let text = MINIMAL.replace(embedded, line);
            let shown = parse(&text).unwrap_err();
            assert!(!shown.contains("hunter2"), "{shown}");
            assert!(shown.starts_with("server.toml: ") && shown.contains(word), "{shown}");
            let error = Config::parse(&text, Path::new("a"), Path::new("b")).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn the_address_may_be_in_a_file_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let embedded = r#"{ embedded = true, data_dir = "db" }"#;
        let with = |value: &str| {
            Config::parse(&MINIMAL.replace(embedded, value), Path::new("server.toml"), folder.path())
                .map(|config| config.database)
                .map_err(|error| error.to_string())
        };
        std::fs::write(folder.path().join("url"), "postgres://u:hunter2@db/cavs\n").unwrap();
        let database = with(r#"{ url_file = "url", connections = 5 }"#).unwrap();
        let DatabasePlace::External(external) = &database.place else { panic!("{database:?}") };
        assert_eq!(secrecy::ExposeSecret::expose_secret(&external.url), "postgres://u:hunter2@db/cavs");
        assert_eq!(database.connections, 5);
        assert!(!format!("{database:?}").contains("hunter2"));
        for (value, problem) in [
            (r#"{ url_file = "none" }"#, "No such file"),
            (r#"{ url_file = "url", url = "x" }"#, "database.url_file: goes not with `database.url`"),
            (r#"{ url_file = "url", embedded = true }"#, "goes neither"),
            (r#"{ data_dir = "db", owner_url = "x" }"#, "database.owner_url"),
            (r#"{ url_file = "url", connections = 0 }"#, "database.connections: must be 4 to 1000"),
        ] {
            let refused = with(value).unwrap_err();
            assert!(refused.contains(problem), "{value}: {refused}");
        }
    }
}
