use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Formatter},
};

use cavs_types::Decision;
use serde_json::Value;

use super::{DemoData, TrueFace};

/// A sighting is of the face in whose box it lies by at least this much (intersection over union).
const SAME_FACE: f64 = 0.2;

/// What the system said of each judged face, beside the truth.
#[derive(Debug, Default)]
pub struct Report {
    /// Faces of students that were seen well enough to be found.
    pub expected: usize,
    /// Those of them that gave a sighting.
    pub found: usize,
    /// Sightings of students named rightly.
    pub right: usize,
    /// Sightings named wrongly, those of strangers included.
    pub wrong: usize,
    /// Sightings of students that were left to a person, or called unknown.
    pub undecided: usize,
    /// Sightings of strangers.
    pub strangers: usize,
    /// Those of them that were named.
    pub strangers_named: usize,
    /// Those of them that were left to a person.
    strangers_undecided: usize,
    /// Sightings where there is no face.
    nobody: usize,
    /// Sightings of which the truth is not known.
    unjudged: usize,
    /// By student: how often recognised.
    recognised: BTreeMap<String, usize>,
    /// Students who were in the room.
    present: BTreeSet<String>,
    mistakes: Vec<String>,
    /// Ids of sightings left to a person whose best candidate is right.
    best_is_right: BTreeSet<String>,
    first_right: Option<Value>,
}

impl Report {
    /// Compares sightings, as the command line lists them, with the truth about their frames.
    #[must_use]
    pub fn new(sightings: &[Value], data: &DemoData) -> Self {
        let mut report = Self::default();
        let mut seen: BTreeSet<(String, usize)> = BTreeSet::new();
        for face in data.truth.values().flatten().filter(|face| face.expected) {
            report.expected += usize::from(face.student.is_some());
            report.present.extend(face.student.clone());
        }
        for sighting in sightings {
            let frame = sighting["frame"].as_str().unwrap_or_default();
            let Some(faces) = data.truth.get(frame) else {
                report.unjudged += 1;
                continue;
            };
            let Some(at) = face_of(sighting, faces) else {
                report.nobody += 1;
                continue;
            };
            let first = seen.insert((frame.to_owned(), at));
            report.found += usize::from(first && faces[at].expected && faces[at].student.is_some());
            report.judge(sighting, frame, faces[at].student.as_deref());
        }
        report
    }

    fn judge(&mut self, sighting: &Value, frame: &str, truth: Option<&str>) {
        let best = &sighting["prediction"]["candidates"][0]["student"];
        let (number, name) = (best["number"].as_str(), best["name"].as_str().unwrap_or("?"));
        let decision = sighting["prediction"]["decision"].as_str().and_then(|text| text.parse().ok());
        self.strangers += usize::from(truth.is_none());
        match (truth, decision) {
            (Some(truth), Some(Decision::Accepted)) if number == Some(truth) => {
                self.right += 1;
                *self.recognised.entry(name.to_owned()).or_default() += 1;
                self.first_right.get_or_insert_with(|| sighting.clone());
            }
            (truth, Some(Decision::Accepted)) => {
                self.wrong += 1;
                self.strangers_named += usize::from(truth.is_none());
                self.mistakes.push(format!("{} in {frame} was named {name}", truth.unwrap_or("a stranger")));
            }
            (Some(truth), decision) => {
                self.undecided += 1;
                if decision == Some(Decision::Pending) && number == Some(truth) {
                    self.best_is_right.extend(sighting["id"].as_str().map(str::to_owned));
                }
            }
            (None, decision) => self.strangers_undecided += usize::from(decision == Some(Decision::Pending)),
        }
    }

    /// At least nine in ten faces of students are named rightly, and no more than one in two
    /// hundred sightings wrongly.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let named = self.right + self.wrong;
        self.right * 10 >= self.expected * 9 && self.wrong * 200 <= named
    }

    /// Whether a sighting in the queue has the right first candidate.
    pub(super) fn best_is_right(&self, sighting: &Value) -> bool {
        sighting["id"].as_str().is_some_and(|id| self.best_is_right.contains(id))
    }

    pub(super) fn first_right(&self) -> Option<&Value> {
        self.first_right.as_ref()
    }
}

/// Of which face a sighting is.
fn face_of(sighting: &Value, faces: &[TrueFace]) -> Option<usize> {
    let bounds = &sighting["bounding_box"];
    let seen = ["x", "y", "width", "height"].map(|key| bounds[key].as_f64().unwrap_or_default());
    let overlaps = faces.iter().enumerate().map(|(i, face)| match face.bounds {
        None => (i, 1.0),
        Some(bounds) => (i, overlap(bounds, seen)),
    });
    let best = overlaps.max_by(|a, b| a.1.total_cmp(&b.1))?;
    (best.1 >= SAME_FACE).then_some(best.0)
}

/// Intersection over union of two boxes.
pub(crate) fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let width = (a[0] + a[2]).min(b[0] + b[2]) - a[0].max(b[0]);
    let height = (a[1] + a[3]).min(b[1] + b[3]) - a[1].max(b[1]);
    let both = width.max(0.0) * height.max(0.0);
    both / (a[2] * a[3] + b[2] * b[3] - both).max(f64::MIN_POSITIVE)
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, times) in &self.recognised {
            writeln!(f, "  recognised {name:<24} {times} times")?;
        }
        for mistake in &self.mistakes {
            writeln!(f, "  WRONG: {mistake}")?;
        }
        writeln!(
            f,
            "  {:>5} of {} students in the room were recognised",
            self.recognised.len(),
            self.present.len()
        )?;
        writeln!(f, "  {:>5} of {} well visible faces of students were found", self.found, self.expected)?;
        writeln!(f, "  {:>5} sightings of students named rightly", self.right)?;
        writeln!(f, "  {:>5} left to a person, or unknown", self.undecided)?;
        writeln!(f, "  {:>5} named wrongly", self.wrong)?;
        let unknown = self.strangers - self.strangers_named - self.strangers_undecided;
        writeln!(
            f,
            "  {unknown:>5} sightings of strangers left unknown, {} left to a person, {} named",
            self.strangers_undecided, self.strangers_named
        )?;
        if self.nobody > 0 {
            writeln!(f, "  {:>5} sightings where there is no face", self.nobody)?;
        }
        if self.unjudged > 0 {
            writeln!(f, "  {:>5} sightings in frames of which the truth is not known", self.unjudged)?;
        }
        Ok(())
    }
}
