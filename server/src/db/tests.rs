//! The store against a real PostgreSQL.

use std::time::{Duration, Instant};

use cavs_pg_cluster::{Cluster, DATABASE, Durability, USER};

use crate::db::{Address, Database, DatabaseError};

/// A cluster, and its owner's connection.
pub(crate) struct TestCluster {
    pub(crate) directory: tempfile::TempDir,
    cluster: Cluster,
}

impl TestCluster {
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().to_owned();
        let cluster = tokio::task::spawn_blocking(move || Cluster::start(&path, Durability::Disposable));
        Self { cluster: cluster.await.unwrap().unwrap(), directory }
    }

    fn url(&self, role: &str) -> String {
        let host = self.cluster.socket_directory().display();
        format!("host={host} user={role} dbname={DATABASE}")
    }

    pub(crate) async fn as_owner(&self) -> tokio_postgres::Client {
        let (client, connection) =
            tokio_postgres::connect(&self.url(USER), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    pub(crate) fn store(&self, connections: usize) -> Database {
        Database::new(&Address::Cluster(&self.cluster), connections).unwrap()
    }
}

/// What a statement fails with.
async fn failure(store: &Database, sql: &str) -> DatabaseError {
    let client = store.client().await.unwrap();
    client.batch_execute(sql).await.map_err(DatabaseError::from).unwrap_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_works_as_a_role_that_owns_nothing_and_is_told_why_something_fails() {
    let database = TestCluster::start().await;
    let store = database.store(4);
    store.migrate().await.unwrap();
    // Again, as every start does.
    store.migrate().await.unwrap();
    store.ping().await.unwrap();
    let client = store.client().await.unwrap();
    let row = client
        .query_one("SELECT current_user::text, rolsuper FROM pg_roles WHERE rolname = current_user", &[])
        .await
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, bool>(1)), ("cavs_server", false));
    client
        .batch_execute("INSERT INTO students (site_id, id, number, name) SELECT id, gen_random_uuid(), '1', 'A' FROM sites")
        .await
        .unwrap();
    drop(client);
    for sql in ["DROP TABLE students", "CREATE TABLE mine (a int)", "COPY students TO PROGRAM 'true'"] {
        let refused = failure(&store, sql).await;
        assert!(matches!(refused, DatabaseError::Misconfigured(_)), "{sql}: {refused}");
    }
    crate::biometrics::BiometricStore::new(&store).purge_erased().await.unwrap();

    let owner = database.as_owner().await;
    owner.batch_execute("REVOKE SELECT ON students FROM cavs_server").await.unwrap();
    let refused = failure(&store, "SELECT * FROM students").await.to_string();
    assert!(refused.contains("permission denied for table students (SQLSTATE 42501)"), "{refused}");
    let full = "DO $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100', \
                DETAIL = 'Failing row contains (Ada)'; END $$";
    let full = failure(&store, full).await;
    assert!(matches!(full, DatabaseError::Full(_)), "{full}");
    assert!(full.to_string().contains("No space left on device"), "{full}");
    // Details hold what rows hold.
    assert!(!full.to_string().contains("Ada"), "{full}");
    let fault = failure(&store, "SELECT 1 / 0").await.to_string();
    assert!(fault.contains("division by zero") && !fault.contains("db error"), "{fault}");

    // The schema's own faults, with their cause.
    let broken = database.as_owner().await;
    broken.batch_execute("DROP TABLE refinery_schema_history").await.unwrap();
    let refused = store.migrate().await.unwrap_err().to_string();
    assert!(refused.contains("already exists") && !refused.contains("db error"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_wait_for_a_connection_and_are_told_when_there_is_none() {
    let database = TestCluster::start().await;
    let owner = database.as_owner().await;
    // Fewer than the pool would take.
    owner.batch_execute("CREATE ROLE few LOGIN CONNECTION LIMIT 3").await.unwrap();
    let url = database.url("few");
    let store = Database::new(&Address::Url(&url), 8).unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let store = store.clone();
        calls.spawn(async move {
            let client = store.client().await?;
            Ok::<_, DatabaseError>(client.batch_execute("SELECT pg_sleep(0.05)").await?)
        });
    }
    while let Some(called) = calls.join_next().await {
        called.unwrap().unwrap();
    }
    // A caller that gives up earlier than the store.
    let held = [store.client().await.unwrap(), store.client().await.unwrap(), store.client().await.unwrap()];
    tokio::time::timeout(Duration::from_millis(300), store.ping()).await.unwrap_err();
    drop(held);
    store.ping().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_to_change_is_no_outage() {
    let database = TestCluster::start().await;
    for (url, word) in [
        (database.url("nobody_of_that_name"), "nobody_of_that_name"),
        (database.url(USER).replace("dbname=cavs", "dbname=other"), "\"other\" does not exist"),
    ] {
        let refused = Database::new(&Address::Url(&url), 2).unwrap().reach().await.unwrap_err();
        assert!(matches!(refused, DatabaseError::Misconfigured(_)), "{refused}");
        assert!(refused.to_string().contains(word) && !refused.may_pass(), "{refused}");
    }
    let away = database.url(USER).replace("host=", "host=/no/such");
    let away = Database::new(&Address::Url(&away), 2).unwrap().reach().await.unwrap_err();
    assert!(away.may_pass(), "{away}");
    database.store(2).reach().await.unwrap();

    // A server that is no database.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answering = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 1024]).await;
            let _ =
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let url = format!("postgres://u:p@127.0.0.1:{port}/cavs");
    let wrong = Database::new(&Address::Url(&url), 2).unwrap().reach().await.unwrap_err();
    assert!(wrong.to_string().contains("does PostgreSQL listen at this host and port?"), "{wrong}");
    answering.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_migrate_take_turns_without_holding_on_to_the_database() {
    let database = TestCluster::start().await;
    let owner = database.as_owner().await;
    owner.execute("SELECT pg_advisory_lock($1)", &[&super::MIGRATION_LOCK]).await.unwrap();
    let store = database.store(2);
    let waiting = tokio::time::timeout(Duration::from_millis(500), store.migrate()).await;
    waiting.unwrap_err();
    // Who gave up waits for nothing inside the database any more.
    let begun = Instant::now();
    loop {
        let sql = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        if owner.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(10), "still waits for the lock");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    owner.execute("SELECT pg_advisory_unlock($1)", &[&super::MIGRATION_LOCK]).await.unwrap();
    store.migrate().await.unwrap();
}
