use std::collections::HashMap;

use cavs_types::{ConfusableKind, StudentId};

/// Students of a site whose faces are taken for one another's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfusablePairs(HashMap<(StudentId, StudentId), ConfusableKind>);

impl ConfusablePairs {
    /// How two students are confused, in either order; `None` where they are not.
    #[must_use]
    pub fn kind(&self, one: StudentId, other: StudentId) -> Option<ConfusableKind> {
        self.0.get(&ordered(one, other)).copied()
    }
}

impl FromIterator<(StudentId, StudentId, ConfusableKind)> for ConfusablePairs {
    fn from_iter<I: IntoIterator<Item = (StudentId, StudentId, ConfusableKind)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(one, other, kind)| (ordered(one, other), kind)).collect())
    }
}

/// The smaller id first, as the database has them.
#[must_use]
pub fn ordered(one: StudentId, other: StudentId) -> (StudentId, StudentId) {
    if one.uuid() <= other.uuid() { (one, other) } else { (other, one) }
}
