//! The life of a face, against a real database: erased is erased in every order, and nothing is kept too long.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cavs_types::{
    DeviceId, DeviceKind, ErasureState, ErrorReason, RetentionState, SightingId, SiteId, StudentId, UserId,
    Verdict,
};
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use tokio::runtime::Runtime;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::locks::waiting;
use crate::{
    biometrics::{
        BiometricStore, Deleted, Keyring, Keys, OwnPolicy, Owner, PolicyChange, RetentionPolicy, StoredKey,
    },
    db::DatabaseError,
    error::ServiceError,
    fleet::NewDevice,
    page::PageRequest,
    people::{Credentials, Grant, create_user, pseudonym},
    services::Services,
    sightings::{CapturedSighting, NewReview, SightingFilter},
    testing::{MAIN, PACK, TestDatabase, face, sighting},
};

/// What nothing may be left of: faces of erased students, their names, and their keys.
const LEFT_OF_ERASED: &str = "
    WITH erased AS (SELECT id FROM students WHERE erased_at IS NOT NULL),
        shown AS (SELECT id FROM sightings WHERE student_id IN (SELECT id FROM erased)
            OR (in_queue AND predicted_student_id IN (SELECT id FROM erased)))
    SELECT 'template' FROM templates WHERE student_id IN (SELECT id FROM erased)
    UNION ALL SELECT 'portrait' FROM portraits WHERE student_id IN (SELECT id FROM erased)
    UNION ALL SELECT 'key' FROM data_keys WHERE student_id IN (SELECT id FROM erased)
    UNION ALL SELECT 'probe' FROM probes WHERE sighting_id IN (SELECT id FROM shown)
    UNION ALL SELECT 'evidence' FROM evidence WHERE sighting_id IN (SELECT id FROM shown)
    UNION ALL SELECT 'name' FROM students WHERE erased_at IS NOT NULL AND (name <> '' OR number !~ '^erased-')";

async fn texts(client: &Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

async fn count(client: &Client, table: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
}

async fn camera(app: &Services, name: &str) -> DeviceId {
    let new = NewDevice { name: name.into(), kind: DeviceKind::Agent, classroom: String::new() };
    app.devices.create_device(MAIN, &new).await.unwrap().id
}

fn pictured(sequence: u64, number: u32) -> CapturedSighting {
    CapturedSighting { evidence: bytes::Bytes::from_static(b"a picture"), ..sighting(sequence, face(number)) }
}

fn verdict(sighting: SightingId, verdict: Verdict, corrected: Option<StudentId>) -> NewReview {
    NewReview::new(sighting, verdict, "", corrected, true).unwrap()
}

fn reason<T: std::fmt::Debug>(result: Result<T, ServiceError>) -> ErrorReason {
    result.unwrap_err().reason()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_under_way_is_waited_for_and_holds() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let (device, user) = (camera(&app, "camera").await, database.user("admin").await);
    let student = database.student(&app, "1").await;
    let template = database.template(student, &face(1)).await;
    app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
    // One accepted and one left to a person, which are then rejected; one of nobody.
    let hours = jiff::SignedDuration::from_hours(100 * 24);
    let late = CapturedSighting { captured_at: Timestamp::now() - hours, ..pictured(4, 1) };
    app.ingest.ingest(MAIN, device, &[pictured(1, 1), pictured(2, 50), late]).await.unwrap();
    let mut behind = database.connect().await;
    let observer = database.connect().await;
    let ids: Vec<SightingId> = behind
        .query("SELECT id FROM sightings ORDER BY sequence", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get::<_, Uuid>(0).into())
        .collect();
    for rejected in [ids[0], ids[2]] {
        app.reviews.review(MAIN, &verdict(rejected, Verdict::Rejected, None), user).await.unwrap();
    }
    assert_eq!((count(&observer, "probes").await, count(&observer, "evidence").await), (3, 3));

    // The erasure is about to commit; whoever would attach a face or a name waits for it. The batch is predicted.
    let transaction = behind.transaction().await.unwrap();
    let erase = format!(
        "UPDATE students SET erased_at = now(), number = '{}', name = '', section = '', name_words = ''",
        pseudonym(student)
    );
    transaction.execute(&erase, &[]).await.unwrap();
    let ingesting = tokio::spawn({
        let app = app.clone();
        async move { app.ingest.ingest(MAIN, device, &[pictured(3, 1)]).await }
    });
    let reviewing = tokio::spawn({
        let (app, review) = (app.clone(), verdict(ids[1], Verdict::Approved, Some(student)));
        async move { app.reviews.review(MAIN, &review, user).await }
    });
    let approving = tokio::spawn({
        let (app, review) = (app.clone(), verdict(ids[0], Verdict::Approved, None));
        async move { app.reviews.review(MAIN, &review, user).await }
    });
    waiting(&observer, 3).await;
    transaction.commit().await.unwrap();
    assert!(ingesting.await.unwrap().is_ok(), "what was acknowledged is stored");
    assert_eq!(reason(reviewing.await.unwrap()), ErrorReason::StudentErased);
    assert_eq!(reason(approving.await.unwrap()), ErrorReason::StudentErased);
    assert_eq!(reason(database.try_template(MAIN, student, &face(9)).await), ErrorReason::StudentErased);
    // The last one came without its face; those rejected are nobody's whom anybody knows.
    assert_eq!(count(&observer, "sightings").await, 4);
    assert_eq!((count(&observer, "probes").await, count(&observer, "evidence").await), (3, 3));

    // The rest of the erasure; and the state holds against whatever comes.
    app.students.erase(MAIN, student, user).await.unwrap();
    assert_eq!(texts(&observer, LEFT_OF_ERASED).await, Vec::<String>::new());
    // Sent back, the accepted one would be the erased student's again; the other would wait as theirs.
    let flag = async |id| app.reviews.review(MAIN, &verdict(id, Verdict::Flagged, None), user).await;
    assert_eq!(reason(flag(ids[0]).await), ErrorReason::StudentErased);
    flag(ids[2]).await.unwrap();
    assert_eq!(texts(&observer, LEFT_OF_ERASED).await, Vec::<String>::new());
    assert_eq!((count(&observer, "probes").await, count(&observer, "evidence").await), (2, 2));
    for sql in [
        "UPDATE students SET name = 'Ada'",
        "UPDATE students SET number = '1'",
        "UPDATE students SET erased_at = NULL",
        "INSERT INTO data_keys (site_id, id, student_id, epoch, wrapped) SELECT site_id, gen_random_uuid(), id, 1, '' FROM students",
    ] {
        let refused = observer.execute(sql, &[]).await.unwrap_err();
        assert_eq!(refused.code().map(|state| state.code()), Some("CV101"), "{sql}: {refused}");
    }
}

/// What people, cameras and servers do, of some students and on one of two servers.
#[derive(Debug, Clone)]
enum Deed {
    /// A face of student `who`, or of a stranger, is seen.
    See {
        who: u32,
    },
    Enroll {
        who: usize,
    },
    Erase {
        who: usize,
    },
    /// A verdict on one of the sightings so far.
    Judge {
        which: prop::sample::Index,
        verdict: Verdict,
        corrected: Option<usize>,
    },
    /// A day of so many days ago, or of today, is cleaned up.
    Retain {
        days: u32,
    },
}

const STUDENTS: usize = 3;

fn deeds() -> impl Strategy<Value = Deed> {
    let verdicts = prop::sample::select(Verdict::ALL);
    prop_oneof![
        4 => (0..=STUDENTS as u32).prop_map(|who| Deed::See { who }),
        2 => (0..STUDENTS).prop_map(|who| Deed::Enroll { who }),
        2 => (0..STUDENTS).prop_map(|who| Deed::Erase { who }),
        4 => (any::<prop::sample::Index>(), verdicts, prop::option::of(0..STUDENTS))
            .prop_map(|(which, verdict, corrected)| Deed::Judge { which, verdict, corrected }),
        1 => (0u32..40).prop_map(|days| Deed::Retain { days }),
    ]
}

/// Students of one case, and what they look like.
struct Case<'a> {
    database: &'a TestDatabase,
    number: u32,
    students: Vec<StudentId>,
    device: DeviceId,
    user: UserId,
}

impl Case<'_> {
    async fn does(
        &self,
        app: &Services,
        behind: &Client,
        at: usize,
        deed: &Deed,
    ) -> Result<(), ServiceError> {
        let looks = |who: u32| face(self.number * 10 + who);
        match deed {
            Deed::See { who } => {
                let seen = CapturedSighting {
                    evidence: bytes::Bytes::from_static(b"a picture"),
                    ..sighting((self.number as u64) << 32 | at as u64, looks(*who))
                };
                app.ingest.ingest(MAIN, self.device, &[seen]).await.map(drop)
            }
            Deed::Enroll { who } => {
                let template =
                    self.database.try_template(MAIN, self.students[*who], &looks(*who as u32)).await?;
                // The other server does not hear of it: its predictions are late, as they can be.
                app.galleries.bring_into_force(MAIN, &[template]).await
            }
            Deed::Erase { who } => app.students.erase(MAIN, self.students[*who], self.user).await.map(drop),
            Deed::Judge { which, verdict: said, corrected } => {
                let sql = "SELECT id FROM sightings WHERE device_id = $1 ORDER BY id";
                let seen = behind.query(sql, &[&self.device.uuid()]).await.unwrap();
                if seen.is_empty() {
                    return Ok(());
                }
                let id: Uuid = seen[which.index(seen.len())].get(0);
                let corrected = corrected.map(|who| self.students[who]);
                app.reviews.review(MAIN, &verdict(id.into(), *said, corrected), self.user).await.map(drop)
            }
            Deed::Retain { days } => {
                let now = Timestamp::now() + jiff::SignedDuration::from_hours(24 * i64::from(*days));
                let store = BiometricStore::new(&self.database.store);
                store.make_partitions(Timestamp::now().to_zoned(TimeZone::UTC).date()).await?;
                // Another policy each time is applied each time.
                let evidence = Some(20 + self.number * 100 + at as u32 % 100);
                let policy = RetentionPolicy { sightings: None, evidence, ..RetentionPolicy::default() };
                Ok(store.apply_retention(policy, now).await.map(drop)?)
            }
        }
    }
}

/// What may come of a deed: anything else is a fault, a deadlock for one.
fn is_fair(done: &Result<(), ServiceError>) -> bool {
    match done {
        Ok(()) => true,
        // Erased while it was enrolled: the key is gone.
        Err(ServiceError::Database(DatabaseError::NotFound)) => true,
        Err(error) => matches!(
            error.reason(),
            ErrorReason::StudentErased | ErrorReason::StudentNotFound | ErrorReason::InvalidArgument
        ),
    }
}

#[test]
fn nothing_brings_an_erased_face_or_name_back() {
    let runtime = Runtime::new().unwrap();
    let (database, servers, user) = runtime.block_on(async {
        let database = TestDatabase::start().await;
        let servers = [database.app().await, database.app().await];
        let user = database.user("admin").await;
        (database, servers, user)
    });
    let (behind, watching) = runtime.block_on(async { (database.connect().await, database.connect().await) });
    let pairs = prop::collection::vec((deeds(), deeds(), any::<bool>()), 4..14);
    let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
    let numbers = std::cell::Cell::new(0u32);
    runner
        .run(&pairs, |pairs| {
            numbers.set(numbers.get() + 1);
            runtime.block_on(async {
                let number = numbers.get();
                let mut students = Vec::new();
                for who in 0..STUDENTS {
                    students.push(database.student(&servers[0], &format!("{number}-{who}")).await);
                }
                let device = camera(&servers[0], &format!("camera {number}")).await;
                let case = Case { database: &database, number, students, device, user };
                let mut seen = 0;
                for (at, (one, other, swapped)) in pairs.iter().enumerate() {
                    let [first, second] = if *swapped { [0, 1] } else { [1, 0] };
                    // At the same time, on both servers.
                    let (first, second) = tokio::join!(
                        case.does(&servers[first], &behind, 2 * at, one),
                        case.does(&servers[second], &behind, 2 * at + 1, other)
                    );
                    prop_assert!(is_fair(&first), "{one:?}: {first:?}");
                    prop_assert!(is_fair(&second), "{other:?}: {second:?}");
                    seen += [one, other].iter().filter(|deed| matches!(deed, Deed::See { .. })).count();
                    let left = texts(&watching, LEFT_OF_ERASED).await;
                    prop_assert!(left.is_empty(), "after {one:?} and {other:?}: {left:?}");
                }
                let sql = "SELECT count(*) FROM sightings WHERE device_id = $1";
                let stored: i64 = behind.query_one(sql, &[&device.uuid()]).await.unwrap().get(0);
                prop_assert_eq!(stored, seen as i64, "what was acknowledged is there");
                Ok(())
            })?;
            Ok(())
        })
        .unwrap();
}

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

/// A backup is the rows of before: sealed faces, and the data keys that sealed them.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_before_an_erasure_opens_no_face_with_the_keyring_of_today() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let (device, user) = (camera(&app, "camera").await, database.user("admin").await);
    let (gone, stays) = (database.student(&app, "1").await, database.student(&app, "2").await);
    let templates = [database.template(gone, &face(1)).await, database.template(stays, &face(2)).await];
    app.galleries.bring_into_force(MAIN, &templates).await.unwrap();
    app.ingest.ingest(MAIN, device, &[pictured(1, 1), pictured(2, 2)]).await.unwrap();

    let (observer, store) = (database.connect().await, BiometricStore::new(&database.store));
    let sealed = async |sql: &str| -> (Uuid, Vec<u8>) {
        let row = observer.query_one(sql, &[]).await.unwrap();
        (row.get(0), row.get(1))
    };
    let of_sighting = |table: &str| {
        format!(
            "SELECT f.sighting_id, f.sealed FROM {table} f JOIN sightings s ON s.id = f.sighting_id
                 WHERE s.sequence = 1"
        )
    };
    let template = sealed(
        "SELECT t.id, t.embedding FROM templates t JOIN students s ON s.id = t.student_id
                           WHERE s.number = '1'",
    )
    .await;
    let (probe, picture) = (sealed(&of_sighting("probes")).await, sealed(&of_sighting("evidence")).await);
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let of_student = store.student_key(MAIN, gone).await.unwrap().unwrap();
    let of_day = store.day_key(MAIN, today).await.unwrap().unwrap();
    let faces = [
        (&of_student, Owner::Template(template.0.into(), PACK), &template.1),
        (&of_day, Owner::Probe(probe.0.into(), PACK), &probe.1),
        (&of_day, Owner::Evidence(picture.0.into()), &picture.1),
    ];
    let opened = |keys: &Keys| {
        let open = |(key, owner, sealed): &(&StoredKey, Owner, &Vec<u8>)| {
            keys.open(key).and_then(|key| key.open(*owner, sealed)).is_ok()
        };
        faces.iter().filter(|face| open(face)).count()
    };
    assert_eq!(opened(&database.keys), 3, "the backup opens with the keyring of its time");

    app.students.erase(MAIN, gone, user).await.unwrap();
    let shutdown = CancellationToken::new();
    let (maintenance, until) = (Arc::clone(&app.maintenance), shutdown.clone());
    let working = tokio::spawn(async move { maintenance.run(until).await });
    let purged = async {
        while store.erasure(MAIN, gone).await.unwrap().unwrap().state != ErasureState::Purged {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), purged).await.expect("the erasure comes to its end");
    shutdown.cancel();
    working.await.unwrap();

    assert_eq!(opened(&database.keys), 0);
    let today = Keys::verified(Keyring::load(Some(&database.keyring_file())).unwrap(), &store).await.unwrap();
    assert_eq!(opened(&today), 0);
    // Whoever was not erased is as before.
    today.open(&store.student_key(MAIN, stays).await.unwrap().unwrap()).unwrap();
    let shown = SightingFilter { student: Some(stays), ..SightingFilter::default() };
    let page = PageRequest::new(1, "", false, shown.list_name("sightings")).unwrap();
    let shown = app.reviews.sightings(MAIN, &shown, &page).await.unwrap().items.remove(0);
    assert_eq!(&app.reviews.review_item(MAIN, shown.id).await.unwrap().1[..], b"a picture");
}
