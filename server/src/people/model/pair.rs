use std::{fmt, str::FromStr};

use cavs_types::{ConfusableKind, IdError, StudentId};
use jiff::Timestamp;

use super::StudentRef;

/// Two students who are taken for one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfusablePair {
    /// The one with the smaller id.
    pub first: StudentRef,
    /// The other.
    pub second: StudentRef,
    /// Why.
    pub kind: ConfusableKind,
    /// Name of the user who said or corrected it.
    pub noted_by: String,
    /// When that was.
    pub noted_at: Timestamp,
}

impl ConfusablePair {
    /// Where it stands in lists.
    #[must_use]
    pub fn position(&self) -> PairPosition {
        PairPosition(self.first.id, self.second.id)
    }
}

/// Where a pair stands in lists: the ids of its students.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairPosition(pub StudentId, pub StudentId);

impl fmt::Display for PairPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}", self.0, self.1)
    }
}

impl FromStr for PairPosition {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let (first, second) = text.split_once('+').unwrap_or((text, ""));
        Ok(Self(first.parse()?, second.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_read_what_they_write() {
        let position = PairPosition(StudentId::generate(), StudentId::generate());
        assert_eq!(position.to_string().parse(), Ok(position));
        assert!(
            "".parse::<PairPosition>().is_err() && position.0.to_string().parse::<PairPosition>().is_err()
        );
    }
}
