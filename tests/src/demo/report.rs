use std::{
    collections::BTreeSet,
    fmt::{self, Display, Formatter},
};

use serde_json::Value;

use super::{Cast, Truth};

/// What the system said of each judged face, beside the truth.
#[derive(Debug, Default)]
pub(super) struct Report {
    right: Vec<Value>,
    wrong: Vec<Value>,
    /// Students whom the machine left to a person, with the right or a wrong first candidate.
    undecided: Vec<(Value, bool)>,
    /// Frames of students that gave no sighting, or one that was called unknown.
    missed: usize,
    genuine: usize,
    strangers_unknown: usize,
    strangers_undecided: usize,
    strangers_named: usize,
    unjudged: usize,
}

impl Report {
    pub(super) fn new(sightings: &[Value], cast: &Cast) -> Self {
        let mut report = Self {
            genuine: cast.truth.values().filter(|truth| **truth != Truth::Stranger).count(),
            ..Self::default()
        };
        let mut decided = BTreeSet::new();
        for sighting in sightings {
            let frame = sighting["frame"].as_str().unwrap_or_default();
            let Some(truth) = cast.truth.get(frame) else {
                report.unjudged += 1;
                continue;
            };
            let decision = sighting["prediction"]["decision"].as_str().unwrap_or_default();
            let best = best(sighting);
            match (truth, decision) {
                (Truth::Student(number), "accepted") if best == Some(number) => {
                    decided.insert(frame);
                    report.right.push(sighting.clone());
                }
                (Truth::Student(_), "accepted") => report.wrong.push(sighting.clone()),
                (Truth::Student(number), "pending") => {
                    decided.insert(frame);
                    report.undecided.push((sighting.clone(), best == Some(number)));
                }
                (Truth::Student(_), _) => {}
                (Truth::Stranger, "accepted") => {
                    report.strangers_named += 1;
                    report.wrong.push(sighting.clone());
                }
                (Truth::Stranger, "pending") => report.strangers_undecided += 1,
                (Truth::Stranger, _) => report.strangers_unknown += 1,
            }
        }
        report.missed = report.genuine.saturating_sub(decided.len());
        report
    }

    /// At least nine in ten faces of students are named rightly, and nobody wrongly.
    pub(super) fn is_good(&self) -> bool {
        self.wrong.is_empty() && self.right.len() * 10 >= self.genuine * 9
    }

    /// Whether a sighting in the queue has the right first candidate.
    pub(super) fn best_is_right(&self, sighting: &Value) -> bool {
        self.undecided.iter().any(|(s, right)| *right && s["id"] == sighting["id"])
    }

    pub(super) fn first_right(&self) -> Option<&Value> {
        self.right.first()
    }
}

fn best(sighting: &Value) -> Option<&str> {
    sighting["prediction"]["candidates"][0]["student"]["number"].as_str()
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut names: Vec<&str> = self.right.iter().filter_map(|s| s["student"]["name"].as_str()).collect();
        names.sort_unstable();
        for name in names.chunk_by(|a, b| a == b) {
            writeln!(f, "  recognised {:<24} {} times", name[0], name.len())?;
        }
        for sighting in &self.wrong {
            let name = sighting["student"]["name"].as_str().unwrap_or("?");
            writeln!(f, "  WRONG: {} was named {name}", sighting["frame"].as_str().unwrap_or("?"))?;
        }
        writeln!(f, "  {:>4} faces of students named rightly, of {}", self.right.len(), self.genuine)?;
        writeln!(f, "  {:>4} left to a person", self.undecided.len())?;
        writeln!(f, "  {:>4} missed", self.missed)?;
        writeln!(f, "  {:>4} named wrongly", self.wrong.len())?;
        writeln!(
            f,
            "  {:>4} faces of strangers left unknown, {} left to a person, {} named",
            self.strangers_unknown, self.strangers_undecided, self.strangers_named
        )?;
        if self.unjudged > 0 {
            writeln!(f, "  {:>4} sightings in frames of which the truth is not known", self.unjudged)?;
        }
        Ok(())
    }
}
