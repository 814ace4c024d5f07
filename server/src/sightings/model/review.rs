use cavs_types::{ProtocolError, ReviewId, SightingId, StudentId, UserId, Verdict};
use jiff::Timestamp;

use super::{QueueFilter, QueueRequest};
use crate::{people::StudentRef, text};

/// Most characters of what a reviewer writes.
const MOST_NOTES: usize = 2000;

/// A verdict to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReview {
    /// On what.
    pub sighting: SightingId,
    /// What the person says.
    pub verdict: Verdict,
    /// At most 2000 characters.
    pub notes: String,
    /// Who it really was.
    pub corrected: Option<StudentId>,
    /// Whether it may take the place of an earlier approval or rejection.
    pub replace: bool,
    /// Whether it is only for a sighting that nobody has given a verdict on, not even a flag.
    pub only_unreviewed: bool,
    /// What verdicts that are given together share, to be taken back together.
    pub batch: Option<ReviewId>,
}

impl NewReview {
    /// Checks what a person typed.
    ///
    /// # Errors
    /// `Invalid` notes.
    pub fn new(
        sighting: SightingId,
        verdict: Verdict,
        notes: &str,
        corrected: Option<StudentId>,
        replace: bool,
    ) -> Result<Self, ProtocolError> {
        let notes = text::paragraph("notes", notes, MOST_NOTES)?;
        Ok(Self { sighting, verdict, notes, corrected, replace, only_unreviewed: false, batch: None })
    }
}

/// One verdict on many sightings of the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct BulkReview {
    /// On which.
    pub filter: QueueFilter,
    /// What the person says.
    pub verdict: Verdict,
    /// At most 2000 characters.
    pub notes: String,
    /// At most so many.
    pub limit: u32,
    /// Nothing is reviewed.
    pub dry_run: bool,
}

/// Sightings that are reviewed together where nobody says how many, and at most.
const USUAL_BULK: u32 = 100;
const MOST_BULK: u32 = 1000;

impl BulkReview {
    /// Checks what a person asked for.
    ///
    /// # Errors
    /// `Invalid` notes or limit.
    pub fn new(
        filter: QueueFilter,
        verdict: Verdict,
        notes: &str,
        limit: u32,
        dry_run: bool,
    ) -> Result<Self, ProtocolError> {
        let limit = match limit {
            0 => USUAL_BULK,
            1..=MOST_BULK => limit,
            _ => return Err(ProtocolError::invalid("limit", format_args!("at most {MOST_BULK}"))),
        };
        Ok(Self { filter, verdict, notes: text::paragraph("notes", notes, MOST_NOTES)?, limit, dry_run })
    }
}

/// What became of one verdict on many sightings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BulkReviewed {
    /// Sightings that were chosen.
    pub chosen: u32,
    /// Those of them that were reviewed.
    pub reviewed: u32,
    /// Those that were not: somebody was first, or the machine named nobody to approve.
    pub passed_over: u32,
}

/// Who alone decides a sighting of the queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Whose it is.
    pub reviewer_id: UserId,
    /// Their user name.
    pub reviewer: String,
    /// When it ends; what was assigned is theirs until it is decided.
    pub until: Option<Timestamp>,
    /// User name of the person who gave it to them.
    pub assigned_by: Option<String>,
}

/// Sightings that are claimed at once where nobody says how many, and at most.
const USUAL_CLAIMS: u32 = 10;
const MOST_CLAIMS: u32 = 100;
/// Seconds of a claim where nobody says how many, and at most: a working day.
const USUAL_LEASE: u32 = 10 * 60;
const LONGEST_LEASE: u32 = 8 * 3600;

/// Sightings of the queue that somebody wants for themselves, for a while.
#[derive(Debug, Clone, PartialEq)]
pub struct NewClaim {
    /// The first ones of these.
    pub queue: QueueRequest,
    /// At most so many.
    pub limit: u32,
    /// For so long.
    pub lease_seconds: u32,
}

impl NewClaim {
    /// Checks what a person asked for; 0 is what is usual.
    ///
    /// # Errors
    /// `Invalid` limit or lease.
    pub fn new(queue: QueueRequest, limit: u32, lease_seconds: u32) -> Result<Self, ProtocolError> {
        let within = |field, value, usual, most| match value {
            0 => Ok(usual),
            value if value <= most => Ok(value),
            _ => Err(ProtocolError::invalid(field, format_args!("at most {most}"))),
        };
        Ok(Self {
            queue,
            limit: within("limit", limit, USUAL_CLAIMS, MOST_CLAIMS)?,
            lease_seconds: within("lease_seconds", lease_seconds, USUAL_LEASE, LONGEST_LEASE)?,
        })
    }
}

/// The taking back of the verdict in force: the one before it is in force again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWithdrawal {
    /// The sighting whose verdict is taken back.
    pub sighting: SightingId,
    /// At most 2000 characters.
    pub notes: String,
    /// Whether the verdict may be somebody else's.
    pub of_anybody: bool,
    /// Only a verdict that was given together with others.
    pub of_batch: Option<ReviewId>,
}

impl NewWithdrawal {
    /// Checks what a person typed.
    ///
    /// # Errors
    /// `Invalid` notes.
    pub fn new(sighting: SightingId, notes: &str, of_anybody: bool) -> Result<Self, ProtocolError> {
        Ok(Self { sighting, notes: text::paragraph("notes", notes, MOST_NOTES)?, of_anybody, of_batch: None })
    }
}

/// A recorded verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// What the person said.
    pub verdict: Verdict,
    /// User name of the person.
    pub reviewer: String,
    /// By the database's clock.
    pub reviewed_at: Timestamp,
    /// In their words.
    pub notes: String,
    /// Who it really was.
    pub corrected: Option<StudentRef>,
    /// That it was taken back.
    pub withdrawal: Option<Withdrawal>,
}

/// That a verdict was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// User name of the person who took it back.
    pub reviewer: String,
    /// By the database's clock.
    pub withdrawn_at: Timestamp,
    /// In their words.
    pub notes: String,
}
