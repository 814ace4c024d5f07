//! What administration says of students, against a real database.

use std::sync::Arc;

use cavs_embedding::{Similarity, UnitEmbedding};
use cavs_types::{
    ConfusableKind, ErrorReason, ImportFormat, PhotoConsent, PredictionReason, StudentField, StudentId,
    TemplateId, Verdict,
};

use super::faces::{camera, verdict};
use crate::{
    biometrics::{BiometricStore, NewTemplate, TemplateOutcome, TemplateSource},
    error::ServiceError,
    page::{ListName, PageRequest},
    people::{
        ImportOptions, ImportPlan, Student, StudentChange, StudentFilter, StudentKey, StudentProfile,
        StudentSearch, StudentVersion,
    },
    recognition::Sought,
    services::Services,
    sightings::SightingFilter,
    testing::{MAIN, PACK, TestDatabase, face, profile, quality, sighting},
};

fn fields(fields: &[(StudentField, &str)]) -> StudentChange {
    StudentChange::Fields(fields.iter().map(|(field, text)| (*field, (*text).to_owned())).collect())
}

async fn change(app: &Services, id: StudentId, what: &StudentChange) -> Student {
    app.students.update(MAIN, id, None, what).await.unwrap()
}

/// Whom the gallery of a server takes a face for.
async fn found(app: &Services, number: u32) -> Vec<StudentId> {
    let gallery = app.galleries.of(MAIN).await.unwrap();
    let alike =
        gallery.others_like(&face(number), Similarity::clamped(0.9), StudentId::generate()).await.unwrap();
    alike.into_iter().map(|other| other.student).collect()
}

async fn import(
    app: &Services,
    csv: &str,
    options: ImportOptions,
) -> Result<(ImportPlan, bool), ServiceError> {
    let by = cavs_types::UserId::generate();
    app.students.import(MAIN, csv.as_bytes().to_vec(), options, by).await
}

fn csv() -> ImportOptions {
    ImportOptions::new(ImportFormat::Csv, "", "").unwrap()
}

async fn numbers(app: &Services, filter: StudentFilter) -> Vec<String> {
    let page = PageRequest::new(100, "", false, filter.list_name()).unwrap();
    let found = app.students.list(MAIN, &filter, &page).await.unwrap();
    found.items.into_iter().map(|student| student.state.profile.number).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_or_refused_is_not_recognised_from_that_moment() {
    let database = TestDatabase::start().await;
    let (app, other) = (database.app().await, database.app().await);
    let [ada, bob] = [database.student(&app, "1").await, database.student(&app, "2").await];
    for (student, number) in [(ada, 1), (bob, 2)] {
        let template = database.template(student, &face(number)).await;
        app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
    }
    assert_eq!((found(&app, 1).await, found(&app, 2).await), (vec![ada], vec![bob]));

    change(&app, ada, &StudentChange::Active(false)).await;
    change(&app, bob, &fields(&[(StudentField::PhotoConsent, "refused")])).await;
    assert_eq!((found(&app, 1).await, found(&app, 2).await), (vec![], vec![]));
    // A server that loads the gallery does not learn of them, and one that follows it forgets them.
    assert_eq!(found(&database.app().await, 1).await, []);
    let (shutdown, following) = (tokio_util::sync::CancellationToken::new(), Arc::clone(&other.galleries));
    let until = shutdown.clone();
    let task = tokio::spawn(async move { following.follow(until).await });
    while !found(&other, 1).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    // Nor is anybody enrolled who left or refused.
    let refused = async |student| app.enrollment.check_enrollable(MAIN, student).await.unwrap_err().reason();
    assert_eq!(refused(ada).await, ErrorReason::StudentInactive);
    assert_eq!(refused(bob).await, ErrorReason::PhotoConsentRefused);
    // Not even by a picture that was on its way.
    let biometrics = BiometricStore::new(&database.store);
    let late = NewTemplate {
        id: TemplateId::generate(),
        student: ada,
        pack: PACK,
        sealed: b"sealed",
        quality: quality(),
        portrait: None,
        source: TemplateSource::Image,
        admitted: None,
    };
    assert_eq!(biometrics.create_template(MAIN, &late, 9).await.unwrap(), TemplateOutcome::NotWanted);

    // And back.
    change(&app, ada, &StudentChange::Active(true)).await;
    change(&app, bob, &fields(&[(StudentField::PhotoConsent, "given")])).await;
    assert_eq!((found(&app, 1).await, found(&app, 2).await), (vec![ada], vec![bob]));
    while found(&other, 1).await.is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_of_what_somebody_has_seen() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let new = StudentProfile { email: "Ada@X.org".into(), external_id: "x-1".into(), ..profile("1") };
    let ada = app.students.create(MAIN, new.clone()).await.unwrap().state;
    let reason = |result: Result<Student, ServiceError>| result.unwrap_err().reason();
    let twin = |change: fn(&mut StudentProfile)| {
        let mut twin = new.clone();
        twin.number = "2".into();
        change(&mut twin);
        app.students.create(MAIN, twin)
    };
    assert_eq!(reason(twin(|s| s.email = "aDA@x.ORG".into()).await), ErrorReason::StudentEmailTaken);
    assert_eq!(reason(twin(|s| s.email.clear()).await), ErrorReason::StudentExternalIdTaken);
    assert_eq!(reason(twin(|s| s.number = "1".into()).await), ErrorReason::StudentExists);

    let renamed = fields(&[(StudentField::Name, "Ada L."), (StudentField::EnrollmentDate, "2026-09-01")]);
    let seen = Some(ada.version);
    let after = app.students.update(MAIN, ada.id, seen, &renamed).await.unwrap();
    assert_eq!((after.state.version, after.state.profile.name.as_str()), (StudentVersion(2), "Ada L."));
    assert!(after.updated_at > after.created_at);
    assert_eq!(reason(app.students.update(MAIN, ada.id, seen, &renamed).await), ErrorReason::StudentChanged);
    // What changes nothing is no change.
    assert_eq!(change(&app, ada.id, &renamed).await, after);
    let empty = fields(&[(StudentField::Number, " ")]);
    assert_eq!(reason(app.students.update(MAIN, ada.id, None, &empty).await), ErrorReason::InvalidArgument);
    // Who does not say what they have seen loses nobody's change.
    let at_once = (0..8).map(|n| {
        let (app, id) = (app.clone(), ada.id);
        let what = match n % 2 {
            0 => fields(&[(StudentField::Section, "7b")]),
            _ => fields(&[(StudentField::Department, "Science")]),
        };
        tokio::spawn(async move { app.students.update(MAIN, id, None, &what).await })
    });
    for done in at_once.collect::<Vec<_>>() {
        done.await.unwrap().unwrap();
    }
    let after = app.students.get(MAIN, &StudentKey::Id(ada.id)).await.unwrap().state.profile;
    assert_eq!((after.section.as_str(), after.department.as_str()), ("7b", "Science"));

    let user = database.user("eraser").await;
    let erased = app.students.erase(MAIN, ada.id, user).await.unwrap();
    assert_eq!(erased.state.profile.email, "");
    assert_eq!(reason(app.students.update(MAIN, ada.id, None, &renamed).await), ErrorReason::StudentErased);
    app.students.create(MAIN, new).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_imported_whole_or_not_at_all() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let file = "number,name,email,section,active\n001,Zo\u{eb},z@x,7b,\n002,Ada,,7b,\n003,Bob,z@x,7c,no\n";
    let (plan, applied) = import(&app, file, csv()).await.unwrap();
    assert_eq!((applied, plan.problems.len(), plan.create.len()), (false, 1, 2));
    assert_eq!(numbers(&app, StudentFilter::default()).await, [""; 0]);
    let (plan, applied) =
        import(&app, file, ImportOptions { dry_run: true, skip_bad_rows: true, ..csv() }).await.unwrap();
    assert_eq!((applied, plan.create.len()), (false, 2));
    let (_, applied) = import(&app, file, ImportOptions { skip_bad_rows: true, ..csv() }).await.unwrap();
    assert!(applied);
    assert_eq!(numbers(&app, StudentFilter::default()).await, ["001", "002"]);

    // An enrolled student who leaves by a file is forgotten at once.
    let ada = app.students.get(MAIN, &StudentKey::Number("002".into())).await.unwrap().state.id;
    let template = database.template(ada, &face(1)).await;
    app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
    assert_eq!(found(&app, 1).await, [ada]);
    let (plan, applied) = import(&app, "number,active\n001,\n002,no\n", csv()).await.unwrap();
    assert_eq!((applied, plan.deactivated, plan.unchanged, plan.rematched), (true, 1, 1, vec![ada]));
    assert_eq!(found(&app, 1).await, []);

    let filter = StudentFilter::default;
    let search = |text| StudentFilter { search: StudentSearch::new(text).unwrap(), ..filter() };
    assert_eq!(numbers(&app, search("ZOE")).await, ["001"]);
    assert_eq!(numbers(&app, search("00")).await, ["001", "002"]);
    assert_eq!(numbers(&app, search("0_")).await, [""; 0]);
    assert_eq!(numbers(&app, search("!")).await, [""; 0]);
    assert_eq!(numbers(&app, StudentFilter { active: Some(false), ..filter() }).await, ["002"]);
    assert_eq!(numbers(&app, StudentFilter { enrolled: Some(true), ..filter() }).await, ["002"]);
    assert_eq!(numbers(&app, StudentFilter { enrolled: Some(false), ..filter() }).await, ["001"]);
    assert_eq!(
        numbers(&app, StudentFilter { section: Some("7b".into()), ..search("0") }).await,
        ["001", "002"]
    );
    assert_eq!(numbers(&app, StudentFilter { department: Some("x".into()), ..filter() }).await, [""; 0]);
    let unknown = Some(PhotoConsent::Unknown);
    assert_eq!(numbers(&app, StudentFilter { photo_consent: unknown, ..filter() }).await, ["001", "002"]);

    let nothing = import(&app, "", csv()).await.unwrap_err();
    assert_eq!(nothing.reason(), ErrorReason::ImportInvalid);
    // Two files at once are one after the other, and the same file again changes nothing.
    let many: String = (0..6000).map(|n| format!("m{n},Name {n}\n")).collect();
    let many = format!("number,name\n{many}");
    let (first, second) = tokio::join!(import(&app, &many, csv()), import(&app, &many, csv()));
    let (first, second) = (first.unwrap().0, second.unwrap().0);
    assert_eq!(first.create.len() + second.create.len(), 6000);
    assert_eq!(first.unchanged + second.unchanged, 6000);
}

#[tokio::test(flavor = "multi_thread")]
async fn faces_that_may_be_either_s_go_to_a_person() {
    let database = TestDatabase::start().await;
    let (app, user) = (database.app().await, database.user("ada").await);
    let mut students = Vec::new();
    // Mixtures, so that both are candidates above the review threshold and far enough from each other.
    let mixed = |first: f32, second: f32| {
        let (one, other) = (face(1), face(2));
        let mix = one.as_slice().iter().zip(other.as_slice()).map(|(a, b)| first * a + second * b);
        UnitEmbedding::normalize(mix.collect()).unwrap()
    };
    for (number, looks) in [("1", mixed(1.0, 0.0)), ("2", mixed(0.45, 1.0)), ("3", face(3))] {
        let student = database.student(&app, number).await;
        let template = database.template(student, &looks).await;
        app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
        students.push(student);
    }
    let [ada, bob, cid] = students[..] else { panic!("{students:?}") };
    let reason_of = async |app: &Services| {
        let gallery = app.galleries.of(MAIN).await.unwrap();
        let probe = sighting(1, face(1)).probe;
        gallery.predict(&[Sought { probe: &probe, expected: None }]).await.unwrap().remove(0).reason
    };
    assert_eq!(reason_of(&app).await, PredictionReason::Matched);
    let reason = |error: ServiceError| error.reason();
    let noted = app.pairs.note_twins(MAIN, bob, ada, user).await.unwrap();
    assert_eq!(
        (noted.first.number.as_str(), noted.kind, noted.noted_by.as_str()),
        ("1", ConfusableKind::Twins, "ada")
    );
    assert_eq!(reason_of(&app).await, PredictionReason::ConfusablePair);
    // Another server hears of it when it starts; and of a change while it runs.
    let other = database.app().await;
    assert_eq!(reason_of(&other).await, PredictionReason::ConfusablePair);
    let shutdown = tokio_util::sync::CancellationToken::new();
    let (following, until) = (Arc::clone(&other.galleries), shutdown.clone());
    let task = tokio::spawn(async move { following.follow(until).await });
    assert_eq!(
        reason(app.pairs.note_twins(MAIN, ada, ada, user).await.unwrap_err()),
        ErrorReason::InvalidArgument
    );
    app.pairs.delete(MAIN, ada, bob, user).await.unwrap();
    assert_eq!(reason(app.pairs.delete(MAIN, ada, bob, user).await.unwrap_err()), ErrorReason::PairNotFound);
    assert_eq!(reason_of(&app).await, PredictionReason::Matched);
    while reason_of(&other).await != PredictionReason::Matched {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }

    // What a reviewer corrects is not decided without a person again.
    let device = camera(&app, "door").await;
    app.ingest.ingest(MAIN, device, &[sighting(1, face(1))]).await.unwrap();
    let all = SightingFilter::default();
    let newest = PageRequest::new(1, "", false, ListName::new("sightings")).unwrap();
    let id = app.reviews.sightings(MAIN, &all, &newest).await.unwrap().items[0].id;
    app.reviews.review(MAIN, &verdict(id, Verdict::Approved, Some(bob)), user).await.unwrap();
    while reason_of(&other).await != PredictionReason::ConfusablePair {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let list = async |student| {
        let page = PageRequest::new(10, "", true, ListName::new("pairs")).unwrap();
        app.pairs.list(MAIN, student, &page).await.unwrap()
    };
    let all = list(None).await;
    assert_eq!(
        (all.items.len(), all.items[0].kind, all.total.unwrap().items),
        (1, ConfusableKind::Confused, 1)
    );
    assert_eq!((list(Some(bob)).await.items.len(), list(Some(cid)).await.items.len()), (1, 0));
    // Nothing is left of it where one is erased.
    app.students.erase(MAIN, bob, user).await.unwrap();
    assert_eq!(list(None).await.items, []);
    assert_eq!(
        reason(app.pairs.note_twins(MAIN, ada, bob, user).await.unwrap_err()),
        ErrorReason::StudentErased
    );
    shutdown.cancel();
    task.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_looks_less_and_less_like_their_pictures_is_told_until_they_are_enrolled_again() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let (ada, bob) = (database.student(&app, "1").await, database.student(&app, "2").await);
    for (student, number) in [(ada, 1), (bob, 2)] {
        database.template(student, &face(number)).await;
    }
    let owner = database.connect().await;
    owner.batch_execute("UPDATE templates SET created_at = created_at - interval '300 days'").await.unwrap();
    // Of both the same; what is newest of Ada was before the months of which Bob's are.
    let months = "INSERT INTO similarity_months (site_id, student_id, pack_digest, month, sightings, mean)
        SELECT $1, $2, $3, date_trunc('month', now() - n * interval '1 month')::date, 20, 0.9 - 0.1 * (6 - n)
        FROM generate_series(2, 6) n";
    let pack = PACK.as_bytes().as_slice();
    owner.execute(months, &[&MAIN.uuid(), &ada.uuid(), &pack]).await.unwrap();
    let sunk = || StudentFilter { re_enroll: Some(true), ..StudentFilter::default() };
    let others = || StudentFilter { re_enroll: Some(false), ..StudentFilter::default() };
    assert_eq!(numbers(&app, sunk()).await, [""; 0]);
    assert!(app.re_enrollment.look(MAIN, false).await.unwrap());
    assert!(!app.re_enrollment.look(MAIN, false).await.unwrap(), "once a day is enough");
    assert_eq!(
        (numbers(&app, sunk()).await, numbers(&app, others()).await),
        (vec!["1".into()], vec!["2".into()])
    );
    let shown = app.students.get(MAIN, &StudentKey::Id(ada)).await.unwrap();
    assert!(shown.re_enroll && shown.state.version == StudentVersion(1), "{shown:?}");

    // A new template ends it, and what was before it counts no more.
    database.template(ada, &face(3)).await;
    assert_eq!(numbers(&app, sunk()).await, [""; 0]);
    assert!(app.re_enrollment.look(MAIN, true).await.unwrap());
    assert_eq!(numbers(&app, sunk()).await, [""; 0]);

    // Months are summed up of what was accepted.
    let device = super::faces::camera(&app, "door").await;
    let seen: Vec<_> = (1..=3).map(|n| super::sighting(n, face(2))).collect();
    // Whose gallery has the templates.
    let app = database.app().await;
    app.ingest.ingest(MAIN, device, &seen).await.unwrap();
    assert!(app.re_enrollment.look(MAIN, true).await.unwrap());
    let sum = "SELECT sum(sightings)::bigint, max(mean) FROM similarity_months WHERE student_id = $1";
    let row = owner.query_one(sum, &[&bob.uuid()]).await.unwrap();
    assert_eq!(row.get::<_, Option<i64>>(0), Some(3));
    assert!(row.get::<_, f64>(1) > 0.99);
    // Of who is to be forgotten nothing is left of it.
    let user = database.user("eraser").await;
    app.students.erase(MAIN, bob, user).await.unwrap();
    assert_eq!(owner.query_one(sum, &[&bob.uuid()]).await.unwrap().get::<_, Option<i64>>(0), None);
}
