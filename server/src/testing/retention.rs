//! How long faces and sightings are kept, against a real database.

use std::{collections::BTreeMap, time::Duration};

use cavs_types::{DeviceKind, RetentionState, SightingId, SiteId, Verdict};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use uuid::Uuid;

use super::{
    faces::{camera, count, pictured, texts, verdict},
    locks::waiting,
};
use crate::{
    biometrics::{BiometricStore, Deleted, OwnPolicy, PolicyChange, RetentionPolicy},
    fleet::NewDevice,
    people::{Credentials, Grant, create_user},
    testing::{MAIN, TestDatabase, face},
};

#[tokio::test(flavor = "multi_thread")]
async fn faces_go_by_the_day_and_what_waits_stays() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let (device, user) = (camera(&app, "camera").await, database.user("admin").await);
    let student = database.student(&app, "1").await;
    let template = database.template(student, &face(1)).await;
    app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
    let observer = database.connect().await;
    // Accepted, of nobody, and sent to the queue: before there is any partition.
    app.ingest.ingest(MAIN, device, &[pictured(1, 1), pictured(2, 50), pictured(3, 1)]).await.unwrap();
    let sql = "SELECT id FROM sightings WHERE sequence = 3";
    let flagged: SightingId = observer.query_one(sql, &[]).await.unwrap().get::<_, Uuid>(0).into();
    app.reviews.review(MAIN, &verdict(flagged, Verdict::Flagged, None), user).await.unwrap();
    assert_eq!(count(&observer, "probes_default").await, 3);

    let store = BiometricStore::new(&database.store);
    let now = Timestamp::now();
    let today = now.to_zoned(TimeZone::UTC).date();
    // Today and three days of probes and of evidence; the month of portraits, and the next at its end.
    let made = store.make_partitions(today).await.unwrap().unwrap();
    assert!((9..=10).contains(&made), "{made}");
    assert_eq!(store.make_partitions(today).await.unwrap(), Some(0));
    assert_eq!((count(&observer, "probes_default").await, count(&observer, "probes").await), (0, 3));
    assert_eq!(count(&observer, "portraits_default").await, 0);
    app.ingest.ingest(MAIN, device, &[pictured(4, 50)]).await.unwrap();
    assert_eq!(count(&observer, "probes_default").await, 0);
    let (shown, picture) = app.reviews.review_item(MAIN, flagged).await.unwrap();
    assert!(shown.has_evidence && &picture[..] == b"a picture");

    let policy = RetentionPolicy { portraits: Some(40), ..RetentionPolicy::default() };
    let faces = async || [count(&observer, "probes").await, count(&observer, "evidence").await];
    let on_day = async |days: i64| store.apply_retention(policy, now + (24 * days).hours()).await.unwrap();
    let mut after = BTreeMap::new();
    for days in [1, 7, 8, 30, 31, 180, 181, 401] {
        on_day(days).await.unwrap();
        after.insert(days, (faces().await, count(&observer, "sightings").await));
    }
    let expected = BTreeMap::from([
        (1, ([4, 4], 4)),
        (7, ([4, 4], 4)),
        (8, ([2, 4], 4)),
        (30, ([2, 4], 4)),
        (31, ([1, 1], 4)),
        (180, ([1, 1], 4)),
        (181, ([0, 0], 4)),
        (401, ([0, 0], 1)),
    ]);
    assert_eq!(after, expected);
    // Nothing lives under the day's key any more: it is gone, too.
    assert!(texts(&observer, "SELECT id::text FROM data_keys WHERE day IS NOT NULL").await.is_empty());
    assert_eq!(on_day(401).await, None, "once a day");
    assert_eq!(count(&observer, "portraits").await, 0);
    assert_eq!(count(&observer, "templates").await, 1);
    let other = RetentionPolicy { sightings: Some(300), ..policy };
    assert!(
        store.apply_retention(other, now + (24 * 401).hours()).await.unwrap().is_some(),
        "another policy"
    );
    let days = texts(
        &observer,
        "SELECT relname::text FROM pg_class WHERE relname ~ '^(probes|evidence)_[0-9]+$' AND relkind = 'r'",
    )
    .await;
    assert!(days.is_empty(), "{days:?}");
    let runs = texts(&observer, "SELECT DISTINCT state FROM retention_runs").await;
    assert_eq!((runs, count(&observer, "retention_runs").await), (vec!["done".to_owned()], 9));
    // What a run has left behind is no run that goes on.
    tokio::time::timeout(Duration::from_secs(5), app.ingest.ingest(MAIN, device, &[pictured(5, 50)]))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(count(&observer, "probes_default").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_sent_back_to_the_queue_meanwhile_stays() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let (device, user) = (camera(&app, "camera").await, database.user("admin").await);
    app.ingest.ingest(MAIN, device, &[pictured(1, 1), pictured(2, 2)]).await.unwrap();
    let (mut behind, observer) = (database.connect().await, database.connect().await);
    let transaction = behind.transaction().await.unwrap();
    let sql = "INSERT INTO reviews (site_id, id, sighting_id, verdict, reviewer_id)
               SELECT site_id, gen_random_uuid(), id, 'flagged', $1 FROM sightings WHERE sequence = 1";
    transaction.execute(sql, &[&user.uuid()]).await.unwrap();

    let (store, then) = (BiometricStore::new(&database.store), Timestamp::now() + (24 * 401).hours());
    let retaining =
        tokio::spawn(async move { store.apply_retention(RetentionPolicy::default(), then).await });
    waiting(&observer, 1).await;
    transaction.commit().await.unwrap();
    let deleted = retaining.await.unwrap().unwrap().unwrap();
    assert_eq!(deleted[&MAIN].sightings, 1);
    let sql = "SELECT sequence::text FROM sightings WHERE in_queue";
    assert_eq!((texts(&observer, sql).await, count(&observer, "sightings").await), (vec!["1".to_owned()], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_site_keeps_what_it_wants() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let credentials = Credentials::new("olga", "a long password".to_owned()).unwrap();
    let user = create_user(&database.store, credentials, Grant::Operator).await.unwrap().id;
    let north = app.sites.create("North", user).await.unwrap().site.id;
    let observer = database.connect().await;
    for site in [MAIN, north] {
        let new = NewDevice { name: "camera".into(), kind: DeviceKind::Agent, classroom: String::new() };
        let device = app.devices.create_device(site, &new).await.unwrap().id;
        app.ingest.ingest(site, device, &[pictured(1, 1), pictured(2, 2)]).await.unwrap();
    }
    let change = PolicyChange {
        unknown_probes: Some(Some(20)),
        evidence: Some(Some(0)),
        sightings: Some(Some(300)),
        ..PolicyChange::default()
    };
    app.retention.update(north, &change, user).await.unwrap();
    // What is not named stays.
    let change = PolicyChange { sightings: Some(Some(30)), ..PolicyChange::default() };
    let report = app.retention.update(north, &change, user).await.unwrap();
    let own = OwnPolicy {
        unknown_probes: Some(20),
        evidence: Some(0),
        sightings: Some(30),
        ..OwnPolicy::default()
    };
    assert_eq!((report.own, report.set.map(|(by, _)| by)), (own, Some("olga".to_owned())));
    assert_eq!((report.in_force.evidence, report.in_force.reviewed_probes), (None, Some(30)));
    let of_main = app.retention.get(MAIN).await.unwrap();
    assert_eq!((of_main.own, of_main.set), (OwnPolicy::default(), None));

    let (store, now) = (BiometricStore::new(&database.store), Timestamp::now());
    store.make_partitions(now.to_zoned(TimeZone::UTC).date()).await.unwrap();
    let left = async |table: &str, site: SiteId| -> i64 {
        let sql = format!("SELECT count(*) FROM {table} WHERE site_id = $1");
        observer.query_one(&sql, &[&site.uuid()]).await.unwrap().get(0)
    };
    let mut after = Vec::new();
    for days in [8i64, 21, 31] {
        let then = now + (24 * days).hours();
        store.apply_retention(RetentionPolicy::default(), then).await.unwrap().unwrap();
        for table in ["probes", "evidence", "sightings", "data_keys"] {
            after.push((days, table, left(table, MAIN).await, left(table, north).await));
        }
    }
    let expected = [
        (8, "probes", 0, 2),
        (8, "evidence", 2, 2),
        (8, "sightings", 2, 2),
        (8, "data_keys", 1, 1),
        // Nobody's any more: dropped as a whole.
        (21, "probes", 0, 0),
        (21, "evidence", 2, 2),
        (21, "sightings", 2, 2),
        (21, "data_keys", 1, 1),
        (31, "probes", 0, 0),
        // Pictures are kept for ever in the north, but not without their sightings.
        (31, "evidence", 0, 0),
        (31, "sightings", 2, 0),
        (31, "data_keys", 0, 0),
    ];
    assert_eq!(after, expected);
    let deleted = async |site| {
        let runs = app.retention.get(site).await.unwrap().runs;
        assert!(runs.iter().all(|run| run.state == RetentionState::Done && run.finished_at.is_some()));
        runs.iter().rev().map(|run| run.deleted).collect::<Vec<_>>()
    };
    let none = Deleted::default();
    let (probes, evidence, sightings) =
        (Deleted { probes: 2, ..none }, Deleted { evidence: 2, ..none }, Deleted { sightings: 2, ..none });
    assert_eq!(deleted(MAIN).await, [probes, none, evidence]);
    assert_eq!(deleted(north).await, [none, probes, sightings]);
}

/// Sightings of nobody, all of one moment, and one that waits for a person; with a probe each.
const MANY: &str = "
    INSERT INTO students (site_id, id, number, name) SELECT id, gen_random_uuid(), '1', 'Ada' FROM sites WHERE name = 'main';
    INSERT INTO sightings (site_id, id, device_id, via, boot_epoch, sequence, classroom, captured_at, received_at, frame,
        clock_trust, box_x, box_y, box_width, box_height, detection_score, quality, pack_digest, decision, reason,
        predicted_student_id, threshold, candidates)
    SELECT d.site_id, gen_random_uuid(), d.id, d.id, 1, n, '', now() - interval '10 days', now() - interval '10 days', '',
        'unknown', 0, 0, 1, 1, 1, '{}', decode(repeat('07', 32), 'hex'), decision, 'LOW_SIMILARITY',
        CASE decision WHEN 'pending' THEN s.id END, 0.5, '[]'
    FROM devices d, students s, generate_series(0, 4001) n,
        LATERAL (SELECT CASE n WHEN 0 THEN 'pending' ELSE 'unknown' END AS decision) AS made;
    INSERT INTO probes (site_id, day, sighting_id, sealed) SELECT site_id, day, id, 'sealed' FROM sightings";

#[tokio::test(flavor = "multi_thread")]
async fn batches_follow_each_other_and_a_day_that_cannot_be_dropped_fails_those_who_are_in_it() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let credentials = Credentials::new("olga", "a long password".to_owned()).unwrap();
    let user = create_user(&database.store, credentials, Grant::Operator).await.unwrap().id;
    let north = app.sites.create("North", user).await.unwrap().site.id;
    camera(&app, "camera").await;
    let mut behind = database.connect().await;
    behind.batch_execute(MANY).await.unwrap();
    let (store, now) = (BiometricStore::new(&database.store), Timestamp::now());
    store.make_partitions(now.to_zoned(TimeZone::UTC).date()).await.unwrap();
    let none = Deleted::default();
    let apply =
        async |days: i64| store.apply_retention(RetentionPolicy::default(), now + (24 * days).hours()).await;
    assert_eq!(apply(0).await.unwrap().unwrap()[&MAIN], Deleted { probes: 4001, ..none });

    // Somebody reads probes, as a backup does.
    let reading = behind.transaction().await.unwrap();
    reading.execute("SELECT FROM probes", &[]).await.unwrap();
    apply(400).await.unwrap_err();
    let run = async |site| app.retention.get(site).await.unwrap().runs.remove(0);
    let (failed, done) = (run(MAIN).await, run(north).await);
    assert_eq!(
        (failed.state, done.state),
        (RetentionState::Failed, RetentionState::Done),
        "{}",
        failed.problem
    );
    assert!(failed.problem.contains("lock timeout"), "{}", failed.problem);
    assert_eq!(failed.deleted, Deleted { sightings: 4001, ..none }, "what is left goes on");
    reading.rollback().await.unwrap();
    assert_eq!(apply(400).await.unwrap().unwrap()[&MAIN], Deleted { probes: 1, ..none });
    assert_eq!((run(MAIN).await.state, run(MAIN).await.problem), (RetentionState::Done, String::new()));
    assert_eq!((count(&behind, "sightings").await, count(&behind, "probes").await), (1, 0));
}
