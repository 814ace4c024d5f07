//! What a reviewer sees of a sighting.

use cavs_proto::{enum_from_wire, from_timestamp, v1};
use cavs_types::{Decision, Verdict};
use jiff::Timestamp;

use super::words::Why;
use crate::text::sanitised;

/// Candidates that have a key of their own.
pub(crate) const MOST_CANDIDATES: usize = 5;

/// A sighting that waits for a person. All its text is harmless to a terminal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Item {
    pub(crate) id: String,
    pub(crate) seen: Option<Timestamp>,
    pub(crate) device: String,
    pub(crate) classroom: String,
    /// Best first, at most [`MOST_CANDIDATES`].
    pub(crate) candidates: Vec<Candidate>,
    /// Whether the machine took it for the best candidate; otherwise it named nobody.
    pub(crate) is_predicted: bool,
    /// The similarity that would have been accepted.
    pub(crate) threshold: f32,
    pub(crate) threshold_version: u32,
    /// Distance of the best to the next student, where there is a next.
    pub(crate) margin: Option<f32>,
    /// Why it waits, in words.
    pub(crate) why: String,
    /// The verdict in force.
    pub(crate) standing: Option<Standing>,
    /// It was given to the reviewer, who has not claimed it by themselves.
    pub(crate) is_assigned: bool,
    /// Sightings of its visit that one verdict serves; 0 where each has its own.
    pub(crate) visit: u32,
}

/// Somebody who it may be.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) student: String,
    pub(crate) number: String,
    pub(crate) name: String,
    /// Cosine, -1 to 1.
    pub(crate) similarity: f32,
}

/// A verdict in force.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standing {
    pub(crate) verdict: Verdict,
    pub(crate) reviewer: String,
    pub(crate) notes: String,
}

impl Item {
    /// Whether somebody has decided it: what is flagged still waits.
    pub(crate) fn is_decided(&self) -> bool {
        self.standing.as_ref().is_some_and(|standing| standing.verdict != Verdict::Flagged)
    }
}

impl From<v1::Sighting> for Item {
    fn from(sighting: v1::Sighting) -> Self {
        let prediction = sighting.prediction.unwrap_or_default();
        let decision: Option<Decision> = enum_from_wire("decision", prediction.decision).ok();
        let candidates = prediction.candidates.into_iter().take(MOST_CANDIDATES).map(|candidate| {
            let student = candidate.student.unwrap_or_default();
            Candidate {
                student: student.id,
                number: sanitised(&student.number).into_owned(),
                name: sanitised(&student.name).into_owned(),
                similarity: candidate.similarity,
            }
        });
        let candidates: Vec<_> = candidates.collect();
        let best = candidates.first().map(|best| best.similarity);
        let why = Why {
            reason: prediction.reason.parse().ok(),
            best,
            threshold: prediction.threshold,
            margin: prediction.margin,
            liveness: sighting.liveness,
            quality: sighting.quality.and_then(|quality| quality.try_into().ok()),
        };
        let is_assigned = sighting.claim.is_some_and(|claim| !claim.assigned_by.is_empty());
        Self {
            id: sighting.id,
            is_assigned,
            visit: sighting.visit_size,
            seen: from_timestamp("capture_time", sighting.capture_time.as_ref()).ok(),
            device: sanitised(&sighting.device_name).into_owned(),
            classroom: sanitised(&sighting.classroom).into_owned(),
            is_predicted: best.is_some() && matches!(decision, Some(Decision::Accepted | Decision::Pending)),
            candidates,
            threshold: prediction.threshold,
            threshold_version: prediction.threshold_version,
            margin: prediction.margin,
            why: why.words(),
            standing: sighting.review.and_then(|review| {
                Some(Standing {
                    verdict: enum_from_wire("verdict", review.verdict).ok()?,
                    reviewer: sanitised(&review.reviewer).into_owned(),
                    notes: sanitised(&review.notes).into_owned(),
                })
            }),
        }
    }
}
