//! The server and the database are killed again and again while sightings stream in; what was spooled is
//! remembered, and compared. Twenty kills each; `scripts/torture` asks for 200.
//!
//! One line `BAR name figure bar ok|SHORT` each.

#![allow(clippy::print_stdout, reason = "bars")]

mod expected;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cavs_pg_cluster::{Cluster, DATABASE, Durability, USER, parent_death};
use cavs_tests::{SiteOptions, TestSite};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::sleep;
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

use expected::{Comparison, Expected};

/// Between two sightings of the stream.
const PACE: Duration = Duration::from_millis(5);

/// Sightings that are acknowledged one by one while the database's system calls are counted.
const TRACED: usize = 20;

fn bar(name: &str, figure: usize, bar: usize, at_least: bool) {
    let met = if at_least { figure >= bar } else { figure <= bar };
    println!("BAR {name} {figure} {bar} {}", if met { "ok" } else { "SHORT" });
    assert!(met, "{name}: {figure}");
}

fn kills() -> usize {
    env::var("CAVS_TORTURE_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(20)
}

fn report(what: &str, kills: usize, comparison: Comparison) {
    let Comparison { spooled, lost, doubled, altered } = comparison;
    println!("INFO {what}-{kills}-kills-sightings {spooled}");
    for (name, figure) in [("lost", lost), ("doubled", doubled), ("altered", altered)] {
        bar(&format!("{what}-{kills}-kills-{name}"), figure, 0, false);
    }
}

/// A site over a cluster of the test's, so that both can be killed; at ports that stay.
fn site(cluster: &Cluster) -> TestSite {
    let options = SiteOptions {
        database_url: Some(url(cluster)),
        server_toml: "evidence.keep = [\"accepted\", \"pending\", \"unknown\"]".to_owned(),
    };
    let mut site = TestSite::start_with(&options);
    let file = site.path("server.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text
        .replace("api.listen = \"127.0.0.1:0\"", &format!("api.listen = \"127.0.0.1:{}\"", site.api_port()))
        .replace(
            "devices.listen = \"127.0.0.1:0\"",
            &format!("devices.listen = \"127.0.0.1:{}\"", site.device_port()),
        );
    fs::write(file, text).unwrap();
    site.take_server().kill();
    site.restart_server();
    site
}

fn url(cluster: &Cluster) -> String {
    format!("host={} user={USER} dbname={DATABASE}", cluster.socket_directory().display())
}

async fn connect(cluster: &Cluster) -> Client {
    let (client, connection) = tokio_postgres::connect(&url(cluster), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn stored(client: &Client, device: Uuid) -> i64 {
    let sql = "SELECT count(*) FROM sightings WHERE device_id = $1";
    client.query_one(sql, &[&device]).await.unwrap().get(0)
}

/// Waits for progress, and then a while that nobody can tell.
async fn let_it_work(client: &Client, device: Uuid, dice: &mut u64) {
    let (before, begun) = (stored(client, device).await, Instant::now());
    while stored(client, device).await <= before {
        assert!(begun.elapsed() < Duration::from_secs(120), "nothing arrives");
        sleep(Duration::from_millis(5)).await;
    }
    *dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    sleep(Duration::from_millis((*dice >> 33) % 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn torture_server_kills() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = start_cluster(directory.path(), Durability::Durable);
    let mut site = site(&cluster);
    let client = connect(&cluster).await;
    let expected = Expected::start(&site);
    let device = expected.device();
    let streaming = expected.stream(PACE);
    let mut dice = 0x2545_F491_4F6C_DD1D;
    for _ in 0..kills() {
        let_it_work(&client, device, &mut dice).await;
        site.take_server().kill();
        site.restart_server();
    }
    let comparison = streaming.stop().compare(&site, &client).await;
    report("server", kills(), comparison);
}

#[tokio::test(flavor = "multi_thread")]
async fn torture_database_kills() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = start_cluster(directory.path(), Durability::Durable);
    let site = site(&cluster);
    let expected = Expected::start(&site);
    let device = expected.device();
    let streaming = expected.stream(PACE);
    let mut dice = 0x9E37_79B9_7F4A_7C15;
    for _ in 0..kills() {
        let client = connect(&cluster).await;
        let_it_work(&client, device, &mut dice).await;
        kill(postmaster(directory.path()), Signal::SIGKILL).unwrap();
        while !cluster.has_ended() {
            thread::sleep(Duration::from_millis(5));
        }
        cluster = start_cluster(directory.path(), Durability::Durable);
    }
    let comparison = streaming.stop().compare(&site, &connect(&cluster).await).await;
    report("database", kills(), comparison);
}

/// The sessions of a postmaster that was killed end by themselves; until then none can start.
fn start_cluster(directory: &Path, durability: Durability) -> Cluster {
    let begun = Instant::now();
    loop {
        match Cluster::start(directory, durability) {
            Ok(cluster) => return cluster,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(60), "{error}"),
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn postmaster(directory: &Path) -> Pid {
    let pid = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
    Pid::from_raw(pid.lines().next().unwrap().parse().unwrap())
}

/// Counts what the database asks of the disk between a sighting and its commit: the fewest, and how
/// many had none. `kill -9` can't show this, since the page cache survives.
async fn syncs(durability: Durability) -> Result<(usize, usize), String> {
    let directory = tempfile::tempdir().unwrap();
    let cluster = start_cluster(directory.path(), durability);
    let log = directory.path().join("trace");
    // Before the server connects: sessions are children of the postmaster.
    let mut strace = trace(postmaster(directory.path()), &log)?;
    let site = site(&cluster);
    let client = connect(&cluster).await;
    let mut expected = Expected::start(&site);
    let device = expected.device();
    let mut spans = Vec::new();
    for count in 1..=TRACED {
        let begun = seconds();
        expected.see();
        while stored(&client, device).await < count as i64 {
            sleep(Duration::from_millis(2)).await;
        }
        spans.push(begun..seconds());
    }
    expected.compare(&site, &client).await;
    let _ = kill(Pid::from_raw(strace.id().cast_signed()), Signal::SIGINT);
    let _ = strace.wait();
    let text = fs::read_to_string(&log).unwrap();
    // `PID SECONDS fdatasync(...`
    let times: Vec<f64> = text
        .lines()
        .filter(|line| line.contains("sync("))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok())
        .collect();
    let counts: Vec<usize> =
        spans.iter().map(|span| times.iter().filter(|time| span.contains(time)).count()).collect();
    let none = counts.iter().filter(|count| **count == 0).count();
    Ok((counts.into_iter().min().unwrap_or(0), none))
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

/// Traces a process and all children it will have.
fn trace(pid: Pid, log: &PathBuf) -> Result<Child, String> {
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-qq",
        "-ttt",
        "-e",
        "trace=fsync,fdatasync,sync_file_range",
        "-p",
        &pid.to_string(),
    ]);
    command.arg("-o").arg(log).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = parent_death::spawn(command).map_err(|error| format!("strace can't be run: {error}"))?;
    let traced = || fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let begun = Instant::now();
    while traced().contains("TracerPid:\t0\n") {
        if child.try_wait().is_ok_and(|ended| ended.is_some()) || begun.elapsed() > Duration::from_secs(10) {
            return Err("strace may not trace here".to_owned());
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(child)
}

#[tokio::test(flavor = "multi_thread")]
async fn torture_database_syncs() {
    match syncs(Durability::Durable).await {
        Err(reason) => println!("BAR database-syncs-per-commit - 1 SKIP {reason}"),
        Ok((fewest, _)) => {
            bar("database-syncs-per-commit", fewest, 1, true);
            // The same count has to fail where synchronisation is off, else it shows nothing.
            let (_, without) = syncs(Durability::Disposable).await.unwrap();
            bar("database-syncs-control-unsynced", without, TRACED * 3 / 4, true);
        }
    }
}
