//! Settings that the server pushes to a whole agent with a camera: tried, kept, given up.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::{env, path::Path, process::Command, time::Duration};

use cavs_edge_agent::{
    agent::{self, StopCondition},
    config::{Config, EvidenceConfig, Override, VisionConfig},
    vision::{Analysis, ImageFailure, Vision, fake::FakeVision},
};
use cavs_embedding::PackDigest;
use cavs_proto::v1::SettingsReport;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use support::{FakeServer, start_test};

/// A vision with settings that it can't bear.
#[derive(Default)]
struct FaultyVision {
    slow: bool,
}

impl Vision for FaultyVision {
    fn pack_digest(&self) -> PackDigest {
        FakeVision.pack_digest()
    }

    fn configure(&mut self, config: &VisionConfig, _: Option<EvidenceConfig>) -> Result<(), String> {
        match config.threads {
            13 => return Err("13 threads are unlucky".to_owned()),
            // As the kernel does it to a process that takes too much memory.
            14 => kill_self(),
            _ => {}
        }
        self.slow = config.threads == 15;
        Ok(())
    }

    fn analyze(&mut self, image: &[u8]) -> Result<Analysis, ImageFailure> {
        if self.slow {
            std::thread::sleep(Duration::from_secs(2));
        }
        FakeVision.analyze(image)
    }
}

fn kill_self() {
    let pid = std::process::id().to_string();
    Command::new("kill").args(["-9", &pid]).status().unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

/// A camera that shows an empty room twenty times a second, and settings that are soon judged.
const CAMERA: [&str; 3] = [
    "source.kind=command",
    r#"source.command=["sh", "-c", "while true; do printf '\\377\\330\\377\\332\\000\\002light\\377\\331'; sleep 0.05; done"]"#,
    "settings.trial=1",
];

fn configure(server: &FakeServer, dir: &Path) -> Config {
    let _ = server.config(dir, &[]);
    // The directory that the harness configures has no place beside a camera.
    let file = dir.join("agent.toml");
    let text = std::fs::read_to_string(&file).unwrap().replace("kind = 'directory'\npath = 'frames'\n", "");
    std::fs::write(&file, text).unwrap();
    Config::load(&file, &overrides()).unwrap()
}

fn overrides() -> Vec<Override> {
    CAMERA.iter().map(|text| Override::from_flag(text).unwrap()).collect()
}

async fn reported(server: &FakeServer, what: &str, found: impl Fn(&[SettingsReport]) -> bool) {
    let wait = async {
        while !server.state(|state| found(&state.reports)) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    if timeout(Duration::from_secs(30), wait).await.is_err() {
        panic!("{what}: {:?}", server.state(|state| state.reports.clone()));
    }
}

fn last(reports: &[SettingsReport]) -> SettingsReport {
    reports.last().cloned().unwrap_or_default()
}

async fn run_with(config: &Config, during: impl Future<Output = ()>) {
    let shutdown = CancellationToken::new();
    let running = agent::run(config, FaultyVision::default(), StopCondition::Shutdown, shutdown.clone());
    let during = async {
        during.await;
        shutdown.cancel();
    };
    let (summary, ()) = tokio::join!(running, during);
    assert!(summary.unwrap().totals.frames > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_work_are_kept_and_others_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::start(dir.path(), &[]).await;
    let config = configure(&server, dir.path());
    server.push(1, &[("tracking.settle", "1"), ("source.rate", "30")]);
    run_with(&config, async {
        reported(&server, "the first is tried, then kept", |reports| {
            reports.iter().any(|report| report.on_trial && report.running_version == 1)
                && last(reports) == SettingsReport { running_version: 1, ..Default::default() }
        })
        .await;
    })
    .await;

    // In a welcome after a restart, which goes on with what was kept.
    for (version, key, value, reason) in [
        (2, "vision.threads", "13", "13 threads are unlucky"),
        (3, "source.command", "rm", "pushed source.command: can't be pushed"),
        (4, "vision.threads", "15", "no frame came through within 1 s"),
    ] {
        server.push(version, &[(key, value)]);
        run_with(&config, async {
            reported(&server, reason, |reports| {
                let last = last(reports);
                let rejected = (last.running_version, last.rejected_version) == (1, version);
                rejected && !last.on_trial && last.rejection.contains(reason)
            })
            .await;
            // What is in use again does its work.
            let frames = |server: &FakeServer| {
                server.state(|state| state.heartbeat.as_ref().map(|beat| beat.health.unwrap().frames))
            };
            sleep(Duration::from_millis(300)).await;
            assert!(frames(&server).is_some());
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_may_refuse_all_settings() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::start(dir.path(), &[]).await;
    let mut config = configure(&server, dir.path());
    config.settings.accept = false;
    server.push(7, &[("source.rate", "1")]);
    run_with(&config, async {
        reported(&server, "refused", |reports| {
            let last = last(reports);
            last.rejected_version == 7 && last.running_version == 0 && last.rejection.contains("accept")
        })
        .await;
    })
    .await;
}

const CHILD: &str = "CAVS_SETTINGS_AGENT_CONFIG";

/// The agent is a test in a process of its own, which its settings kill.
#[tokio::test(flavor = "multi_thread")]
async fn settings_that_kill_the_agent_are_given_up_at_the_third_start() {
    if let Some(file) = env::var_os(CHILD) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = Config::load(Path::new(&file), &overrides()).unwrap();
        let stop = CancellationToken::new();
        agent::run(&config, FaultyVision::default(), StopCondition::Shutdown, stop).await.unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::start(dir.path(), &[]).await;
    configure(&server, dir.path());
    server.push(1, &[("vision.threads", "14")]);
    let test = "settings_that_kill_the_agent_are_given_up_at_the_third_start";
    let start = || start_test(test, CHILD, dir.path());
    for _ in 0..2 {
        let mut child = start();
        let killed = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        assert!(!killed.success());
    }
    let mut child = start();
    reported(&server, "given up", |reports| {
        let last = last(reports);
        (last.running_version, last.rejected_version) == (0, 1) && last.rejection.contains("ended 2 times")
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
}

/// A disk that hangs holds up whoever writes to it, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_disk_that_hangs_does_not_silence_the_agent() {
    let dir = tempfile::tempdir().unwrap();
    let server = FakeServer::start(dir.path(), &[]).await;
    let config = configure(&server, dir.path());
    // Whoever opens a pipe to write waits until somebody opens it to read.
    let pipe = dir.path().join("state/spool.db.settings.new");
    std::fs::create_dir_all(dir.path().join("state")).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    // On the one thread that the server in this process has, too.
    let agent = tokio::spawn(async move {
        agent::run(&config, FaultyVision::default(), StopCondition::Shutdown, stop).await
    });
    reported(&server, "a greeting", |reports| !reports.is_empty()).await;
    server.push(1, &[("source.rate", "5")]);
    let alive = async {
        // The push comes with the answer to a heartbeat; then one has to come that says nothing of it.
        for _ in 0..2 {
            let sent = server.state(|state| state.heartbeats);
            while server.state(|state| state.heartbeats) == sent {
                sleep(Duration::from_millis(50)).await;
            }
        }
    };
    let alive = timeout(Duration::from_secs(45), alive).await;
    // Let whatever waits for the disk go on, whether or not it should have waited.
    let reading = std::thread::spawn(move || {
        let mut reading = std::fs::File::open(&pipe).unwrap();
        std::fs::remove_file(&pipe).unwrap();
        std::io::copy(&mut reading, &mut std::io::sink()).unwrap();
    });
    assert!(alive.is_ok(), "no heartbeat while the disk hangs");
    reported(&server, "tried", |reports| last(reports).running_version == 1).await;
    shutdown.cancel();
    agent.await.unwrap().unwrap();
    reading.join().unwrap();
}
