use std::{
    fs,
    net::TcpListener,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cavs_pg_cluster::{Cluster, DATABASE, Durability, USER};
use cavs_tests::{Process, Site, SiteOptions};
use nix::sys::signal::Signal;

use super::{configure, hears, serve};

/// How soon a server ends that is told to.
const SOON: Duration = Duration::from_secs(2);

/// Tells a server to end, and sees that it does, as if all were well.
fn ends_soon(mut server: Process, at: &str) {
    assert!(server.exit_code().is_none(), "{at}: ended by itself:\n{}", server.output());
    let begun = Instant::now();
    server.signal(Signal::SIGTERM);
    let code = server.wait(Duration::from_secs(60));
    assert!(begun.elapsed() < SOON, "{at}: ended after {:?}:\n{}", begun.elapsed(), server.output());
    assert_eq!(code, Some(0), "{at}:\n{}", server.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_ends_a_server_at_every_moment_of_its_start() {
    let directory = tempfile::tempdir().unwrap();
    let site = Site::create(directory.path(), None, &SiteOptions::default());

    // The private database is being made.
    for (n, after) in [20, 200, 700].into_iter().enumerate() {
        let config = configure(&site, &format!("new{n}"), &format!("database.data_dir = \"new{n}\""));
        let server = serve(&config);
        // By then it listens to signals.
        let begun = Instant::now();
        while !site.path(&format!("new{n}")).exists() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{}", server.output());
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(after));
        if server.output().contains("ready") {
            break;
        }
        ends_soon(server, &format!("database that is made, after {after} ms"));
    }

    // The database takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("database.url = \"postgres://u:p@{}/cavs\"", silent.local_addr().unwrap());
    let server = serve(&configure(&site, "silent", &url));
    silent.accept().unwrap();
    thread::sleep(Duration::from_millis(200));
    ends_soon(server, "silent database");

    // The database is away.
    let url = "database.url = \"postgres://u:p@127.0.0.1:1/cavs\"";
    let server = serve(&configure(&site, "away", url));
    hears(&server, "waiting for the database");
    ends_soon(server, "database that is away");

    // Another server migrates; and the templates can't be read.
    let cluster = Cluster::start(&directory.path().join("other"), Durability::Disposable).unwrap();
    let host = cluster.socket_directory().display().to_string();
    let url = format!("host={host} user={USER} dbname={DATABASE}");
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let config = configure(&site, "turns", &format!("database.url = \"{url}\""));
    client.batch_execute("SELECT pg_advisory_lock(x'63617673'::bigint)").await.unwrap();
    let server = serve(&config);
    hears(&server, "another server brings the schema up to date");
    ends_soon(server, "advisory lock");
    client.batch_execute("SELECT pg_advisory_unlock_all()").await.unwrap();
    let server = serve(&config);
    hears(&server, "ready");
    ends_soon(server, "ready");
    client.batch_execute("BEGIN; LOCK TABLE templates IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let server = serve(&config);
    let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while client.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ends_soon(server, "gallery load");
}

#[test]
fn a_power_cut_and_a_hang_up_end_nothing_for_good() {
    let directory = tempfile::tempdir().unwrap();
    let options = SiteOptions { server_toml: "logging.level = \"warn\"".into(), ..SiteOptions::default() };
    let mut site = Site::create(directory.path(), None, &options);

    // The key is nobody's but the server's.
    let pid = fs::read_to_string(site.path("db/data/postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().to_owned();
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(!String::from_utf8_lossy(&environment).contains("CAVS"));

    // SIGHUP: other certificates and another level.
    let expires = |site: &Site| {
        let (_, text) = site.monitoring("/metrics");
        let line = text
            .lines()
            .find(|line| line.starts_with("cavs_certificate_not_after_timestamp_seconds{of=\"server\"}"));
        line.unwrap_or_else(|| panic!("{text}")).rsplit(' ').next().unwrap().parse::<i64>().unwrap()
    };
    let before = expires(&site);
    let now = jiff::Timestamp::now().as_second();
    assert!(before > now + 300 * 86_400, "{before}");
    super::certificates::reissue(&site, "server", 0, 10);
    let config = site.path("server.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"warn\"", "\"info\"")).unwrap();
    site.server().signal(Signal::SIGHUP);
    let begun = Instant::now();
    while expires(&site) == before {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", site.server().output());
        thread::sleep(Duration::from_millis(20));
    }
    assert!(expires(&site) < now + 11 * 86_400);
    let log = site.server().output();
    assert!(log.contains("read the certificates again"), "INFO is logged now: {log}");
    assert!(log.contains("a certificate has to be renewed"), "{log}");
    site.cli.json(&["students", "list"]);
    // A damaged one stays outside.
    fs::write(site.path("certs/server.pem"), "damaged").unwrap();
    site.server().signal(Signal::SIGHUP);
    hears(site.server(), "those before stay in use");
    site.cli.json(&["students", "list"]);
    super::certificates::reissue(&site, "server", 0, 300);

    // A power cut, after which the number of the database's process is another's.
    let database = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(database, Signal::SIGKILL).unwrap();
    site.take_server().wait(Duration::from_secs(30));
    let file = site.path("db/data/postmaster.pid");
    let left = fs::read_to_string(&file).unwrap();
    fs::write(&file, left.replacen(&pid, &std::process::id().to_string(), 1)).unwrap();
    site.start_server();
    site.cli.json(&["students", "list"]);
    assert!(Path::new(&file).exists());
}
