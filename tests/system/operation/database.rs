//! Somebody else's PostgreSQL.

use std::{
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cavs_tests::{Postgres, Site, SiteOptions};
use tonic::transport::{Certificate, Channel, ClientTlsConfig};
use tonic_health::{
    ServingStatus,
    pb::{HealthCheckRequest, health_check_response, health_client::HealthClient},
};

use super::{configure, fails, hears, serve};

/// With all that has to be encoded.
const PASSWORD: &str = "p@ss:w/o#rd%";
const ENCODED: &str = "p%40ss%3Aw%2Fo%23rd%25";

async fn postgres(directory: &Path) -> Postgres {
    let postgres = Postgres::start(directory);
    let password = format!("CREATE ROLE app LOGIN PASSWORD '{PASSWORD}'");
    postgres
        .execute(
            "postgres",
            &[
                &password,
                "CREATE ROLE owner LOGIN PASSWORD 'owner'",
                "CREATE DATABASE cavs OWNER owner",
                "CREATE DATABASE tls OWNER app",
            ],
        )
        .await;
    // As an operator does who keeps things apart.
    postgres.execute("cavs", &["CREATE SCHEMA apart AUTHORIZATION owner"]).await;
    postgres
}

/// What the health protocol says of a service.
async fn health(site: &Site, service: &str) -> ServingStatus {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = fs::read_to_string(site.path("certs/ca.pem")).unwrap();
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
    let address = format!("https://127.0.0.1:{}", site.api_port());
    let channel = Channel::from_shared(address).unwrap().tls_config(tls).unwrap().connect().await.unwrap();
    let request = HealthCheckRequest { service: service.to_owned() };
    let status = HealthClient::new(channel).check(request).await.unwrap().into_inner().status();
    match status {
        health_check_response::ServingStatus::Serving => ServingStatus::Serving,
        health_check_response::ServingStatus::NotServing => ServingStatus::NotServing,
        other @ (health_check_response::ServingStatus::Unknown
        | health_check_response::ServingStatus::ServiceUnknown) => panic!("{other:?}"),
    }
}

/// Waits until monitoring and health say the same of the database.
async fn wait_for_health(site: &Site, serves: bool) {
    let (status, code) =
        if serves { (ServingStatus::Serving, 200) } else { (ServingStatus::NotServing, 503) };
    let begun = Instant::now();
    for service in ["", "cavs.v1.StudentService"] {
        while health(site, service).await != status || site.monitoring("/readyz").0 != code {
            assert!(begun.elapsed() < Duration::from_secs(30), "{service}: {:?}", site.monitoring("/readyz"));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_database_is_used_as_its_operator_means_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut postgres = postgres(directory.path()).await;
    let port = postgres.port;
    // The owner changes the schema; the server works as somebody who may only read and write.
    let options = "options=-c%20search_path%3Dapart";
    let database_url = format!("postgres://app:{ENCODED}@127.0.0.1:{port}/cavs?{options}");
    let owner_url = format!("postgres://owner:owner@127.0.0.1:{port}/cavs?{options}");
    let folder = directory.path().join("site");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("url"), &database_url).unwrap();
    let site_options = SiteOptions {
        database_url: Some(database_url.clone()),
        server_toml: format!("database.owner_url = {owner_url:?}\ndatabase.connections = 8"),
    };
    let mut site = Site::create(&folder, None, &site_options);
    site.cli.json(&["students", "add", "1", "--name", "Ada"]);
    let superuser = postgres.superuser("cavs").await;
    let sql = "SELECT (SELECT string_agg(DISTINCT (schemaname || '.' || tableowner)::text, ',') FROM pg_tables
               WHERE schemaname IN ('public', 'apart')),
               (SELECT string_agg(DISTINCT usename::text, ',') FROM pg_stat_activity WHERE application_name = 'cavs-server')";
    // The owner's sessions end with what they were for: partitions are made at the start.
    for _ in 0..200 {
        let row = superuser.query_one(sql, &[]).await.unwrap();
        if row.get::<_, &str>(1) == "app" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let row = superuser.query_one(sql, &[]).await.unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("apart.owner", "app"));
    assert!(!site.server().output().contains("superuser"), "{}", site.server().output());

    // Fewer connections than the server would take: callers wait for one.
    superuser.batch_execute("ALTER ROLE app CONNECTION LIMIT 5").await.unwrap();
    superuser
        .batch_execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
        .await
        .unwrap();
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                for _ in 0..3 {
                    assert_eq!(site.cli.json(&["students", "list"])["students"][0]["name"], "Ada");
                }
            });
        }
    });

    superuser.batch_execute("ALTER ROLE app CONNECTION LIMIT -1").await.unwrap();

    // The cause of a fault is in the log, and nobody else is told.
    superuser.batch_execute("REVOKE SELECT ON apart.students FROM app").await.unwrap();
    let said = site.cli.fails(5, &["students", "list"]);
    assert!(!said.contains("permission"), "{said}");
    let log = site.server().output();
    assert!(log.contains("permission denied for table students (SQLSTATE 42501)"), "{log}");
    superuser.batch_execute("GRANT SELECT ON apart.students TO app").await.unwrap();
    drop(superuser);

    wait_for_health(&site, true).await;
    postgres.stop();
    wait_for_health(&site, false).await;
    postgres.resume();
    wait_for_health(&site, true).await;
    site.cli.json(&["students", "list"]);

    // What is wrong with an address is said at once, without the password.
    let wrong = |text: &str| format!("database.url = \"postgres://app:{text}\"");
    for (name, database, word) in [
        ("password", wrong(&format!("geheim@127.0.0.1:{port}/cavs")), "password authentication failed"),
        ("none", wrong(&format!("{ENCODED}@127.0.0.1:{port}/geheim2")), "SQLSTATE"),
        ("raw", wrong(&format!("geheim@{PASSWORD}@127.0.0.1:{port}/cavs")), "percent-encoded"),
        ("tls", wrong(&format!("{ENCODED}@127.0.0.1:{port}/tls")), "it demands TLS"),
        (
            "foreign",
            format!(
                "{}\ndatabase.authority = \"certs/ca.pem\"",
                wrong(&format!("{ENCODED}@127.0.0.1:{port}/tls"))
            ),
            "was not signed by the configured root",
        ),
    ] {
        let said = fails(&site, name, &database);
        assert!(said.contains(word) && !said.contains("geheim@") && !said.contains("w/o#rd"), "{said}");
    }

    // With its authority it is believed, from a file that holds the address.
    fs::write(
        folder.join("tls.url"),
        format!("postgres://app:{ENCODED}@localhost:{port}/tls?hostaddr=127.0.0.1"),
    )
    .unwrap();
    let authority = postgres.authority();
    let config = configure(
        &site,
        "encrypted",
        &format!("database = {{ url_file = \"tls.url\", authority = {authority:?} }}"),
    );
    let server = serve(&config);
    hears(&server, "ready");
    let superuser = postgres.superuser("tls").await;
    let sql = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'app'
               AND datname = 'tls'";
    assert!(superuser.query_one(sql, &[]).await.unwrap().get::<_, bool>(0));
    assert_eq!(server.terminate(), Some(0));

    // A pooler that gives each transaction another session is refused, with the reason; one that does not is used.
    let (mut transactions, at) = postgres.pool("transaction", "tls", "app", &format!("'{PASSWORD}'"));
    let url = format!("postgres://app@127.0.0.1:{at}/tls");
    let said = fails(&site, "transactions", &format!("database.url = \"{url}\""));
    assert!(said.contains("pool_mode = session"), "{said}");
    transactions.kill().unwrap();
    transactions.wait().unwrap();
    let (mut sessions, at) = postgres.pool("session", "tls", "app", &format!("'{PASSWORD}'"));
    let url = format!("postgres://app@127.0.0.1:{at}/tls");
    let server = serve(&configure(&site, "sessions", &format!("database.url = \"{url}\"")));
    hears(&server, "ready");
    assert_eq!(server.terminate(), Some(0));
    sessions.kill().unwrap();
    sessions.wait().unwrap();
}
