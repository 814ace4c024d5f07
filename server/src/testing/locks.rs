//! What statements do to each other, against a real database.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use cavs_types::{DeviceId, DeviceKind, ErrorReason, SightingId, Verdict};
use tokio::time::timeout;

use crate::{
    error::ServiceError,
    fleet::NewDevice,
    recognition::ThresholdChange,
    services::Services,
    sightings::NewReview,
    testing::{MAIN, TestDatabase, face, sighting},
};

/// Far below what a statement may take.
const SOON: Duration = Duration::from_secs(5);

async fn device(app: &Services, name: &str) -> DeviceId {
    let new = NewDevice { name: name.into(), kind: DeviceKind::Agent, classroom: String::new() };
    app.devices.create_device(MAIN, &new).await.unwrap().id
}

fn reason<T: std::fmt::Debug>(result: Result<T, ServiceError>) -> ErrorReason {
    result.unwrap_err().reason()
}

/// Waits until so many statements wait for a lock.
pub(super) async fn waiting(observer: &tokio_postgres::Client, statements: i64) {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    while observer.query_one(sql, &[]).await.unwrap().get::<_, i64>(0) < statements {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_are_counted_by_statement_and_erasure_holds_nobody_up() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let (erased, other) = (database.student(&app, "1").await, database.student(&app, "2").await);
    for number in 0..3 {
        database.template(erased, &face(number)).await;
    }

    // One statement, one number for each template, the clock's row once.
    let mut behind = database.connect().await;
    let transaction = behind.transaction().await.unwrap();
    let statements = [
        "INSERT INTO templates (site_id, id, student_id, pack_digest, embedding, source, quality)
         SELECT site_id, gen_random_uuid(), student_id, pack_digest, embedding, source, quality
         FROM templates, generate_series(1, 40)",
        "UPDATE templates SET quality = quality",
        "DELETE FROM templates WHERE false",
        "DELETE FROM students WHERE number = '1'",
    ];
    let mut changes = 0;
    for (sql, changed, taken) in
        statements.iter().zip([(120, 1), (123, 2), (0, 2), (123, 3)]).map(|(sql, (n, t))| (sql, n, t))
    {
        transaction.execute(*sql, &[]).await.unwrap();
        changes += changed;
        let row = transaction
            .query_one(
                "SELECT (SELECT n_tup_upd FROM pg_stat_xact_user_tables WHERE relname = 'gallery_clock'),
                        (SELECT sequence FROM gallery_clock), (SELECT count(*) FROM gallery_changes),
                        (SELECT max(sequence) FROM gallery_changes)",
                &[],
            )
            .await
            .unwrap();
        let counts: [i64; 4] = [row.get(0), row.get(1), row.get(2), row.get(3)];
        assert_eq!(counts, [taken, 3 + changes, 3 + changes, 3 + changes], "{sql}");
    }
    transaction.rollback().await.unwrap();

    // Somebody holds the probe of a sighting of the student's: the erasure waits for it, and an enrollment does not
    // wait for the erasure.
    let camera = device(&app, "camera").await;
    app.galleries.bring_into_force(MAIN, &[]).await.unwrap();
    app.ingest.ingest(MAIN, camera, &[sighting(1, face(0))]).await.unwrap();
    let transaction = behind.transaction().await.unwrap();
    assert_eq!(transaction.query("SELECT FROM probes FOR UPDATE", &[]).await.unwrap().len(), 1);
    let user = database.user("admin").await;
    let erasing = tokio::spawn({
        let app = app.clone();
        async move { app.students.erase(MAIN, erased, user).await }
    });
    waiting(&database.connect().await, 1).await;
    let enrolled = timeout(SOON, database.try_template(MAIN, other, &face(9))).await;
    assert!(enrolled.is_ok_and(|done| done.is_ok()), "an enrollment waits for an erasure");
    transaction.commit().await.unwrap();
    let done = erasing.await.unwrap().unwrap().erasure.unwrap();
    assert_eq!((done.templates, done.sightings), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_streams_of_a_device_take_turns() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let camera = device(&app, "camera").await;
    // The first batch makes the day's key.
    app.ingest.ingest(MAIN, camera, &[sighting(0, face(0))]).await.unwrap();
    let mut behind = database.connect().await;
    let transaction = behind.transaction().await.unwrap();
    transaction.query("SELECT FROM devices FOR SHARE", &[]).await.unwrap();
    let streams: Vec<_> = (1..=2)
        .map(|sequence| {
            let app = app.clone();
            tokio::spawn(async move { app.ingest.ingest(MAIN, camera, &[sighting(sequence, face(0))]).await })
        })
        .collect();
    // Both are as far as they come.
    waiting(&database.connect().await, 2).await;
    transaction.commit().await.unwrap();
    for stream in streams {
        let stored = stream.await.unwrap();
        assert!(stored.is_ok(), "{stored:?}");
    }
}

#[tokio::test]
async fn people_and_devices_have_connections_of_their_own_and_no_token_costs_none() {
    let database = TestDatabase::start().await;
    let people = database.store.with_own_connections(1).unwrap();
    let app = database.app_of(people.clone()).await;
    let camera = device(&app, "camera").await;
    let held = people.client().await.unwrap();
    let ingested = timeout(SOON, async {
        app.device_streams.admit(camera).await.unwrap();
        app.ingest.ingest(MAIN, camera, &[sighting(1, face(0))]).await
    });
    assert!(ingested.await.is_ok_and(|stored| stored.is_ok()), "a sighting waits for people's connections");
    // There is no connection: whatever asks the database finds none.
    for token in ["", "x", "Bearer", &"g".repeat(64), &"0".repeat(65)] {
        assert_eq!(
            reason(app.accounts.authenticate(token, None).await),
            ErrorReason::Unauthenticated,
            "{token}"
        );
    }
    people.close();
    assert_eq!(
        reason(app.accounts.authenticate(&"0".repeat(64), None).await),
        ErrorReason::DatabaseUnavailable
    );
    drop(held);
}

#[tokio::test]
async fn a_verdict_takes_one_answer_of_the_database() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let (camera, student) = (device(&app, "camera").await, database.student(&app, "1").await);
    let template = database.template(student, &face(1)).await;
    app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
    app.ingest
        .ingest(MAIN, camera, &[sighting(1, face(1)), sighting(2, face(1)), sighting(3, face(50))])
        .await
        .unwrap();
    let reviewer = database.user("reviewer").await;
    let behind = database.connect().await;
    let rows = behind.query("SELECT id FROM sightings ORDER BY sequence", &[]).await.unwrap();
    let ids: Vec<SightingId> = rows.iter().map(|row| row.get::<_, uuid::Uuid>(0).into()).collect();

    let (store, trips) = database.through_relay();
    let app = database.app_of(store).await;
    let review = |sighting, verdict, corrected, replace| {
        NewReview::new(sighting, verdict, "seen", corrected, replace).unwrap()
    };
    let approve = |sighting| review(sighting, Verdict::Approved, None, false);
    // Statements are prepared once for each connection.
    app.reviews.review(MAIN, &approve(ids[0]), reviewer).await.unwrap();
    trips.forget();
    let reviewed = app.reviews.review(MAIN, &approve(ids[1]), reviewer).await.unwrap();
    assert!(trips.count() <= 2, "{} round trips", trips.count());
    assert_eq!(reviewed.student.map(|student| student.id), Some(student));
    let told = reviewed.review.unwrap();
    assert_eq!(
        (told.verdict, told.reviewer.as_str(), told.notes.as_str()),
        (Verdict::Approved, "reviewer", "seen")
    );

    assert_eq!(
        reason(app.reviews.review(MAIN, &approve(ids[1]), reviewer).await),
        ErrorReason::AlreadyReviewed
    );
    let rejected =
        app.reviews.review(MAIN, &review(ids[1], Verdict::Rejected, None, true), reviewer).await.unwrap();
    assert_eq!((rejected.student, rejected.review.unwrap().verdict), (None, Verdict::Rejected));
    assert_eq!(
        reason(app.reviews.review(MAIN, &approve(ids[2]), reviewer).await),
        ErrorReason::InvalidArgument
    );
    let nobody = Some(cavs_types::StudentId::generate());
    let unknown = review(ids[2], Verdict::Approved, nobody, false);
    assert_eq!(reason(app.reviews.review(MAIN, &unknown, reviewer).await), ErrorReason::StudentNotFound);
    let corrected = review(ids[2], Verdict::Approved, Some(student), false);
    let corrected = app.reviews.review(MAIN, &corrected, reviewer).await.unwrap();
    assert_eq!(corrected.student.map(|student| student.number).as_deref(), Some("1"));
    assert_eq!(
        reason(app.reviews.review(MAIN, &approve(SightingId::generate()), reviewer).await),
        ErrorReason::SightingNotFound
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_overwrites_thresholds_unseen() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let gallery = app.galleries.of(MAIN).await.unwrap();
    let user = database.user("admin").await;
    let change = |accept, margin| ThresholdChange { accept, margin, ..ThresholdChange::default() };
    let (before, after) = gallery.set_thresholds(change(Some(0.6), None), 0, user).await.unwrap();
    assert_eq!((before.version, after.version, after.thresholds.accept.get()), (0, 1, 0.6));
    // Who has seen version 0 would take the accept threshold back.
    let unseen = gallery.set_thresholds(change(None, Some(0.1)), 0, user).await;
    assert_eq!(reason(unseen), ErrorReason::ThresholdsChanged);
    let effect = app.reviews.preview_thresholds(&gallery, change(None, Some(0.1))).await.unwrap();
    assert_eq!((effect.before.version, effect.after.version), (1, 0));
    assert_eq!(gallery.thresholds().version, 1, "a preview sets nothing");

    // Eight who have seen the same version: one sets the next, and keeps what it does not name.
    let setting: Vec<_> = (0..8)
        .map(|n| {
            let gallery = Arc::clone(&gallery);
            tokio::spawn(
                async move { gallery.set_thresholds(change(None, Some(0.01 * n as f32)), 1, user).await },
            )
        })
        .collect();
    let mut outcomes = Vec::new();
    for one in setting {
        outcomes.push(one.await.unwrap());
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let versions = gallery.threshold_versions().await.unwrap();
    let numbers: BTreeSet<u32> = versions.iter().map(|version| version.version).collect();
    assert_eq!((numbers, versions[0].thresholds.accept.get()), (BTreeSet::from([0, 1, 2]), 0.6));
}
