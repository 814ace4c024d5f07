//! Who is expected is looked up first, and marks follow what is seen at little cost.

use std::time::Duration;

use cavs_embedding::UnitEmbedding;
use cavs_types::{Decision, DeviceKind, Mark, MatchScope, SightingId, Verdict};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{attendance::Lesson, faces::verdict};
use crate::{
    attendance::{MarksKeeper, SheetMark},
    fleet::NewDevice,
    recognition::ThresholdChange,
    schedule::{MemberEnd, SessionTimes},
    services::Services,
    sightings::{CapturedSighting, Sighting},
    testing::{MAIN, face, sighting},
};

/// A face that has much in common with all others of these.
fn alike(number: u32) -> UnitEmbedding {
    let (common, own) = (face(1_000_000), face(number));
    let mixed = common.as_slice().iter().zip(own.as_slice()).map(|(common, own)| 1.4 * common + own);
    UnitEmbedding::normalize(mixed.collect()).unwrap()
}

/// A picture that is so similar to somebody's face, and as little so to everybody else's as can be had by chance.
fn picture(of: u32, similarity: f32) -> UnitEmbedding {
    let others: Vec<UnitEmbedding> =
        (1..5).chain(100..220).filter(|number| *number != of).map(alike).collect();
    let own = alike(of);
    let own = own.as_slice();
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let aside = (1.0 - similarity * similarity).sqrt();
    let pictures = (0..300).map(|noise| {
        let noise = face(2_000_000 + noise);
        let dot = cosine(own, noise.as_slice());
        let across: Vec<f32> = own.iter().zip(noise.as_slice()).map(|(a, b)| b - dot * a).collect();
        let across = UnitEmbedding::normalize(across).unwrap();
        let mixed = own.iter().zip(across.as_slice()).map(|(a, b)| similarity * a + aside * b);
        UnitEmbedding::normalize(mixed.collect()).unwrap()
    });
    let most_like = |picture: &UnitEmbedding| {
        others.iter().map(|other| cosine(picture.as_slice(), other.as_slice())).fold(-1.0, f32::max)
    };
    pictures.min_by(|a, b| most_like(a).total_cmp(&most_like(b))).unwrap()
}

/// A hundred and twenty students with faces that are alike, three of whom are expected; the threshold follows a rate. The
/// similarity that is enough of who is expected, and that which is of everybody.
async fn alike_school(lesson: &Lesson) -> (f32, f32) {
    let mut templates = Vec::new();
    for number in 100..220_u32 {
        let student = lesson.database.student(&lesson.app, &number.to_string()).await;
        templates.push(lesson.database.template(student, &alike(number)).await);
    }
    for (number, student) in (1..).zip(&lesson.students) {
        templates.push(lesson.database.template(*student, &alike(number)).await);
    }
    lesson.app.galleries.bring_into_force(MAIN, &templates).await.unwrap();
    let gallery = lesson.app.galleries.of(MAIN).await.unwrap();
    let wanted = ThresholdChange { wanted_rate: Some(0.05), ..ThresholdChange::default() };
    gallery.set_thresholds(wanted, 0, lesson.teacher).await.unwrap();
    let people = lesson.students[..3].iter().copied().collect();
    let (roster, site) = gallery.false_match_rates(&people);
    assert_eq!((roster.templates, site.templates), (6, 128));
    (roster.accept.get(), site.accept.get())
}

impl Lesson {
    async fn see_picture(&self, sequence: u64, at: Timestamp, probe: UnitEmbedding) -> Sighting {
        let seen = CapturedSighting { captured_at: at, ..sighting(sequence, probe) };
        self.app.ingest.ingest(MAIN, self.device, &[seen]).await.unwrap();
        let id = self.sighting(i64::try_from(sequence).unwrap()).await;
        self.found(id).await
    }

    async fn found(&self, id: SightingId) -> Sighting {
        self.app.reviews.sighting(MAIN, id).await.unwrap()
    }
}

fn decided(sighting: &Sighting) -> (Decision, MatchScope, Option<&str>) {
    let prediction = &sighting.prediction;
    let named = sighting.student.as_ref().map(|student| student.number.as_str());
    (prediction.decision, prediction.scope, named)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_expected_is_found_with_less_and_others_as_on_any_other_day() {
    use Decision::{Accepted, Pending};
    use MatchScope::{Roster, Site};
    let lesson = Lesson::start().await;
    let (enough, of_everybody) = alike_school(&lesson).await;
    assert!(of_everybody - enough > 0.02, "{enough} {of_everybody}");
    let between = f32::midpoint(enough, of_everybody);

    // The session is over: what comes late is judged by the roster of its own time.
    let seen = lesson.see_picture(1, lesson.at(5), picture(1, between)).await;
    assert_eq!(decided(&seen), (Accepted, Roster, Some("1")));
    assert!((seen.prediction.threshold - enough).abs() < 1e-6, "{:?}", seen.prediction);
    assert_eq!((seen.prediction.threshold_version, seen.prediction.scope_templates), (1, Some(6)));
    let hours_before = lesson.at(-60 * 5);
    let seen = lesson.see_picture(2, hours_before, picture(1, between)).await;
    assert_eq!(decided(&seen), (Pending, Site, None));
    assert_eq!(seen.prediction.scope_templates, Some(128));
    // Who is not expected takes what it takes on any other day, and is found.
    let seen = lesson.see_picture(3, lesson.at(6), picture(150, between)).await;
    assert_eq!(decided(&seen), (Pending, Site, None));
    let seen = lesson.see_picture(4, lesson.at(6), picture(150, of_everybody + 0.05)).await;
    assert_eq!(decided(&seen), (Accepted, Site, Some("150")));
    // What is known of it is said with the mark, and on the sheet.
    lesson.see_picture(5, lesson.at(20), picture(1, between)).await;
    lesson.keep().await;
    let details = lesson.details(0).await;
    let by: Vec<_> = details.sightings.iter().map(|one| (one.scope, one.scope_templates)).collect();
    assert_eq!((details.listed.mark.mark, by), (Mark::Present, vec![(Roster, Some(6)); 2]));
    let sheet = lesson.app.sheets.sheet_with_false_matches(MAIN, lesson.session).await.unwrap();
    let expected = sheet.false_matches.unwrap();
    let roster = expected.roster.unwrap();
    assert_eq!((expected.faces, roster.templates, expected.site.templates), (4, 6, 128));
    // Both let in as many strangers as were wanted, to a third: the sample is what it is.
    for rate in [roster.per_thousand.unwrap(), expected.site.per_thousand.unwrap()] {
        assert!((0.03..0.08).contains(&rate), "{expected:?}");
    }
    let at_most = 4.0 * (roster.per_thousand.unwrap() + expected.site.per_thousand.unwrap()) / 1000.0;
    assert!((expected.at_most().unwrap() - at_most).abs() < 1e-9);

    // What thresholds would do is asked of the same faces, each among those whom it was judged among.
    let gallery = lesson.app.galleries.of(MAIN).await.unwrap();
    let same = ThresholdChange { wanted_rate: Some(0.05), ..ThresholdChange::default() };
    let effect = lesson.app.reviews.preview_thresholds(&gallery, same).await.unwrap();
    assert_eq!((effect.decisions[0].accepted, effect.decisions[0].pending), (3, 2));
    assert_eq!(effect.decisions[0], effect.decisions[1]);
    // Who says the threshold says it for everybody.
    let said = ThresholdChange { accept: Some(of_everybody), ..ThresholdChange::default() };
    gallery.set_thresholds(said, 1, lesson.teacher).await.unwrap();
    let seen = lesson.see_picture(6, lesson.at(7), picture(1, between)).await;
    assert_eq!(decided(&seen), (Pending, Roster, None));
}

/// How a sighting of the first student's face would be decided on, an hour from now on.
async fn scope(lesson: &Lesson, app: &Services, sequence: u64) -> MatchScope {
    let seen = CapturedSighting { captured_at: lesson.at(30), ..sighting(sequence, face(0)) };
    app.ingest.ingest(MAIN, lesson.device, &[seen]).await.unwrap();
    lesson.found(lesson.sighting(i64::try_from(sequence).unwrap()).await).await.prediction.scope
}

#[tokio::test(flavor = "multi_thread")]
async fn every_server_follows_changes_of_rosters() {
    let lesson = Lesson::start().await;
    let other = lesson.database.app().await;
    let stop = CancellationToken::new();
    let following = {
        let (expected, stop) = (other.expected.clone(), stop.clone());
        tokio::spawn(async move { expected.follow(stop).await })
    };
    let mut sequence = 0;
    let mut becomes = async |wanted: MatchScope, what: &str| {
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            sequence += 1;
            if scope(&lesson, &other, sequence).await == wanted {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "{what} is not followed");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    becomes(MatchScope::Roster, "a session that was open").await;
    let yesterday = lesson.at(0).to_zoned(jiff::tz::TimeZone::UTC).date().yesterday().unwrap();
    let (student, group) = (lesson.students[0], lesson.group);
    lesson.app.groups.remove_member(MAIN, group, student, Some(MemberEnd::Entirely)).await.unwrap();
    becomes(MatchScope::Site, "who has left").await;
    lesson.app.groups.add_member(MAIN, group, student, (yesterday, None)).await.unwrap();
    becomes(MatchScope::Roster, "who came").await;
    lesson.owner.execute("UPDATE class_sessions SET state = 'cancelled'", &[]).await.unwrap();
    becomes(MatchScope::Site, "a session that was cancelled").await;
    lesson.owner.execute("UPDATE class_sessions SET state = 'closing'", &[]).await.unwrap();
    becomes(MatchScope::Roster, "a session that takes place again").await;
    // A day is another one by other clocks.
    lesson.app.groups.remove_member(MAIN, group, student, Some(MemberEnd::After(yesterday))).await.unwrap();
    becomes(MatchScope::Site, "who has left yesterday").await;
    let zone = if lesson.at(0).to_zoned(jiff::tz::TimeZone::UTC).hour() < 12 {
        "Pacific/Honolulu"
    } else {
        // There it is tomorrow already.
        lesson.app.groups.remove_member(MAIN, group, student, Some(MemberEnd::Entirely)).await.unwrap();
        let tomorrow = yesterday.tomorrow().unwrap().tomorrow().unwrap();
        lesson.app.groups.add_member(MAIN, group, student, (tomorrow, None)).await.unwrap();
        "Pacific/Kiritimati"
    };
    assert_eq!(lesson.store.queued(None).await.unwrap().len(), 1);
    lesson.keep().await;
    lesson.owner.execute("UPDATE sites SET time_zone = $1", &[&zone]).await.unwrap();
    assert_eq!(lesson.store.queued(None).await.unwrap().len(), 1, "the zone is in no marks");
    becomes(MatchScope::Roster, "the clocks of the site").await;
    stop.cancel();
    following.await.unwrap();
}

async fn sheet(lesson: &Lesson) -> (Vec<SheetMark>, Vec<String>) {
    let sheet = lesson.app.sheets.sheet(MAIN, lesson.session).await.unwrap();
    (sheet.marks, sheet.visitors.iter().map(|visitor| format!("{visitor:?}")).collect())
}

/// Marks that are made of what was seen since are those that are made of all.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_seen_since_makes_the_same_marks_as_all_of_it() {
    let lesson = Lesson::start().await;
    let keeper = MarksKeeper::new(&lesson.store);
    let again = async |lesson: &Lesson| {
        lesson.store.renew(MAIN, lesson.session, Timestamp::now()).await.unwrap();
        sheet(lesson).await
    };
    // Nothing is known yet: all is read.
    lesson.see(1, 0, &[1]).await;
    keeper.keep_once().await;
    // What a person has never been seen in is left alone, which says that the others were not looked at.
    let poison = "UPDATE marks SET minutes_late = 77 WHERE student_id = $1";
    lesson.owner.execute(poison, &[&lesson.students[2].uuid()]).await.unwrap();
    for (turn, (who, minutes)) in
        [(0, [3, 40]), (1, [20, 22]), (3, [5, 50]), (0, [58, 59])].iter().enumerate()
    {
        lesson.see(100 + 10 * u64::try_from(turn).unwrap(), *who, minutes).await;
        keeper.keep_once().await;
        assert_eq!(sheet(&lesson).await.0[2].minutes_late, 77, "all were looked at in turn {turn}");
    }
    let kept = sheet(&lesson).await;
    assert_eq!(
        kept.0.iter().map(|mark| mark.mark).collect::<Vec<_>>(),
        [Mark::Present, Mark::Late, Mark::Undetermined]
    );
    let mut anew = again(&lesson).await;
    assert_eq!(anew.0[2].minutes_late, 0);
    // But for the one that was spoilt.
    anew.0[2] = kept.0[2].clone();
    assert_eq!(anew, kept);

    // Others have made the marks since, and a person has said something: all is read.
    lesson.see(200, 1, &[45, 46]).await;
    let wrong = verdict(lesson.sighting(100).await, Verdict::Rejected, None);
    lesson.app.reviews.review(MAIN, &wrong, lesson.teacher).await.unwrap();
    keeper.keep_once().await;
    let kept = sheet(&lesson).await;
    assert_eq!(again(&lesson).await, kept);
    // And again only what was seen since, also where it is repeated.
    keeper.keep_once().await;
    lesson.see(300, 2, &[4, 44]).await;
    lesson.see(300, 2, &[4, 44]).await;
    keeper.keep_once().await;
    lesson.see(310, 2, &[55]).await;
    keeper.keep_once().await;
    let kept = sheet(&lesson).await;
    assert_eq!(kept.0[2].mark, Mark::Present);
    assert_eq!(again(&lesson).await, kept);
}

/// Two keepers don't take a session from each other, and whoever is gone is followed by another.
#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_looks_after_its_sessions_alone() {
    let lesson = Lesson::start().await;
    let [one, other] = [(); 2].map(|()| MarksKeeper::new(&lesson.store));
    lesson.see(1, 0, &[1]).await;
    one.keep_once().await;
    let held = "UPDATE attendance_sheets SET kept_until = kept_until + interval '1 h'";
    assert_eq!(lesson.owner.execute(held, &[]).await.unwrap(), 1);
    lesson.see(2, 0, &[40]).await;
    other.keep_once().await;
    let waiting = "SELECT count(*) FROM attendance_queue";
    assert_eq!(lesson.owner.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0), 1);
    lesson.owner.execute("UPDATE attendance_sheets SET kept_until = now()", &[]).await.unwrap();
    other.keep_once().await;
    assert_eq!(lesson.owner.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0), 0);
    assert_eq!(sheet(&lesson).await.0[0].mark, Mark::Present);
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_are_told_of_who_leaves_a_roster() {
    let lesson = Lesson::start().await;
    let stop = CancellationToken::new();
    let follow = {
        let (feed, stop) = (lesson.app.mark_feed.clone(), stop.clone());
        tokio::spawn(async move { feed.follow(stop).await })
    };
    let mut watch = lesson.app.mark_feed.watch(MAIN, lesson.session).await.unwrap();
    assert_eq!(watch.next().await.unwrap().sheet.marks.len(), 3);
    let (group, student) = (lesson.group, lesson.students[1]);
    lesson.app.groups.remove_member(MAIN, group, student, Some(MemberEnd::Entirely)).await.unwrap();
    lesson.keep().await;
    let news = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap();
    assert_eq!(news.left.iter().map(|left| left.id).collect::<Vec<_>>(), [student]);
    let day = lesson.at(0).to_zoned(jiff::tz::TimeZone::UTC).date();
    lesson.app.groups.add_member(MAIN, group, student, (day, None)).await.unwrap();
    lesson.keep().await;
    let news = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap().unwrap();
    assert_eq!(news.sheet.marks.iter().map(|mark| mark.student.id).collect::<Vec<_>>(), [student]);
    assert!(news.left.is_empty());
    stop.cancel();
    follow.await.unwrap();
}

/// A camera that was moved afterwards has been where it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_room_is_where_the_device_was() {
    let lesson = Lesson::start().await;
    let new = NewDevice { name: "hall".into(), kind: DeviceKind::Agent, classroom: "R2".into() };
    lesson.app.devices.create_device(MAIN, &new).await.unwrap();
    let room: Uuid =
        lesson.owner.query_one("SELECT id FROM rooms WHERE name = 'R2'", &[]).await.unwrap().get(0);
    let starts_at = lesson.at(100);
    let times = SessionTimes::new(starts_at, starts_at + SignedDuration::from_mins(60)).unwrap();
    let sessions = &lesson.app.class_sessions;
    sessions.create(MAIN, lesson.group, "Art".into(), times, vec![room.into()]).await.unwrap();
    lesson.owner.execute("UPDATE devices SET classroom = 'R2' WHERE name = 'door'", &[]).await.unwrap();
    lesson.keep().await;
    let expected = lesson.app.expected.at(MAIN, &[Some((lesson.device, lesson.at(30))), None]).await;
    assert!(expected[0].as_ref().is_some_and(|people| people.count() == 3));
    assert!(expected[1].is_none());
}
