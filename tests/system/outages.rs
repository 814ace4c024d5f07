//! What is acknowledged is never lost and never there twice, whatever dies in between.

use std::{fs, path::PathBuf, thread, time::Duration};

use cavs_pg_cluster::{Cluster, DATABASE, Durability, USER};
use cavs_tests::{Device, Site, SiteOptions, TestSite, lay_out, people};

/// How often each of twelve pictures comes: more frames than are done in the blink of an eye.
const COPIES: usize = 8;

/// Frames with one face each, and how many.
fn frames(site: &TestSite) -> (PathBuf, usize) {
    let folder = site.path("frames");
    let people = people(4);
    let pictures = (0..COPIES).flat_map(|copy| {
        let portraits = people.iter().flat_map(|person| &person.portraits).enumerate();
        portraits.map(move |(at, portrait)| (format!("{copy}-{at:02}.jpg"), portrait))
    });
    lay_out(&folder, pictures);
    let count = fs::read_dir(&folder).unwrap().count();
    (folder, count)
}

/// Sightings in the database, and how many distinct frames they are of.
async fn stored(site: &Site, device: &Device) -> (i64, i64) {
    let sql = "SELECT count(*), count(DISTINCT frame) FROM sightings WHERE device_id = $1";
    let id: uuid::Uuid = device.id.parse().unwrap();
    let row = site.database().await.query_one(sql, &[&id]).await.unwrap();
    (row.get(0), row.get(1))
}

/// Each picture has one person in it, so one sighting a frame is exactly once.
async fn exactly_once(site: &Site, device: &Device, frames: usize) {
    let sql = "SELECT frame FROM sightings GROUP BY frame, box_x, box_y HAVING count(*) > 1";
    let twice = site.database().await.query(sql, &[]).await.unwrap();
    assert!(twice.is_empty(), "{} frames are there twice", twice.len());
    let (_, distinct) = stored(site, device).await;
    assert_eq!(usize::try_from(distinct).unwrap(), frames);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_goes_on_where_it_was() {
    let site = TestSite::start();
    let (folder, count) = frames(&site);
    let device = site.add_device("camera");
    let config = site.configure_agent(&device, &folder, "");
    let mut kills = 0;
    loop {
        let mut agent = site.start_agent(&device, &config);
        // Let it come further each time, then cut the power in the middle of whatever it does.
        let before = stored(&site, &device).await.0;
        while agent.exit_code().is_none() && stored(&site, &device).await.0 < before + 7 {
            thread::sleep(Duration::from_millis(5));
        }
        match agent.exit_code() {
            Some(code) => {
                assert_eq!(code, Some(0), "{}", agent.output());
                break;
            }
            None => agent.kill(),
        }
        kills += 1;
        assert!(kills < 200, "the agent makes no progress");
    }
    assert!(kills >= 3, "only {kills} kills");
    exactly_once(&site, &device, count).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_loses_nothing() {
    let mut site = TestSite::start();
    let (folder, count) = frames(&site);
    let device = site.add_device("camera");
    // The server comes back at the same address.
    let (api, devices) = (site.api_port(), site.device_port());
    let text = fs::read_to_string(site.path("server.toml")).unwrap();
    let text = text
        .replace("api.listen = \"127.0.0.1:0\"", &format!("api.listen = \"127.0.0.1:{api}\""))
        .replace("devices.listen = \"127.0.0.1:0\"", &format!("devices.listen = \"127.0.0.1:{devices}\""));
    fs::write(site.path("server.toml"), text).unwrap();
    let config = site.configure_agent(&device, &folder, "");
    let mut agent = site.start_agent(&device, &config);
    for _ in 0..3 {
        let before = stored(&site, &device).await.0;
        while agent.exit_code().is_none() && stored(&site, &device).await.0 <= before {
            thread::sleep(Duration::from_millis(10));
        }
        site.take_server().kill();
        site.start_server();
    }
    assert_eq!(agent.wait(Duration::from_secs(300)), Some(0), "{}", agent.output());
    exactly_once(&site, &device, count).await;
}

#[test]
fn a_database_that_is_away_is_an_error_and_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(directory.path(), Durability::Disposable).unwrap();
    let host = cluster.socket_directory().display();
    let database_url = Some(format!("host={host} user={USER} dbname={DATABASE}"));
    let options = SiteOptions { database_url, ..SiteOptions::default() };
    let mut site = TestSite::start_with(&options);
    site.cli.json(&["students", "add", "1", "--name", "Ada"]);

    cluster.stop();
    let error = site.cli.fails(5, &["students", "list"]);
    assert!(error.contains("the database does not answer"), "{error}");
    let _again = Cluster::start(directory.path(), Durability::Disposable).unwrap();
    assert_eq!(site.cli.json(&["students", "list"])["total_size"], 1);
    assert_eq!(site.take_server().terminate(), Some(0));
}

#[test]
fn a_server_ends_with_its_embedded_database() {
    let mut site = TestSite::start();
    let pid = fs::read_to_string(site.path("db/data/postmaster.pid")).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.lines().next().unwrap().parse().unwrap());
    // What a terminal sends to the server does not end the database under its last calls.
    let server = nix::unistd::Pid::from_raw(site.server().id().cast_signed());
    let [database, server] = [pid, server].map(|pid| nix::unistd::getpgid(Some(pid)).unwrap());
    assert_ne!(database, server);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    assert_eq!(site.server().wait(Duration::from_secs(30)), Some(1));
    assert!(site.server().output().contains("the embedded database has ended"));
    // And comes back with it.
    site.start_server();
    site.cli.json(&["students", "list"]);
}
