//! Marks against a real database: they follow what is committed, and people's words stay.

use cavs_attendance::PolicyOverride;
use cavs_types::{
    ClassSessionId, CorrectionSource, DeviceId, DeviceKind, ErrorReason, GroupId, Mark, SessionState,
    SightingId, StudentId, UserId, Verdict,
};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::faces::verdict;
use crate::{
    attendance::{
        AppealDecision, AttendanceStore, MarkDetails, MarkFilter, MarkPosition, NewAppeal, NewCorrection,
        NewExcuse, PolicyOf, SheetMark,
    },
    fleet::NewDevice,
    page::{ListName, PageRequest},
    schedule::{NewGroup, SessionTimes},
    services::Services,
    sightings::CapturedSighting,
    testing::{MAIN, TestDatabase, face, sighting},
};

const NAMES: [&str; 4] = ["1", "2", "3", "9"];

/// A group of three with a session of an hour that ended ten minutes ago; the fourth student is of no group.
pub(super) struct Lesson {
    pub(super) database: TestDatabase,
    pub(super) app: Services,
    pub(super) store: AttendanceStore,
    pub(super) owner: tokio_postgres::Client,
    pub(super) teacher: UserId,
    pub(super) students: Vec<StudentId>,
    pub(super) device: DeviceId,
    pub(super) group: GroupId,
    pub(super) session: ClassSessionId,
    pub(super) starts_at: Timestamp,
}

impl Lesson {
    pub(super) async fn start() -> Self {
        let database = TestDatabase::start().await;
        let app = database.app().await;
        let teacher = database.user("teacher").await;
        let mut students = Vec::new();
        for (number, name) in NAMES.iter().enumerate() {
            let student = database.student(&app, name).await;
            let template = database.template(student, &face(u32::try_from(number).unwrap())).await;
            app.galleries.bring_into_force(MAIN, &[template]).await.unwrap();
            students.push(student);
        }
        let new = NewDevice { name: "door".into(), kind: DeviceKind::Agent, classroom: "R1".into() };
        let device = app.devices.create_device(MAIN, &new).await.unwrap().id;
        let new = NewGroup { name: "7B".into(), term: None, external_id: String::new() };
        let group = app.groups.create(MAIN, &new).await.unwrap().id;
        let starts_at = Timestamp::now() - SignedDuration::from_mins(70);
        let day = starts_at.to_zoned(jiff::tz::TimeZone::UTC).date();
        for student in &students[..3] {
            app.groups.add_member(MAIN, group, *student, (day, None)).await.unwrap();
        }
        let owner = database.connect().await;
        let room: Uuid = owner.query_one("SELECT id FROM rooms WHERE name = 'R1'", &[]).await.unwrap().get(0);
        let times = SessionTimes::new(starts_at, starts_at + SignedDuration::from_mins(60)).unwrap();
        let session = app
            .class_sessions
            .create(MAIN, group, "Maths".into(), times, vec![room.into()])
            .await
            .unwrap()
            .id;
        let store = AttendanceStore::new(&database.store, None);
        let lesson =
            Self { database, app, store, owner, teacher, students, device, group, session, starts_at };
        lesson.keep().await;
        lesson
    }

    /// Does what the keeper of marks does, until nothing is left to do.
    pub(super) async fn keep(&self) {
        loop {
            let now = Timestamp::now();
            let mut sessions = self.store.queued(None).await.unwrap();
            sessions.extend(self.store.due(now).await.unwrap());
            if sessions.is_empty() {
                return;
            }
            for (site, session) in sessions {
                self.store.renew(site, session, now).await.unwrap();
            }
        }
    }

    pub(super) fn at(&self, minute: i64) -> Timestamp {
        self.starts_at + SignedDuration::from_mins(minute)
    }

    pub(super) async fn see(&self, first: u64, who: u32, minutes: &[i64]) {
        let seen = (first..).zip(minutes).map(|(sequence, minute)| CapturedSighting {
            captured_at: self.at(*minute),
            ..sighting(sequence, face(who))
        });
        self.app.ingest.ingest(MAIN, self.device, &seen.collect::<Vec<_>>()).await.unwrap();
    }

    /// The device proves that it watched and delivered.
    pub(super) async fn deliver(&self) {
        let (site, device) = (MAIN.uuid(), self.device.uuid());
        let sql = "INSERT INTO watched_periods (site_id, device_id, started_at, ended_at, state)
                   VALUES ($1, $2, $3, $4, 'watching')";
        self.owner.execute(sql, &[&site, &device, &self.at(-20), &self.at(65)]).await.unwrap();
        let sql = "UPDATE devices SET delivered_until = $3 WHERE site_id = $1 AND id = $2";
        self.owner.execute(sql, &[&site, &device, &self.at(65)]).await.unwrap();
    }

    pub(super) async fn marks(&self) -> Vec<SheetMark> {
        self.keep().await;
        self.app.sheets.sheet(MAIN, self.session).await.unwrap().marks
    }

    pub(super) async fn said(&self) -> Vec<Mark> {
        self.marks().await.iter().map(|mark| mark.mark).collect()
    }

    pub(super) async fn details(&self, student: usize) -> MarkDetails {
        self.app.sheets.details(MAIN, self.session, self.students[student]).await.unwrap()
    }

    pub(super) async fn state(&self) -> SessionState {
        self.app.sheets.sheet(MAIN, self.session).await.unwrap().session.state
    }

    pub(super) async fn correct(&self, student: usize, mark: Mark) -> MarkDetails {
        let said = NewCorrection { student: self.students[student], mark };
        self.app.corrections.correct(MAIN, self.session, said, "I saw it", self.teacher).await.unwrap()
    }

    pub(super) async fn sighting(&self, sequence: i64) -> SightingId {
        let sql = "SELECT id FROM sightings WHERE sequence = $1";
        self.owner.query_one(sql, &[&sequence]).await.unwrap().get::<_, Uuid>(0).into()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn marks_follow_sightings_reviews_devices_and_excuses() {
    use Mark::{Absent, Excused, Late, Present, Undetermined};
    let lesson = Lesson::start().await;
    assert_eq!(lesson.state().await, SessionState::Closing);
    assert_eq!(lesson.said().await, [Undetermined; 3]);
    let sheet = lesson.app.sheets.sheet(MAIN, lesson.session).await.unwrap();
    assert_eq!((sheet.unproven.len(), sheet.rooms.as_slice()), (1, &["R1".to_owned()][..]));

    lesson.see(1, 0, &[2, 30]).await;
    lesson.see(10, 1, &[15, 40]).await;
    lesson.see(20, 3, &[20, 50]).await;
    assert_eq!(lesson.said().await, [Present, Late, Undetermined]);
    let sheet = lesson.app.sheets.sheet(MAIN, lesson.session).await.unwrap();
    let visitors: Vec<_> = sheet.visitors.iter().map(|visitor| visitor.student.number.as_str()).collect();
    assert_eq!(visitors, ["9"]);
    assert_eq!((sheet.marks[1].minutes_late, sheet.count(Late)), (15, 1));
    lesson.deliver().await;
    assert_eq!(lesson.said().await, [Present, Late, Absent]);

    // A reviewer says that it was somebody else: one approved sighting is enough for the one, and too few are left for
    // the other.
    let corrected = verdict(lesson.sighting(1).await, Verdict::Approved, Some(lesson.students[2]));
    lesson.app.reviews.review(MAIN, &corrected, lesson.teacher).await.unwrap();
    assert_eq!(lesson.said().await, [Undetermined, Late, Present]);
    let rejected = verdict(lesson.sighting(1).await, Verdict::Rejected, None);
    lesson.app.reviews.review(MAIN, &rejected, lesson.teacher).await.unwrap();
    assert_eq!(lesson.said().await, [Undetermined, Late, Absent]);

    let times = (lesson.at(-600), lesson.at(600));
    let excuse = NewExcuse::new(lesson.students[2], times, "ill".into()).unwrap();
    let excuse = lesson.app.excuses.create(MAIN, &excuse, lesson.teacher).await.unwrap();
    assert_eq!(lesson.said().await, [Undetermined, Late, Excused]);
    lesson.app.excuses.withdraw(MAIN, excuse.id, lesson.teacher).await.unwrap();
    assert_eq!(lesson.said().await, [Undetermined, Late, Absent]);
    let again = lesson.app.excuses.withdraw(MAIN, excuse.id, lesson.teacher).await;
    assert_eq!(again.unwrap_err().reason(), ErrorReason::ExcuseNotFound);

    // A policy of the group.
    let change = |mut set: PolicyOverride| {
        (set.sightings, set.grace_minutes) = (Some(1), Some(20));
        set
    };
    let of = PolicyOf::Group(lesson.group);
    let policy = lesson.app.policies.set(MAIN, of, None, change, lesson.teacher).await.unwrap();
    assert_eq!((policy.in_force.sightings, policy.in_force.minutes_before), (1, 15));
    // 30 minutes late, with the one sighting that is left.
    assert_eq!(lesson.said().await, [Late, Present, Absent]);
    let stale =
        lesson.app.policies.set(MAIN, of, Some(crate::attendance::PolicyVersion(0)), change, lesson.teacher);
    assert_eq!(stale.await.unwrap_err().reason(), ErrorReason::PolicyChanged);
    let wrong = |mut set: PolicyOverride| {
        set.sightings = Some(0);
        set
    };
    let refused = lesson.app.policies.set(MAIN, PolicyOf::Site, None, wrong, lesson.teacher).await;
    assert_eq!(refused.unwrap_err().reason(), ErrorReason::InvalidArgument);

    // Whoever leaves the roster leaves the sheet; their history stays.
    let yesterday = lesson.at(-24 * 60).to_zoned(jiff::tz::TimeZone::UTC).date();
    let owner = &lesson.owner;
    owner
        .execute("DELETE FROM group_members WHERE student_id = $1", &[&lesson.students[1].uuid()])
        .await
        .unwrap();
    assert_eq!(lesson.said().await, [Late, Absent]);
    let history = lesson.details(1).await.history;
    assert!(!history.last().unwrap().is_listed && history[0].is_listed);
    let sql = "INSERT INTO group_members (site_id, group_id, student_id, starts_on) VALUES ($1, $2, $3, $4)";
    let (site, group, student) = (MAIN.uuid(), lesson.group.uuid(), lesson.students[1].uuid());
    owner.execute(sql, &[&site, &group, &student, &yesterday]).await.unwrap();
    assert_eq!(lesson.said().await, [Late, Present, Absent]);

    // The same again changes nothing, and writes nothing.
    let before = lesson.marks().await;
    lesson.store.renew(MAIN, lesson.session, Timestamp::now()).await.unwrap();
    assert_eq!(lesson.marks().await, before);

    // Of a person, and of a mark.
    let list = async |filter: MarkFilter| {
        let page = PageRequest::<MarkPosition>::new(2, "", true, ListName::new("marks")).unwrap();
        let page = lesson.app.sheets.list(MAIN, &filter, &page).await.unwrap();
        (page.items.iter().map(|listed| listed.mark.mark).collect::<Vec<_>>(), page.total.unwrap().items)
    };
    assert_eq!(list(MarkFilter::default()).await.1, 3);
    let one = MarkFilter { student: Some(lesson.students[1]), ..MarkFilter::default() };
    assert_eq!(list(one).await, (vec![Present], 1));
    let absent = MarkFilter { mark: Some(Absent), group: Some(lesson.group), ..MarkFilter::default() };
    assert_eq!(list(absent).await, (vec![Absent], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_people_say_stays_and_final_marks_are_theirs() {
    use Mark::{Absent, Excused, Present, Undetermined};
    let lesson = Lesson::start().await;
    lesson.see(1, 0, &[2, 30]).await;
    lesson.deliver().await;
    assert_eq!(lesson.said().await, [Present, Absent, Absent]);

    let details = lesson.correct(1, Present).await;
    assert_eq!((details.listed.mark.mark, details.listed.mark.machine_mark), (Present, Absent));
    let first = details.corrections[0].clone();
    assert_eq!((first.source, first.reason.as_str()), (CorrectionSource::Correction, "I saw it"));
    let details = lesson.correct(1, Excused).await;
    assert_eq!((details.listed.mark.mark, details.corrections.len()), (Excused, 2));
    let second = details.corrections[1].id;
    let details = lesson.app.corrections.withdraw(MAIN, second, lesson.teacher).await.unwrap();
    assert_eq!(details.listed.mark.mark, Present);
    let again = lesson.app.corrections.withdraw(MAIN, second, lesson.teacher).await;
    assert_eq!(again.unwrap_err().reason(), ErrorReason::CorrectionNotFound);
    let entries =
        [(1, Absent), (2, Present)].map(|(who, mark)| NewCorrection { student: lesson.students[who], mark });
    let sheet =
        lesson.app.corrections.take_roll_call(MAIN, lesson.session, &entries, lesson.teacher).await.unwrap();
    assert_eq!(sheet.marks.iter().map(|mark| mark.mark).collect::<Vec<_>>(), [Present, Absent, Present]);
    // A stranger's mark is nobody's, and then none of them is said.
    let stranger =
        [(0, Absent), (3, Present)].map(|(who, mark)| NewCorrection { student: lesson.students[who], mark });
    let refused =
        lesson.app.corrections.take_roll_call(MAIN, lesson.session, &stranger, lesson.teacher).await;
    assert_eq!(refused.unwrap_err().reason(), ErrorReason::MarkNotFound);
    assert_eq!(lesson.said().await, [Present, Absent, Present]);

    // An appeal.
    let new = NewAppeal {
        session: lesson.session,
        student: lesson.students[1],
        mark: Present,
        reason: "behind the pillar".into(),
    };
    let appeal = lesson.app.appeals.create(MAIN, &new, lesson.teacher).await.unwrap();
    let twice = lesson.app.appeals.create(MAIN, &new, lesson.teacher).await;
    assert_eq!(twice.unwrap_err().reason(), ErrorReason::AppealExists);
    let decision = AppealDecision { appeal: appeal.id, accept: true, answer: "right".into() };
    let decided = lesson.app.appeals.decide(MAIN, &decision, lesson.teacher).await.unwrap();
    assert_eq!(decided.mark_now, Present);
    let again = lesson.app.appeals.decide(MAIN, &decision, lesson.teacher).await;
    assert_eq!(again.unwrap_err().reason(), ErrorReason::AppealNotFound);

    // Final: what comes later is proposed.
    let sheet = lesson.app.sheets.finalise(MAIN, lesson.session, lesson.teacher).await.unwrap();
    assert_eq!(sheet.session.state, SessionState::Finalised);
    let again = lesson.app.sheets.finalise(MAIN, lesson.session, lesson.teacher).await;
    assert_eq!(again.unwrap_err().reason(), ErrorReason::ClassSessionState);
    let before = lesson.marks().await;
    lesson.see(50, 2, &[3, 33]).await;
    assert_eq!(lesson.marks().await, before);
    let page = || PageRequest::new(10, "", true, ListName::new("proposals")).unwrap();
    let proposals = lesson.app.appeals.proposals(MAIN, &page()).await.unwrap().items;
    assert_eq!(proposals.len(), 1);
    assert_eq!((proposals[0].machine_mark, proposals[0].student.id), (Present, lesson.students[2]));
    let of = (lesson.session, lesson.students[2]);
    let other = lesson.app.appeals.decide_proposal(MAIN, of, Mark::Late, true, lesson.teacher).await;
    assert_eq!(other.unwrap_err().reason(), ErrorReason::ProposalNotFound);
    let details = lesson.app.appeals.decide_proposal(MAIN, of, Present, true, lesson.teacher).await.unwrap();
    assert_eq!(details.corrections.last().unwrap().source, CorrectionSource::LateData);
    assert!(lesson.app.appeals.proposals(MAIN, &page()).await.unwrap().items.is_empty());
    let details = lesson.correct(0, Undetermined).await;
    assert_eq!((details.listed.mark.mark, details.listed.mark.machine_mark), (Undetermined, Present));

    // Erased: the marks stay, of nobody; what people wrote is gone.
    lesson.app.students.erase(MAIN, lesson.students[1], lesson.teacher).await.unwrap();
    let mark = lesson.details(1).await;
    assert_eq!(mark.listed.mark.mark, Present);
    assert_eq!(mark.listed.mark.student.name, "");
    assert!(mark.corrections.iter().all(|said| said.reason.is_empty()));
    let left = "SELECT count(*) FROM appeals WHERE reason <> '' OR answer <> ''";
    assert_eq!(lesson.owner.query_one(left, &[]).await.unwrap().get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_committed_is_missed_by_those_who_keep_marks() {
    let lesson = Lesson::start().await;
    lesson.deliver().await;
    let stop = CancellationToken::new();
    let keepers: Vec<_> = (0..2)
        .map(|_| {
            let background = lesson.database.store.with_own_connections(4).unwrap();
            let keeper = crate::attendance::MarksKeeper::new(&AttendanceStore::new(&background, None));
            let stop = stop.clone();
            tokio::spawn(async move { keeper.run(stop).await })
        })
        .collect();
    let mut watch = lesson.app.mark_feed.watch(MAIN, lesson.session).await.unwrap();
    let follow = {
        let (feed, stop) = (lesson.app.mark_feed.clone(), stop.clone());
        tokio::spawn(async move { feed.follow(stop).await })
    };
    assert_eq!(watch.next().await.unwrap().sheet.marks.len(), 3);
    // Three devices' worth of batches at once, while two servers make marks.
    let batches = (0..3_u64).map(|who| {
        let lesson = &lesson;
        async move {
            for turn in 0..10_i64 {
                let number = u32::try_from(who).unwrap();
                lesson.see(1000 * who + 10 * turn.unsigned_abs(), number, &[turn, turn + 30]).await;
            }
        }
    });
    futures_util::future::join_all(batches).await;
    let told = async {
        let mut present = 0;
        while present < 3 {
            present += watch
                .next()
                .await
                .unwrap()
                .sheet
                .marks
                .iter()
                .filter(|mark| mark.mark == Mark::Present)
                .count();
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), told).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while !lesson.store.queued(None).await.unwrap().is_empty() {
        assert!(std::time::Instant::now() < deadline, "the queue does not get empty");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    stop.cancel();
    for keeper in keepers {
        keeper.await.unwrap();
    }
    follow.await.unwrap();
    let kept = lesson.marks().await;
    lesson.store.renew(MAIN, lesson.session, Timestamp::now()).await.unwrap();
    assert_eq!(lesson.app.sheets.sheet(MAIN, lesson.session).await.unwrap().marks, kept);
    assert!(kept.iter().all(|mark| mark.mark == Mark::Present && mark.minutes_present == 39), "{kept:?}");
}
