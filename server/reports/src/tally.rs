//! How marks are counted. The rules are in docs/REPORTS.md, each with its test.

use std::fmt;

use cavs_types::Mark;
use serde::{Serialize, Serializer};

/// How many marks of each kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// There, and in time.
    pub present: u32,
    /// There, and not in time.
    pub late: u32,
    /// There, and gone before the end.
    pub left_early: u32,
    /// Not there.
    pub absent: u32,
    /// Not there, for a reason that was accepted.
    pub excused: u32,
    /// Nobody can say.
    pub undetermined: u32,
}

/// A share in tenths of a percent, rounded down: 100 % is only said of who missed nothing, and nobody who is below a
/// limit is shown at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rate(u16);

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, mark: Mark) {
        let count = match mark {
            Mark::Present => &mut self.present,
            Mark::Late => &mut self.late,
            Mark::LeftEarly => &mut self.left_early,
            Mark::Absent => &mut self.absent,
            Mark::Excused => &mut self.excused,
            Mark::Undetermined => &mut self.undetermined,
        };
        *count = count.saturating_add(1);
    }

    /// How many there are of a kind.
    #[must_use]
    pub const fn of(&self, mark: Mark) -> u32 {
        match mark {
            Mark::Present => self.present,
            Mark::Late => self.late,
            Mark::LeftEarly => self.left_early,
            Mark::Absent => self.absent,
            Mark::Excused => self.excused,
            Mark::Undetermined => self.undetermined,
        }
    }

    /// How often somebody was there: in time, late, or not to the end.
    #[must_use]
    pub const fn attended(&self) -> u32 {
        self.present.saturating_add(self.late).saturating_add(self.left_early)
    }

    /// How many sessions count: excused ones and those of which nobody can say count neither for nor against anybody.
    #[must_use]
    pub const fn counted(&self) -> u32 {
        self.attended().saturating_add(self.absent)
    }

    /// The share of the sessions that count in which somebody was there. `None`: none counts, so nobody can say; that is
    /// neither 0 nor 100 %.
    #[must_use]
    pub fn rate(&self) -> Option<Rate> {
        let (attended, counted) = (u64::from(self.attended()), u64::from(self.counted()));
        if counted == 0 {
            return None;
        }
        u16::try_from(attended * 1000 / counted).ok().map(Rate)
    }
}

impl FromIterator<Mark> for Tally {
    fn from_iter<I: IntoIterator<Item = Mark>>(marks: I) -> Self {
        let mut tally = Self::default();
        marks.into_iter().for_each(|mark| tally.add(mark));
        tally
    }
}

impl Rate {
    /// The whole.
    pub const WHOLE: Self = Self(1000);

    /// Of so many tenths of a percent; `None`: of more than the whole.
    #[must_use]
    pub const fn of_permille(permille: u16) -> Option<Self> {
        if permille <= 1000 { Some(Self(permille)) } else { None }
    }

    /// In tenths of a percent, 0 to 1000.
    #[must_use]
    pub const fn permille(self) -> u16 {
        self.0
    }

    /// In percent, with one decimal.
    #[must_use]
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10.0
    }
}

/// `93.3 %`
impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} %", self.0 / 10, self.0 % 10)
    }
}

/// In percent.
impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.percent())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(marks: &[(Mark, u32)]) -> String {
        let marks = marks.iter().flat_map(|(mark, count)| (0..*count).map(|_| *mark));
        marks.collect::<Tally>().rate().map_or("none".to_owned(), |rate| rate.to_string())
    }

    #[test]
    fn who_was_there_attended_however_late() {
        use Mark::{Absent, Late, LeftEarly, Present};
        assert_eq!(shown(&[(Present, 1), (Late, 1), (LeftEarly, 1), (Absent, 1)]), "75.0 %");
    }

    #[test]
    fn excused_and_undetermined_count_neither_way() {
        use Mark::{Absent, Excused, Present, Undetermined};
        assert_eq!(shown(&[(Present, 3), (Absent, 1)]), "75.0 %");
        assert_eq!(shown(&[(Present, 3), (Absent, 1), (Excused, 40), (Undetermined, 7)]), "75.0 %");
    }

    #[test]
    fn nothing_that_counts_is_no_rate() {
        assert_eq!(shown(&[]), "none");
        assert_eq!(shown(&[(Mark::Excused, 3), (Mark::Undetermined, 2)]), "none");
    }

    #[test]
    fn rates_are_rounded_down() {
        assert_eq!(shown(&[(Mark::Present, 2), (Mark::Absent, 1)]), "66.6 %");
        assert_eq!(shown(&[(Mark::Present, 1999), (Mark::Absent, 1)]), "99.9 %");
        assert_eq!(shown(&[(Mark::Present, 7)]), "100.0 %");
        // 79.97 %: shown as below 80 %, as which it counts.
        assert_eq!(shown(&[(Mark::Present, 2399), (Mark::Absent, 601)]), "79.9 %");
    }

    proptest! {
        #[test]
        fn below_a_limit_is_what_the_whole_numbers_say(there in 0_u32..5000, absent in 0_u32..5000, limit in 0_u16..=1000) {
            let tally = Tally { present: there, absent, ..Tally::default() };
            let exact = u64::from(there) * 1000 < u64::from(limit) * u64::from(there + absent);
            let rate = tally.rate();
            prop_assert_eq!(rate.is_some_and(|rate| rate.permille() < limit), exact && rate.is_some());
        }
    }
}
