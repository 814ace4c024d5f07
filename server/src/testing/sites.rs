//! A site meets no other one: not in the database, not in a gallery, not in an answer.

use std::{fmt::Debug, time::Duration};

use cavs_types::{
    DeviceId, DeviceKind, ErrorReason, Role, SightingId, SiteId, StudentId, TemplateId, Verdict,
};
use secrecy::ExposeSecret;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    error::ServiceError,
    fleet::{DeviceChange, DeviceKey, NewDevice, SettingsChange},
    page::PageRequest,
    people::{Credentials, Grant, SiteKey, StudentKey, create_user, grant},
    recognition::ThresholdChange,
    services::Services,
    sightings::{NewReview, Sighting, SightingFilter, SightingPosition, StoreOutcome},
    testing::{MAIN, TestDatabase, face, sighting},
};

/// Far above what a change needs to be in force elsewhere.
const SOON: Duration = Duration::from_secs(5);

/// What somebody is told who asks for what is not there.
fn refusal<T: Debug>(result: Result<T, ServiceError>) -> (ErrorReason, String) {
    let error = result.unwrap_err();
    (error.reason(), error.to_string())
}

fn reason<T: Debug>(result: Result<T, ServiceError>) -> ErrorReason {
    refusal(result).0
}

/// A site as the tests fill it: everybody has the same names, numbers and faces.
struct Filled {
    site: SiteId,
    device: DeviceId,
    student: StudentId,
    template: TemplateId,
}

async fn fill(database: &TestDatabase, app: &Services, site: SiteId) -> Filled {
    let student = database.student_of(app, site, "17").await;
    let template = database.try_template(site, student, &face(1)).await.unwrap();
    app.galleries.bring_into_force(site, &[template]).await.unwrap();
    let new = NewDevice { name: "door".into(), kind: DeviceKind::Agent, classroom: "Room 1".into() };
    let device = app.devices.create_device(site, &new).await.unwrap().id;
    Filled { site, device, student, template }
}

async fn newest(app: &Services, site: SiteId) -> Vec<Sighting> {
    let filter = SightingFilter::default();
    let page = PageRequest::<SightingPosition>::new(0, "", true, filter.list_name("sightings")).unwrap();
    app.reviews.sightings(site, &filter, &page).await.unwrap().items
}

async fn see(app: &Services, filled: &Filled, sequence: u64) -> SightingId {
    let stored = app.ingest.ingest(filled.site, filled.device, &[sighting(sequence, face(1))]).await.unwrap();
    assert_eq!(stored, [StoreOutcome::Stored]);
    newest(app, filled.site).await[0].id
}

#[tokio::test(flavor = "multi_thread")]
async fn two_sites_with_the_same_faces_share_nothing() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let operator = create_user(
        &database.store,
        Credentials::new("olga", "a long password".to_owned()).unwrap(),
        Grant::Operator,
    );
    let by = operator.await.unwrap().id;
    let north = app.sites.create("North", by).await.unwrap().site.id;
    assert_eq!(reason(app.sites.create("North", by).await), ErrorReason::SiteExists);
    let (ours, theirs) = (fill(&database, &app, MAIN).await, fill(&database, &app, north).await);

    // Each is named in its own site, and in no other list.
    for filled in [&ours, &theirs] {
        see(&app, filled, 1).await;
        let seen = newest(&app, filled.site).await;
        let named: Vec<_> = seen.iter().filter_map(|s| s.student.as_ref()).map(|s| s.id).collect();
        assert_eq!(named, [filled.student]);
        let candidates = &seen[0].prediction.candidates;
        assert!(candidates.iter().all(|c| c.student.id == filled.student), "{candidates:?}");
    }
    // A device of one speaks for the other's by no means.
    let stranger = app.ingest.ingest(MAIN, theirs.device, &[sighting(2, face(1))]).await;
    assert_eq!(reason(stranger), ErrorReason::DeviceUnknown);

    ids_of_another_site_are_unknown(&app, &ours, &theirs, by).await;

    // The database itself refuses what would join two sites.
    let behind = database.connect().await;
    for sql in [
        format!("UPDATE sightings SET predicted_student_id = '{}' WHERE site_id = '{MAIN}'", theirs.student),
        format!("UPDATE sightings SET device_id = '{}' WHERE site_id = '{MAIN}'", theirs.device),
        format!("UPDATE templates SET student_id = '{}' WHERE site_id = '{MAIN}'", theirs.student),
        format!("UPDATE devices SET site_id = '{MAIN}' WHERE id = '{}'", theirs.device),
    ] {
        let refused = behind.batch_execute(&sql).await.unwrap_err();
        let code = refused.code().unwrap().code();
        assert!(code == "23503" || code == "23505", "{sql}: {refused}");
    }

    changes_in_one_are_none_in_the_other(&app, &ours, &theirs, by).await;

    // Archived: it can be looked at, and forgotten.
    app.sites.archive(north, by).await.unwrap();
    assert_eq!(reason(app.device_streams.admit(theirs.device).await), ErrorReason::SiteArchived);
    let late = app.ingest.ingest(north, theirs.device, &[sighting(9, face(1))]).await;
    assert_eq!(reason(late), ErrorReason::SiteArchived);
    assert!(app.galleries.of(north).await.is_err());
    assert!(!newest(&app, north).await.is_empty());
    assert!(app.students.erase(north, theirs.student, by).await.unwrap().erased_at.is_some());
    app.device_streams.admit(ours.device).await.unwrap();
}

/// Whoever asks in one site for what is another's is told the same as of what is nowhere.
async fn ids_of_another_site_are_unknown(
    app: &Services,
    ours: &Filled,
    theirs: &Filled,
    by: cavs_types::UserId,
) {
    let site = ours.site;
    let seen = newest(app, theirs.site).await[0].id;
    let own = newest(app, site).await[0].id;
    macro_rules! the_same {
        ($id:expr, $nowhere:expr, |$name:ident| $call:expr) => {{
            let $name = $id;
            let told = refusal($call.await);
            let $name = $nowhere;
            let (reason, message) = refusal($call.await);
            let of_theirs = message.replace(&$nowhere.to_string(), &$id.to_string());
            assert_eq!(told, (reason, of_theirs), "{}", stringify!($call));
        }};
    }
    let (student, template) = (StudentId::generate(), TemplateId::generate());
    let (device, sighting) = (DeviceId::generate(), SightingId::generate());
    let rename = DeviceChange { name: Some("x".to_owned()), ..DeviceChange::default() };
    let settings = SettingsChange::new(true, vec![], Vec::<(String, String)>::new()).unwrap();
    the_same!(theirs.student, student, |id| app.students.get(site, &StudentKey::Id(id)));
    the_same!(theirs.student, student, |id| app.students.erase(site, id, by));
    the_same!(theirs.student, student, |id| app.enrollment.templates(site, id));
    the_same!(theirs.student, student, |id| app.enrollment.check_enrollable(site, id));
    the_same!(theirs.template, template, |id| app.enrollment.delete_template(site, id));
    the_same!(theirs.device, device, |id| app.devices.device(site, &DeviceKey::Id(id)));
    the_same!(theirs.device, device, |id| app.devices.update_device(site, id, None, &rename, by));
    the_same!(theirs.device, device, |id| app.devices.replace_device(site, id, by));
    the_same!(theirs.device, device, |id| app.devices.configure_device(site, id, &settings, by));
    the_same!(theirs.device, device, |id| app.devices.revoke_device(site, id, by));
    the_same!(theirs.device, device, |id| app.devices.issue_device_token(site, id, by));
    the_same!(theirs.device, device, |id| app.devices.revoke_device_tokens(site, id, by));
    the_same!(theirs.device, device, |id| app.devices.assign_camera(site, id, None, by));
    the_same!(seen, sighting, |id| app.reviews.sighting(site, id));
    the_same!(seen, sighting, |id| app.reviews.review_item(site, id));
    let verdict = |id, corrected| NewReview::new(id, Verdict::Approved, "", corrected, true).unwrap();
    the_same!(seen, sighting, |id| app.reviews.review(site, &verdict(id, None), by));
    the_same!(theirs.student, student, |id| app.reviews.review(site, &verdict(own, Some(id)), by));
}

/// Thresholds, numbers of changes and erasures are a site's own.
async fn changes_in_one_are_none_in_the_other(
    app: &Services,
    ours: &Filled,
    theirs: &Filled,
    by: cavs_types::UserId,
) {
    let [own, other] =
        [app.galleries.of(ours.site).await.unwrap(), app.galleries.of(theirs.site).await.unwrap()];
    let before = (other.sequence(), other.thresholds(), other.state().stats.templates);
    let change = ThresholdChange { accept: Some(0.9), ..ThresholdChange::default() };
    own.set_thresholds(change, 0, by).await.unwrap();
    app.enrollment.delete_template(ours.site, ours.template).await.unwrap();
    app.students.erase(ours.site, ours.student, by).await.unwrap();
    other.refresh_thresholds().await.unwrap();
    other.bring_into_force(&[]).await.unwrap();
    assert_eq!((other.sequence(), other.thresholds(), other.state().stats.templates), before);
    assert_eq!((own.sequence(), own.state().stats.templates, own.thresholds().version), (2, 0, 1));
    // Who was forgotten there is still known here.
    see(app, ours, 5).await;
    see(app, theirs, 5).await;
    assert!(newest(app, ours.site).await[0].student.is_none());
    assert_eq!(newest(app, theirs.site).await[0].student.as_ref().unwrap().id, theirs.student);
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_are_of_a_site_and_servers_hear_of_sites() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let password = "a long password";
    let log_in = async |name: &str| {
        let credentials = Credentials::new(name, password.to_owned()).unwrap();
        app.accounts.log_in(credentials).await.unwrap().token.expose_secret().to_owned()
    };
    let add = async |name: &str, grant: Grant| {
        create_user(&database.store, Credentials::new(name, password.to_owned()).unwrap(), grant).await
    };
    add("olga", Grant::Operator).await.unwrap();
    // In the only site there is.
    add("mia", Grant::Role(Role::Viewer, None)).await.unwrap();
    let (olga, mia) = (log_in("olga").await, log_in("mia").await);
    let site = async |token: &str, named: Option<SiteKey>| {
        let session = app.accounts.authenticate(token, named).await.unwrap();
        session.site().map(|found| (found.site.name, found.role))
    };
    assert_eq!(site(&olga, None).await.unwrap(), ("main".to_owned(), Role::Admin));

    // Another server opens the gallery of a site that this one adds, and closes it again.
    let other = database.app().await;
    let until = CancellationToken::new();
    let (following, stop) = (other.galleries.clone(), until.clone());
    let following = tokio::spawn(async move { following.follow(stop).await });
    let by = app.accounts.authenticate(&olga, None).await.unwrap().user.id;
    let north = app.sites.create("North", by).await.unwrap().site.id;
    let open = async |many| {
        while other.galleries.all().len() != many {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, open(2)).await.unwrap();

    // Whoever has one site names none; others have to.
    assert_eq!(site(&mia, None).await.unwrap(), ("main".to_owned(), Role::Viewer));
    assert_eq!(reason(site(&olga, None).await), ErrorReason::SiteRequired);
    let named = |name: &str| Some(SiteKey::Name(name.to_owned()));
    assert_eq!(site(&olga, named("North")).await.unwrap(), ("North".to_owned(), Role::Admin));
    assert_eq!(site(&mia, named("main")).await.unwrap().1, Role::Viewer);
    let (their, nowhere) = (site(&mia, named("North")).await, site(&mia, named("South")).await);
    assert_eq!(refusal(their).1.replace("North", "South"), refusal(nowhere).1);
    assert_eq!(reason(site(&mia, Some(SiteKey::Id(north))).await), ErrorReason::SiteNotFound);
    assert_eq!(reason(add("zoe", Grant::Role(Role::Viewer, None)).await), ErrorReason::SiteRequired);
    assert_eq!(
        reason(add("zoe", Grant::Role(Role::Viewer, named("South"))).await),
        ErrorReason::SiteNotFound
    );

    grant(&database.store, "mia", Grant::Role(Role::Reviewer, named("North"))).await.unwrap();
    assert_eq!(site(&mia, named("North")).await.unwrap().1, Role::Reviewer);
    assert_eq!(reason(site(&mia, None).await), ErrorReason::SiteRequired);
    let nobody = grant(&database.store, "nobody", Grant::Operator).await;
    assert_eq!(reason(nobody), ErrorReason::InvalidArgument);

    // One that is left is the only one again.
    app.sites.archive(north, by).await.unwrap();
    timeout(SOON, open(1)).await.unwrap();
    assert_eq!(site(&mia, None).await.unwrap().0, "main");
    assert!(site(&mia, named("North")).await.is_ok(), "it can be looked at");
    until.cancel();
    following.await.unwrap();
}
