use cavs_types::{ExcuseId, ProtocolError, StudentId};
use jiff::{SignedDuration, Timestamp};

use crate::people::StudentRef;

/// Longest excuse: a year.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);

/// A time in which somebody need not be there, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewExcuse {
    /// Who.
    pub student: StudentId,
    /// Its first moment.
    pub starts_at: Timestamp,
    /// The moment after its last.
    pub ends_at: Timestamp,
    /// Why.
    pub reason: String,
}

impl NewExcuse {
    /// # Errors
    /// `Invalid`: it ends before it begins, or lasts more than a year.
    pub fn new(
        student: StudentId,
        (starts_at, ends_at): (Timestamp, Timestamp),
        reason: String,
    ) -> Result<Self, ProtocolError> {
        if ends_at <= starts_at {
            return Err(ProtocolError::invalid("end_time", "is not after the start"));
        }
        if ends_at.duration_since(starts_at) > LONGEST {
            return Err(ProtocolError::invalid("end_time", "is more than a year after the start"));
        }
        Ok(Self { student, starts_at, ends_at, reason })
    }
}

/// A time in which somebody need not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExcusedTime {
    /// Made by the server.
    pub id: ExcuseId,
    /// Who.
    pub student: StudentRef,
    /// Its first moment.
    pub starts_at: Timestamp,
    /// The moment after its last.
    pub ends_at: Timestamp,
    /// Why.
    pub reason: String,
    /// When it was recorded.
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: String,
    /// When it was taken back, where it was.
    pub withdrawn_at: Option<Timestamp>,
}
