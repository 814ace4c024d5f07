//! The running gallery against a real database.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::recognition::{ThresholdChange, ThresholdStore};
use crate::testing::{MAIN, TestDatabase, face};

/// Far below what a statement may take.
const SOON: Duration = Duration::from_secs(5);

async fn knows(recognition: &Recognition, number: u32) -> bool {
    let found =
        recognition.others_like(&face(number), Similarity::clamped(0.99), StudentId::generate()).await;
    !found.unwrap().is_empty()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_force_while_everything_is_loaded_again() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let recognition = &app.galleries.of(MAIN).await.unwrap();
    let student = database.student(&app, "1").await;
    let first = database.template(student, &face(1)).await;
    recognition.bring_into_force(&[first]).await.unwrap();
    assert!(knows(recognition, 1).await);

    // Changes that are missing: everything must be loaded. And loading hangs at what is to be forgotten.
    let behind = database.connect().await;
    behind
        .batch_execute(
            "UPDATE gallery_clock SET sequence = sequence + 5;
             INSERT INTO gallery_changes (site_id, sequence, kind, template_id, student_id, changed_at)
                 SELECT id, -1, 'insert', gen_random_uuid(), gen_random_uuid(), '2020-01-01' FROM sites",
        )
        .await
        .unwrap();
    let hold = "BEGIN; SELECT FROM gallery_changes WHERE sequence = -1 FOR UPDATE";
    behind.batch_execute(hold).await.unwrap();
    let (follower, shutdown) = (app.clone(), tokio_util::sync::CancellationToken::new());
    let until = shutdown.clone();
    let following = tokio::spawn(async move { follower.galleries.follow(until).await });
    let observer = database.connect().await;
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE wait_event_type = 'Lock' AND query LIKE 'DELETE FROM gallery_changes%'";
    while observer.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let second = database.template(student, &face(2)).await;
    let enrolled = timeout(SOON, recognition.bring_into_force(&[second])).await;
    assert!(enrolled.is_ok_and(|done| done.is_ok()), "an enrollment waits for the load");
    assert!(knows(recognition, 2).await, "an enrolled face is not found");
    assert!(timeout(SOON, app.enrollment.delete_template(MAIN, first)).await.is_ok_and(|done| done.is_ok()));
    assert!(!knows(recognition, 1).await, "a deleted face is found");

    // Another server sets thresholds.
    let thresholds = recognition.thresholds().thresholds;
    let user = database.user("admin").await;
    ThresholdStore::new(&database.store)
        .set_thresholds(MAIN, recognition.pack(), 0, &thresholds, None, Some(user))
        .await
        .unwrap();
    let in_force = async {
        while recognition.thresholds().version != 1 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(SOON, in_force).await.is_ok(), "thresholds wait for the load");

    behind.batch_execute("COMMIT").await.unwrap();
    let loaded = async {
        while recognition.sequence() != 8 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, loaded).await.unwrap();
    assert!(knows(recognition, 2).await && !knows(recognition, 1).await);
    shutdown.cancel();
    following.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_gallery_is_calibrated_once() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let mut templates = Vec::new();
    for number in 0..25 {
        let student = database.student(&app, &number.to_string()).await;
        templates.push(database.template(student, &face(number)).await);
    }
    app.galleries.bring_into_force(MAIN, &templates).await.unwrap();
    let gallery = app.galleries.of(MAIN).await.unwrap();
    let first = gallery.calibration().await.unwrap().unwrap();
    let second = gallery.calibration().await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    app.enrollment.delete_template(MAIN, templates[0]).await.unwrap();
    let third = gallery.calibration().await.unwrap().unwrap();
    assert!(!Arc::ptr_eq(&first, &third), "a gallery that has changed by more than a hundredth");
}

/// A face that has much in common with all others of these.
fn alike(number: u32) -> UnitEmbedding {
    let (common, own) = (face(1_000_000), face(number));
    let mixed = common.as_slice().iter().zip(own.as_slice()).map(|(common, own)| 1.4 * common + own);
    UnitEmbedding::normalize(mixed.collect()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_accept_threshold_follows_a_wanted_rate_until_somebody_says_it() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let user = database.user("admin").await;
    let gallery = app.galleries.of(MAIN).await.unwrap();
    // The configuration says the threshold: nothing is followed.
    gallery.follow_wanted_rate().await.unwrap();
    assert_eq!((gallery.thresholds().version, gallery.thresholds().rate), (0, None));
    let wanted = ThresholdChange { wanted_rate: Some(1.0), ..ThresholdChange::default() };
    let (_, set) = gallery.set_thresholds(wanted, 0, user).await.unwrap();
    // Of an empty gallery nothing is known but the lowest threshold.
    let reason = set.rate.unwrap();
    assert_eq!((reason.wanted, reason.basis, reason.templates), (1.0, RateBasis::Floor, 0));
    assert_eq!((set.version, set.thresholds.accept.get(), set.set_by.as_deref()), (1, 0.5, Some("admin")));
    gallery.follow_wanted_rate().await.unwrap();
    assert_eq!(gallery.thresholds().version, 1, "a version that changes nothing");

    let mut templates = Vec::new();
    for number in 0..120 {
        let student = database.student(&app, &number.to_string()).await;
        templates.push(database.template(student, &alike(number)).await);
    }
    app.galleries.bring_into_force(MAIN, &templates).await.unwrap();
    // Two servers at once: one of them sets it.
    let (one, other) = tokio::join!(gallery.follow_wanted_rate(), gallery.follow_wanted_rate());
    one.and(other).unwrap();
    let followed = gallery.thresholds();
    let reason = followed.rate.unwrap();
    assert_eq!((followed.version, followed.set_by.clone()), (2, None));
    assert_eq!((reason.wanted, reason.basis, reason.templates), (1.0, RateBasis::Gallery, 120));
    let rate = gallery.calibration().await.unwrap().unwrap();
    let rate = rate.calibration.false_matches_per_thousand(followed.thresholds.accept);
    assert!(followed.thresholds.accept.get() > 0.55 && (rate - 1.0).abs() < 0.1, "{followed:?} {rate}");
    // A margin is changed, and the rate is followed on; an accept threshold is said, and it is not.
    let margin = ThresholdChange { margin: Some(0.1), ..ThresholdChange::default() };
    let (_, set) = gallery.set_thresholds(margin, 2, user).await.unwrap();
    assert_eq!((set.thresholds.margin, set.rate), (0.1, Some(reason)));
    app.galleries.bring_into_force(MAIN, &[]).await.unwrap();
    let fixed = ThresholdChange { accept: Some(0.51), ..ThresholdChange::default() };
    let (_, set) = gallery.set_thresholds(fixed, 3, user).await.unwrap();
    assert_eq!(set.rate, None);
    gallery.follow_wanted_rate().await.unwrap();
    assert_eq!(gallery.thresholds(), set);
    let versions = gallery.threshold_versions().await.unwrap();
    let follows: Vec<_> = versions.iter().map(|v| v.rate.map(|rate| rate.basis)).collect();
    let floor = Some(RateBasis::Floor);
    assert_eq!(follows, [None, Some(RateBasis::Gallery), Some(RateBasis::Gallery), floor, None]);
}

/// What a server has set for a rate keeps nobody from changing the configuration.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_configuration_comes_into_force_after_a_rate_was_followed() {
    let database = TestDatabase::start().await;
    let app = database.app().await;
    let mut templates = Vec::new();
    for number in 0..120 {
        let student = database.student(&app, &number.to_string()).await;
        templates.push(database.template(student, &alike(number)).await);
    }
    let configured = |change: fn(&mut RecognitionSetup)| {
        let mut setup = TestDatabase::setup();
        change(&mut setup);
        let database = &database;
        async move {
            let galleries = database.galleries_as(setup).await;
            let gallery = galleries.of(MAIN).await.unwrap();
            gallery.follow_wanted_rate().await.unwrap();
            gallery.follow_wanted_rate().await.unwrap();
            gallery.thresholds()
        }
    };
    let followed = configured(|setup| setup.wanted_rate = Some(1.0)).await;
    assert_eq!((followed.version, followed.rate.map(|rate| rate.basis)), (1, Some(RateBasis::Gallery)));
    let asked = configured(|setup| {
        setup.wanted_rate = Some(1.0);
        setup.thresholds.liveness = Some(0.3);
        setup.thresholds.margin = 0.1;
    })
    .await;
    let expected = Thresholds { liveness: Some(0.3), margin: 0.1, ..followed.thresholds };
    assert_eq!((asked.version, asked.thresholds, asked.rate), (2, expected, followed.rate));
    // A rarer match is wanted; a threshold that was set a moment ago is raised at once, and lowered later.
    let rarer = configured(|setup| setup.wanted_rate = Some(0.01)).await;
    assert!(rarer.version == 3 && rarer.thresholds.accept > followed.thresholds.accept, "{rarer:?}");
    let more = configured(|setup| setup.wanted_rate = Some(1.0)).await;
    assert_eq!((more.version, more.thresholds.accept), (4, rarer.thresholds.accept));
    // The configuration says the threshold itself.
    let said = configured(|setup| setup.thresholds.accept = Similarity::clamped(0.61)).await;
    assert_eq!((said.version, said.thresholds.accept.get(), said.rate, said.set_by), (5, 0.61, None, None));
}
