use std::{fmt, str::FromStr};

use cavs_embedding::Similarity;
use cavs_types::{ProtocolError, SightingId, StudentId};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{page::ListName, people::StudentRef};

/// Most days that are looked back.
const MOST_DAYS: u32 = 90;

/// A face that was taken for nobody, and is like somebody who was enrolled since.
#[derive(Debug, Clone, PartialEq)]
pub struct LateMatch {
    /// Which sighting.
    pub sighting: SightingId,
    /// Whom it may show.
    pub student: StudentRef,
    /// How similar it is to their templates.
    pub similarity: Similarity,
    /// What would have been accepted without a person.
    pub threshold: f32,
    /// When it was captured.
    pub captured_at: Timestamp,
    /// By what.
    pub device_name: String,
    /// Where.
    pub classroom: String,
    /// When it was found.
    pub found_at: Timestamp,
}

/// How many days a site looks back; `None`: it doesn't.
///
/// # Errors
/// `Invalid`.
pub fn late_match_days(days: Option<u32>) -> Result<Option<u32>, ProtocolError> {
    match days {
        Some(days) if !(1..=MOST_DAYS).contains(&days) => {
            let problem = format!("{days} is not 1 to {MOST_DAYS}");
            Err(ProtocolError::invalid("policy.days", problem))
        }
        other => Ok(other),
    }
}

/// The list of what was found, of somebody where they are given.
#[must_use]
pub fn late_match_list(student: Option<StudentId>) -> ListName {
    ListName::new("late_matches").with("student", student.map(|id| id.to_string()).as_deref())
}

/// After what a page of it goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LateMatchPosition {
    /// When it was found.
    pub found_at: Timestamp,
    /// Which sighting.
    pub sighting: Uuid,
    /// Whom it may show.
    pub student: Uuid,
}

impl fmt::Display for LateMatchPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.found_at, self.sighting, self.student)
    }
}

impl FromStr for LateMatchPosition {
    type Err = ProtocolError;

    fn from_str(text: &str) -> Result<Self, ProtocolError> {
        let mut parts = text.split(' ');
        let mut parsed = || {
            let position = Self {
                found_at: parts.next()?.parse().ok()?,
                sighting: parts.next()?.parse().ok()?,
                student: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(position)
        };
        parsed()
            .ok_or_else(|| ProtocolError::invalid("page_token", "is no position in a list of late matches"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_bounded_and_positions_round_trip() {
        assert_eq!(late_match_days(None), Ok(None));
        assert_eq!(late_match_days(Some(90)), Ok(Some(90)));
        for wrong in [0, 91] {
            assert!(late_match_days(Some(wrong)).is_err(), "{wrong}");
        }
        let position = LateMatchPosition {
            found_at: "2026-11-27T08:00:00Z".parse().unwrap(),
            sighting: Uuid::now_v7(),
            student: Uuid::now_v7(),
        };
        assert_eq!(position.to_string().parse(), Ok(position));
        assert!("2026-11-27T08:00:00Z".parse::<LateMatchPosition>().is_err());
    }
}
