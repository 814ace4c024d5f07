//! Somebody who knows everybody looks at what the machine left to a person.

use jiff::Timestamp;
use serde_json::Value;

use super::{Plan, cast::Cast, lessons::Lessons};
use crate::{Site, demo::overlap};

/// A sighting is of the face in whose box it lies by at least this much.
const SAME_FACE: f64 = 0.2;
/// More than wait for a review at once.
const MOST_ROUNDS: usize = 3;

/// A reviewer who was there.
pub(super) struct Reviewer<'a> {
    pub(super) plan: &'a Plan,
    pub(super) cast: &'a Cast,
    pub(super) lessons: &'a Lessons,
}

impl Reviewer<'_> {
    /// Decides everything that waits, and gives how much that was, but for twins, whom nobody can tell.
    pub(super) fn review(&self, site: &Site) -> usize {
        let mut reviewed = 0;
        for _ in 0..MOST_ROUNDS {
            let queue = site.cli.json(&["review", "list", "--all"]);
            let waiting = queue["sightings"].as_array().unwrap();
            if waiting.is_empty() {
                break;
            }
            for sighting in waiting {
                let id = sighting["id"].as_str().unwrap();
                let mut arguments = vec!["review"];
                let truth = self.truth(sighting);
                match truth {
                    Some(Some(number)) => arguments.extend(["approve", id, "--student", number]),
                    // A stranger, or nobody who can be told.
                    Some(None) | None => arguments.extend(["reject", id]),
                }
                // Somebody who was erased can't be named any more.
                let done = site.cli.run(&arguments).status.success();
                reviewed +=
                    usize::from(done && !truth.flatten().is_some_and(|number| self.cast.is_twin(number)));
            }
        }
        reviewed
    }

    /// Whose face a sighting shows; `None` where there is no face, `Some(None)` for strangers.
    fn truth(&self, sighting: &Value) -> Option<Option<&str>> {
        let name = sighting["device_name"].as_str()?;
        let room: usize = name.strip_prefix("camera-")?.parse().ok()?;
        let at: Timestamp = sighting["captured_at"].as_str()?.parse().ok()?;
        let round = self.lessons.round_at(at).filter(|round| *round < self.plan.rounds)?;
        let bounds = &sighting["bounding_box"];
        let seen = ["x", "y", "width", "height"].map(|key| bounds[key].as_f64().unwrap_or_default());
        let faces = self.cast.film_of(room - 1, round).faces.iter();
        let best = faces.max_by(|a, b| overlap(a.bounds, seen).total_cmp(&overlap(b.bounds, seen)))?;
        (overlap(best.bounds, seen) >= SAME_FACE).then_some(best.student.as_deref())
    }
}
