//! A term of a school that does not exist: rooms are filmed, cameras and servers misbehave, and every mark is compared
//! with the truth. Lessons last minutes; everything else is real: agents, networks, server, database.

#![allow(clippy::print_stdout, reason = "this is a benchmark's report")]

mod cast;
mod faults;
mod lessons;
mod relay;
mod replay;
mod reviewer;
mod room;
mod verdict;

use std::{
    path::Path,
    thread,
    time::{Duration, Instant},
};

use jiff::Timestamp;

pub use self::{cast::Cast, faults::Fault, lessons::Pace, verdict::Verdict};
use self::{lessons::Lessons, replay::History, reviewer::Reviewer, room::Room};
use crate::{Site, SiteOptions};

/// In a school of sixty, renders of strangers are as like somebody as 0.75, and people in their seats as like themselves
/// as 0.9.
const THRESHOLDS: &str = "recognition.accept = 0.82\nrecognition.review = 0.72\nrecognition.margin = 0.05\n\
     enrollment.same_person = 0.95";
/// From the making of the sessions to the first lesson: agents connect and cameras begin meanwhile.
const WARM_UP: Duration = Duration::from_secs(30);
/// Longest wait for what is still to come after the last lesson.
const PATIENCE: Duration = Duration::from_secs(180);

/// What is played.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Rooms, each with a group of its own.
    pub rooms: usize,
    /// Lessons of each room, one after the other.
    pub rounds: usize,
    /// Lessons of all rooms together; the last ones of the last round fall out.
    pub lessons: usize,
    /// How long things take.
    pub pace: Pace,
    /// What goes wrong, where and when.
    pub faults: Vec<Fault>,
    /// Somebody of this room is erased after this round.
    pub erasure: Option<(usize, usize)>,
}

impl Plan {
    /// Three rooms and forty lessons, in which everything goes wrong that goes wrong in schools.
    #[must_use]
    pub fn whole() -> Self {
        let faults = vec![
            Fault::offline(0, 2),
            Fault::covered(1, 3),
            Fault::frozen(2, 4),
            Fault::wrong_clock(1, 6),
            Fault::server_killed(8),
            Fault::power_cut(2, 10),
        ];
        Self { rooms: 3, rounds: 14, lessons: 40, pace: Pace::of_minutes(), faults, erasure: Some((0, 9)) }
    }

    /// A lesson in each of three rooms, one of which is cut off and one covered.
    #[must_use]
    pub fn short() -> Self {
        let faults = vec![Fault::offline(0, 0), Fault::covered(2, 0)];
        Self { rooms: 3, rounds: 1, lessons: 3, pace: Pace::of_seconds(), faults, erasure: None }
    }

    /// Whether a room has a lesson in a round.
    fn has_lesson(&self, room: usize, round: usize) -> bool {
        round * self.rooms + room < self.lessons
    }
}

/// Plays a term in an empty folder.
///
/// # Panics
/// A part of the system fails.
#[must_use]
pub fn play(plan: &Plan, cast: &Cast, directory: &Path) -> Verdict {
    let folder = directory.join("school");
    std::fs::create_dir(&folder).unwrap();
    let options = SiteOptions { server_toml: THRESHOLDS.to_owned(), ..SiteOptions::default() };
    let mut site = Site::create(&folder, None, &options);
    site.keep_ports();
    say("enrolling");
    cast.enroll(&site);
    let mut rooms: Vec<Room> = (0..plan.rooms).map(|index| Room::furnish(&site, index)).collect();
    let mut lessons = Lessons::plan(plan, cast, &site, Timestamp::now() + WARM_UP);
    // As it is before anything is seen, to play it again.
    let before = directory.join("again");
    assert_eq!(site.take_server().terminate(), Some(0));
    replay::copy(&folder, &before);
    site.restart_server();

    for room in &mut rooms {
        room.start();
    }
    let mut verdict = Verdict::default();
    for round in 0..plan.rounds {
        say(&format!("round {} of {}", round + 1, plan.rounds));
        lessons.play(round, plan, cast, &mut site, &mut rooms, &mut verdict);
        if let Some((room, at)) = plan.erasure
            && at == round
        {
            let number = cast.erased(room);
            site.cli.json(&["students", "erase", number, "--yes"]);
            say(&format!("{number} is erased"));
        }
    }
    lessons.wait_delivered(&site, plan);
    let devices = rooms.into_iter().map(Room::stop).collect();
    say("a reviewer looks at what waits");
    let reviewer = Reviewer { plan, cast, lessons: &lessons };
    verdict.reviewed = reviewer.review(&site);
    lessons.settle(&site);
    let marks = lessons.marks(&site);
    verdict.judge(plan, cast, &lessons, &marks);

    say("playing what was seen again, in another order, and twice");
    let history = History::read(&site, devices);
    println!("# {history}; {} of them, not of twins, were left to a person", verdict.reviewed);
    verdict.sightings = history.sightings();
    assert_eq!(site.take_server().terminate(), Some(0));
    let again = history.play(&before, cast, &lessons, &reviewer);
    verdict.compare(plan, cast, &lessons, &marks, &again);
    verdict
}

/// Waits until a condition holds.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(300));
    }
}

fn say(text: &str) {
    println!("# {} {text}", Timestamp::now().strftime("%H:%M:%S"));
}
