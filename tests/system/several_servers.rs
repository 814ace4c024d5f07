//! Several servers behind one database agree on the gallery.

use std::{
    fs,
    time::{Duration, Instant},
};

use cavs_tests::{Cli, Process, TestSite, people};

/// What "agree" means.
const SOON: Duration = Duration::from_secs(1);

/// Starts a second server on the first one's database, and gives its command line.
pub(crate) fn second_server(site: &TestSite) -> (Process, Cli) {
    let embedded = "database = { embedded = true, data_dir = \"db\" }";
    let host = site.path("db").canonicalize().unwrap();
    let url = format!("database.url = \"host={} user=cavs dbname=cavs\"", host.display());
    let mut text = fs::read_to_string(site.path("server.toml")).unwrap();
    // The first one may have ports that it keeps.
    for port in [site.api_port(), site.device_port()] {
        text = text.replace(&format!("127.0.0.1:{port}"), "127.0.0.1:0");
    }
    fs::write(site.path("second.toml"), text.replace(embedded, &url)).unwrap();
    site.start_another_server("second")
}

/// Whether the server takes a picture for a new student's: only where it does not know the face.
fn knows(cli: &Cli, photograph: &str) -> bool {
    let output = cli.run(&["enroll", "probe", photograph, "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let verdict = &answer["images"][0];
    if let Some(template) = verdict["template_id"].as_str() {
        cli.json(&["templates", "rm", template, "--yes"]);
    }
    verdict["reason"] == "LOOKS_LIKE_ANOTHER_STUDENT"
}

#[test]
fn a_change_on_one_is_in_force_on_the_other_within_a_second() {
    let mut site = TestSite::start();
    let (second, other) = second_server(&site);
    let photograph = people(1).remove(0).portraits.remove(0);
    let face = photograph.to_str().unwrap().to_owned();
    site.cli.json(&["students", "add", "probe", "--name", "Probe"]);
    assert!(!knows(&other, &face));

    assert_eq!(site.enroll("1", std::slice::from_ref(&photograph)), 1);
    let enrolled = Instant::now();
    std::thread::sleep(SOON.saturating_sub(enrolled.elapsed()));
    assert!(knows(&other, &face), "the other server does not know the face after {SOON:?}");

    let templates = other.json(&["templates", "list", "1"]);
    let template = templates["templates"][0]["id"].as_str().unwrap();
    other.json(&["templates", "rm", template, "--yes"]);
    assert!(!knows(&other, &face), "a deleted template was found by the server that deleted it");
    std::thread::sleep(SOON);
    assert!(!knows(&site.cli, &face), "a deleted template was found by the other server");
    assert!(site.cli.fails(3, &["templates", "rm", template, "--yes"]).contains(template));

    assert_eq!(second.terminate(), Some(0));
    assert_eq!(site.take_server().terminate(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_were_forgotten_are_loaded_again() {
    let site = TestSite::start();
    let photographs: Vec<_> = people(2).into_iter().map(|mut person| person.portraits.remove(0)).collect();
    assert_eq!(site.enroll("1", &photographs[..1]), 1);
    // A gap, as a server sees it that was away for longer than changes are remembered; and the
    // template itself goes without an announcement.
    let database = site.database().await;
    database
        .batch_execute(
            "BEGIN; ALTER TABLE templates DISABLE TRIGGER ALL; DELETE FROM templates;
             ALTER TABLE templates ENABLE TRIGGER ALL;
             UPDATE gallery_clock SET sequence = sequence + 5; COMMIT",
        )
        .await
        .unwrap();
    // The next change shows the gap.
    assert_eq!(site.enroll("2", &photographs[1..]), 1);
    // Everything is loaded again beside the running gallery, which nobody waits for.
    let begun = Instant::now();
    while site.cli.json(&["gallery", "show"])["templates"] != 1 {
        assert!(begun.elapsed() < Duration::from_secs(30), "not loaded again");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(site.enroll("3", &photographs[..1]), 1, "the template that is gone is still found");
    assert!(fs::read_to_string(site.path("server.log")).unwrap().contains("loading everything again"));
}
