//! What was measured against what must hold.

use std::collections::BTreeMap;

use super::{
    Plan,
    cast::{Cast, Presence},
    lessons::{Lesson, Lessons, Marks},
};

/// Most of the presences that the devices could see may be missed, in per cent.
const MOST_MISSED: f64 = 1.0;
/// And most of the marks that devices could prove may be another one, in per cent.
const MOST_OTHER: f64 = 2.0;
/// Most sightings, but for those of twins, may be left to a person, in per cent of all.
const MOST_REVIEWED: f64 = 25.0;

/// The figures of a term.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Marks that are missing.
    lost: usize,
    /// Marks of people that were there, while their devices could see it.
    there: usize,
    /// Those of them that don't say so.
    missed: usize,
    /// Marks that say that somebody was there who wasn't.
    wrongly_present: usize,
    /// Marks that say that somebody wasn't there who was.
    wrongly_absent: usize,
    /// Marks of lessons that were seen whole, by what they should be, and how many of them are.
    told: BTreeMap<&'static str, (usize, usize)>,
    /// Sightings, and those of others than twins that the machine left to a person.
    pub(super) sightings: usize,
    pub(super) reviewed: usize,
    /// Looks at sheets while a device was behind, and absences on them.
    pub(super) looks_behind: usize,
    pub(super) absent_behind: usize,
    /// Marks that were compared with those of the term played again, and those that are different.
    compared: usize,
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
                // Who was erased is expected nowhere any more.
                if plan
                    .erasure
                    .is_some_and(|(room, round)| number == cast.erased(room) && lesson.round > round)
                {
                    continue;
                }
                let Some(mark) = sheet.get(lessons.id_of(number)) else {
                    self.lost += 1;
                    continue;
                };
                let mark = mark["mark"].as_str().unwrap();
                let was_there = *presence != Presence::Absent;
                // Who shows a card is not seen to go.
                let truth = match (number == cast.card_holder(), *presence) {
                    (true, Presence::LeavesEarly) => Presence::InTime.mark(),
                    (_, presence) => plan.pace.mark(presence),
                };
                let says_there = matches!(mark, "present" | "late" | "left_early");
                self.wrongly_present += usize::from(says_there && !was_there);
                self.wrongly_absent += usize::from(mark == "absent" && was_there);
                // Nobody sees who came while the lens was covered; who says so is right.
                let is_unknown = is_blind && mark == "undetermined";
                self.there += usize::from(was_there && !is_unknown);
                self.missed += usize::from(was_there && !is_unknown && !says_there);
                if !is_blind {
                    let (all, right) = self.told.entry(truth).or_default();
                    *all += 1;
                    *right += usize::from(mark == truth);
                }
                if mark != truth && !is_unknown {
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
                self.compared += 1;
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
        for (truth, (all, right)) in &self.told {
            println!("# {right} of {all} who should be {truth} are");
        }
        println!("# {} looks at sheets of rooms that were behind", self.looks_behind);
        println!("# {} marks compared with those of the term played again", self.compared);
        let percent = |part: usize, of: usize| 100.0 * part as f64 / of.max(1) as f64;
        let (all, right) =
            self.told.values().fold((0, 0), |(all, right), told| (all + told.0, right + told.1));
        let is_met = [
            ("present_who_was_not_there", self.wrongly_present as f64, 0.0),
            ("absent_who_was_there", self.wrongly_absent as f64, 0.0),
            ("missed_presence_percent", percent(self.missed, self.there), MOST_MISSED),
            ("marks_other_than_the_truth_percent", percent(all - right, all), MOST_OTHER),
            ("absent_while_behind", self.absent_behind as f64, 0.0),
            ("marks_lost", self.lost as f64, 0.0),
            ("marks_different_when_replayed", self.different as f64, 0.0),
            ("sightings_left_to_a_person_percent", percent(self.reviewed, self.sightings), MOST_REVIEWED),
        ]
        .map(|(name, figure, bar)| {
            let is_met = figure <= bar;
            println!("{name} {figure:.2} {bar} {}", if is_met { "ok" } else { "SHORT" });
            is_met
        });
        // Figures of nothing are none.
        let is_played = ["present", "late", "absent"].iter().all(|truth| self.told.contains_key(truth));
        is_met == [true; 8] && is_played && self.looks_behind > 0 && self.compared > 0
    }
}
