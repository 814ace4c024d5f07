//! Classes of people who can be told apart.

use serde::Serialize;

use crate::identity::Identity;
use crate::math::Random;
use crate::names;

/// Most people that a roster can hold; beyond, finding another distinct face takes too long.
pub const MOST_PEOPLE: usize = 2000;

/// Smallest distance between two people of a roster; see [`Identity::distance`]. Two random people are
/// about 1.35 apart.
const APART: f32 = 1.22;
/// Candidates to look at before being content with the most distinct one so far.
const PATIENCE: usize = 200;
/// Students in a section.
const SECTION: usize = 12;

/// Somebody on the roster.
#[derive(Clone, Debug)]
pub struct Student {
    /// Student number, unique in the roster and safe as a file name.
    pub number: String,
    /// Full name.
    pub name: String,
    /// Section of the class.
    pub section: String,
    /// What the person's face is made of.
    pub identity: Identity,
}

/// A line of `roster.csv`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RosterLine<'a> {
    /// Student number.
    pub number: &'a str,
    /// Full name.
    pub name: &'a str,
    /// Section of the class.
    pub section: &'a str,
}

/// A class, and people who do not belong to it.
#[derive(Clone, Debug)]
pub struct Roster {
    /// The class.
    pub students: Vec<Student>,
    /// Others who may show up. They are as distinct from the students as the students from each other.
    pub strangers: Vec<Identity>,
}

/// Why there is no roster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// More people than [`MOST_PEOPLE`].
    #[error("{0} people are too many: a roster holds at most {MOST_PEOPLE}, strangers included")]
    TooMany(usize),
}

impl Roster {
    /// The class of this seed. Its first students do not depend on `count`, nor do any on `strangers`.
    ///
    /// # Errors
    /// [`RosterError::TooMany`] for more than [`MOST_PEOPLE`] people.
    pub fn generate(seed: u64, count: usize, strangers: usize) -> Result<Roster, RosterError> {
        let total = count.saturating_add(strangers);
        if total > MOST_PEOPLE {
            return Err(RosterError::TooMany(total));
        }
        let mut people = distinct(seed, total);
        let strangers = people.split_off(count);
        let mut names = names::Names::new(seed);
        let students = people
            .into_iter()
            .enumerate()
            .map(|(i, identity)| Student {
                number: format!("S26{:04}", i + 1),
                name: names.next(identity.masculinity > 0.5),
                section: section(i / SECTION),
                identity,
            })
            .collect();
        Ok(Roster { students, strangers })
    }

    /// The last so many students, at most half of them, are identical twins of the first.
    #[must_use]
    pub fn with_twins(mut self, pairs: usize) -> Roster {
        let count = self.students.len();
        let (first, last) = self.students.split_at_mut(count - pairs.min(count / 2));
        for (student, other) in last.iter_mut().zip(first) {
            student.identity = other.identity.twin(student.identity.seed());
        }
        self
    }

    /// The students at these places alone, counted from 1.
    #[must_use]
    pub fn only(mut self, places: &[usize]) -> Roster {
        let mut place = 0;
        self.students.retain(|_| {
            place += 1;
            places.contains(&place)
        });
        self
    }

    /// The roster as a CSV file with a header line.
    pub fn to_csv(&self) -> String {
        let mut csv = String::from("number,name,section\n");
        for student in &self.students {
            // Neither numbers nor names nor sections contain commas or quotes.
            csv.push_str(&format!("{},{},{}\n", student.number, student.name, student.section));
        }
        csv
    }
}

/// `10-A`, `10-B`, ..., `10-Z`, `11-A`, ...
fn section(index: usize) -> String {
    format!("{}-{}", 10 + index / 26, char::from(b'A' + (index % 26) as u8))
}

/// People from consecutive draws, skipping those who look like somebody chosen before.
fn distinct(seed: u64, count: usize) -> Vec<Identity> {
    let mut random = Random::new(seed, 21);
    let mut chosen: Vec<Identity> = Vec::with_capacity(count);
    let mut features: Vec<Vec<f32>> = Vec::with_capacity(count);
    while chosen.len() < count {
        let mut best: Option<(f32, Identity, Vec<f32>)> = None;
        for _ in 0..PATIENCE {
            let candidate = Identity::from_seed(random.next());
            let feature = candidate.features();
            let nearest = features
                .iter()
                .map(|other| crate::identity::feature_distance(&feature, other))
                .fold(f32::MAX, f32::min);
            if best.as_ref().is_none_or(|(distance, _, _)| nearest > *distance) {
                best = Some((nearest, candidate, feature));
            }
            if nearest >= APART {
                break;
            }
        }
        let Some((_, identity, feature)) = best else { break };
        chosen.push(identity);
        features.push(feature);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn people_of_a_roster_can_be_told_apart() {
        let roster = Roster::generate(7, 40, 5).unwrap();
        let people: Vec<&Identity> =
            roster.students.iter().map(|s| &s.identity).chain(&roster.strangers).collect();
        assert_eq!(people.len(), 45);
        for (i, a) in people.iter().enumerate() {
            for b in &people[..i] {
                assert!(a.distance(b) >= APART, "{} and {}: {}", a.seed(), b.seed(), a.distance(b));
            }
        }
    }

    #[test]
    fn a_longer_roster_begins_with_the_shorter_one() {
        let short = Roster::generate(3, 5, 0).unwrap();
        let long = Roster::generate(3, 9, 2).unwrap();
        assert!(long.to_csv().starts_with(&short.to_csv()));
        for (a, b) in short.students.iter().zip(&long.students) {
            assert_eq!(a.identity.seed(), b.identity.seed());
        }
    }

    #[test]
    fn names_and_numbers_are_unique() {
        let roster = Roster::generate(1, 300, 0).unwrap();
        let numbers: HashSet<&str> = roster.students.iter().map(|s| s.number.as_str()).collect();
        let names: HashSet<&str> = roster.students.iter().map(|s| s.name.as_str()).collect();
        assert_eq!((numbers.len(), names.len()), (300, 300));
        assert_eq!(roster.students[0].section, "10-A");
        assert_eq!(roster.students[12].section, "10-B");
    }

    #[test]
    fn the_last_are_twins_of_the_first_and_a_part_is_a_part() {
        let roster = Roster::generate(3, 9, 1).unwrap().with_twins(2);
        let apart = |a: usize, b: usize| roster.students[a].identity.distance(&roster.students[b].identity);
        assert!(apart(0, 7) < 0.5 && apart(1, 8) < 0.5 && apart(0, 1) >= APART && apart(2, 6) >= APART);
        assert_eq!(Roster::generate(3, 3, 0).unwrap().with_twins(9).students.len(), 3);
        let numbers = |roster: Roster| roster.students.into_iter().map(|s| s.number).collect::<Vec<_>>();
        let part = roster.clone().only(&[8, 20, 9]);
        assert_eq!((part.strangers.len(), numbers(part)), (1, vec!["S260008".into(), "S260009".into()]));
        assert!(numbers(roster.only(&[0, 20])).is_empty());
    }

    #[test]
    fn absurd_sizes_are_refused() {
        assert_eq!(Roster::generate(1, usize::MAX, 3).unwrap_err(), RosterError::TooMany(usize::MAX));
        assert!(Roster::generate(1, 0, 0).unwrap().students.is_empty());
    }
}
