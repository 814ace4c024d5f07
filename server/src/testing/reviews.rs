//! Verdicts on sightings, against a real database: what is in force, what is on record, and who may change it.

use cavs_types::{DeviceKind, ErrorReason, SightingId, StudentId, UserId, Verdict};
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use crate::{
    fleet::NewDevice,
    services::Services,
    sightings::{NewReview, NewWithdrawal, Sighting},
    testing::{MAIN, TestDatabase, face, sighting},
};

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
