//! Reports against a real database.

use cavs_reports::Rate;
use cavs_types::{ClassSessionId, ErrorReason, GroupId, Mark, StudentId, UserId};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::{
    attendance::{ReportSpan, WarningFilter, WeekOf},
    schedule::{Days, NewGroup, NewTerm},
    services::Services,
    testing::{MAIN, TestDatabase},
};

/// A school with a group of two students and a room.
pub(super) struct School {
    pub(super) database: TestDatabase,
    pub(super) app: Services,
    pub(super) owner: Client,
    group: GroupId,
    pub(super) students: Vec<StudentId>,
    room: Uuid,
    pub(super) admin: UserId,
}

impl School {
    pub(super) async fn start() -> Self {
        let database = TestDatabase::start().await;
        let app = database.app().await;
        let owner = database.connect().await;
        owner.execute("UPDATE sites SET time_zone = 'Africa/Addis_Ababa'", &[]).await.unwrap();
        let new = NewGroup { name: "7B".into(), term: None, external_id: String::new() };
        let group = app.groups.create(MAIN, &new).await.unwrap().id;
        let students = vec![database.student(&app, "1").await, database.student(&app, "2").await];
        owner.execute("UPDATE students SET section = 'B' WHERE number = '2'", &[]).await.unwrap();
        let room = app.rooms.create(MAIN, "R1").await.unwrap().id.uuid();
        let admin = database.user("admin").await;
        Self { database, app, owner, group, students, room, admin }
    }

    /// A session of three quarters of an hour in a state, in the room, and what it says of each student; `None`: nothing.
    /// Such a day is long over, and nobody makes its marks anew.
    pub(super) async fn session(&self, start: &str, state: &str, marks: [Option<Mark>; 2]) -> ClassSessionId {
        let id = ClassSessionId::generate();
        let starts_at: Timestamp = start.parse().unwrap();
        let ends_at = starts_at + SignedDuration::from_mins(45);
        let sql = "INSERT INTO class_sessions (site_id, id, group_id, starts_at, ends_at, state)
                   VALUES ($1, $2, $3, $4, $5, 'planned')";
        let site = MAIN.uuid();
        self.owner
            .execute(sql, &[&site, &id.uuid(), &self.group.uuid(), &starts_at, &ends_at])
            .await
            .unwrap();
        let sql = "INSERT INTO class_session_rooms (site_id, session_id, room_id) VALUES ($1, $2, $3)";
        self.owner.execute(sql, &[&site, &id.uuid(), &self.room]).await.unwrap();
        for (student, mark) in self.students.iter().zip(marks) {
            let Some(mark) = mark else { continue };
            let sql =
                "INSERT INTO marks (site_id, session_id, student_id, mark, machine_mark, evidence, rules)
                       VALUES ($1, $2, $3, $4, $4, '[]', '[]')";
            self.owner.execute(sql, &[&site, &id.uuid(), &student.uuid(), &mark.as_str()]).await.unwrap();
        }
        let sql = "UPDATE class_sessions SET state = $3 WHERE site_id = $1 AND id = $2";
        self.owner.execute(sql, &[&site, &id.uuid(), &state]).await.unwrap();
        id
    }

    fn filter(&self, below: u16) -> WarningFilter {
        WarningFilter {
            below: Rate::of_permille(below).unwrap(),
            group: None,
            section: None,
            final_only: false,
        }
    }

    async fn warned(&self, filter: &WarningFilter) -> Vec<String> {
        let report = self.app.reports.warnings(MAIN, filter, span()).await.unwrap();
        report
            .rows
            .iter()
            .map(|row| format!("{} {}", row.student.number, row.tally.rate().unwrap()))
            .collect()
    }
}

fn day(text: &str) -> Date {
    text.parse().unwrap()
}

fn span() -> ReportSpan {
    ReportSpan::Days(day("2037-03-02"), Some(day("2037-03-08")))
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_count_what_is_over() {
    use Mark::{Absent, Excused, Late, Present, Undetermined};
    let school = School::start().await;
    // 00:30 on Monday, where the site is.
    let first = school.session("2037-03-01T21:30:00Z", "closing", [Some(Present), Some(Absent)]).await;
    school.session("2037-03-03T05:00:00Z", "finalised", [Some(Late), Some(Excused)]).await;
    school.session("2037-03-04T05:00:00Z", "finalised", [Some(Present), Some(Present)]).await;
    school.session("2037-03-05T05:00:00Z", "cancelled", [Some(Absent), Some(Absent)]).await;
    school.session("2037-03-06T05:00:00Z", "open", [Some(Present), Some(Undetermined)]).await;
    // On Sunday 23:30, and on Monday 00:15, of other weeks.
    school.session("2037-03-01T20:30:00Z", "closing", [Some(Absent), Some(Absent)]).await;
    school.session("2037-03-08T21:15:00Z", "closing", [Some(Absent), Some(Absent)]).await;

    let of = WeekOf::Group(school.group);
    let week = school.app.reports.week(MAIN, of.clone(), Some(day("2037-03-05"))).await.unwrap();
    assert_eq!((week.of.as_str(), week.head.zone_name.as_str()), ("7B", "Africa/Addis_Ababa"));
    assert_eq!((week.sessions.len(), week.sessions[0].id), (4, first));
    let marks: Vec<Vec<Mark>> =
        week.rows.iter().map(|row| row.marks.iter().map(|mark| mark.mark).collect()).collect();
    assert_eq!(marks, [vec![Present, Late, Present, Present], vec![Absent, Excused, Present, Undetermined]]);
    let rates: Vec<String> = week.rows.iter().map(|row| row.tally.rate().unwrap().to_string()).collect();
    assert_eq!(rates, ["100.0 %", "50.0 %"]);
    let section =
        school.app.reports.week(MAIN, WeekOf::Section("B".into()), Some(day("2037-03-05"))).await.unwrap();
    assert_eq!((section.sessions.len(), section.rows.len()), (4, 1));

    let person = school.app.reports.person(MAIN, school.students[1], span()).await.unwrap();
    assert_eq!((person.section.as_str(), person.marks.len(), person.tally.counted()), ("B", 4, 2));

    assert_eq!(school.warned(&school.filter(1000)).await, ["2 50.0 %"]);
    assert_eq!(school.warned(&school.filter(500)).await, Vec::<String>::new(), "50 is not below 50");
    let final_only = WarningFilter { final_only: true, ..school.filter(1000) };
    assert_eq!(school.warned(&final_only).await, Vec::<String>::new(), "excused and present");
    let elsewhere = WarningFilter { section: Some("C".into()), ..school.filter(1000) };
    assert_eq!(school.warned(&elsewhere).await, Vec::<String>::new());

    // Whoever leaves the roster is in no report of it.
    let sql = "UPDATE marks SET is_listed = false WHERE session_id = $1 AND student_id = $2";
    school.owner.execute(sql, &[&first.uuid(), &school.students[1].uuid()]).await.unwrap();
    let week = school.app.reports.week(MAIN, of, Some(day("2037-03-05"))).await.unwrap();
    assert_eq!(week.rows[1].tally.rate().unwrap(), Rate::WHOLE);
    assert_eq!(school.warned(&school.filter(1000)).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn rooms_are_used_by_sessions() {
    use Mark::{Absent, Present};
    let school = School::start().await;
    school.session("2037-03-03T05:00:00Z", "closing", [Some(Present), Some(Absent)]).await;
    school.session("2037-03-03T05:00:00Z", "finalised", [Some(Present), None]).await;
    school.session("2037-03-04T05:00:00Z", "planned", [None, None]).await;
    school.app.rooms.create(MAIN, "R0").await.unwrap();
    let rooms = school.app.reports.rooms(MAIN, span()).await.unwrap().rows;
    let shown: Vec<_> = rooms
        .iter()
        .map(|room| (room.name.as_str(), room.sessions, room.minutes, room.tally.counted()))
        .collect();
    assert_eq!(shown, [("R0", 0, 0, 0), ("R1", 2, 90, 3)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_warned_who_was_erased() {
    let school = School::start().await;
    school.session("2037-03-03T05:00:00Z", "closing", [Some(Mark::Absent), Some(Mark::Absent)]).await;
    assert_eq!(school.warned(&school.filter(800)).await, ["1 0.0 %", "2 0.0 %"]);
    school.app.students.erase(MAIN, school.students[0], school.admin).await.unwrap();
    assert_eq!(school.warned(&school.filter(800)).await, ["2 0.0 %"]);
    let week =
        school.app.reports.week(MAIN, WeekOf::Group(school.group), Some(day("2037-03-05"))).await.unwrap();
    assert!(
        week.rows.iter().any(|row| row.student.number.starts_with("erased-") && row.student.name.is_empty())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn days_are_those_of_a_term_or_said() {
    let school = School::start().await;
    let today = Timestamp::now().to_zoned(TimeZone::get("Africa/Addis_Ababa").unwrap()).date();
    let rooms = async |span| school.app.reports.rooms(MAIN, span).await;
    let none = rooms(ReportSpan::CurrentTerm).await.unwrap_err();
    assert_eq!(none.reason(), ErrorReason::InvalidArgument);
    for (name, around) in [("Year", 100), ("Autumn", 40)] {
        let days = Days::new(today.saturating_sub(jiff::Span::new().days(around)), today).unwrap();
        let new = NewTerm { name: name.into(), days, external_id: String::new() };
        school.app.terms.create(MAIN, &new).await.unwrap();
    }
    assert_eq!(rooms(ReportSpan::CurrentTerm).await.unwrap().days.term, "Autumn");
    assert_eq!(rooms(ReportSpan::Days(today, None)).await.unwrap().days.days.last(), today);
    let long = rooms(ReportSpan::Days(day("2035-01-01"), Some(day("2037-01-01")))).await.unwrap_err();
    assert_eq!(long.reason(), ErrorReason::InvalidArgument);
    let nowhere = rooms(ReportSpan::Term(cavs_types::TermId::generate())).await.unwrap_err();
    assert_eq!(nowhere.reason(), ErrorReason::TermNotFound);
    let nobody = school.app.reports.person(MAIN, StudentId::generate(), span()).await.unwrap_err();
    assert_eq!(nobody.reason(), ErrorReason::StudentNotFound);
    let _database = &school.database;
}
