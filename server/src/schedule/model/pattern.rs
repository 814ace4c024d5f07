//! Sessions by days of the week.

use std::collections::BTreeSet;

use cavs_types::{GroupId, ProtocolError, RoomId};
use jiff::{
    ToSpan,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};

use super::{Days, SessionTimes};

/// Most days from the first to the last of a pattern.
const LONGEST_DAYS: i32 = 400;
/// Most weeks between two of a pattern.
const MOST_WEEKS: u32 = 52;

/// On which days of the week, and when on them, a group meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeeklyPattern {
    /// Who is expected.
    pub group: GroupId,
    /// Of each session; may be empty.
    pub name: String,
    /// Where; may be nowhere.
    pub rooms: Vec<RoomId>,
    /// When, by the clocks of the site.
    pub dates: PatternDates,
}

/// The dates of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatternDates {
    /// From which day to which.
    pub days: Days,
    /// At least one.
    weekdays: Vec<Weekday>,
    starts: Time,
    /// On the day after, where it is not after the start.
    ends: Time,
    /// Only each so many weeks, counted from the week of the first day.
    week_interval: u32,
}

impl PatternDates {
    /// Checks what a person asks for: days of the week by number, Monday is 1; weeks by number, 0 is each.
    ///
    /// # Errors
    /// `Missing` or `Invalid`, by field.
    pub fn new(
        days: Days,
        weekdays: &[u32],
        (starts, ends): (Time, Time),
        week_interval: u32,
    ) -> Result<Self, ProtocolError> {
        if weekdays.is_empty() {
            return Err(ProtocolError::Missing { field: "weekdays" });
        }
        let weekday = |number: &u32| {
            let read = i8::try_from(*number).ok().and_then(|n| Weekday::from_monday_one_offset(n).ok());
            let problem = || format!("{number} is no day of the week: 1 is Monday, 7 is Sunday");
            read.ok_or_else(|| ProtocolError::invalid("weekdays", problem()))
        };
        let weekdays = weekdays.iter().map(weekday).collect::<Result<_, _>>()?;
        if days.first().until(days.last()).is_ok_and(|span| span.get_days() > LONGEST_DAYS) {
            let problem = format!("more than {LONGEST_DAYS} days after the first");
            return Err(ProtocolError::invalid("end_date", problem));
        }
        if week_interval > MOST_WEEKS {
            return Err(ProtocolError::invalid("week_interval", format_args!("at most {MOST_WEEKS} weeks")));
        }
        Ok(Self { days, weekdays, starts, ends, week_interval: week_interval.max(1) })
    }

    /// When the sessions are, in order, and how many days were passed over for being holidays.
    ///
    /// # Errors
    /// `Invalid`: a day has no such time.
    pub fn times(
        &self,
        zone: &TimeZone,
        holidays: &HolidayDays,
    ) -> Result<(Vec<SessionTimes>, u64), ProtocolError> {
        let week = |day: Date| {
            let back = i64::from(day.weekday().to_monday_zero_offset());
            day.saturating_sub(back.days())
        };
        let first = week(self.days.first());
        let is_in_turn = |day: Date| {
            let days = first.until(week(day)).map_or(0, |span| span.get_days()).unsigned_abs();
            (days / 7).is_multiple_of(self.week_interval)
        };
        let (mut times, mut passed) = (Vec::new(), 0);
        for day in self.days.iter().filter(|day| self.weekdays.contains(&day.weekday()) && is_in_turn(*day)) {
            if holidays.contains(day) {
                passed += 1;
                continue;
            }
            let last = if self.ends > self.starts { day } else { day.saturating_add(1.day()) };
            times.push(SessionTimes::local(zone, day.to_datetime(self.starts), last.to_datetime(self.ends))?);
        }
        Ok((times, passed))
    }
}

/// Days without sessions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HolidayDays(BTreeSet<Date>);

impl HolidayDays {
    /// All days of these.
    pub fn new(holidays: impl IntoIterator<Item = Days>) -> Self {
        Self(holidays.into_iter().flat_map(Days::iter).collect())
    }

    /// Whether there are no sessions on a day.
    #[must_use]
    pub fn contains(&self, day: Date) -> bool {
        self.0.contains(&day)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::{date, time};
    use proptest::prelude::*;

    use super::*;

    fn berlin() -> TimeZone {
        TimeZone::get("Europe/Berlin").unwrap()
    }

    fn pattern(first: Date, last: Date, weekdays: &[u32], from: Time, to: Time, weeks: u32) -> PatternDates {
        PatternDates::new(Days::new(first, last).unwrap(), weekdays, (from, to), weeks).unwrap()
    }

    fn starts(dates: &PatternDates, holidays: &HolidayDays) -> Vec<String> {
        let (times, _) = dates.times(&berlin(), holidays).unwrap();
        times.iter().map(|times| times.starts_at().to_string()).collect()
    }

    #[test]
    fn patterns_pass_over_holidays_and_keep_to_the_clocks() {
        let (eight, nine) = (time(8, 0, 0, 0), time(9, 30, 0, 0));
        let dates = pattern(date(2026, 3, 23), date(2026, 4, 8), &[1, 3], eight, nine, 0);
        let easter = HolidayDays::new([Days::new(date(2026, 4, 3), date(2026, 4, 6)).unwrap()]);
        // The clocks are put forward on 29 March.
        let expected = ["03-23T07", "03-25T07", "03-30T06", "04-01T06", "04-08T06"];
        assert_eq!(starts(&dates, &easter), expected.map(|hour| format!("2026-{hour}:00:00Z")));
        assert_eq!(dates.times(&berlin(), &easter).unwrap().1, 1);
        let each_second = pattern(date(2026, 3, 25), date(2026, 4, 8), &[1, 3], eight, nine, 2);
        assert_eq!(starts(&each_second, &easter), ["2026-03-25T07:00:00Z", "2026-04-08T06:00:00Z"]);
    }

    #[test]
    fn night_shifts_end_on_the_day_after() {
        let (ten, six) = (time(22, 0, 0, 0), time(6, 0, 0, 0));
        let dates = pattern(date(2026, 3, 27), date(2026, 3, 29), &[5, 6, 7], ten, six, 0);
        let (times, _) = dates.times(&berlin(), &HolidayDays::default()).unwrap();
        let hours: Vec<_> =
            times.iter().map(|t| t.ends_at().duration_since(t.starts_at()).as_hours()).collect();
        assert_eq!(hours, [8, 7, 8]);
        let dates = pattern(date(2026, 10, 24), date(2026, 10, 24), &[6], ten, six, 0);
        let (times, _) = dates.times(&berlin(), &HolidayDays::default()).unwrap();
        assert_eq!(times[0].ends_at().duration_since(times[0].starts_at()).as_hours(), 9);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        let days = Days::new(date(2026, 1, 1), date(2027, 12, 1)).unwrap();
        let clocks = (time(8, 0, 0, 0), time(9, 0, 0, 0));
        let error = |days, weekdays: &[u32], weeks| {
            PatternDates::new(days, weekdays, clocks, weeks).unwrap_err().to_string()
        };
        assert_eq!(error(days, &[1], 0), "end_date: more than 400 days after the first");
        let days = Days::new(date(2026, 1, 1), date(2026, 12, 1)).unwrap();
        assert_eq!(error(days, &[], 0), "weekdays: is required");
        assert_eq!(error(days, &[8], 0), "weekdays: 8 is no day of the week: 1 is Monday, 7 is Sunday");
        assert!(error(days, &[300], 0).contains("300") && error(days, &[1], 53).contains("52"));
    }

    proptest! {
        #[test]
        fn sessions_come_in_order_and_never_on_a_holiday(
            offset in 0_i64..700, length in 0_i64..400, weekdays in prop::collection::vec(1_u32..8, 1..9),
            from in 0_i8..24, to in 0_i8..24, weeks in 0_u32..4, holiday in 0_i64..700,
        ) {
            let first = date(2026, 1, 1) + offset.days();
            let dates = pattern(first, first + length.days(), &weekdays, time(from, 30, 0, 0), time(to, 15, 0, 0), weeks);
            let off = date(2026, 1, 1) + holiday.days();
            let holidays = HolidayDays::new([Days::new(off, off).unwrap()]);
            let (times, passed) = dates.times(&berlin(), &holidays).unwrap();
            prop_assert!(times.windows(2).all(|pair| pair[0].starts_at() < pair[1].starts_at()));
            prop_assert!(times.iter().all(|t| t.starts_at().to_zoned(berlin()).date() != off));
            let (all, none) = dates.times(&berlin(), &HolidayDays::default()).unwrap();
            prop_assert_eq!((all.len() as u64, none), (times.len() as u64 + passed, 0));
        }
    }
}
