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
liveness_calibration = [0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 1]
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
    assert_eq!(config.source.period, None);
    assert_eq!(config.vision.max_pixels, 8 << 20);
    assert!(load(&text, &["vision.max_pixels=99999"]).unwrap_err().contains("vision.max_pixels"));
    assert!(config.source.ends());
    assert_eq!((config.motion, config.tracking), (None, None), "a directory is read whole");
}

#[test]
fn an_error_beside_an_address_shows_no_password() {
    for line in [
        "urll = \"http://u:hunter2@cam/\"",
        "rate = \"http://u:hunter2@cam/\"",
        "url = \"http://u:hunter2@cam/\" x",
        "url = \"http://u:hunter2@cam/",
    ] {
        let refused = load(&FULL.replace("rate = 5", line), &[]).unwrap_err();
        assert!(refused.contains("DIR/agent.toml: line ") && !refused.contains("hunter2"), "{refused}");
    }
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
    insta::assert_snapshot!(wrong("pack = \"/packs/default\"", "pack = \"\""), @"DIR/agent.toml: vision.pack: is empty");
    assert_eq!(load(&FULL.replace("pack = \"/packs/default\"", ""), &[]).unwrap().vision.pack, None);
    insta::assert_snapshot!(wrong("min_score = 0.5", "min_score = nan"), @"DIR/agent.toml: vision.min_score: NaN is not within 0 to 1");
    insta::assert_snapshot!(wrong("max_bytes = 10000000", "max_bytes = 1"), @"DIR/agent.toml: spool.max_bytes: 1 is not within 1048576 to 1125899906842624");
    insta::assert_snapshot!(wrong("\"debug\"", "\"a=b=c\""), @r#"DIR/agent.toml: logging.filter: error parsing level filter: expected one of "off", "error", "warn", "info", "debug", "trace", or a number 0-5"#);
}

#[test]
fn unknown_keys_and_wrong_types_are_refused_with_their_place() {
    let unknown = load(&FULL.replace("rate = 5", "fps = 5"), &[]).unwrap_err();
    assert!(unknown.starts_with("DIR/agent.toml: line 13, column "), "{unknown}");
    assert!(unknown.contains("unknown field `fps`"), "{unknown}");
    let wrong_type = load(&FULL.replace("rate = 5", "rate = \"fast\""), &[]).unwrap_err();
    assert!(wrong_type.contains("line 13, column ") && wrong_type.contains("invalid type"), "{wrong_type}");
    let short = load(&FULL.replace("[0, 0.05,", "["), &[]).unwrap_err();
    assert!(short.contains("a liveness calibration has 21 numbers"), "{short}");
    let flag = load(FULL, &["spool.size=5"]).unwrap_err();
    assert!(flag.starts_with("--set spool.size: unknown field `size`"), "{flag}");
    let missing = Config::load(Path::new("/no/such/file.toml"), &[]).unwrap_err();
    assert!(missing.to_string().starts_with("/no/such/file.toml: "), "{missing}");
}

const CAMERA: &str = r#"
[server]
address = "https://cavs.example:7443"
ca = "ca.pem"
certificate = "device.pem"
key = "device.key"
[source]
kind = "rpicam"
[vision]
pack = "pack"
[spool]
path = "spool.db"
"#;

#[test]
fn cameras_are_tracked_and_gated_unless_told_otherwise() {
    let config = load(CAMERA, &[]).unwrap();
    assert_eq!(config.source.period, Some(Duration::from_millis(200)));
    assert!(!config.source.ends());
    assert_eq!(config.motion.unwrap().threshold, 0.005);
    assert_eq!(config.tracking.unwrap().options.resend_interval, Duration::from_secs(300));
    let off = load(CAMERA, &["motion.enabled=false", "tracking.enabled=false"]).unwrap();
    assert_eq!((off.motion, off.tracking), (None, None));
    let on = load(FULL, &["tracking.enabled=true", "tracking.same_person=0.5"]).unwrap();
    assert_eq!(on.tracking.unwrap().same_person, Some(0.5));
}

#[test]
fn every_kind_of_camera_has_its_keys_and_no_others() {
    let kind = |set: &[&str]| match load(CAMERA, set)?.source.kind {
        SourceKind::Camera(camera) => Ok(format!("{:?}", camera.kind)),
        SourceKind::Directory { .. } | SourceKind::Proxied => Err("no camera".to_owned()),
    };
    let command = kind(&["source.kind=command", r#"source.command=["ffmpeg", "-i", "rtsp://u:p@h/"]"#]);
    assert_eq!(command.unwrap(), "Command(ffmpeg)");
    let mjpeg = kind(&["source.kind=mjpeg", "source.url=http://u:p@cam/x"]).unwrap();
    assert_eq!(mjpeg, "Mjpeg(http://cam:80/x)");
    let wrong = kind(&["source.kind=snapshot", "source.url=https://cam/"]).unwrap_err();
    insta::assert_snapshot!(wrong, @"DIR/agent.toml: source.url: must be of the form http://[USER:PASSWORD@]HOST[:PORT]/PATH");
    insta::assert_snapshot!(kind(&["source.path=x"]).unwrap_err(), @"DIR/agent.toml: source.path: is not for this kind of source");
    insta::assert_snapshot!(kind(&["source.kind=command"]).unwrap_err(), @"DIR/agent.toml: source.command: is required");
    insta::assert_snapshot!(kind(&["motion.hold=-1"]).unwrap_err(), @"DIR/agent.toml: motion.hold: -1 is not within 0 to 3600");
}

#[test]
fn a_configuration_of_the_original_system_is_translated_and_says_so() {
    let text = r#"{
        "device_id": "pi-7", "classroom_id": "B12", "capture_interval": 2, "max_retries": 3,
        "image_quality": 85, "motion_detection": true, "motion_threshold": 25,
        "storage": {"path": "data", "local_backup": true, "max_backup_files": 100, "backup_retention_days": 30},
        "network": {"server_url": "http://cavs.example:7443/"},
        "logging": {"level": "WARNING", "file": "agent.log"}
    }"#;
    let config = load(text, &["evidence.max_side=100"]).unwrap();
    assert_eq!((config.device_id.as_deref(), config.classroom.as_deref()), (Some("pi-7"), Some("B12")));
    assert_eq!(config.source.period, Some(Duration::from_secs(2)));
    assert_eq!(config.evidence, Some(EvidenceConfig { max_side: 100, quality: 85 }));
    assert_eq!(config.motion.unwrap().threshold, 0.25);
    assert!(config.spool.path.ends_with("data/spool.db"));
    assert_eq!(config.server.address, "https://cavs.example:7443");
    assert_eq!(config.logging.filter, "warn");
    let backup = config.backup.unwrap();
    assert!(backup.path.ends_with("data/backup"));
    assert_eq!((backup.max_files, backup.retention.as_secs()), (100, 30 * 86_400));
    insta::assert_snapshot!(config.warnings.join("\n"), @r#"
    a configuration of the original system; it was translated, but a TOML file says more
    logging.file: ignored: lines go to standard error, and the journal keeps them
    max_retries: ignored: the agent tries until it succeeds
    server.ca is taken to be "ca.pem"
    server.certificate is taken to be "device.pem"
    server.key is taken to be "device.key"
    source.kind is taken to be "rpicam"
    "#);
    assert!(load("{", &[]).unwrap_err().starts_with("DIR/agent.toml: EOF"));
}

/// What the server may push is what this agent takes: the same keys, the same bounds.
#[test]
fn every_setting_that_can_be_pushed_fits() {
    use cavs_types::{SETTINGS, SettingKind};
    let text = FULL.replace("enabled = false", "");
    let own = load(&text, &[]).unwrap();
    let push = |key: &str, value: &str| own.with_pushed(&[(key.to_owned(), value.to_owned())].into());
    let around = |key: &str, bounds: [String; 2], beyond: [String; 2]| {
        for value in bounds {
            assert!(push(key, &value).is_ok(), "{key}={value}");
            assert!(load(&text, &[&format!("{key}={value}")]).is_ok(), "{key}={value}");
        }
        for value in beyond {
            assert!(push(key, &value).is_err(), "{key}={value}");
            assert!(load(&text, &[&format!("{key}={value}")]).is_err(), "{key}={value}");
        }
    };
    for setting in SETTINGS {
        match setting.kind {
            SettingKind::Switch => assert!(push(setting.key, "true").is_ok(), "{}", setting.key),
            SettingKind::LogFilter => assert!(push(setting.key, "warn").is_ok()),
            SettingKind::Whole { least, most } => {
                let beyond = [i128::from(least) - 1, i128::from(most) + 1].map(|value| value.to_string());
                around(setting.key, [least, most].map(|value| value.to_string()), beyond);
            }
            SettingKind::Number { least, most } => {
                let beyond = [least - 0.001, most + 0.001].map(|value| value.to_string());
                around(setting.key, [least, most].map(|value| value.to_string()), beyond);
            }
        }
    }
    assert!(push("logging.filter", "=,=").is_err(), "only the agent can tell");
    let error = push("source.path", "/etc").unwrap_err().to_string();
    assert!(error.starts_with("pushed source.path: can't be pushed"), "{error}");
}

#[test]
fn pushed_settings_go_before_everything_and_leave_the_ground_as_it_is() {
    let own = load(FULL, &["vision.threads=3"]).unwrap();
    let pushed = own.with_pushed(&[("vision.threads".to_owned(), "4".to_owned())].into()).unwrap();
    assert_eq!((own.vision.threads, pushed.vision.threads), (3, 4));
    let next = pushed.with_pushed(&[("source.rate".to_owned(), "2".to_owned())].into()).unwrap();
    assert_eq!((next.vision.threads, next.source.period), (3, Some(Duration::from_millis(500))));
}

const PROXY: &str = r#"
[server]
address = "https://cavs.example:7444"
ca = "ca.pem"
certificate = "device.pem"
key = "device.key"
[proxy]
certificate = "proxy.pem"
key = "proxy.key"
[spool]
path = "spool.db"
"#;

#[test]
fn a_proxy_has_cameras_in_the_place_of_a_source() {
    let config = load(PROXY, &["proxy.grpc=false"]).unwrap();
    assert_eq!(config.source.kind, SourceKind::Proxied);
    assert!(config.tracking.is_some() && config.motion.is_some(), "for cameras that are pulled");
    let proxy = config.proxy.unwrap();
    let listener = proxy.listener.unwrap();
    assert_eq!(listener.address.to_string(), "0.0.0.0:7446");
    assert!(!listener.grpc && listener.grpc_web && listener.http);
    assert!(listener.tls.unwrap().client_ca.ends_with("ca.pem"), "the site's");
    assert!(load(PROXY, &["source.kind=rpicam"]).unwrap_err().contains("does not go with [proxy]"));

    // Plain text only where it was asked for, or where nobody else hears it.
    let plain = PROXY.replace("certificate = \"proxy.pem\"\nkey = \"proxy.key\"", "");
    assert!(load(&plain, &[]).unwrap_err().contains("proxy.certificate"));
    for enough in ["proxy.allow_plaintext=true", "proxy.listen=127.0.0.1:7446"] {
        assert_eq!(load(&plain, &[enough]).unwrap().proxy.unwrap().listener.unwrap().tls, None);
    }
    let off = ["proxy.grpc=false", "proxy.grpc_web=false", "proxy.http=false"];
    assert!(load(&plain, &off).unwrap_err().contains("proxy.cameras"));
    let camera = "01890000-0000-7000-8000-0000000000ca";
    let pulled =
        format!("{plain}[[proxy.cameras]]\ndevice = \"{camera}\"\nurl = \"http://10.0.0.7:81/stream\"\n");
    let proxy = load(&pulled, &off).unwrap().proxy.unwrap();
    assert_eq!((proxy.listener, proxy.pulled.len()), (None, 1));
    assert_eq!(format!("{:?}", proxy.pulled[0].camera.kind), "Mjpeg(http://10.0.0.7:81/stream)");
    assert_eq!(
        (proxy.pulled[0].device.to_string().as_str(), proxy.pulled[0].period),
        (camera, Duration::from_secs(1))
    );
    assert!(load(&pulled.replace(camera, "door"), &off).unwrap_err().contains("proxy.cameras.device"));
}
