//! What was measured against what must hold.

use super::{
    Plan,
    cast::{Cast, Presence},
    lessons::{Lesson, Lessons, Marks},
};

/// Most of the presences that the devices could see may be missed, in per cent.
const MOST_MISSED: f64 = 1.0;

/// The figures of a term.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Marks that there should be, and those that are missing.
    expected: usize,
    lost: usize,
    /// Marks of people that were there, while their devices could see it.
    there: usize,
    /// Those of them that don't say so.
    missed: usize,
    /// Marks that say that somebody was there who wasn't.
    wrongly_present: usize,
    /// Marks that say that somebody wasn't there who was.
    wrongly_absent: usize,
    /// Marks that are the very truth.
    exact: usize,
    /// Looks at sheets while a device was behind, and absences on them.
    pub(super) looks_behind: usize,
    pub(super) absent_behind: usize,
    /// Marks that are different where the term was played again.
    different: usize,
    mistakes: Vec<String>,
}

impl Verdict {
    pub(super) fn judge(&mut self, plan: &Plan, cast: &Cast, lessons: &Lessons, marks: &Marks) {
        for lesson in &lessons.all {
            let sheet = &marks[&lesson.session];
            let blinds = |fault: &&super::Fault| {
                fault.blinds() && (fault.room, fault.round) == (lesson.room, lesson.round)
            };
            let is_blind = plan.faults.iter().any(|fault| blinds(&fault));
            for (number, presence) in &cast.film_of(lesson.room, lesson.round).presence {
                self.expected += 1;
                let Some(mark) = sheet.get(lessons.id_of(number)) else {
                    self.lost += 1;
                    continue;
                };
                let (mark, was_there) = (mark["mark"].as_str().unwrap(), *presence != Presence::Absent);
                let truth = plan.pace.mark(*presence);
                let says_there = matches!(mark, "present" | "late" | "left_early");
                self.exact += usize::from(mark == truth);
                self.wrongly_present += usize::from(says_there && !was_there);
                self.wrongly_absent += usize::from(mark == "absent" && was_there);
                // Nobody sees who came while the lens was covered; who says so is right.
                let could_be_seen = was_there && !(is_blind && mark == "undetermined");
                self.there += usize::from(could_be_seen);
                self.missed += usize::from(could_be_seen && !says_there);
                if mark != truth && !(is_blind && mark == "undetermined") {
                    self.note(lesson, number, &format!("{mark}, in truth {truth}"));
                }
            }
        }
    }

    /// Compares with the marks of the term played again, of all but who was erased.
    pub(super) fn compare(
        &mut self,
        plan: &Plan,
        cast: &Cast,
        lessons: &Lessons,
        marks: &Marks,
        again: &Marks,
    ) {
        let erased = plan.erasure.map(|(room, _)| cast.erased(room));
        for lesson in &lessons.all {
            for number in cast.numbers(lesson.room).filter(|number| Some(*number) != erased) {
                let id = lessons.id_of(number);
                let said = [marks, again].map(|marks| {
                    marks[&lesson.session].get(id).map(|mark| {
                        let minutes = ["minutes_present", "minutes_late", "minutes_left_early"];
                        (mark["mark"].clone(), minutes.map(|minutes| mark[minutes].clone()))
                    })
                });
                if said[0] != said[1] {
                    self.different += 1;
                    self.note(lesson, number, &format!("{:?}, and again {:?}", said[0], said[1]));
                }
            }
        }
    }

    fn note(&mut self, lesson: &Lesson, number: &str, what: &str) {
        self.mistakes.push(format!("room {}, round {}, {number}: {what}", lesson.room + 1, lesson.round + 1));
    }

    /// Prints a line for each bar, `name figure bar ok|SHORT`; whether all are met.
    #[must_use]
    pub fn print(&self) -> bool {
        for mistake in &self.mistakes {
            println!("# {mistake}");
        }
        println!("# {} of {} marks are the very truth", self.exact, self.expected);
        println!("# {} looks at sheets of rooms that were behind", self.looks_behind);
        let missed = 100.0 * self.missed as f64 / self.there.max(1) as f64;
        let mut all = true;
        for (name, figure, bar) in [
            ("present_who_was_not_there", self.wrongly_present as f64, 0.0),
            ("absent_who_was_there", self.wrongly_absent as f64, 0.0),
            ("missed_presence_percent", missed, MOST_MISSED),
            ("absent_while_behind", self.absent_behind as f64, 0.0),
            ("marks_lost", self.lost as f64, 0.0),
            ("marks_different_when_replayed", self.different as f64, 0.0),
        ] {
            let is_met = figure <= bar;
            all &= is_met;
            println!("{name} {figure:.2} {bar} {}", if is_met { "ok" } else { "SHORT" });
        }
        // Figures of nothing are none.
        all && self.there > 0 && self.looks_behind > 0
    }
}
