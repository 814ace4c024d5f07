use bytes::Bytes;
use cavs_types::{SightingId, StudentId};
use jiff::Timestamp;

use crate::people::StudentRef;

/// An accepted sighting that a person judges without being told whom the machine meant.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// What was drawn.
    pub sighting: SightingId,
    /// By the device's clock.
    pub captured_at: Timestamp,
    /// JPEG of the face.
    pub evidence: Bytes,
    /// Whom it may be, in an order that says nothing: the machine's candidate, those that came next, and others.
    pub choices: Vec<StudentRef>,
}

/// What a person says of an audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditAnswer {
    /// It is this student.
    Student(StudentId),
    /// It is none of those who were named.
    NoneOfThem,
    /// Nobody could tell by this picture.
    CannotTell,
}

/// What an answer says of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOutcome {
    /// Both meant the same.
    Right,
    /// They did not.
    Wrong,
    /// The person could not tell.
    Unclear,
}

impl AuditOutcome {
    /// As the database has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Right => "right",
            Self::Wrong => "wrong",
            Self::Unclear => "unclear",
        }
    }
}

impl AuditAnswer {
    /// Beside whom the machine meant.
    #[must_use]
    pub fn outcome(self, predicted: StudentId) -> AuditOutcome {
        match self {
            Self::CannotTell => AuditOutcome::Unclear,
            Self::Student(student) if student == predicted => AuditOutcome::Right,
            Self::Student(_) | Self::NoneOfThem => AuditOutcome::Wrong,
        }
    }
}

/// What became of the audits of a period.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AuditCounts {
    /// Persons and machine said the same.
    pub right: u64,
    /// They did not.
    pub wrong: u64,
    /// The person could not tell.
    pub unclear: u64,
    /// Nobody has looked yet.
    pub waiting: u64,
}

/// How often accepted sightings name the right person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Accuracy {
    /// The share of the audits with a clear answer.
    pub share: f64,
    /// The ends of its 95 % interval.
    pub interval: (f64, f64),
}

impl AuditCounts {
    /// What they say of the accuracy; nothing where no audit has a clear answer.
    #[must_use]
    pub fn accuracy(&self) -> Option<Accuracy> {
        let audited = self.right + self.wrong;
        (audited > 0).then(|| Accuracy {
            share: self.right as f64 / audited as f64,
            interval: wilson(self.right, audited),
        })
    }
}

/// The 95 % score interval of a share (E. B. Wilson, 1927): it holds for few cases and near 0 and 1, too.
fn wilson(successes: u64, cases: u64) -> (f64, f64) {
    const Z: f64 = 1.959_964;
    let (n, p) = (cases as f64, successes as f64 / cases as f64);
    let widened = 1.0 + Z * Z / n;
    let middle = (p + Z * Z / (2.0 * n)) / widened;
    let half = Z / widened * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_comes_with_its_interval() {
        let counts = |right, wrong| AuditCounts { right, wrong, unclear: 7, waiting: 9 };
        assert_eq!(counts(0, 0).accuracy(), None);
        // Newcombe (1998), table I.
        for (right, of, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let accuracy = counts(right, of - right).accuracy().unwrap();
            let (found_low, found_high) = accuracy.interval;
            assert!((found_low - low).abs() < 6e-5 && (found_high - high).abs() < 6e-5, "{accuracy:?}");
            assert!((accuracy.share - right as f64 / of as f64).abs() < 1e-12);
        }
        assert!((counts(20, 0).accuracy().unwrap().interval.1 - 1.0).abs() < 1e-12);
    }
}
