//! Against a real PostgreSQL: what the planner does, and what constraints say, no double can tell.

use std::{collections::BTreeMap, fs, path::Path};

use cavs_embedding::PackDigest;
use cavs_types::{
    Decision, DeviceId, DeviceKind, DeviceStatus, ErasureState, ErrorReason, QueueOrder, Role, StudentField,
    StudentId, UserId,
};
use tokio_postgres::IsolationLevel;
use tonic::Code;

use crate::{
    biometrics::{BiometricStore, Keyring, Keys},
    db::{Conditions, Database, DatabaseError, tests::TestCluster},
    error::ServiceError,
    fleet::{DeviceChange, DeviceKey, DevicePosition, DeviceStore, DeviceVersion, NewDevice, SettingsChange},
    page::{COUNTED, ListName, PageRequest, Total},
    people::{
        BY_NUMBER, Grant, SORTED, Student, StudentChanges, StudentFilter, StudentKey, StudentProfile,
        StudentSearch, StudentState, StudentStore, UserStore, pseudonym,
    },
    sightings::{
        QueueFilter, QueueRequest, SightingFilter, SightingPosition, SightingStore,
        store::queries::{Filter, LATEST_JUDGED, LISTED, List},
    },
    testing::MAIN,
};

struct Records {
    db: Database,
    /// Of the role that owns the tables.
    owner: tokio_postgres::Client,
    within: TestCluster,
}

impl Records {
    async fn start() -> Self {
        let within = TestCluster::start().await;
        Self { db: within.store(4), owner: within.as_owner().await, within }
    }

    async fn execute(&self, sql: &str) {
        self.owner.batch_execute(sql).await.unwrap();
    }

    /// The folder of the cluster.
    fn folder(&self) -> &Path {
        self.within.directory.path()
    }
}

/// A camera in each of 50 rooms, and 30,000 sightings of 300 students: of a hundred, the machine left 3 to a
/// person and took 7 for nobody.
const SIGHTINGS: &str = "
    INSERT INTO devices (site_id, id, name, kind, classroom)
    SELECT main.id, ('01890000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'camera ' || n, 'agent', 'Room ' || n
    FROM generate_series(1, 50) n, sites main;
    INSERT INTO students (site_id, id, number, name, name_words)
    SELECT main.id, ('01890000-0000-7000-8001-' || lpad(n::text, 12, '0'))::uuid, n::text, 'Ada ' || n,
        array_to_tsvector(ARRAY['ada', 'n' || n]) FROM generate_series(1, 5000) n, sites main;
    INSERT INTO sightings (site_id, id, device_id, via, boot_epoch, sequence, classroom, captured_at, received_at,
        frame, clock_trust, box_x, box_y, box_width, box_height, detection_score, quality, pack_digest,
        decision, reason, predicted_student_id, threshold, candidates)
    SELECT d.site_id, gen_random_uuid(), d.id, d.id, 1, n, d.classroom,
        '2026-03-01T08:00:00Z'::timestamptz + n * interval '1 s', '2026-03-02T08:00:00Z', '', 'unknown',
        0, 0, 1, 1, 1, good.quality,
        decode(repeat(CASE n % 1000 WHEN 0 THEN '02' ELSE '01' END, 32), 'hex'),
        decision, 'MATCHED', CASE WHEN decision <> 'unknown' THEN s.id END, 0.5, '[]'
    FROM generate_series(1, 30000) n CROSS JOIN LATERAL (SELECT abs(hashint4(n)) % 100 AS drawn) AS of_hundred
        CROSS JOIN LATERAL (SELECT CASE WHEN drawn < 3 THEN 'pending' WHEN drawn < 10 THEN 'unknown' ELSE 'accepted' END
            AS decision) AS made
        JOIN devices d ON d.name = 'camera ' || (n % 50 + 1)
        JOIN students s ON s.number = (n % 300 + 1)::text,
        (SELECT jsonb_object_agg(name, 90) AS quality FROM unnest(ARRAY['unified_score', 'inter_eye_distance',
            'head_size', 'sharpness', 'under_exposure_prevention', 'over_exposure_prevention', 'head_pose_yaw',
            'head_pose_pitch', 'head_pose_roll']) AS name) AS good;
    ANALYZE";

#[tokio::test]
async fn each_list_has_its_index() {
    let database = Records::start().await;
    let db = &database.db;
    db.migrate().await.unwrap();
    database.execute(SIGHTINGS).await;
    let client = db.client().await.unwrap();
    let device: DeviceId = "01890000-0000-7000-8000-000000000007".parse().unwrap();
    let student: StudentId = "01890000-0000-7000-8001-000000000007".parse().unwrap();
    let all = SightingFilter::default;
    let of_device = || SightingFilter { device: Some(device), ..all() };
    let of_student = || SightingFilter { student: Some(student), ..all() };
    let in_room = || SightingFilter { classroom: Some("Room 7".into()), ..all() };
    let decided = |decision, filter| SightingFilter { decision: Some(decision), ..filter };
    let at_nine = |filter| SightingFilter {
        from: Some("2026-03-01T09:00:00Z".parse().unwrap()),
        until: Some("2026-03-01T09:01:00Z".parse().unwrap()),
        ..filter
    };
    let (accepted, pending, unknown) = (Decision::Accepted, Decision::Pending, Decision::Unknown);
    let cases = [
        (List::Newest, all(), "sightings_listed"),
        (List::Newest, of_device(), "sightings_device"),
        (List::Newest, of_student(), "sightings_student"),
        (List::Newest, in_room(), "sightings_classroom"),
        (List::Newest, at_nine(all()), "sightings_listed"),
        (List::Newest, at_nine(of_device()), "sightings_device"),
        (List::Newest, at_nine(of_student()), "sightings_student"),
        (List::Newest, at_nine(in_room()), "sightings_classroom"),
        (
            List::Newest,
            SightingFilter { classroom: in_room().classroom, ..of_device() },
            "sightings_classroom",
        ),
        (List::Newest, decided(pending, all()), "sightings_decision"),
        (List::Newest, decided(unknown, all()), "sightings_decision"),
        (List::Newest, decided(pending, of_device()), "sightings_device_unsure"),
        (List::Newest, decided(unknown, of_device()), "sightings_device_unsure"),
        (List::Newest, decided(pending, in_room()), "sightings_classroom_unsure"),
        (List::Newest, decided(unknown, in_room()), "sightings_classroom_unsure"),
        (List::Newest, decided(accepted, of_device()), "sightings_device"),
        (List::Newest, decided(accepted, in_room()), "sightings_classroom"),
        (List::Newest, decided(accepted, of_student()), "sightings_student"),
        (List::Newest, decided(pending, of_student()), "sightings_student"),
        (List::Queue, all(), "sightings_queue"),
        (List::Queue, of_device(), "sightings_queue_device"),
        (List::Queue, in_room(), "sightings_queue_classroom"),
        (List::Queue, at_nine(all()), "sightings_queue"),
        (List::Queue, at_nine(of_device()), "sightings_queue_device"),
        (List::Queue, of_student(), "sightings_student"),
    ];
    for (list, filter, index) in &cases {
        let filter = Filter::new(MAIN, filter);
        let position = ("2026-03-01T10:00:00Z".parse::<jiff::Timestamp>().unwrap(), uuid::Uuid::nil());
        for page in 1..=2 {
            let mut chosen = filter.conditions(*list);
            if page == 2 {
                use tokio_postgres::types::Type;
                chosen.with(list.follows(), &[(&position.0, Type::TIMESTAMPTZ), (&position.1, Type::UUID)]);
            }
            let plan = chosen.joined_plan(&client, &LISTED, list.order()).await;
            // In its order, or gathered by it and sorted where it finds few.
            let (ordered, few) = (format!("using {index} on"), format!("Bitmap Index Scan on {index}"));
            let name = format!("{index}, page {page}: {plan}");
            assert!(plan.contains(&ordered) || plan.contains(&few), "{name}");
            assert!(!plan.contains("Seq Scan on sightings"), "{name}");
        }
    }
    let columns = LISTED.columns;
    assert!(!columns.contains("probe") && !columns.contains('*'), "lists need no probes");

    let pack = PackDigest::from_bytes([2; 32]);
    let explain = format!("EXPLAIN (COSTS OFF) {LATEST_JUDGED}");
    let plan = client.query(&explain, &[&MAIN.uuid(), &pack.as_bytes().as_slice(), &10_i64]).await.unwrap();
    assert!(plan.iter().any(|row| row.get::<_, &str>(0).contains("using sightings_pack")), "{plan:?}");

    let search = StudentSearch::new("N7 \u{e1}da").unwrap();
    let filter = StudentFilter { search, ..StudentFilter::default() };
    let request = |size, token: &str, with_total| {
        PageRequest::new(size, token, with_total, filter.list_name()).unwrap()
    };
    let found = StudentStore::new(db).list(MAIN, &filter, &request(2, "", true)).await.unwrap();
    assert_eq!(found.total, Some(Total { items: 111, exact: true }), "7, 70 to 79, 700 to 799");
    let numbers =
        |students: &[Student]| students.iter().map(|s| s.state.profile.number.clone()).collect::<Vec<_>>();
    assert_eq!(numbers(&found.items), ["7", "70"]);
    let found = StudentStore::new(db).list(MAIN, &filter, &request(2, &found.next, false)).await.unwrap();
    assert_eq!((numbers(&found.items), found.total), (vec!["700".to_owned(), "701".to_owned()], None));
    students_and_devices_have_theirs(&client).await;

    // Lists are counted where somebody asks, and only so far.
    let request = |with_total| {
        PageRequest::<SightingPosition>::new(10, "", with_total, all().list_name("sightings")).unwrap()
    };
    let newest = SightingStore::new(db).sightings(MAIN, &all(), &request(true)).await.unwrap();
    assert_eq!(newest.total, Some(Total { items: COUNTED, exact: false }));
    let mut queue = QueueRequest::each(QueueFilter::default(), QueueOrder::OldestFirst);
    let first = PageRequest::new(10, "", true, queue.list_name()).unwrap();
    let oldest = SightingStore::new(db).review_queue(MAIN, &queue, &first).await.unwrap();
    assert_eq!(oldest.total, Some(Total { items: 937, exact: true }));
    // Each of them is of one visit.
    queue.by_visit = true;
    let whole = PageRequest::new(1000, "", true, queue.list_name()).unwrap();
    let visits = SightingStore::new(db).review_queue(MAIN, &queue, &whole).await.unwrap();
    assert_eq!(visits.total, Some(Total { items: visits.items.len() as u64, exact: true }));
    assert!(visits.items.len() < 937);
    assert_eq!(visits.items.iter().map(|sighting| sighting.visit_size).sum::<u32>(), 937);
    assert_eq!(SightingStore::new(db).sightings(MAIN, &all(), &request(false)).await.unwrap().total, None);

    // A time that can't be does not stay at the head of the list.
    assert_eq!(newest.items[0].key.sequence, 30_000);
    database
        .execute(
            "UPDATE sightings SET captured_at = '2076-01-01', time_implausible = true, received_at = '2026-03-01T00:00:00Z'
             WHERE sequence = 30000",
        )
        .await;
    let newest = SightingStore::new(db).sightings(MAIN, &all(), &request(false)).await.unwrap();
    assert_eq!(newest.items[0].key.sequence, 29_999);
    let month = "2026-03-01T00:00:01Z".parse().unwrap();
    let early = SightingFilter { until: Some(month), ..all() };
    let found = SightingStore::new(db).sightings(MAIN, &early, &request(false)).await.unwrap();
    assert!(found.items.len() == 1 && found.items[0].time_implausible, "{found:?}");
}

/// No statistics are kept of names, so that the database can't know how many have one: the few who do are found by
/// it, and among many a page is soon found by the number.
async fn students_and_devices_have_theirs(client: &deadpool_postgres::Object) {
    use tokio_postgres::types::Type;
    let (few, many) = (Some("'n7':*".to_owned()), Some("'ada':*".to_owned()));
    let (section, number) = (Some("7b".to_owned()), "Q\\_%");
    let select = "SELECT s.id FROM students s";
    let site = MAIN.uuid();
    let of = |words| {
        let mut chosen = Conditions::default();
        chosen.with("s.site_id = ?", &[(&site, Type::UUID)]);
        let either = "(s.name_words @@ ?::tsquery OR lower(s.number) LIKE lower(?))";
        chosen.with(either, &[(words, Type::TEXT), (&number, Type::TEXT)]);
        chosen
    };
    assert!(!of(&few).choose_more_than(client, 111, "students s").await.unwrap());
    assert!(of(&few).choose_more_than(client, 110, "students s").await.unwrap());
    // A few thousand are read faster without.
    client.batch_execute("SET enable_seqscan = off").await.unwrap();
    let sorted = of(&few).plan(client, select, SORTED).await;
    let mut of_section = Conditions::default();
    of_section.with("s.site_id = ?", &[(&site, Type::UUID)]);
    of_section.with_value("s.section = ?", &section, Type::TEXT);
    let of_section = of_section.plan(client, select, BY_NUMBER).await;
    let mut devices = Conditions::default();
    devices.with("d.site_id = ?", &[(&site, Type::UUID)]);
    // Of so few, all that are wanted are sorted faster.
    client.batch_execute("SET enable_bitmapscan = off").await.unwrap();
    let devices = devices.plan(client, "SELECT d.id FROM devices d", "d.name, d.id").await;
    let by_number = of(&many).plan(client, select, BY_NUMBER).await;
    client.batch_execute("RESET enable_bitmapscan; RESET enable_seqscan").await.unwrap();
    assert!(sorted.contains("Sort") && sorted.contains("students_name_words"), "{sorted}");
    assert!(sorted.contains("students_number_begins"), "{sorted}");
    assert!(!by_number.contains("Sort") && by_number.contains("students_number"), "{by_number}");
    assert!(of_section.contains("students_section"), "{of_section}");
    assert!(!devices.contains("Sort") && devices.contains("devices_name_id"), "{devices}");
}

#[tokio::test]
async fn devices_are_renamed_and_replaced_and_students_erased() {
    let database = Records::start().await;
    let db = &database.db;
    db.migrate().await.unwrap();
    a_slow_statement_is_no_database_that_is_gone(db).await;
    devices(db).await;
    students(&database).await;
}

async fn a_slow_statement_is_no_database_that_is_gone(db: &Database) {
    let client = db.client().await.unwrap();
    client.batch_execute("SET statement_timeout = '20ms'").await.unwrap();
    let error = DatabaseError::from(client.query("SELECT pg_sleep(20)", &[]).await.unwrap_err());
    assert!(matches!(error, DatabaseError::TooSlow(_)), "{error}");
    let reason = ServiceError::from(error).reason();
    assert_eq!((reason, cavs_proto::code_of(reason)), (ErrorReason::CallTimeout, Code::DeadlineExceeded));
    client.batch_execute("RESET statement_timeout").await.unwrap();
}

async fn devices(db: &Database) {
    let store = DeviceStore::new(db);
    let by: UserId =
        UserStore::new(db).create_user("ada", "", &Grant::Role(Role::Admin, MAIN)).await.unwrap().id;
    let new = |name, kind| NewDevice::new(name, kind, "Room 1").unwrap();
    let proxy = store.create_device(MAIN, &new("proxy", DeviceKind::Agent)).await.unwrap();
    let camera = store.create_device(MAIN, &new("door", DeviceKind::Esp32Cam)).await.unwrap();
    store.assign_camera(MAIN, camera.id, Some(proxy.id)).await.unwrap();
    let setting = BTreeMap::from([("source.rate".to_owned(), "2".to_owned())]);
    for rate in ["1", "2"] {
        let setting = BTreeMap::from([("source.rate".to_owned(), rate.to_owned())]);
        let change = SettingsChange::new(false, vec![], setting).unwrap();
        store.configure_device(MAIN, proxy.id, &change, by).await.unwrap();
    }
    let taken = store.create_device(MAIN, &new("proxy", DeviceKind::Agent)).await;
    assert!(matches!(taken, Err(DatabaseError::Taken(_))), "{taken:?}");

    // Another machine in the place of the one that burnt down.
    let id = store.replace_device(MAIN, proxy.id, by).await.unwrap();
    let replaced = store.device(MAIN, &DeviceKey::Name("proxy".into())).await.unwrap().unwrap();
    assert_eq!((replaced.id, replaced.classroom.as_str()), (id, "Room 1"));
    assert_eq!(replaced.wanted.unwrap().settings, setting);
    assert_eq!(store.proxied_cameras(MAIN, id).await.unwrap()[0].id, camera.id);
    let old = store.device(MAIN, &DeviceKey::Id(proxy.id)).await.unwrap().unwrap();
    assert_eq!((old.status, old.name.as_str()), (DeviceStatus::Revoked, "proxy"));
    let again = store.replace_device(MAIN, proxy.id, by).await;
    assert!(matches!(again, Err(DatabaseError::Taken(_))), "{again:?}");
    let nobody = store.replace_device(MAIN, DeviceId::generate(), by).await;
    assert!(matches!(nobody, Err(DatabaseError::NotFound)), "{nobody:?}");

    // A revoked device's name is free, and still finds it while nobody else has it.
    store.revoke_device(MAIN, camera.id).await.unwrap();
    let door = DeviceKey::Name("door".into());
    assert_eq!(store.device(MAIN, &door).await.unwrap().unwrap().id, camera.id);
    let second = store.create_device(MAIN, &new("door", DeviceKind::Esp32Cam)).await.unwrap();
    assert_eq!(store.device(MAIN, &door).await.unwrap().unwrap().id, second.id);

    let change = |name: Option<&str>, room: Option<&str>| {
        let (name, classroom) = (name.map(str::to_owned), room.map(str::to_owned));
        DeviceChange { name, classroom, ..DeviceChange::default() }.checked().unwrap()
    };
    let version = DeviceVersion;
    assert!(
        store.update_device(MAIN, second.id, version(1), &change(Some(" back door "), None)).await.unwrap()
    );
    assert!(store.update_device(MAIN, second.id, version(2), &change(None, Some("Room 2"))).await.unwrap());
    assert!(!store.update_device(MAIN, second.id, version(2), &change(None, Some("Room 3"))).await.unwrap());
    let moved = store.device(MAIN, &DeviceKey::Id(second.id)).await.unwrap().unwrap();
    assert_eq!((moved.name.as_str(), moved.classroom.as_str()), ("back door", "Room 2"));
    let taken = store.update_device(MAIN, second.id, version(3), &change(Some("proxy"), None)).await;
    assert!(matches!(taken, Err(DatabaseError::Taken(_))), "{taken:?}");
    assert!(!store.update_device(MAIN, DeviceId::generate(), version(1), &change(None, None)).await.unwrap());

    // Pages go through all of them, those of one name too.
    let (mut names, mut token) = (Vec::new(), String::new());
    loop {
        let request = PageRequest::<DevicePosition>::new(1, &token, false, ListName::new("devices")).unwrap();
        let page = store.devices(MAIN, &request).await.unwrap();
        names.extend(page.items.into_iter().map(|device| device.name));
        token = page.next;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(names, ["back door", "door", "proxy", "proxy"]);
}

async fn students(database: &Records) {
    use StudentField::{Email, Name, Number, Section};
    let db = &database.db;
    let store = StudentStore::new(db);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keyring");
    Keyring::generate(&file).unwrap();
    let keyring = Keyring::load(Some(&file)).unwrap();
    let keys = Keys::verified(keyring, &BiometricStore::new(db)).await.unwrap();
    let add = async |number: &str, name: &str| {
        let fields = [(Number, number), (Name, name), (Section, "7b"), (Email, "zq@quagmire.org")];
        let new = StudentState::new(StudentProfile::of(&fields).unwrap());
        let key = StudentKey::Id(new.id);
        let keys = vec![keys.new_student_key(MAIN, new.id).unwrap()];
        let changes = StudentChanges { create: vec![new], keys, update: Vec::new() };
        store.apply(MAIN, &changes).await.map(|done| (done, key))
    };
    let (done, key) = add("Ｚ-１７", "Zebulon Quagmire").await.unwrap();
    let gone = store.get(MAIN, &key).await.unwrap().unwrap().state;
    assert_eq!((done, gone.profile.number.as_str()), (true, "Z-17"));
    let same = add("Z-17", "Somebody Else").await;
    assert!(matches!(same, Err(DatabaseError::Taken(_))), "{same:?}");
    // What might be anywhere by now: in statistics, too.
    database.execute("ANALYZE; CHECKPOINT").await;
    assert!(contains(database.folder(), b"Quagmire"));

    let by: UserId =
        UserStore::new(db).create_user("eraser", "", &Grant::Role(Role::Admin, MAIN)).await.unwrap().id;
    // Whoever still sees the name keeps the erasure from being done, and is named: a backup, for one.
    let mut reader = database.within.as_owner().await;
    reader.batch_execute("SET application_name = 'old reader'").await.unwrap();
    let old =
        reader.build_transaction().isolation_level(IsolationLevel::RepeatableRead).start().await.unwrap();
    old.query_one("SELECT count(*) FROM students", &[]).await.unwrap();
    store.erase(MAIN, gone.id, by).await.unwrap();
    let biometrics = BiometricStore::new(db);
    let erasure = async || biometrics.erasure(MAIN, gone.id).await.unwrap().unwrap();
    let begun = erasure().await;
    assert_eq!((begun.state, begun.purged_at, begun.waits_for.as_str()), (ErasureState::Pending, None, ""));
    assert!(!biometrics.purge_erased().await.unwrap());
    let waiting = erasure().await;
    assert_eq!((waiting.state, waiting.purged_at), (ErasureState::Purging, None));
    assert!(waiting.waits_for.starts_with("old reader (process "), "{}", waiting.waits_for);
    old.commit().await.unwrap();
    // And so does the epoch of the keyring that wrapped the student's key: a backup would open with it.
    let waits_for_keys = async || erasure().await.waits_for.starts_with("a rotation of the keyring");
    while !waits_for_keys().await {
        assert!(!biometrics.purge_erased().await.unwrap());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    keys.rotate(&biometrics).await.unwrap();
    while !biometrics.purge_erased().await.unwrap() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let done = erasure().await;
    assert_eq!(
        (done.state, done.purged_at.is_some(), done.waits_for.as_str()),
        (ErasureState::Purged, true, "")
    );
    let erased = store.get(MAIN, &StudentKey::Id(gone.id)).await.unwrap().unwrap();
    let left = StudentProfile { number: pseudonym(gone.id), ..StudentProfile::default() };
    assert_eq!(erased.state.profile, left);
    assert!(erased.erased_at.is_some());
    assert_eq!(store.get(MAIN, &StudentKey::Number("Z-17".into())).await.unwrap(), None);
    database.execute("CHECKPOINT").await;
    assert!(!contains(&database.folder().join("data/base"), b"Quagmire"));
    assert!(!contains(&database.folder().join("data/base"), b"quagmire"));

    // The number may be given again, to the same person or another.
    let (_, fresh) = add("Z-17", "Zebulon Quagmire").await.unwrap();
    let by_number = store.get(MAIN, &StudentKey::Number("Z-17".into())).await.unwrap();
    assert_eq!(by_number, store.get(MAIN, &fresh).await.unwrap());
    store.erase(MAIN, gone.id, by).await.unwrap();
    assert_eq!(erasure().await.state, ErasureState::Purged, "nothing more was destroyed");
    assert_eq!(by_number.unwrap().state.profile.name, "Zebulon Quagmire");
}

/// Whether any file below a folder contains the bytes.
fn contains(folder: &Path, needle: &[u8]) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return contains(&path, needle);
        }
        fs::read(&path).is_ok_and(|bytes| bytes.windows(needle.len()).any(|window| window == needle))
    })
}
