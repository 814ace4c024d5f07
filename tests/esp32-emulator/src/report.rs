use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

/// What became of a picture, or of one try to send it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum Outcome {
    /// Looked at, with the server's word about the faces.
    Answered {
        /// Faces that were found.
        faces: u32,
        /// Of these, how many were somebody.
        matched: u32,
    },
    /// Kept for later: the server is away.
    Stored {
        /// Faces that were found, where that is known.
        faces: u32,
    },
    /// The proxy has no room; it says when to come again.
    Busy {
        /// The time it named, where it named one.
        retry_after: Option<Duration>,
    },
    /// Refused for good.
    Refused {
        /// The status, as the path writes it: `400`, `INVALID_ARGUMENT`.
        status: String,
        /// The machine-readable reason, or the message where there is none.
        reason: String,
    },
    /// No answer: the connection broke, or it took too long.
    Lost {
        /// What the connection said.
        reason: String,
    },
    /// The camera cut its own request off on purpose.
    CutOff,
}

impl Outcome {
    /// Whether the picture arrived.
    #[must_use]
    pub fn arrived(&self) -> bool {
        matches!(self, Self::Answered { .. } | Self::Stored { .. })
    }

    /// Faces that were somebody.
    #[must_use]
    pub fn matched(&self) -> u32 {
        if let Self::Answered { matched, .. } = self { *matched } else { 0 }
    }
}

/// One try to send one picture.
#[derive(Debug, Clone, Serialize)]
pub struct Answer {
    /// The number of the picture.
    pub frame: u64,
    /// Which try this was, from 1.
    pub attempt: u32,
    /// How the proxy answered, or that it did not.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// From the first byte of the request to the last of the answer.
    pub latency: Duration,
    /// Whether the picture was damaged on purpose.
    pub damaged: bool,
    /// Whether the camera acts as if this answer was lost.
    pub forgotten: bool,
}

/// All tries of one or of several cameras.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The tries, in order of their ends.
    pub answers: Vec<Answer>,
    /// Whole pictures that were to be sent.
    pub pictures: u64,
    /// Of these, those that never arrived.
    pub lost: u64,
}

impl Report {
    /// Adds another camera's.
    pub fn add(&mut self, other: Self) {
        self.answers.extend(other.answers);
        self.pictures += other.pictures;
        self.lost += other.lost;
    }

    /// The latency that so many of a hundred tries that arrived stay within; zero where none did.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> Duration {
        let arrived = self.answers.iter().filter(|answer| answer.outcome.arrived());
        percentile(arrived.map(|answer| answer.latency).collect(), percent)
    }

    /// How many tries ended in each kind of outcome.
    #[must_use]
    pub fn outcomes(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for answer in &self.answers {
            *counts.entry(kind(&answer.outcome)).or_default() += 1;
        }
        counts
    }

    /// Faces of damaged pictures that were somebody: there must be none.
    #[must_use]
    pub fn damaged_and_matched(&self) -> usize {
        let matched =
            |outcome: &Outcome| matches!(outcome, Outcome::Answered { matched, .. } if *matched > 0);
        self.answers.iter().filter(|answer| answer.damaged && matched(&answer.outcome)).count()
    }
}

/// The value that so many of a hundred stay within (nearest rank); zero of none.
#[must_use]
pub fn percentile(mut values: Vec<Duration>, percent: usize) -> Duration {
    values.sort();
    let rank = (values.len() * percent.min(100)).div_ceil(100);
    values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn kind(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answered { .. } => "answered".into(),
        Outcome::Stored { .. } => "stored".into(),
        Outcome::Busy { .. } => "busy".into(),
        Outcome::Refused { status, reason } => format!("refused {status} {reason}"),
        Outcome::Lost { reason } => format!("lost: {reason}"),
        Outcome::CutOff => "cut off on purpose".into(),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |percent| self.percentile(percent).as_millis();
        write!(
            f,
            "{} pictures, {} lost, p50 {} ms, p95 {} ms",
            self.pictures,
            self.lost,
            millis(50),
            millis(95)
        )?;
        for (outcome, count) in self.outcomes() {
            write!(f, "; {outcome}: {count}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let values: Vec<Duration> = (1..=20).rev().map(Duration::from_secs).collect();
        assert_eq!(percentile(values.clone(), 95).as_secs(), 19);
        assert_eq!(percentile(values.clone(), 50).as_secs(), 10);
        assert_eq!(percentile(values, 100).as_secs(), 20);
        assert_eq!(percentile(Vec::new(), 95), Duration::ZERO);
    }
}
