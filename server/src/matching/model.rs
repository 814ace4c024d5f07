use std::{fmt, str::FromStr};

use bytes::Bytes;
use cavs_embedding::{PackDigest, Similarity, UnitEmbedding};
use cavs_types::{Decision, MatchKind, Quality, StudentId, UserId};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{people::StudentRef, recognition::Candidate};

/// A face that somebody asks about.
#[derive(Debug, Clone)]
pub enum FaceToMatch {
    /// A photograph with exactly one face, of a kind that enrollment reads.
    Image(Bytes),
    /// A face that was made into an embedding elsewhere.
    Embedding {
        /// Of unit length.
        embedding: UnitEmbedding,
        /// Whose networks made it.
        pack: PackDigest,
        /// How good its picture was.
        quality: Quality,
        /// Probability that it is live, 0 to 1, where that was measured.
        liveness: Option<f32>,
    },
}

/// What was decided on a face, and by what.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchedFace {
    /// The record that somebody asked.
    pub id: Uuid,
    /// What follows.
    pub decision: Decision,
    /// Why; stable.
    pub reason: &'static str,
    /// The accept threshold that decided.
    pub threshold: f32,
    /// Of which version it is.
    pub threshold_version: u32,
    /// Of the face, where one was found.
    pub quality: Option<Quality>,
}

impl MatchedFace {
    /// Whether the machine is sure enough to go without a person.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.decision == Decision::Accepted
    }
}

/// Whom a face shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Identified {
    /// What was decided.
    pub face: MatchedFace,
    /// From the review threshold on, the best first.
    pub candidates: Vec<Candidate<StudentRef>>,
    /// Distance of the best to the next one.
    pub margin: Option<f32>,
}

/// Whether a face shows a student.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// What was decided: it is the student where it is accepted.
    pub face: MatchedFace,
    /// Of the face to the student's templates, where there was something to compare.
    pub similarity: Option<Similarity>,
}

/// That somebody asks, to be stored.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMatch {
    /// What is asked.
    pub kind: MatchKind,
    /// Who asks.
    pub by: UserId,
    /// Whether an image was sent.
    pub by_image: bool,
    /// Of a verification: whom the face was to show.
    pub asked: Option<StudentId>,
    /// What was decided.
    pub face: MatchedFace,
    /// The best candidate.
    pub best: Option<Candidate>,
}

/// That somebody asked.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchRecord {
    /// Time-ordered.
    pub id: Uuid,
    /// What was asked.
    pub kind: MatchKind,
    /// User name of who asked.
    pub asked_by: String,
    /// When.
    pub asked_at: Timestamp,
    /// Whether an image was sent.
    pub by_image: bool,
    /// Of a verification: whom the face was to show.
    pub asked: Option<StudentRef>,
    /// What was decided.
    pub decision: Decision,
    /// Why.
    pub reason: String,
    /// The best candidate.
    pub best: Option<Candidate<StudentRef>>,
}

/// Where a page of records goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchPosition(pub Uuid);

impl fmt::Display for MatchPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for MatchPosition {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        text.parse().map(Self)
    }
}
