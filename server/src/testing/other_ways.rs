//! Cards, PINs and codes, and what is proposed of those who are enrolled late.

use cavs_types::{CheckInKind, CredentialKind, Decision, ErrorReason, Mark};
use jiff::{SignedDuration, Timestamp};

use super::attendance::Lesson;
use crate::{
    attendance::{CardNumber, CheckInPlace, MarkedSession, Pin},
    error::ServiceError,
    page::{ListName, PageRequest},
    schedule::{ScheduleKey, SessionTimes},
    sightings::{CapturedSighting, LateMatch},
    testing::{MAIN, face, sighting},
};

fn reason<T>(result: Result<T, ServiceError>) -> Option<ErrorReason> {
    result.err().map(|refused| refused.reason())
}

impl Lesson {
    /// A session of the group that goes on.
    async fn going_on(&self) -> cavs_types::ClassSessionId {
        let room = self.room().await;
        let now = Timestamp::now();
        let times =
            SessionTimes::new(now - SignedDuration::from_mins(5), now + SignedDuration::from_mins(55))
                .unwrap();
        let sessions = &self.app.class_sessions;
        let made = sessions.create(MAIN, self.group, "now".into(), times, vec![room]).await.unwrap();
        self.keep().await;
        made.id
    }

    async fn room(&self) -> cavs_types::RoomId {
        let sql = "SELECT id FROM rooms WHERE name = 'R1'";
        self.owner.query_one(sql, &[]).await.unwrap().get::<_, uuid::Uuid>(0).into()
    }

    async fn kinds(&self) -> Vec<String> {
        let rows = self.owner.query("SELECT kind FROM check_ins ORDER BY recorded_at", &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

fn pin(digits: &str) -> Pin {
    Pin::new(digits).unwrap()
}

fn card(number: &str) -> CardNumber {
    CardNumber::new(number).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_seen_the_code_and_knows_their_pin_is_checked_in() {
    let lesson = Lesson::start().await;
    let session = lesson.going_on().await;
    let check_ins = &lesson.app.check_ins;
    check_ins.set_pin(MAIN, lesson.students[0], &pin("123456"), lesson.teacher).await.unwrap();
    let shown = check_ins.code(MAIN, session, lesson.teacher).await.unwrap();
    assert!(shown.renew_at < shown.expires_at);

    // Another server has shown it.
    let other = lesson.database.app().await;
    let (there, _): (MarkedSession, _) =
        other.check_ins.with_code(&shown.text, "1", &pin("123456")).await.unwrap();
    assert_eq!((there.id, lesson.kinds().await), (session, vec!["qr".to_owned()]));
    let sheet = lesson.app.sheets.sheet(MAIN, session).await.unwrap();
    assert_eq!(sheet.marks[0].mark, Mark::Present);

    let wrong = Some(ErrorReason::CredentialsInvalid);
    for (code, number, digits) in [
        (shown.text.as_str(), "1", "123457"),
        (&shown.text, "2", "123456"),
        (&shown.text, "nobody", "123456"),
        ("", "1", "123456"),
        ("CAVS1.AAAA", "1", "123456"),
    ] {
        assert_eq!(reason(check_ins.with_code(code, number, &pin(digits)).await), wrong, "{code} {number}");
    }
    // Each of its bytes is signed.
    for at in 6..shown.text.len() {
        let mut text = shown.text.clone().into_bytes();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        let text = String::from_utf8(text).unwrap();
        assert_eq!(reason(check_ins.with_code(&text, "1", &pin("123456")).await), wrong, "{at}");
    }
    // One that is over, and one that was never shown there.
    let over = check_ins.code(MAIN, lesson.session, lesson.teacher).await.unwrap();
    let refused = check_ins.with_code(&over.text, "1", &pin("123456")).await;
    assert_eq!(reason(refused), Some(ErrorReason::InvalidArgument));
    let none = check_ins.code(MAIN, cavs_types::ClassSessionId::generate(), lesson.teacher).await;
    assert_eq!(reason(none), Some(ErrorReason::ClassSessionNotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_one_students() {
    let lesson = Lesson::start().await;
    let check_ins = &lesson.app.check_ins;
    let [ada, bob] = [lesson.students[0], lesson.students[1]];
    check_ins.set_card(MAIN, ada, &card("04:a2:bf:11"), lesson.teacher).await.unwrap();
    let taken = check_ins.set_card(MAIN, bob, &card("04A2BF11"), lesson.teacher).await;
    assert_eq!(reason(taken), Some(ErrorReason::InUse));
    let nobody =
        check_ins.set_card(MAIN, cavs_types::StudentId::generate(), &card("0001"), lesson.teacher).await;
    assert_eq!(reason(nobody), Some(ErrorReason::StudentNotFound));
    // Nothing of the number is in the database.
    let rows =
        "SELECT count(*) FROM student_credentials WHERE convert_from(digest, 'LATIN1') LIKE '%04A2BF11%'";
    assert_eq!(lesson.owner.query_one(rows, &[]).await.unwrap().get::<_, i64>(0), 0);

    let room = CheckInPlace::Room(ScheduleKey::Id(lesson.room().await));
    let none = check_ins.with_card(MAIN, &card("04A2BF11"), room.clone(), lesson.teacher).await;
    assert_eq!(reason(none), Some(ErrorReason::ClassSessionNotFound), "the session is over");
    let session = lesson.going_on().await;
    let (there, _) =
        check_ins.with_card(MAIN, &card("04-A2-BF-11"), room.clone(), lesson.teacher).await.unwrap();
    assert_eq!(there.id, session);
    let (there, _) = check_ins
        .with_card(MAIN, &card("04A2BF11"), CheckInPlace::Session(session), lesson.teacher)
        .await
        .unwrap();
    assert_eq!((there.id, lesson.kinds().await), (session, vec!["card".to_owned(); 2]));
    let wrong = check_ins.with_card(MAIN, &card("04A2BF12"), room.clone(), lesson.teacher).await;
    assert_eq!(reason(wrong), Some(ErrorReason::CredentialsInvalid));

    // The next one takes the place of the one before, which somebody else may have then.
    check_ins.set_card(MAIN, ada, &card("77777777"), lesson.teacher).await.unwrap();
    check_ins.set_card(MAIN, bob, &card("04A2BF11"), lesson.teacher).await.unwrap();
    assert!(check_ins.credentials(MAIN, ada).await.unwrap().of(CredentialKind::Card).is_some());
    check_ins.delete(MAIN, ada, CredentialKind::Card, lesson.teacher).await.unwrap();
    assert_eq!(check_ins.credentials(MAIN, ada).await.unwrap().of(CredentialKind::Card), None);
    // Who is of no group that is expected there has no session there.
    check_ins.set_card(MAIN, lesson.students[3], &card("9999"), lesson.teacher).await.unwrap();
    let visitor = check_ins.with_card(MAIN, &card("9999"), room, lesson.teacher).await;
    assert_eq!(reason(visitor), Some(ErrorReason::ClassSessionNotFound));
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_can_not_be_tried_out() {
    let lesson = Lesson::start().await;
    let session = CheckInPlace::Session(lesson.going_on().await);
    let check_ins = &lesson.app.check_ins;
    check_ins.set_pin(MAIN, lesson.students[0], &pin("111111"), lesson.teacher).await.unwrap();
    check_ins.set_pin(MAIN, lesson.students[1], &pin("111111"), lesson.teacher).await.unwrap();
    let same = "SELECT count(DISTINCT digest) FROM student_credentials";
    assert_eq!(lesson.owner.query_one(same, &[]).await.unwrap().get::<_, i64>(0), 2, "the same PIN is seen");
    let attempt = async |number: &str, digits: &str| {
        let digits = pin(digits);
        reason(check_ins.with_pin(MAIN, (number, &digits), session.clone(), lesson.teacher).await)
    };
    for _ in 0..4 {
        assert_eq!(attempt("1", "222222").await, Some(ErrorReason::CredentialsInvalid));
    }
    assert_eq!(attempt("1", "111111").await, None, "the fifth is right");
    // All at once.
    let tries: Vec<_> = (0..20).map(|_| attempt("1", "222222")).collect();
    let refused = futures_util::future::join_all(tries).await;
    let looked_at = refused.iter().filter(|r| **r == Some(ErrorReason::CredentialsInvalid)).count();
    assert_eq!(looked_at, 5, "{refused:?}");
    assert_eq!(attempt("1", "111111").await, Some(ErrorReason::LoginThrottled), "also the right one");
    assert_eq!(attempt("2", "111111").await, None, "others are not kept out");
    lesson.owner.execute("UPDATE pin_attempts SET last_at = now() - interval '16 min'", &[]).await.unwrap();
    assert_eq!(attempt("1", "111111").await, None);
    for _ in 0..6 {
        let _ = attempt("1", "222222").await;
    }
    check_ins.set_pin(MAIN, lesson.students[0], &pin("333333"), lesson.teacher).await.unwrap();
    assert_eq!(attempt("1", "333333").await, None, "a new one is looked at");
    assert_eq!(lesson.kinds().await, vec!["pin".to_owned(); 4]);
    assert_eq!(CheckInKind::Pin.as_str(), "pin");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_erased_has_neither_card_nor_pin() {
    let lesson = Lesson::start().await;
    let room = CheckInPlace::Room(ScheduleKey::Id(lesson.room().await));
    lesson.going_on().await;
    let check_ins = &lesson.app.check_ins;
    let (ada, bob) = (lesson.students[0], lesson.students[1]);
    for student in [ada, bob] {
        check_ins.set_pin(MAIN, student, &pin("111111"), lesson.teacher).await.unwrap();
    }
    check_ins.set_card(MAIN, ada, &card("AAAA1"), lesson.teacher).await.unwrap();
    check_ins.set_card(MAIN, bob, &card("BBBB1"), lesson.teacher).await.unwrap();
    lesson.app.students.erase(MAIN, ada, lesson.teacher).await.unwrap();
    let left = "SELECT count(*) FROM student_credentials";
    assert_eq!(lesson.owner.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 2);
    let again = check_ins.set_card(MAIN, ada, &card("AAAA1"), lesson.teacher).await;
    assert_eq!(reason(again), Some(ErrorReason::StudentErased));
    let invalid = Some(ErrorReason::CredentialsInvalid);
    assert_eq!(
        reason(check_ins.with_card(MAIN, &card("AAAA1"), room.clone(), lesson.teacher).await),
        invalid
    );
    // Who has left isn't checked in by what they still have.
    lesson
        .owner
        .execute("UPDATE students SET is_active = false WHERE id = $1", &[&bob.uuid()])
        .await
        .unwrap();
    assert_eq!(
        reason(check_ins.with_card(MAIN, &card("BBBB1"), room.clone(), lesson.teacher).await),
        invalid
    );
    let digits = pin("111111");
    let tried = check_ins.with_pin(MAIN, ("2", &digits), room, lesson.teacher).await;
    assert_eq!(reason(tried), invalid);
}

impl Lesson {
    /// Somebody is enrolled who was seen before, as another server does it.
    async fn enroll_late(&self, number: &str, who: u32) -> cavs_types::StudentId {
        let student = self.database.student(&self.app, number).await;
        let template = self.database.template(student, &face(who)).await;
        self.app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
        let sql = "UPDATE late_match_queue SET asked_at = asked_at - interval '1 min'";
        self.owner.execute(sql, &[]).await.unwrap();
        student
    }

    async fn look(&self) -> u64 {
        let gallery = self.app.galleries.of(MAIN).await.unwrap();
        self.app.late_matches.look(&gallery).await.unwrap()
    }

    async fn proposed(&self) -> Vec<LateMatch> {
        let page = PageRequest::new(50, "", true, ListName::new("late_matches")).unwrap();
        let page = self.app.late_matches.list(MAIN, None, &page).await.unwrap();
        assert_eq!(page.total.map(|total| total.items), Some(page.items.len() as u64));
        page.items
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_enrolled_late_is_proposed_and_a_person_decides() {
    let lesson = Lesson::start().await;
    lesson.app.late_matches.set_days(MAIN, Some(7), lesson.teacher).await.unwrap();
    // Seen in the lesson, and taken for nobody; and somebody else is.
    lesson.see(1, 77, &[5, 30]).await;
    lesson.see(10, 88, &[7]).await;
    let before = lesson.at(-60 * 24 * 9);
    let long_ago = CapturedSighting { captured_at: before, ..sighting(20, face(77)) };
    lesson.app.ingest.ingest(MAIN, lesson.device, &[long_ago]).await.unwrap();
    let student = lesson.enroll_late("77", 77).await;
    let day = lesson.at(0).to_zoned(jiff::tz::TimeZone::UTC).date();
    lesson.app.groups.add_member(MAIN, lesson.group, student, (day, None)).await.unwrap();
    assert_eq!(lesson.look().await, 2, "those of the last seven days");
    assert_eq!(lesson.look().await, 0, "what was looked through is done");
    let found = lesson.proposed().await;
    assert!(found.iter().all(|one| one.student.id == student && one.similarity.get() > 0.99), "{found:?}");
    // A proposal is no mark.
    assert_eq!(lesson.marks().await[3].mark, Mark::Undetermined);

    let late = &lesson.app.late_matches;
    late.decide(MAIN, (found[0].sighting, student), true, lesson.teacher).await.unwrap();
    late.decide(MAIN, (found[1].sighting, student), false, lesson.teacher).await.unwrap();
    let none = late.decide(MAIN, (found[0].sighting, student), true, lesson.teacher).await;
    assert_eq!(reason(none), Some(ErrorReason::ProposalNotFound));
    assert!(lesson.proposed().await.is_empty());
    assert_eq!(lesson.marks().await[3].mark, Mark::Present, "one that a person has approved is enough");
    let seen = lesson.app.reviews.sighting(MAIN, found[0].sighting).await.unwrap();
    assert_eq!(seen.prediction.decision, Decision::Unknown, "what the machine said stays");
    assert_eq!((seen.student.map(|of| of.id), seen.reviews.len()), (Some(student), 1));

    // Another picture of the same person: what was decided stays so, and what somebody has reviewed is theirs.
    let template = lesson.database.template(student, &face(77)).await;
    lesson.app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
    let sql = "UPDATE late_match_queue SET asked_at = asked_at - interval '1 min'";
    lesson.owner.execute(sql, &[]).await.unwrap();
    assert_eq!((lesson.look().await, lesson.proposed().await.len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_proposed_where_nobody_wants_it_nor_of_the_erased() {
    let lesson = Lesson::start().await;
    lesson.see(1, 77, &[5]).await;
    lesson.see(2, 88, &[6]).await;
    lesson.enroll_late("77", 77).await;
    let waiting = "SELECT count(*) FROM late_match_queue";
    assert_eq!(lesson.owner.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0), 0, "off by itself");
    assert_eq!(lesson.look().await, 0);

    lesson.app.late_matches.set_days(MAIN, Some(3), lesson.teacher).await.unwrap();
    let student = lesson.enroll_late("88", 88).await;
    assert_eq!((lesson.look().await, lesson.proposed().await.len()), (1, 1));
    lesson.app.students.erase(MAIN, student, lesson.teacher).await.unwrap();
    assert!(lesson.proposed().await.is_empty());
    let left = "SELECT count(*) FROM late_matches";
    assert_eq!(lesson.owner.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);

    // Who says that it isn't wanted any more has nobody looked up who waits.
    lesson.see(3, 99, &[8]).await;
    lesson.enroll_late("99", 99).await;
    lesson.app.late_matches.set_days(MAIN, None, lesson.teacher).await.unwrap();
    assert_eq!((lesson.look().await, lesson.proposed().await.len()), (0, 0));
}
