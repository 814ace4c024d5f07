use std::{
    fs::{self, File},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cavs_proto::{
    from_timestamp,
    v1::{Hello, Welcome},
};
use jiff::Timestamp;
use nix::unistd::{AccessFlags, access};
use tokio::time::timeout;

use super::{Check, Finding};
use crate::{
    clock::Stamp,
    config::{Config, SourceConfig, SourceKind},
    files::{folder_of, with_suffix},
    health::disk_free,
    settings::{PushedSettings, SettingsState},
    source::{AnySource, DirectorySource, Frame, Source},
    spool::{self, SpoolOptions},
    uplink::{self, Endpoint},
    vision::{Analysis, PackVision, Vision, analyze_guarded},
};

/// How long a camera may take to give its first picture: it is opened again in between.
const FIRST_FRAME: Duration = Duration::from_secs(20);

/// A spool needs this much to work at all, in bytes.
const LEAST_SPACE: u64 = 64 << 20;

/// How long a name service may take.
const LOOK_UP: Duration = Duration::from_secs(5);

/// How far the clock may be off before sightings look odd.
const CLOCK: Duration = Duration::from_secs(5);

pub(super) fn settings(path: &Path, config: &Config, state: &SettingsState) -> Finding {
    const CHECK: Check = Check::Config;
    let name = path.display();
    if let Some(warning) = config.warnings.first() {
        let advice = "write it anew as TOML; --check-config shows all warnings";
        return Finding::warning(CHECK, format!("{name}: {warning}"), advice);
    }
    let PushedSettings { version, settings } = state.current();
    match config.with_pushed(settings) {
        Ok(_) if *version == 0 => Finding::ok(CHECK, format!("{name}; nothing is pushed")),
        Ok(_) => Finding::ok(CHECK, format!("{name}, with version {version} of what the server pushed")),
        Err(error) => {
            let advice = "the agent will go back to its own; correct them with `cavs devices configure`";
            Finding::warning(CHECK, format!("version {version} of the pushed settings: {error}"), advice)
        }
    }
}

pub(super) struct Disk {
    pub(super) findings: Vec<Finding>,
    /// The spool is in use.
    pub(super) agent_is_running: bool,
}

pub(super) fn disk(spool: &SpoolOptions) -> Disk {
    const CHECK: Check = Check::Disk;
    let folder = folder_of(&spool.path);
    let failed = |message, advice| Disk {
        findings: vec![Finding::failed(CHECK, message, advice)],
        agent_is_running: false,
    };
    let probe = with_suffix(&spool.path, ".doctor");
    let written = fs::create_dir_all(folder).and_then(|()| File::create(&probe)?.sync_all());
    if let Err(error) = written.and_then(|()| fs::remove_file(&probe)) {
        let advice = "give the folder of spool.path to the agent's user; systemd's StateDirectory does that";
        return failed(format!("{}: {error}", folder.display()), advice);
    }
    let Some(free) = disk_free(folder) else {
        return failed(format!("{}: its file system can't be asked", folder.display()), "use a local disk");
    };
    let used = fs::metadata(&spool.path).map_or(0, |metadata| metadata.len());
    let message = format!("{}: {} MiB are free", folder.display(), free >> 20);
    let finding = if free < LEAST_SPACE {
        Finding::failed(CHECK, message, "make room, or put the spool elsewhere (spool.path)")
    } else if free.saturating_add(used) < spool.max_bytes {
        let message = format!("{message}, the spool may take {} MiB", spool.max_bytes >> 20);
        Finding::warning(CHECK, message, "make room, or lower spool.max_bytes")
    } else {
        Finding::ok(CHECK, message)
    };
    Disk { findings: vec![finding], agent_is_running: spool::is_in_use(&spool.path) }
}

pub(super) fn pack(config: &Config, vision: &PackVision) -> Finding {
    let pack = config.vision.pack.as_ref().map_or("built-in pack".to_owned(), |p| p.display().to_string());
    Finding::ok(Check::Pack, format!("{pack}: verified, digest {}", vision.pack_digest()))
}

pub(super) async fn source(
    config: &SourceConfig,
    vision: Option<&mut PackVision>,
    agent_is_running: bool,
) -> Finding {
    const CHECK: Check = Check::Source;
    let camera = match &config.kind {
        SourceKind::Directory { path, .. } => return directory(path, vision).await,
        SourceKind::Proxied => {
            return Finding::ok(CHECK, "a proxy: its cameras are not tried; `cavs devices list` shows them");
        }
        SourceKind::Camera(camera) => camera,
    };
    if agent_is_running {
        return Finding::ok(CHECK, "not tried, as an agent is running, which has the camera; see its log");
    }
    let mut camera = AnySource::camera(camera, config.period, &Arc::default());
    let began = Instant::now();
    match timeout(FIRST_FRAME, camera.next_frame()).await {
        Ok(Ok(Some(frame))) => {
            let after = began.elapsed().as_millis();
            describe_picture(Some(frame), vision, format!("a picture after {after} ms"))
        }
        Ok(Err(error)) => Finding::failed(CHECK, error.to_string(), "see source.kind in the agent's manual"),
        Ok(Ok(None)) | Err(_) => {
            let failure = camera.last_failure().map(|failure| format!(": {failure}")).unwrap_or_default();
            let message = format!("no picture within {} s{failure}", FIRST_FRAME.as_secs());
            let advice = "check cable and power; try the camera alone (`rpicam-hello`, `v4l2-ctl --list-devices`); \
                          the agent's user has to be in the group `video`";
            Finding::failed(CHECK, message, advice)
        }
    }
}

async fn directory(path: &Path, vision: Option<&mut PackVision>) -> Finding {
    const CHECK: Check = Check::Source;
    match DirectorySource::open(path, None, false) {
        Ok(source) if source.remaining() == 0 => {
            let message = format!("{}: holds no pictures", path.display());
            Finding::warning(CHECK, message, "put *.jpg, *.png or *.webp files there")
        }
        Ok(mut source) => {
            let count = source.remaining();
            let first = source.next_frame().await.ok().flatten();
            describe_picture(first, vision, format!("{}: {count} pictures", path.display()))
        }
        Err(error) => Finding::failed(CHECK, error.to_string(), "make it readable for the agent's user"),
    }
}

/// A source that gave a picture, with what the networks see in it.
fn describe_picture(frame: Option<Frame>, vision: Option<&mut PackVision>, message: String) -> Finding {
    const CHECK: Check = Check::Source;
    let analysis = match (frame, vision) {
        (Some(Frame { image: Ok(image), .. }), Some(vision)) => {
            let began = Instant::now();
            analyze_guarded(vision, &image).map(|seen| (seen, began.elapsed().as_millis()))
        }
        _ => return Finding::ok(CHECK, message),
    };
    match analysis {
        Ok((Analysis { width, height, faces }, took)) => {
            let faces = faces.len();
            Finding::ok(CHECK, format!("{message}: {width}x{height}, {faces} faces, analysed in {took} ms"))
        }
        Err(error) => {
            let message = format!("{message}, which can't be analysed: {error}");
            Finding::warning(CHECK, message, "pictures have to be sound JPEG, PNG or WebP files")
        }
    }
}

pub(super) async fn server(
    config: &Config,
    vision: Option<&PackVision>,
    state: &SettingsState,
) -> (Finding, Option<Timestamp>) {
    const CHECK: Check = Check::Server;
    let hello = Hello {
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        pack_digest: vision.map(|vision| vision.pack_digest().to_string()).unwrap_or_default(),
        boot_epoch: 0,
        settings: Some(state.report()),
        // A stream of an agent that is running keeps its place.
        probe: true,
        ..Hello::default()
    };
    if vision.is_none() {
        let message = "not tried, as the agent has to say which pack it uses";
        return (Finding::warning(CHECK, message, "see to the pack first"), None);
    }
    match uplink::fetch_welcome(&config.server, hello).await {
        Ok(welcome) => {
            let Welcome { device_id, server_time, .. } = welcome;
            let message = format!("{}: welcomes device {device_id}", config.server.address);
            (Finding::ok(CHECK, message), from_timestamp("server_time", server_time.as_ref()).ok())
        }
        Err(failure) => {
            let advice = failure.advice().unwrap_or(
                "check server.address (the device listener), network and firewall, and that server.ca is the \
                 root of the server's certificate",
            );
            (Finding::failed(CHECK, format!("{}: {failure}", config.server.address), advice), None)
        }
    }
}

/// Whether the spool can be where it is to be, without making anything there.
pub(super) fn spool_location(spool: &SpoolOptions) -> Finding {
    const CHECK: Check = Check::Disk;
    let folder = folder_of(&spool.path);
    let above = folder.ancestors().find(|above| above.exists()).unwrap_or(Path::new("."));
    if let Err(error) = access(above, AccessFlags::W_OK | AccessFlags::X_OK) {
        let message = format!("{}: {}", above.display(), std::io::Error::from(error));
        let advice = "the agent's user has to be able to write there; run this check as that user";
        return Finding::warning(CHECK, message, advice);
    }
    match disk_free(above) {
        Some(free) if free < LEAST_SPACE => {
            let message = format!("{}: {} MiB are free", above.display(), free >> 20);
            Finding::failed(CHECK, message, "make room, or put the spool elsewhere (spool.path)")
        }
        Some(free) => Finding::ok(CHECK, format!("{}: {} MiB are free", folder.display(), free >> 20)),
        None => {
            let message = format!("{}: its file system can't be asked", above.display());
            Finding::failed(CHECK, message, "use a local disk")
        }
    }
}

/// Whether the server's host has an address.
pub(super) async fn address(endpoint: &Endpoint) -> Finding {
    const CHECK: Check = Check::Server;
    const ADVICE: &str = "check server.address, and the network's name service; the agent goes on trying";
    let address = &endpoint.address;
    let host = address.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = address.port_u16().unwrap_or(443);
    let found = timeout(LOOK_UP, tokio::net::lookup_host((host, port))).await;
    match found.map(|looked_up| looked_up.map(|mut addresses| addresses.next())) {
        Ok(Ok(Some(_))) => Finding::ok(CHECK, format!("{address}: is known")),
        Ok(Ok(None)) => Finding::warning(CHECK, format!("{address}: has no address"), ADVICE),
        Ok(Err(error)) => Finding::warning(CHECK, format!("{address}: {error}"), ADVICE),
        Err(_) => Finding::warning(CHECK, format!("{address}: nobody says where it is"), ADVICE),
    }
}

pub(super) fn clock(server_time: Option<Timestamp>) -> Finding {
    const CHECK: Check = Check::Clock;
    let stamp = Stamp::now();
    let follows =
        if stamp.synchronised { "follows a time server" } else { "follows no time server known here" };
    match server_time.map(|time| stamp.wall.duration_since(time).unsigned_abs()) {
        Some(off) if off > CLOCK => {
            let message = format!("{} s off the server's, {follows}", off.as_secs());
            let advice =
                "sightings are corrected; still, let systemd-timesyncd or another client set the clock";
            Finding::warning(CHECK, message, advice)
        }
        Some(off) => {
            Finding::ok(CHECK, format!("within {} ms of the server's, {follows}", off.as_millis().max(1)))
        }
        None if stamp.synchronised => Finding::ok(CHECK, follows),
        None => Finding::warning(CHECK, follows, "see to the server first: its clock is the measure"),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};
    use crate::config::VisionConfig;

    #[tokio::test]
    async fn a_picture_that_is_none_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.jpg"), "no picture").unwrap();
        let config = VisionConfig {
            device: crate::vision::ComputeDevice::Cpu,
            pack: None,
            detect_long_side: Some(320),
            min_score: 0.6,
            threads: 1,
            max_pixels: 8 << 20,
            liveness_calibration: None,
        };
        let mut vision = PackVision::load(&config, None).unwrap();
        let finding = directory(folder.path(), Some(&mut vision)).await;
        assert_eq!(finding.level, Level::Warning, "{}", finding.message);
        assert!(
            finding.message.contains("1 pictures, which can't be analysed: IMAGE_"),
            "{}",
            finding.message
        );
    }
}
