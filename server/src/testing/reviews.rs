//! Verdicts on sightings, against a real database: what is in force, what is on record, and who may change it.

use std::{num::NonZeroU32, time::Duration};

use bytes::Bytes;
use cavs_embedding::UnitEmbedding;
use cavs_types::{
    Decision, DeviceKind, EnrollmentGate, ErrorReason, PredictionReason, QueueOrder, Role, SightingId,
    SiteId, StudentField, StudentId, UserId, Verdict,
};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use tokio_util::sync::CancellationToken;

use super::faces::camera;
use crate::{
    biometrics::{BiometricStore, Portrait},
    fleet::NewDevice,
    page::{ListName, PageRequest},
    people::{Credentials, EnrollmentTerms, Grant, StudentChange, create_user},
    services::Services,
    sightings::{
        AuditAnswer, BulkReview, BulkReviewed, CapturedSighting, ClaimedBy, NewClaim, NewReview,
        NewWithdrawal, Period, QueueFilter, QueueRequest, Sighting, SightingCounts, SightingFilter,
        SightingWatch, StatsRequest,
    },
    testing::{MAIN, TestDatabase, face, sighting},
};

/// A face that is so similar to the one of a number: what is not of it is at right angles to it.
fn like(number: u32, similarity: f32) -> UnitEmbedding {
    let (one, other) = (face(number), face(50));
    let shared = one.similarity(&other).unwrap().get();
    let rest = one.as_slice().iter().zip(other.as_slice()).map(|(a, b)| b - shared * a).collect();
    let rest = UnitEmbedding::normalize(rest).unwrap();
    let across = (1.0 - similarity * similarity).sqrt();
    let mix = one.as_slice().iter().zip(rest.as_slice()).map(|(a, b)| similarity * a + across * b);
    UnitEmbedding::normalize(mix.collect()).unwrap()
}

/// What somebody does to a sighting.
#[derive(Debug, Clone)]
enum Action {
    Review { by: usize, verdict: Verdict, corrected: Option<usize>, replace: bool },
    Withdraw { by: usize, of_anybody: bool },
}

/// A verdict as the model has it.
#[derive(Debug, Clone, PartialEq)]
struct Said {
    by: usize,
    verdict: Verdict,
    corrected: Option<usize>,
    withdrawn_by: Option<usize>,
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let verdict = prop::sample::select(Verdict::ALL);
    let review = (0..3_usize, verdict, prop::option::of(0..2_usize), any::<bool>())
        .prop_map(|(by, verdict, corrected, replace)| Action::Review { by, verdict, corrected, replace });
    let withdraw =
        (0..3_usize, any::<bool>()).prop_map(|(by, of_anybody)| Action::Withdraw { by, of_anybody });
    prop::collection::vec(prop_oneof![3 => review, 2 => withdraw], 14)
}

/// People and sightings: the odd ones of somebody whom the machine knows, the even ones of nobody.
struct Class {
    database: TestDatabase,
    app: Services,
    reviewers: Vec<UserId>,
    students: Vec<StudentId>,
    sightings: Vec<SightingId>,
}

impl Class {
    async fn start(sightings: u64) -> Self {
        let database = TestDatabase::start().await;
        let app = database.app().await;
        let mut reviewers = Vec::new();
        for name in ["0", "1", "2"] {
            reviewers.push(database.user(name).await);
        }
        let students = vec![database.student(&app, "0").await, database.student(&app, "1").await];
        let template = database.template(students[0], &face(1)).await;
        app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
        let new = NewDevice { name: "camera".into(), kind: DeviceKind::Agent, classroom: String::new() };
        let camera = app.devices.create_device(MAIN, &new).await.unwrap().id;
        let seen: Vec<_> =
            (0..sightings).map(|n| sighting(n, face(if n % 2 == 1 { 1 } else { 50 }))).collect();
        app.ingest.ingest(MAIN, camera, &seen).await.unwrap();
        let owner = database.connect().await;
        let rows = owner.query("SELECT id FROM sightings ORDER BY sequence", &[]).await.unwrap();
        let sightings = rows.iter().map(|row| row.get::<_, uuid::Uuid>(0).into()).collect();
        Self { database, app, reviewers, students, sightings }
    }

    /// Does what somebody does, and what should come of it to the model.
    async fn act(&self, id: SightingId, known: bool, model: &mut Vec<Said>, action: &Action) {
        let in_force = model.iter().rposition(|said| said.withdrawn_by.is_none());
        match *action {
            Action::Review { by, verdict, corrected, replace } => {
                let student = corrected.map(|index| self.students[index]);
                let new = NewReview::new(id, verdict, "said", student, replace).unwrap();
                let done = self.app.reviews.review(MAIN, &new, self.reviewers[by]).await;
                let stands = in_force.is_some_and(|at| model[at].verdict != Verdict::Flagged);
                let refused = if stands && !replace {
                    Some(ErrorReason::AlreadyReviewed)
                } else if verdict == Verdict::Approved && corrected.is_none() && !known {
                    Some(ErrorReason::InvalidArgument)
                } else if verdict != Verdict::Flagged
                    && in_force.is_some_and(|at| (model[at].verdict, model[at].by) == (Verdict::Flagged, by))
                {
                    Some(ErrorReason::SecondReviewerRequired)
                } else {
                    model.push(Said { by, verdict, corrected, withdrawn_by: None });
                    None
                };
                assert_eq!(done.err().map(|error| error.reason()), refused, "{action:?} {model:?}");
            }
            Action::Withdraw { by, of_anybody } => {
                let new = NewWithdrawal::new(id, "", of_anybody).unwrap();
                let done = self.app.reviews.withdraw(MAIN, &new, self.reviewers[by]).await;
                let refused = match in_force {
                    None => Some(ErrorReason::NotReviewed),
                    Some(at) if !of_anybody && model[at].by != by => Some(ErrorReason::RoleInsufficient),
                    Some(at) => {
                        model[at].withdrawn_by = Some(by);
                        None
                    }
                };
                assert_eq!(done.err().map(|error| error.reason()), refused, "{action:?} {model:?}");
            }
        }
    }

    /// A recorded verdict as the model has it.
    fn said(&self, review: &crate::sightings::Review) -> Said {
        let student = |id| self.students.iter().position(|student| *student == id).unwrap();
        Said {
            by: review.reviewer.parse().unwrap(),
            verdict: review.verdict,
            corrected: review.corrected.as_ref().map(|corrected| student(corrected.id)),
            withdrawn_by: review.withdrawal.as_ref().map(|taken_back| taken_back.reviewer.parse().unwrap()),
        }
    }

    fn assert_as_in(&self, model: &[Said], known: bool, recorded: &Sighting) {
        let reviews: Vec<Said> = recorded.reviews.iter().map(|review| self.said(review)).collect();
        assert_eq!(reviews, model);
        let in_force = model.iter().rfind(|said| said.withdrawn_by.is_none());
        assert_eq!(recorded.review.as_ref().map(|review| self.said(review)).as_ref(), in_force);
        let machine = known.then_some(0);
        let student = match in_force {
            Some(Said { verdict: Verdict::Approved, corrected, .. }) => corrected.or(machine),
            Some(Said { verdict: Verdict::Rejected, corrected, .. }) => *corrected,
            Some(Said { verdict: Verdict::Flagged, .. }) | None => machine,
        };
        let found = recorded.student.as_ref().map(|student| student.id);
        assert_eq!(found, student.map(|index| self.students[index]), "{model:?}");
        let times = recorded.reviews.iter().map(|review| review.reviewed_at);
        assert!(times.is_sorted(), "{recorded:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_verdict_that_was_not_taken_back_is_in_force() {
    let class = Class::start(60).await;
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for (index, id) in class.sightings.iter().enumerate() {
        let (known, mut model) = (index % 2 == 1, Vec::new());
        for action in actions().new_tree(&mut runner).unwrap().current() {
            class.act(*id, known, &mut model, &action).await;
        }
        class.assert_as_in(&model, known, &class.app.reviews.sighting(MAIN, *id).await.unwrap());
    }
    // Nothing of it was lost: as many rows as verdicts and withdrawals, numbered without gaps.
    let owner = class.database.connect().await;
    let sql =
        "SELECT count(*) FROM (SELECT max(number) - count(*) AS gaps FROM reviews GROUP BY sighting_id) AS s
               WHERE gaps <> 0";
    assert_eq!(owner.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
    let sql = "SELECT count(*) FROM sightings s WHERE in_queue <> (coalesce(verdict, CASE decision
               WHEN 'pending' THEN 'flagged' END, '') = 'flagged')";
    assert_eq!(owner.query_one(sql, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn reviewers_take_turns_and_nobody_changes_what_was_said() {
    let class = Class::start(2).await;
    let id = class.sightings[1];
    let at_once = async |work: fn(Services, SightingId, UserId) -> _| {
        let work: Vec<tokio::task::JoinHandle<bool>> =
            (0..9).map(|n| work(class.app.clone(), id, class.reviewers[n % 3])).collect();
        let mut done = 0;
        for one in work {
            done += usize::from(one.await.unwrap());
        }
        done
    };
    // Of those who have not seen each other's verdict, one is heard.
    let approve = |app: Services, id, by| {
        let new = NewReview::new(id, Verdict::Approved, "", None, false).unwrap();
        tokio::spawn(async move { app.reviews.review(MAIN, &new, by).await.is_ok() })
    };
    assert_eq!(at_once(approve).await, 1);
    let replace = |app: Services, id, by| {
        let new = NewReview::new(id, Verdict::Rejected, "", None, true).unwrap();
        tokio::spawn(async move { app.reviews.review(MAIN, &new, by).await.is_ok() })
    };
    assert_eq!(at_once(replace).await, 9);
    let withdraw = |app: Services, id, by| {
        let new = NewWithdrawal::new(id, "", true).unwrap();
        tokio::spawn(async move { app.reviews.withdraw(MAIN, &new, by).await.is_ok() })
    };
    assert_eq!((at_once(withdraw).await, at_once(withdraw).await), (9, 1));
    let sighting = class.app.reviews.sighting(MAIN, id).await.unwrap();
    assert_eq!((&sighting.review, sighting.reviews.len()), (&None, 10));
    assert!(sighting.reviews.iter().all(|review| review.withdrawal.is_some()), "{sighting:?}");

    // Neither the role that the server works as nor the owner of the tables changes a review, or a verdict
    // without one.
    let owner = class.database.connect().await;
    let server = class.database.store.client().await.unwrap();
    for sql in [
        "UPDATE reviews SET notes = 'never said'",
        "DELETE FROM reviews",
        "UPDATE sightings SET verdict = NULL, reviewer_id = NULL, reviewed_at = NULL",
        "UPDATE sightings SET review_notes = ''",
        "UPDATE sightings SET corrected_student_id = NULL",
    ] {
        for error in [owner.batch_execute(sql).await, server.batch_execute(sql).await] {
            let error = error.unwrap_err();
            assert_eq!(error.code(), Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE), "{sql}");
        }
    }
    // They go with their sighting.
    owner.execute("DELETE FROM sightings WHERE id = $1", &[&id.uuid()]).await.unwrap();
    assert_eq!(owner.query_one("SELECT count(*) FROM reviews", &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_queue_is_filtered_ordered_and_reviewed_in_bulk() {
    let database = TestDatabase::start().await;
    let (app, user) = (database.app().await, database.user("ada").await);
    let mut students = Vec::new();
    for number in 1..=2_u32 {
        let student = database.student(&app, &number.to_string()).await;
        let template = database.template(student, &face(number)).await;
        app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
        students.push(student);
    }
    let section = StudentChange::Fields(vec![(StudentField::Section, "7b".to_owned())]);
    app.students.update(MAIN, students[1], None, &section).await.unwrap();
    let device = camera(&app, "door").await;
    let faces = [(1, 0.46), (2, 0.40), (1, 0.42), (2, 0.44)];
    let seen: Vec<_> =
        (1..).zip(faces).map(|(n, (number, similarity))| sighting(n, like(number, similarity))).collect();
    app.ingest.ingest(MAIN, device, &seen).await.unwrap();

    let list = async |filter: &QueueFilter, order: QueueOrder, size: u32| {
        let (mut token, mut found) = (String::new(), Vec::new());
        loop {
            let queue = QueueRequest::each(filter.clone(), order);
            let page = PageRequest::new(size, &token, true, queue.list_name()).unwrap();
            let page = app.reviews.review_queue(MAIN, &queue, &page).await.unwrap();
            found.extend(page.items);
            token = page.next;
            if token.is_empty() {
                assert_eq!(page.total.unwrap().items, found.len() as u64);
                return found;
            }
        }
    };
    let sequences = |found: &[Sighting]| found.iter().map(|s| s.key.sequence).collect::<Vec<_>>();
    let all = QueueFilter::default();
    let oldest = list(&all, QueueOrder::OldestFirst, 3).await;
    assert_eq!(sequences(&oldest), [1, 2, 3, 4], "{oldest:#?}");
    let certain = list(&all, QueueOrder::LeastCertainFirst, 1).await;
    let similarities: Vec<_> = certain.iter().map(|s| s.best_similarity.unwrap().get()).collect();
    assert!(similarities.is_sorted() && similarities.len() == 4, "{similarities:?}");
    let count = async |filter: QueueFilter| list(&filter, QueueOrder::LeastCertainFirst, 2).await.len();
    let (low, high) = (Some(similarities[1]), Some(similarities[3]));
    assert_eq!(count(QueueFilter { least_similarity: low, similarity_below: high, ..all.clone() }).await, 2);
    assert_eq!(count(QueueFilter { reason: Some(PredictionReason::LowSimilarity), ..all.clone() }).await, 4);
    assert_eq!(count(QueueFilter { reason: Some(PredictionReason::NarrowMargin), ..all.clone() }).await, 0);
    assert_eq!(count(QueueFilter { section: Some("7b".into()), ..all.clone() }).await, 2);
    assert_eq!(count(QueueFilter { predicted: Some(students[0]), ..all.clone() }).await, 2);
    let flag = NewReview::new(oldest[0].id, Verdict::Flagged, "", None, false).unwrap();
    app.reviews.review(MAIN, &flag, user).await.unwrap();
    let flagged = |flagged| QueueFilter { flagged: Some(flagged), ..QueueFilter::default() };
    assert_eq!((count(flagged(true)).await, count(flagged(false)).await), (1, 3));

    let bulk = |filter, limit, dry_run| {
        let bulk = BulkReview::new(filter, Verdict::Approved, "all of them", limit, dry_run).unwrap();
        let app = app.clone();
        async move { app.reviews.review_many(MAIN, &bulk, user).await.unwrap() }
    };
    let second = QueueFilter { section: Some("7b".into()), ..all.clone() };
    let would = BulkReviewed { chosen: 2, ..BulkReviewed::default() };
    assert_eq!(bulk(second.clone(), 0, true).await, would);
    assert_eq!(bulk(second, 1, false).await, BulkReviewed { chosen: 1, reviewed: 1, passed_over: 0 });
    assert_eq!(sequences(&list(&all, QueueOrder::OldestFirst, 10).await), [1, 3, 4]);
    // What they have flagged is another's to decide.
    assert_eq!((bulk(all.clone(), 0, false).await.reviewed, count(all.clone()).await), (2, 1));
    let approve = NewReview::new(oldest[0].id, Verdict::Approved, "", None, false).unwrap();
    let refused = app.reviews.review(MAIN, &approve, user).await.unwrap_err().reason();
    assert_eq!(refused, ErrorReason::SecondReviewerRequired);
    let bob = database.user("bob").await;
    app.reviews.review(MAIN, &approve, bob).await.unwrap();
    app.reviews.withdraw(MAIN, &NewWithdrawal::new(approve.sighting, "", false).unwrap(), bob).await.unwrap();
    // What somebody has said last is theirs to take back, and nobody else's list; what was said together is one entry.
    let own = app.reviews.reviewed_by(MAIN, user).await.unwrap();
    assert_eq!(sequences(&own), [4, 2, 1]);
    let undo = NewWithdrawal::new(own[0].id, "", false).unwrap();
    assert_eq!(app.reviews.withdraw_together(MAIN, &undo, user).await.unwrap().1, 1);
    assert_eq!(sequences(&app.reviews.reviewed_by(MAIN, user).await.unwrap()), [2, 1]);
    assert_eq!(count(all).await, 3);
    assert_eq!(app.reviews.reviewed_by(MAIN, bob).await.unwrap(), []);
    assert!(BulkReview::new(QueueFilter::default(), Verdict::Approved, "", 1001, false).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_numbers_of_a_site_are_those_of_its_sightings() {
    let database = TestDatabase::start().await;
    let (app, user) = (database.app().await, database.user("ada").await);
    let student = database.student(&app, "1").await;
    let template = database.template(student, &face(1)).await;
    app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
    let device = camera(&app, "door").await;
    camera(&app, "window").await;
    let seen: Vec<_> = [1, 1, 50].iter().zip(1..).map(|(number, n)| sighting(n, face(*number))).collect();
    let yesterday = CapturedSighting {
        captured_at: jiff::Timestamp::now() - jiff::SignedDuration::from_hours(30),
        ..sighting(9, face(1))
    };
    app.ingest.ingest(MAIN, device, &[&seen[..], &[yesterday]].concat()).await.unwrap();
    let newest = PageRequest::new(1, "", false, ListName::new("sightings")).unwrap();
    let newest =
        app.reviews.sightings(MAIN, &SightingFilter::default(), &newest).await.unwrap().items.remove(0);
    let flag = NewReview::new(newest.id, Verdict::Flagged, "", None, false).unwrap();
    app.reviews.review(MAIN, &flag, user).await.unwrap();

    let now = jiff::Timestamp::now();
    let span = |from: i64, until: i64| {
        let hours = jiff::SignedDuration::from_hours;
        Period::new("period", now - hours(from), now - hours(until) + jiff::SignedDuration::from_mins(1))
            .unwrap()
    };
    let request = StatsRequest::new(span(24, 0), vec![span(48, 24), span(72, 48)]).unwrap();
    let stats = app.statistics.get(MAIN, &request).await.unwrap();
    // Of a flagged one nobody says who it is.
    let today = SightingCounts { sightings: 3, accepted: 2, pending: 0, unknown: 1, students: 1 };
    assert_eq!((stats.counts, stats.last_hour), (today, today));
    let before = SightingCounts { sightings: 1, accepted: 1, students: 1, ..SightingCounts::default() };
    assert_eq!(stats.further, [before, SightingCounts::default()]);
    assert_eq!((stats.pending.items, stats.flagged.items), (1, 1));
    assert_eq!((stats.devices, stats.devices_online), (2, 1));
    assert_eq!(stats.rooms, [(String::new(), today)]);
    assert_eq!(
        (stats.by_device.len(), stats.by_device[0].name.as_str(), stats.by_device[0].counts),
        (1, "door", today)
    );
    // Who asks again within seconds is told the same; another site has numbers of its own.
    app.ingest.ingest(MAIN, device, &[sighting(10, face(1))]).await.unwrap();
    assert_eq!(app.statistics.get(MAIN, &request).await.unwrap(), stats);
    let other = StatsRequest::new(span(23, 0), Vec::new()).unwrap();
    assert_eq!(app.statistics.get(MAIN, &other).await.unwrap().counts.sightings, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visit_is_one_persons_to_decide_at_once() {
    let class = Class::start(0).await;
    let (app, database) = (&class.app, &class.database);
    let [ada, bob] = [class.reviewers[0], class.reviewers[1]];
    let device = camera(app, "door").await;
    let viewer = Credentials::new("viewer", "a long password".to_owned()).unwrap();
    create_user(&database.store, viewer, Grant::Role(Role::Viewer, None)).await.unwrap();
    // Two cameras see a student whom the machine is not sure of; before one of them, they come again later.
    let start = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let seen = |sequence, minutes: i64| CapturedSighting {
        captured_at: start + jiff::SignedDuration::from_mins(minutes),
        ..sighting(sequence, like(1, 0.45))
    };
    let first: Vec<_> = [(1, 0), (2, 4), (3, 8), (4, 20)].map(|(n, at)| seen(n, at)).into();
    app.ingest.ingest(MAIN, device, &first).await.unwrap();
    let other = camera(app, "window").await;
    app.ingest.ingest(MAIN, other, &[seen(5, 2)]).await.unwrap();

    let visits = QueueRequest {
        by_visit: true,
        ..QueueRequest::each(QueueFilter::default(), QueueOrder::OldestFirst)
    };
    let list = async |queue: &QueueRequest| {
        let page = PageRequest::new(100, "", false, queue.list_name()).unwrap();
        app.reviews.review_queue(MAIN, queue, &page).await.unwrap().items
    };
    let sizes = |found: &[Sighting]| found.iter().map(|s| (s.key.sequence, s.visit_size)).collect::<Vec<_>>();
    let found = list(&visits).await;
    assert_eq!(sizes(&found), [(1, 3), (5, 1), (4, 1)]);

    // Of those who claim at the same time, each has visits of their own.
    let claim = async |limit, by| {
        let claim = NewClaim::new(visits.clone(), limit, 60).unwrap();
        app.reviews.claim(MAIN, &claim, by).await.unwrap()
    };
    let (adas, bobs) = tokio::join!(claim(2, ada), claim(2, bob));
    let mut together = [sizes(&adas), sizes(&bobs)].concat();
    together.sort_unstable();
    assert!(together.is_sorted_by(|a, b| a < b) && together.len() >= 2, "{together:?}");
    app.reviews.release_claims(MAIN, None, bob).await.unwrap();
    app.reviews.release_claims(MAIN, None, ada).await.unwrap();
    let adas = claim(1, ada).await;
    assert_eq!(sizes(&adas), [(1, 3)]);
    assert_eq!(sizes(&claim(3, bob).await), [(5, 1), (4, 1)]);
    assert_eq!(sizes(&claim(3, ada).await), [(1, 3)], "their own again");
    let of = |claimed| QueueFilter { claimed: Some(claimed), ..QueueFilter::default() };
    let of = |claimed| QueueRequest { filter: of(claimed), ..visits.clone() };
    assert_eq!(sizes(&list(&of(ClaimedBy::Reviewer("1".into()))).await), [(5, 1), (4, 1)]);
    assert_eq!(list(&of(ClaimedBy::Nobody)).await, []);
    let approve = |id| NewReview::new(id, Verdict::Approved, "", None, false).unwrap();
    let refused = app.reviews.review(MAIN, &approve(adas[0].id), bob).await.unwrap_err();
    assert_eq!(refused.reason(), ErrorReason::ReviewClaimed);
    assert!(refused.to_string().contains("looked at by 0"), "{refused}");

    // One verdict serves the visit, and so does taking it back.
    let (decided, others) = app.reviews.review_visit(MAIN, &approve(adas[0].id), ada).await.unwrap();
    assert_eq!((decided.claim, others), (None, 2));
    assert_eq!(sizes(&list(&visits).await), [(5, 1), (4, 1)]);
    let own = app.reviews.reviewed_by(MAIN, ada).await.unwrap();
    assert_eq!(own.len(), 1);
    let undo = NewWithdrawal::new(own[0].id, "", false).unwrap();
    assert_eq!(app.reviews.withdraw_together(MAIN, &undo, ada).await.unwrap().1, 2);
    assert_eq!(sizes(&list(&visits).await), [(1, 3), (5, 1), (4, 1)]);
    // Claiming again for less does not shorten a claim.
    let long = NewClaim::new(visits.clone(), 1, 3600).unwrap();
    let until = async |claim: &NewClaim| {
        app.reviews.claim(MAIN, claim, ada).await.unwrap()[0].claim.as_ref().unwrap().until.unwrap()
    };
    let latest = until(&long).await;
    assert_eq!(until(&NewClaim::new(visits.clone(), 1, 60).unwrap()).await, latest);
    assert_eq!(app.reviews.release_claims(MAIN, Some(&[adas[0].id]), ada).await.unwrap(), 1);
    // From the middle of a visit, too; but not what somebody has flagged of it.
    let each = QueueRequest { by_visit: false, ..visits.clone() };
    let each = list(&each).await;
    assert_eq!(sizes(&each), [(1, 0), (5, 0), (2, 0), (3, 0), (4, 0)]);
    let flag = NewReview::new(each[0].id, Verdict::Flagged, "", None, false).unwrap();
    app.reviews.review(MAIN, &flag, bob).await.unwrap();
    assert_eq!(app.reviews.review_visit(MAIN, &approve(each[2].id), ada).await.unwrap().1, 1);

    // What is assigned waits for that person, however long, and nobody who may not decide is assigned anything.
    let last = each[4].id;
    for unknown in ["nobody", "viewer"] {
        let refused = app.reviews.assign(MAIN, &[last], Some(unknown), ada).await.unwrap_err().reason();
        assert_eq!(refused, ErrorReason::UserNotFound, "{unknown}");
    }
    assert_eq!(app.reviews.assign(MAIN, &[last, each[1].id], Some("0"), bob).await.unwrap(), 2);
    let owner = database.connect().await;
    owner
        .batch_execute(
            "UPDATE review_claims SET claimed_until = now() - interval '1 s' WHERE assigned_by IS NULL",
        )
        .await
        .unwrap();
    assert_eq!(sizes(&claim(9, bob).await), []);
    assert_eq!(app.reviews.release_claims(MAIN, None, ada).await.unwrap(), 0, "assigned ones stay");
    let assigned = app.reviews.sighting(MAIN, last).await.unwrap().claim.unwrap();
    assert_eq!((assigned.until, assigned.assigned_by.as_deref()), (None, Some("1")));
    let refused = app.reviews.review(MAIN, &approve(last), bob).await.unwrap_err();
    assert!(refused.to_string().contains("assigned to 0"), "{refused}");
    assert_eq!(sizes(&claim(9, ada).await), [(1, 1), (5, 1), (4, 1)]);
    assert_eq!(app.reviews.assign(MAIN, &[last], None, bob).await.unwrap(), 1);
    app.reviews.review(MAIN, &approve(last), bob).await.unwrap();
    assert!(NewClaim::new(visits.clone(), 101, 0).is_err() && NewClaim::new(visits, 0, 28_801).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn accuracy_is_what_people_found_who_were_not_told() {
    let mut database = TestDatabase::start().await;
    database.audit_one_in = NonZeroU32::new(2);
    let (app, user) = (database.app().await, database.user("ada").await);
    let mut students = Vec::new();
    for number in 1..=12 {
        let student = database.student(&app, &number.to_string()).await;
        let template = database.template(student, &face(number)).await;
        app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
        students.push(student);
    }
    let device = camera(&app, "door").await;
    let seen: Vec<_> = (0..60)
        .map(|n| CapturedSighting {
            evidence: Bytes::from_static(b"a picture"),
            ..sighting(n.into(), face(if n % 10 == 0 { 50 } else { n % 12 + 1 }))
        })
        .collect();
    app.ingest.ingest(MAIN, device, &seen).await.unwrap();
    // What comes again is not drawn again.
    app.ingest.ingest(MAIN, device, &seen).await.unwrap();
    let stats = async || {
        let now = jiff::Timestamp::now() + jiff::SignedDuration::from_mins(1);
        let day = Period::new("period", now - jiff::SignedDuration::from_hours(1), now).unwrap();
        let stats = app.statistics.get(MAIN, &StatsRequest::new(day, Vec::new()).unwrap()).await.unwrap();
        stats.audits
    };
    let drawn = stats().await;
    assert!((10..=44).contains(&drawn.waiting), "{drawn:?}");
    assert_eq!(drawn.accuracy(), None);
    assert!(app.reviews.next_audit(MAIN, database.user("bob").await).await.unwrap().is_some());

    // One whose picture is gone is given up, and waits for nobody.
    let owner = database.connect().await;
    let gone = "DELETE FROM evidence WHERE sighting_id = (SELECT min(sighting_id::text)::uuid FROM audits)";
    assert_eq!(owner.execute(gone, &[]).await.unwrap(), 1);
    let mut audited: u64 = 0;
    while let Some(audit) = app.reviews.next_audit(MAIN, user).await.unwrap() {
        let sighting = app.reviews.sighting(MAIN, audit.sighting).await.unwrap();
        let accepted = sighting.student.unwrap().id;
        assert!(!audit.evidence.is_empty() && audit.choices.len() == 6, "{audit:?}");
        assert_eq!(audit.choices.iter().filter(|choice| choice.id == accepted).count(), 1);
        let other = audit.choices.iter().find(|choice| choice.id != accepted).unwrap().id;
        let answer = match audited % 4 {
            0 => AuditAnswer::CannotTell,
            1 => AuditAnswer::Student(other),
            2 => AuditAnswer::NoneOfThem,
            _ => AuditAnswer::Student(accepted),
        };
        let refused = app
            .reviews
            .answer_audit(MAIN, audit.sighting, user, AuditAnswer::Student(StudentId::generate()))
            .await;
        assert_eq!(refused.unwrap_err().reason(), ErrorReason::StudentNotFound);
        app.reviews.answer_audit(MAIN, audit.sighting, user, answer).await.unwrap();
        let again = app.reviews.answer_audit(MAIN, audit.sighting, user, AuditAnswer::NoneOfThem).await;
        assert_eq!(again.unwrap_err().reason(), ErrorReason::AuditNotFound);
        let now = app.reviews.sighting(MAIN, audit.sighting).await.unwrap();
        let expected = match audited % 4 {
            1 => (Some(Verdict::Rejected), Some(other)),
            2 => (Some(Verdict::Rejected), None),
            _ => (None, Some(accepted)),
        };
        assert_eq!(
            (now.review.map(|review| review.verdict), now.student.map(|student| student.id)),
            expected
        );
        audited += 1;
    }
    assert_eq!(audited, drawn.waiting - 1);
    let counts = stats().await;
    let kinds = [audited.div_ceil(4), (audited + 2) / 4 + (audited + 1) / 4, audited / 4];
    assert_eq!([counts.unclear, counts.wrong, counts.right], kinds);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_watches_is_told_of_each_sighting_once() {
    let class = Class::start(0).await;
    let (app, device) = (&class.app, camera(&class.app, "door").await);
    let shutdown = CancellationToken::new();
    let feed = app.feed.clone();
    let following = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { feed.follow(shutdown).await }
    });
    let watch = |filter, after| app.feed.watch(MAIN, filter, after).unwrap();
    let accepted = SightingFilter { decision: Some(Decision::Accepted), ..SightingFilter::default() };
    let (mut all, mut some) = (watch(SightingFilter::default(), None), watch(accepted, None));
    let ingest = async |numbers: std::ops::Range<u64>| {
        let seen: Vec<_> = numbers.map(|n| sighting(n, face(if n % 2 == 1 { 1 } else { 50 }))).collect();
        app.ingest.ingest(MAIN, device, &seen).await.unwrap();
    };
    let told = async |watch: &mut SightingWatch, wanted: usize| {
        let mut told = Vec::<Sighting>::new();
        while told.len() < wanted {
            let next = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.expect("is told");
            told.extend(next.unwrap());
        }
        told
    };
    let numbers = |told: &[Sighting]| told.iter().map(|s| s.key.sequence).collect::<Vec<_>>();
    ingest(0..10).await;
    let first = told(&mut all, 10).await;
    assert_eq!(numbers(&first), (0..10).collect::<Vec<_>>());
    assert_eq!(numbers(&told(&mut some, 5).await), [1, 3, 5, 7, 9]);
    // What comes again is told to nobody; more than is told at once comes, too.
    ingest(5..400).await;
    assert_eq!(numbers(&told(&mut all, 390).await), (10..400).collect::<Vec<_>>());
    // Who was away goes on after the last one, and is told again of what came shortly before it.
    let mut again = watch(SightingFilter::default(), Some(first[6].id));
    assert_eq!(numbers(&told(&mut again, 400).await), (0..400).collect::<Vec<_>>());
    let mut places = Vec::new();
    while let Ok(place) = app.feed.watch(MAIN, SightingFilter::default(), None) {
        places.push(place);
        assert!(places.len() < 100);
    }
    shutdown.cancel();
    following.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn candidates_are_shown_by_the_pictures_that_may_be_looked_at() {
    let database = TestDatabase::start().await;
    let (app, user) = (database.app().await, database.user("ada").await);
    let owner = database.connect().await;
    // The odd one out has a template and no picture.
    let mut students = Vec::new();
    for number in ["1", "2", "3"] {
        let student = database.student(&app, number).await;
        let template = database.template(student, &face(1)).await;
        app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
        students.push(student);
    }
    owner.execute("DELETE FROM portraits WHERE student_id = $1", &[&students[2].uuid()]).await.unwrap();
    let device = camera(&app, "door").await;
    app.ingest.ingest(MAIN, device, &[sighting(1, face(1))]).await.unwrap();
    let page = PageRequest::new(9, "", false, SightingFilter::default().list_name("sightings")).unwrap();
    let seen = app.reviews.sightings(MAIN, &SightingFilter::default(), &page).await.unwrap().items.remove(0);
    let candidates: Vec<_> =
        seen.prediction.candidates.iter().map(|candidate| candidate.student.id).collect();
    assert_eq!(candidates.len(), 3, "{seen:#?}");

    let shown = async || app.reviews.candidate_portraits(MAIN, seen.id).await.unwrap();
    let of = |wanted: &[StudentId]| -> Vec<StudentId> {
        candidates.iter().copied().filter(|student| wanted.contains(student)).collect()
    };
    let ids =
        |portraits: Vec<Portrait>| portraits.into_iter().map(|portrait| portrait.student).collect::<Vec<_>>();
    let portraits = shown().await;
    assert!(portraits.iter().all(|portrait| portrait.jpeg.as_ref() == b"a picture"));
    assert_eq!(ids(portraits), of(&students[..2]));

    // The best of several pictures, one a student.
    let better = database.template(students[0], &face(1)).await;
    let best = "UPDATE templates SET quality = jsonb_set(quality, '{unified_score}', '95') WHERE id = $1";
    owner.execute(best, &[&better.uuid()]).await.unwrap();
    let chosen = BiometricStore::new(&database.store).best_portraits(MAIN, &students).await.unwrap();
    assert!(chosen.len() == 2 && chosen.iter().any(|portrait| portrait.template == better));
    // One that does not open is left out, and the others are there.
    let damage = "UPDATE portraits SET sealed = sealed || '\\x00'::bytea WHERE template_id = $1";
    owner.execute(damage, &[&better.uuid()]).await.unwrap();
    assert_eq!(ids(shown().await), of(&students[1..2]));
    owner.execute("DELETE FROM templates WHERE id = $1", &[&better.uuid()]).await.unwrap();
    assert_eq!(ids(shown().await), of(&students[..2]));

    // Not of who has refused or was erased, nor to anybody of another site.
    let consent = |text: &str| StudentChange::Fields(vec![(StudentField::PhotoConsent, text.to_owned())]);
    app.students.update(MAIN, students[0], None, &consent("refused")).await.unwrap();
    assert_eq!(ids(shown().await), of(&students[1..2]));
    app.students.update(MAIN, students[0], None, &consent("given")).await.unwrap();
    app.students.erase(MAIN, students[1], user).await.unwrap();
    assert_eq!(ids(shown().await), of(&students[..1]));
    let refused = app.reviews.candidate_portraits(SiteId::generate(), seen.id).await.unwrap_err();
    assert_eq!(refused.reason(), ErrorReason::SightingNotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn approved_faces_become_templates_where_the_student_consents() {
    let class = Class::start(0).await;
    let (app, user, student) = (&class.app, class.reviewers[0], class.students[0]);
    let device = camera(app, "door").await;
    let seen: Vec<_> = [like(1, 0.45), like(1, 0.46), face(50), face(60)]
        .into_iter()
        .zip(1..)
        .map(|(face, n)| CapturedSighting { evidence: Bytes::from_static(b"a picture"), ..sighting(n, face) })
        .collect();
    app.ingest.ingest(MAIN, device, &seen).await.unwrap();
    let newest = PageRequest::new(10, "", false, ListName::new("sightings")).unwrap();
    let mut found = app.reviews.sightings(MAIN, &SightingFilter::default(), &newest).await.unwrap().items;
    found.sort_by_key(|sighting| sighting.key.sequence);
    let ids: Vec<_> = found.iter().map(|sighting| sighting.id).collect();
    let enroll = async |index: usize, accept_unlike| {
        let terms = EnrollmentTerms { gate: EnrollmentGate::Standard, accept_unlike, by: user };
        let verdict = app.candidates.enroll(MAIN, ids[index], terms).await.unwrap();
        verdict.map(|enrolled| enrolled.template).map_err(|refusal| refusal.reason)
    };
    let says = async |index: usize, verdict, corrected| {
        let review = NewReview::new(ids[index], verdict, "", corrected, false).unwrap();
        app.reviews.review(MAIN, &review, user).await.unwrap();
    };
    assert_eq!(enroll(0, false).await, Err("NOT_APPROVED"));
    says(0, Verdict::Approved, None).await;
    assert_eq!(enroll(0, false).await, Err("PHOTO_CONSENT_MISSING"));
    let given = StudentChange::Fields(vec![(StudentField::PhotoConsent, "given".to_owned())]);
    app.students.update(MAIN, student, None, &given).await.unwrap();
    let template = enroll(0, false).await.unwrap();
    let templates = app.enrollment.templates(MAIN, student).await.unwrap();
    assert!(templates.len() == 2 && templates.iter().any(|kept| kept.id == template));
    assert_eq!(enroll(0, false).await, Err("DUPLICATE_TEMPLATE"));
    // In force at once: what was unsure is sure now.
    app.ingest.ingest(MAIN, device, &[sighting(9, like(1, 0.45))]).await.unwrap();
    let latest = app.reviews.sightings(MAIN, &SightingFilter::default(), &newest).await.unwrap().items;
    let again = latest.iter().find(|sighting| sighting.key.sequence == 9).unwrap();
    assert_eq!(again.prediction.decision, Decision::Accepted);
    // Of nobody, until a person says who; and then it is unlike the others, unless somebody knows.
    assert_eq!(enroll(2, false).await, Err("NOT_APPROVED"));
    says(3, Verdict::Rejected, Some(student)).await;
    assert_eq!(enroll(3, false).await, Err("UNLIKE_OTHER_PICTURES"));
    assert!(enroll(3, true).await.is_ok());
    // It goes when a person says that it is somebody else: nobody is recognised by another's face.
    let ours = async || app.enrollment.templates(MAIN, student).await.unwrap().len();
    assert_eq!(ours().await, 3);
    let other = NewReview::new(ids[3], Verdict::Rejected, "", Some(class.students[1]), true).unwrap();
    app.reviews.review(MAIN, &other, user).await.unwrap();
    assert_eq!(ours().await, 2);
    let undo = NewWithdrawal::new(ids[0], "", false).unwrap();
    app.reviews.withdraw(MAIN, &undo, user).await.unwrap();
    assert_eq!(ours().await, 1);
    // Whoever is to be forgotten, or whose face is gone, is not enrolled.
    says(1, Verdict::Approved, None).await;
    let owner = class.database.connect().await;
    owner.execute("DELETE FROM probes WHERE sighting_id = $1", &[&ids[1].uuid()]).await.unwrap();
    assert_eq!(enroll(1, false).await, Err("PROBE_GONE"));
    app.students.erase(MAIN, student, user).await.unwrap();
    let terms = EnrollmentTerms { gate: EnrollmentGate::Off, accept_unlike: false, by: user };
    let erased = app.candidates.enroll(MAIN, ids[0], terms).await;
    assert!(!matches!(erased, Ok(Ok(_))), "{erased:?}");
    assert_eq!(app.enrollment.templates(MAIN, student).await.unwrap(), []);
}
