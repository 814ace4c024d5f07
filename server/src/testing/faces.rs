//! The life of a face, against a real database: erased is erased in every order.

use std::{sync::Arc, time::Duration};

use cavs_types::{DeviceId, DeviceKind, ErasureState, ErrorReason, SightingId, StudentId, UserId, Verdict};
use jiff::{Timestamp, tz::TimeZone};
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
    biometrics::{BiometricStore, Keyring, Keys, Owner, RetentionPolicy, StoredKey},
    db::DatabaseError,
    error::ServiceError,
    fleet::NewDevice,
    page::PageRequest,
    people::pseudonym,
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

pub(super) async fn texts(client: &Client, sql: &str) -> Vec<String> {
    client.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

pub(super) async fn count(client: &Client, table: &str) -> i64 {
    client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0)
}

pub(super) async fn camera(app: &Services, name: &str) -> DeviceId {
    let new = NewDevice { name: name.into(), kind: DeviceKind::Agent, classroom: String::new() };
    app.devices.create_device(MAIN, &new).await.unwrap().id
}

pub(super) fn pictured(sequence: u64, number: u32) -> CapturedSighting {
    CapturedSighting { evidence: bytes::Bytes::from_static(b"a picture"), ..sighting(sequence, face(number)) }
}

pub(super) fn verdict(sighting: SightingId, verdict: Verdict, corrected: Option<StudentId>) -> NewReview {
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
            ErrorReason::StudentErased
                | ErrorReason::StudentNotFound
                | ErrorReason::SecondReviewerRequired
                | ErrorReason::InvalidArgument
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
