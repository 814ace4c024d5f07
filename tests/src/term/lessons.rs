//! The lessons of a term: planned, played, and their marks.

use std::{collections::BTreeMap, thread, time::Duration};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::{
    Plan,
    cast::{Cast, Part, Presence},
    faults::{Fault, Kind},
    room::Room,
    verdict::Verdict,
    wait_until,
};
use crate::{Cli, Site};

/// How long things take, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// From the first picture of those who are in time to the start.
    before: i64,
    /// From the start until some leave.
    leave: i64,
    /// And until those come who are late.
    late: i64,
    length: i64,
    /// From the end to the next lesson's first picture.
    pause: i64,
    /// Lessons are too short for anybody to leave early.
    has_leavers: bool,
}

impl Pace {
    /// Whoever is later than a minute is late, whoever goes more than a minute before the end has left early.
    pub(super) fn of_minutes() -> Self {
        Self { before: 10, leave: 50, late: 68, length: 135, pause: 25, has_leavers: true }
    }

    /// Whoever is later than the start is late.
    pub(super) fn of_seconds() -> Self {
        Self { before: 6, leave: 14, late: 16, length: 32, pause: 12, has_leavers: false }
    }

    fn round(self) -> i64 {
        self.before + self.length + self.pause
    }

    fn policy(self) -> [&'static str; 12] {
        let (grace, leaving, sightings) =
            if self.has_leavers { ("1", "true", "2") } else { ("0", "false", "1") };
        [
            "--grace-minutes",
            grace,
            "--leave-grace-minutes",
            grace,
            "--leaving",
            leaving,
            "--sightings",
            sightings,
            "--minutes-before",
            "1",
            "--finalise-after-days",
            "none",
        ]
    }

    /// The mark that somebody should have.
    pub(super) fn mark(self, presence: Presence) -> &'static str {
        if presence == Presence::LeavesEarly && !self.has_leavers { "present" } else { presence.mark() }
    }
}

/// Marks by session, then by the student's id.
pub(super) type Marks = BTreeMap<String, BTreeMap<String, Value>>;

/// A lesson of a room.
pub(super) struct Lesson {
    pub(super) room: usize,
    pub(super) round: usize,
    /// Id of its session.
    pub(super) session: String,
}

/// All lessons of a term.
pub(super) struct Lessons {
    pub(super) all: Vec<Lesson>,
    begins: Timestamp,
    pace: Pace,
    /// When the card's holder showed it, in which session.
    card_times: Vec<(String, String)>,
    /// Ids of students, by number.
    ids: BTreeMap<String, String>,
}

impl Lessons {
    /// Groups with their rosters and policy, and every session of the term.
    pub(super) fn plan(plan: &Plan, cast: &Cast, site: &Site, begins: Timestamp) -> Self {
        let cli = &site.cli;
        let yesterday = (begins - SignedDuration::from_hours(48)).strftime("%Y-%m-%d").to_string();
        for room in 0..plan.rooms {
            let group = group(room);
            cli.json(&["groups", "add", &group]);
            let members: Vec<&str> = ["groups", "members", "add", &group]
                .into_iter()
                .chain(cast.numbers(room))
                .chain(["--from", &yesterday])
                .collect();
            assert!(cli.run(&members).status.success(), "the roster can't be filled");
        }
        cli.json(&[&["attendance", "policy", "set"][..], &plan.pace.policy()].concat());
        let students = cli.json(&["students", "list", "--all"]);
        let text = |student: &Value, key: &str| student[key].as_str().unwrap().to_owned();
        let ids = students["students"].as_array().unwrap().iter();
        let ids = ids.map(|student| (text(student, "number"), text(student, "id"))).collect();
        let mut lessons = Self { all: Vec::new(), begins, pace: plan.pace, card_times: Vec::new(), ids };
        for round in 0..plan.rounds {
            for room in (0..plan.rooms).filter(|room| plan.has_lesson(*room, round)) {
                let start = lessons.start(round);
                let end = start + SignedDuration::from_secs(plan.pace.length);
                let name = format!("Room {}", room + 1);
                let session = cli.json(&[
                    "sessions",
                    "add",
                    &group(room),
                    "--start",
                    &start.to_string(),
                    "--end",
                    &end.to_string(),
                    "--room",
                    &name,
                ]);
                let session = session["id"].as_str().unwrap().to_owned();
                lessons.all.push(Lesson { room, round, session });
            }
        }
        lessons
    }

    /// The id of a student, who may have been erased since.
    pub(super) fn id_of(&self, number: &str) -> &str {
        &self.ids[number]
    }

    fn start(&self, round: usize) -> Timestamp {
        let rounds = SignedDuration::from_secs(self.pace.round() * i64::try_from(round).unwrap());
        self.begins + rounds + SignedDuration::from_secs(self.pace.before)
    }

    /// The round in which something was, from its first picture to the next one's.
    pub(super) fn round_at(&self, at: Timestamp) -> Option<usize> {
        let since = at.duration_since(self.begins).as_secs();
        usize::try_from(since.div_euclid(self.pace.round())).ok()
    }

    fn wait_for(&self, round: usize, seconds: i64) {
        let until = self.start(round) + SignedDuration::from_secs(seconds);
        let left = until.duration_since(Timestamp::now());
        thread::sleep(Duration::try_from(left).unwrap_or_default());
    }

    /// Plays a round in all rooms at once.
    pub(super) fn play(
        &mut self,
        round: usize,
        plan: &Plan,
        cast: &Cast,
        site: &mut Site,
        rooms: &mut [Room],
        verdict: &mut Verdict,
    ) {
        let pace = self.pace;
        let faults: Vec<Fault> = plan.faults.iter().filter(|fault| fault.round == round).copied().collect();
        let fault = |room: usize| faults.iter().find(|fault| fault.room == room).map(|fault| fault.kind);
        let show = |rooms: &[Room], part: Part| {
            for (index, room) in rooms.iter().enumerate() {
                let is_over = part != Part::Beginning && fault(index) == Some(Kind::Covered);
                if is_over || fault(index) == Some(Kind::Frozen) {
                    continue;
                }
                let part = if plan.has_lesson(index, round) { part } else { Part::After };
                room.show(cast.film_of(index, round).pictures(part));
            }
        };
        self.wait_for(round, -pace.before);
        for (index, room) in rooms.iter_mut().enumerate() {
            match fault(index) {
                Some(Kind::Offline) => room.relay().cut(true),
                Some(Kind::WrongClock) => room.restart_with_wrong_clock(),
                Some(Kind::Covered | Kind::Frozen | Kind::ServerKilled | Kind::PowerCut) | None => {}
            }
        }
        show(rooms, Part::Beginning);
        if plan.has_lesson(0, round) {
            self.show_card(round, cast, &site.cli);
        }
        self.wait_for(round, pace.leave);
        show(rooms, Part::Middle);
        for (index, room) in rooms.iter_mut().enumerate() {
            match fault(index) {
                Some(Kind::Covered) => room.cover(),
                Some(Kind::PowerCut) => room.cut_power(),
                Some(Kind::ServerKilled) => {
                    site.take_server().kill();
                    thread::sleep(Duration::from_secs(3));
                    site.restart_server();
                }
                Some(Kind::Offline | Kind::Frozen | Kind::WrongClock) | None => {}
            }
        }
        self.wait_for(round, pace.late);
        show(rooms, Part::Whole);
        self.wait_for(round, pace.length - 2);
        // What hangs from now on shows who is here now.
        for (index, room) in rooms.iter().enumerate() {
            let hangs =
                |fault: &Fault| fault.kind == Kind::Frozen && (fault.room, fault.round) == (index, round + 1);
            if plan.faults.iter().any(hangs) {
                room.hang();
            }
        }
        self.wait_for(round, pace.length + 1);
        for (index, room) in rooms.iter_mut().enumerate() {
            let hangs =
                |fault: &Fault| fault.kind == Kind::Frozen && (fault.room, fault.round) == (index, round + 1);
            if !plan.faults.iter().any(hangs) {
                room.show(cast.film_of(index, round).pictures(Part::After));
            }
            match fault(index) {
                Some(Kind::WrongClock) => room.restart(),
                Some(Kind::PowerCut) => room.start(),
                Some(Kind::Offline) => {
                    self.look_while_behind(index, round, &site.cli, verdict);
                    room.relay().cut(false);
                }
                Some(Kind::Covered | Kind::Frozen | Kind::ServerKilled) | None => {}
            }
        }
    }

    /// The card's holder, who has no template, comes as their film has it.
    fn show_card(&mut self, round: usize, cast: &Cast, cli: &Cli) {
        let number = cast.card_holder();
        let presence = cast.film_of(0, round).presence.iter().find(|(other, _)| other == number);
        let seconds = match presence.unwrap().1 {
            Presence::Absent => return,
            Presence::Late => self.pace.late,
            Presence::InTime | Presence::LeavesEarly => 0,
        };
        let at = (self.start(round) + SignedDuration::from_secs(seconds)).to_string();
        let lesson = self.all.iter().find(|lesson| (lesson.room, lesson.round) == (0, round)).unwrap();
        self.wait_for(round, seconds.max(1));
        check_in(cli, &lesson.session, number, &at);
        self.card_times.push((lesson.session.clone(), at));
    }

    /// The card is shown again where the term is played again.
    pub(super) fn show_cards_again(&self, cast: &Cast, cli: &Cli) {
        for (session, at) in &self.card_times {
            check_in(cli, session, cast.card_holder(), at);
        }
    }

    /// For a while after the end of a lesson of a room that is cut off: nobody may be absent.
    fn look_while_behind(&self, room: usize, round: usize, cli: &Cli, verdict: &mut Verdict) {
        let lesson = self.all.iter().find(|lesson| (lesson.room, lesson.round) == (room, round)).unwrap();
        for seconds in 2..=self.pace.pause.min(12) {
            self.wait_for(round, self.pace.length + seconds);
            let sheet = cli.json(&["attendance", "show", &lesson.session]);
            // Before, nobody is absent anywhere.
            if sheet["session"]["state"] == "closing" {
                let marks = sheet["marks"].as_array().unwrap().iter();
                verdict.looks_behind += 1;
                verdict.absent_behind += marks.filter(|mark| mark["mark"] == "absent").count();
            }
        }
    }

    /// Waits until every device has delivered what it saw up to the end of the last lesson.
    pub(super) fn wait_delivered(&self, site: &Site, plan: &Plan) {
        let end = self.start(plan.rounds - 1) + SignedDuration::from_secs(plan.pace.length);
        wait_until("devices are behind", || {
            (1..=plan.rooms).all(|room| {
                let device = site.cli.json(&["devices", "show", &format!("camera-{room}")]);
                let until = device["today"]["delivered_until_time"].as_str();
                until.is_some_and(|until| until.parse::<Timestamp>().unwrap() > end)
            })
        });
    }

    /// Waits until nothing is left to be worked on.
    pub(super) fn settle(&self, site: &Site) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut still = 0;
        wait_until("marks are still made", || {
            let open: i64 = runtime.block_on(async {
                let client = site.database().await;
                let sql = "SELECT (SELECT count(*) FROM attendance_queue)
                    + (SELECT count(*) FROM class_sessions WHERE state IN ('planned', 'open'))";
                client.query_one(sql, &[]).await.unwrap().get(0)
            });
            still = if open == 0 { still + 1 } else { 0 };
            still > 6
        });
    }

    pub(super) fn marks(&self, site: &Site) -> Marks {
        self.all.iter().map(|lesson| (lesson.session.clone(), marks_of(&site.cli, &lesson.session))).collect()
    }
}

fn group(room: usize) -> String {
    format!("Group {}", room + 1)
}

fn check_in(cli: &Cli, session: &str, number: &str, at: &str) {
    cli.json(&["attendance", "check-in", session, number, "--kind", "card", "--at", at]);
}

fn marks_of(cli: &Cli, session: &str) -> BTreeMap<String, Value> {
    let sheet = cli.json(&["attendance", "show", session]);
    let marks = sheet["marks"].as_array().unwrap().iter();
    marks.map(|mark| (mark["student"]["id"].as_str().unwrap().to_owned(), mark.clone())).collect()
}
