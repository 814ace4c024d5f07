use std::{fs, path::Path, time::Duration};

use super::*;

const FULL: &str = r#"
[server]
address = "https://cavs.example:7443"
ca = "/etc/cavs/ca.pem"
certificate = "device.pem"
key = "device.key"
server_name = "cavs"
[device]
classroom = "B12"
[source]
kind = "directory"
path = "/frames"
rate = 5
[vision]
pack = "/packs/default"
detect_long_side = 320
min_score = 0.5
threads = 2
[spool]
path = "/var/lib/cavs/spool.db"
max_bytes = 10000000
[evidence]
enabled = false
[logging]
filter = "debug"
format = "json"
"#;

fn load(text: &str, overrides: &[&str]) -> Result<Config, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("agent.toml");
    fs::write(&path, text).unwrap();
    let overrides: Vec<_> = overrides.iter().map(|text| Override::from_flag(text).unwrap()).collect();
    let folder = format!("{}/", dir.path().display());
    Config::load(&path, &overrides).map_err(|error| error.to_string().replace(&folder, "DIR/"))
}

#[test]
fn every_key_is_understood() {
    let config = load(FULL, &[]).unwrap();
    assert_eq!(config.server.address, "https://cavs.example:7443");
    assert!(config.server.certificate.is_absolute(), "relative to the file's folder");
    assert_eq!(config.server.ca, Path::new("/etc/cavs/ca.pem"));
    assert_eq!(config.source.period, Some(Duration::from_millis(200)));
    assert_eq!(config.evidence, None);
    assert_eq!(config.logging.format, LogFormat::Json);
    assert_eq!(config.classroom.as_deref(), Some("B12"));
}

#[test]
fn what_is_left_out_has_a_default() {
    let text = FULL.replace("enabled = false", "").replace("rate = 5", "");
    let config = load(&text, &[]).unwrap();
    assert_eq!(config.evidence, Some(EvidenceConfig { max_side: 224, quality: 80 }));
    assert_eq!((config.source.period, config.source.repeat), (None, false));
}

#[test]
fn later_overrides_win_over_the_file() {
    let config = load(FULL, &["spool.max_bytes=2000000", "spool.max_bytes=3000000", "server.ca=/x"]);
    let config = config.unwrap();
    assert_eq!(config.spool.max_bytes, 3_000_000);
    assert_eq!(config.server.ca, Path::new("/x"));
}

#[test]
fn errors_name_the_file_and_the_key() {
    let wrong = |from: &str, to: &str| load(&FULL.replace(from, to), &[]).unwrap_err();
    insta::assert_snapshot!(wrong("rate = 5", "rate = 0"), @"DIR/agent.toml: source.rate: must be 0.001 to 1000 frames a second");
    insta::assert_snapshot!(wrong("https:", "http:"), @"DIR/agent.toml: server.address: must be of the form https://HOST:PORT");
    insta::assert_snapshot!(wrong(":7443", ""), @"DIR/agent.toml: server.address: must be of the form https://HOST:PORT");
    insta::assert_snapshot!(wrong("pack = \"/packs/default\"", ""), @"DIR/agent.toml: vision.pack: is required");
    insta::assert_snapshot!(wrong("min_score = 0.5", "min_score = nan"), @"DIR/agent.toml: vision.min_score: NaN is not within 0 to 1");
    insta::assert_snapshot!(wrong("max_bytes = 10000000", "max_bytes = 1"), @"DIR/agent.toml: spool.max_bytes: 1 is not within 1048576 to 1125899906842624");
    insta::assert_snapshot!(wrong("\"debug\"", "\"a=b=c\""), @r#"DIR/agent.toml: logging.filter: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5"#);
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_with_their_place() {
    let unknown = load(&FULL.replace("rate = 5", "fps = 5"), &[]).unwrap_err();
    assert!(unknown.starts_with("DIR/agent.toml: ") && unknown.contains("fps = 5"), "{unknown}");
    let wrong_type = load(&FULL.replace("rate = 5", "rate = \"fast\""), &[]).unwrap_err();
    assert!(wrong_type.contains("rate = \"fast\""), "{wrong_type}");
    let flag = load(FULL, &["spool.size=5"]).unwrap_err();
    assert!(flag.starts_with("--set spool.size: unknown field `size`"), "{flag}");
    let missing = Config::load(Path::new("/no/such/file.toml"), &[]).unwrap_err();
    assert!(missing.to_string().starts_with("/no/such/file.toml: "), "{missing}");
}
