//! The whole agent, with a vision without networks, against a server in this process that talks
//! mutual TLS and fails on purpose.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod support;

use std::{collections::HashMap, env, fs, path::Path, time::Duration};

use cavs_edge_agent::{
    agent::{self, AgentError, StopCondition, Summary},
    config::{Config, Override},
    uplink::UplinkError,
    vision::fake::FakeVision,
};
use cavs_types::ErrorReason;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use support::{FakeServer, Fault, start_test, write_frames};

async fn drain(config: &Config) -> Result<Summary, AgentError> {
    let run = agent::run(config, FakeVision, StopCondition::Drained, CancellationToken::new());
    timeout(Duration::from_secs(60), run).await.expect("the agent did not drain")
}

/// How many different sightings the server has of each frame; every one acknowledged exactly once.
fn sightings_per_frame(server: &FakeServer) -> HashMap<String, usize> {
    server.state(|state| {
        let mut frames = HashMap::new();
        for (key, (_, frame)) in &state.offered {
            assert_eq!(state.acknowledged.get(key), Some(&1), "{key}");
            *frames.entry(frame.clone()).or_default() += 1;
        }
        frames
    })
}

fn assert_every_face_once(server: &FakeServer, frames: usize, faces: usize) {
    let seen = sightings_per_frame(server);
    assert_eq!(seen.len(), frames);
    assert!(seen.values().all(|count| *count == faces), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_arrives_through_broken_connections() {
    let dir = tempfile::tempdir().unwrap();
    write_frames(dir.path(), 20, 2);
    fs::write(dir.path().join("frames/0007-bad.jpg"), "nonsense").unwrap();
    let faults = [Fault::BeforeWelcome, Fault::LosesAck(1), Fault::LosesAck(3), Fault::LosesAck(2)];
    let server = FakeServer::start(dir.path(), &faults).await;
    let summary = drain(&server.config(dir.path(), &[])).await.unwrap();
    assert!(summary.drained);
    assert_eq!((summary.totals.frames, summary.totals.bad_frames, summary.totals.sightings), (21, 1, 40));
    assert_every_face_once(&server, 20, 2);
    server.state(|state| {
        assert_eq!(state.streams, 5);
        assert!(state.offered.values().any(|(times, _)| *times > 1), "something was offered again");
        let last = state.heartbeat.as_ref().unwrap();
        assert_eq!((last.spooled, last.lost), (0, 0));
        // One a stream that came as far as a greeting.
        let unknown = last.health.as_ref().unwrap().unknown_messages;
        assert!((4..=5).contains(&unknown), "{unknown} unknown messages were passed over");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_agent_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    write_frames(dir.path(), 30, 1);
    let server = FakeServer::start(dir.path(), &[Fault::LosesAck(2)]).await;
    let config = server.config(dir.path(), &["source.rate=100"]);
    for _ in 0..3 {
        let shutdown = CancellationToken::new();
        let stopping = async {
            sleep(Duration::from_millis(80)).await;
            shutdown.cancel();
        };
        let (summary, ()) = tokio::join!(
            agent::run(&config, FakeVision, StopCondition::Shutdown, shutdown.clone()),
            stopping
        );
        assert!(summary.unwrap().totals.frames < 30);
    }
    drain(&config).await.unwrap();
    assert_every_face_once(&server, 30, 1);
    let again = drain(&config).await.unwrap();
    assert_eq!(again.totals.frames, 0, "a finished directory is not read again");
}

#[tokio::test(flavor = "multi_thread")]
async fn sightings_wait_for_a_server_that_is_not_there_yet() {
    let dir = tempfile::tempdir().unwrap();
    write_frames(dir.path(), 4, 1);
    let server = FakeServer::start(dir.path(), &[]).await;
    let nobody = server.config(dir.path(), &["server.address=https://localhost:1"]);
    let shutdown = CancellationToken::new();
    let run = agent::run(&nobody, FakeVision, StopCondition::Drained, shutdown.clone());
    let stopping = async {
        sleep(Duration::from_secs(3)).await;
        shutdown.cancel();
    };
    let (summary, ()) = tokio::join!(run, stopping);
    let summary = summary.unwrap();
    assert_eq!((summary.drained, summary.totals.sightings), (false, 4));
    drain(&server.config(dir.path(), &[])).await.unwrap();
    assert_every_face_once(&server, 4, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_sightings_do_not_block_and_are_kept_aside() {
    let dir = tempfile::tempdir().unwrap();
    write_frames(dir.path(), 5, 1);
    let server = FakeServer::start(dir.path(), &[Fault::Rejects("0002.jpg")]).await;
    assert!(drain(&server.config(dir.path(), &[])).await.unwrap().drained);
    assert_every_face_once(&server, 5, 1);
    assert_eq!(rejected(dir.path()), ["REFUSED_BY_TEST"]);
}

fn rejected(dir: &Path) -> Vec<String> {
    let spool = rusqlite::Connection::open(dir.join("state/spool.db")).unwrap();
    let mut statement = spool.prepare("SELECT reason FROM rejected").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_ends_a_draining_agent_with_advice_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write_frames(dir.path(), 3, 1);
    let server = FakeServer::start(dir.path(), &[Fault::Refuses(ErrorReason::DeviceUnknown)]).await;
    let config = server.config(dir.path(), &[]);
    let error = drain(&config).await.unwrap_err();
    assert!(matches!(&error, AgentError::Uplink(UplinkError::Refused { .. })), "{error}");
    assert!(error.to_string().contains("DEVICE_UNKNOWN"), "{error}");
    assert!(error.to_string().contains("cavs devices add"), "{error}");
    drain(&config).await.unwrap();
    assert_every_face_once(&server, 3, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_another_site_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    write_frames(dir.path(), 1, 1);
    let server = FakeServer::start(dir.path(), &[]).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let other = FakeServer::start(elsewhere.path(), &[]).await;
    let ca = format!("server.ca={}", other.certificates.ca.certificate.display());
    let config = server.config(dir.path(), &[&ca]);
    let shutdown = CancellationToken::new();
    let run = agent::run(&config, FakeVision, StopCondition::Drained, shutdown.clone());
    let stopping = async {
        sleep(Duration::from_secs(3)).await;
        shutdown.cancel();
    };
    let (summary, ()) = tokio::join!(run, stopping);
    assert!(!summary.unwrap().drained);
    assert_eq!(server.state(|state| state.streams), 0);
}

/// Where the child process of the test below finds its configuration.
const CHILD: &str = "CAVS_TEST_AGENT_CONFIG";

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_again_and_again_sends_every_face_once() {
    if let Some(file) = env::var_os(CHILD) {
        return killed_agent(Path::new(&file)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    write_frames(dir.path(), 60, 2);
    let server = FakeServer::start(dir.path(), &[Fault::LosesAck(2), Fault::BeforeWelcome]).await;
    let config = server.config(dir.path(), &["source.rate=100"]);
    for kill in 0..8 {
        let test = "an_agent_that_is_killed_again_and_again_sends_every_face_once";
        let mut child = start_test(test, CHILD, dir.path());
        // A little after it has begun to send, however slow the machine is.
        let before = server.state(|state| state.offered.len());
        let sending = async {
            while server.state(|state| state.offered.len()) == before {
                sleep(Duration::from_millis(2)).await;
            }
        };
        let _ = timeout(Duration::from_secs(10), sending).await;
        sleep(Duration::from_millis(7 * kill)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let last = drain(&config).await.unwrap();
    assert!(last.totals.frames < 60, "the killed agents did some of the work");
    server.state(|state| {
        let mut frames: HashMap<&str, u32> = HashMap::new();
        // A kill between acknowledgement and settlement makes a second acknowledgement, but never
        // a second key for one face.
        for (key, (_, frame)) in &state.offered {
            assert!(state.acknowledged.contains_key(key), "{key}");
            *frames.entry(frame).or_default() += 1;
        }
        assert_eq!(frames.len(), 60);
        assert!(frames.values().all(|faces| *faces == 2), "{frames:?}");
    });
}

/// The agent that is killed: the same test, in a process of its own.
async fn killed_agent(file: &Path) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let rate = Override::from_flag("source.rate=100").unwrap();
    let config = Config::load(file, &[rate]).unwrap();
    let never = CancellationToken::new();
    agent::run(&config, FakeVision, StopCondition::Shutdown, never).await.unwrap();
}
