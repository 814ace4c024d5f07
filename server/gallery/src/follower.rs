/// Where a gallery stands in the numbered changes of a database.
///
/// Changes are numbered without gaps, in the order in which they were committed, and whoever reads them
/// asks for those after [`applied`](Self::applied). What was announced, when, and in which order, does not
/// matter: an announcement is only a reason to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Follower {
    applied: i64,
}

/// What to do with changes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There are none: the gallery is up to date.
    Done,
    /// Apply them, then [`Follower::advance`] to this number.
    Apply(i64),
    /// Some are forgotten, or the database is an older one than before: load everything again.
    Reload,
}

impl Follower {
    /// The number of the latest change that is surely in the gallery.
    #[must_use]
    pub const fn applied(&self) -> i64 {
        self.applied
    }

    /// What to do with the changes after [`applied`](Self::applied), or the first of them, by their numbers
    /// in the order read. `latest` is the number of the database's latest change at that moment.
    #[must_use]
    pub fn step(&self, latest: i64, read: impl IntoIterator<Item = i64>) -> Step {
        let mut last = self.applied;
        for sequence in read {
            if sequence.checked_sub(1) != Some(last) {
                return Step::Reload;
            }
            last = sequence;
        }
        match last {
            _ if last > self.applied => Step::Apply(last),
            // Without the number, changes that are all forgotten would look like none.
            _ if latest == self.applied => Step::Done,
            _ => Step::Reload,
        }
    }

    /// Notes that everything up to `sequence` is in the gallery.
    pub const fn advance(&mut self, sequence: i64) {
        self.applied = sequence;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_changes_without_gaps_are_applied() {
        let mut follower = Follower::default();
        follower.advance(7);
        for (latest, read, step) in [
            (7, &[][..], Step::Done),
            (9, &[], Step::Reload),
            (6, &[], Step::Reload),
            (8, &[8], Step::Apply(8)),
            (20, &[8, 9, 10], Step::Apply(10)),
            (9, &[9], Step::Reload),
            (10, &[8, 10], Step::Reload),
            (8, &[7, 8], Step::Reload),
            (8, &[8, 8], Step::Reload),
            (8, &[i64::MIN], Step::Reload),
        ] {
            assert_eq!(follower.step(latest, read.iter().copied()), step, "{latest} {read:?}");
        }
    }
}
