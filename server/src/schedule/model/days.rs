//! Days and times of day, as the clocks of a site show them.

use cavs_types::ProtocolError;
use jiff::{
    ToSpan,
    civil::{Date, DateTime, Time},
    tz::TimeZone,
};

/// Days from one to another, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    first: Date,
    last: Date,
}

impl Days {
    /// From one day to another.
    ///
    /// # Errors
    /// `Invalid`: the last day is before the first.
    pub fn new(first: Date, last: Date) -> Result<Self, ProtocolError> {
        if last < first {
            let problem = format!("{last} is before the first day, {first}");
            return Err(ProtocolError::invalid("end_date", problem));
        }
        Ok(Self { first, last })
    }

    /// From a day on, so many days more.
    #[must_use]
    pub fn ahead(first: Date, days: i64) -> Self {
        Self { first, last: first.saturating_add(days.days()).max(first) }
    }

    /// The first of them.
    #[must_use]
    pub const fn first(self) -> Date {
        self.first
    }

    /// The last of them.
    #[must_use]
    pub const fn last(self) -> Date {
        self.last
    }

    /// Whether a day is one of them.
    #[must_use]
    pub fn contains(self, day: Date) -> bool {
        self.first <= day && day <= self.last
    }

    /// Each of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Date> {
        self.first.series(1.day()).take_while(move |day| *day <= self.last)
    }
}

/// A day that must be given.
///
/// # Errors
/// `Missing` or `Invalid`.
pub fn date(field: &'static str, typed: &str) -> Result<Date, ProtocolError> {
    optional_date(field, typed)?.ok_or(ProtocolError::Missing { field })
}

/// A day; empty is none.
///
/// # Errors
/// `Invalid`: not as 2026-09-01, or not between the years 1900 and 2200.
pub fn optional_date(field: &'static str, typed: &str) -> Result<Option<Date>, ProtocolError> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Ok(None);
    }
    // Of ISO 8601's forms the one that everybody reads alike.
    let read = Date::strptime("%Y-%m-%d", typed).ok().filter(|date| (1900..=2200).contains(&date.year()));
    let shown: String = typed.chars().take(32).collect();
    let date = read.ok_or_else(|| {
        ProtocolError::invalid(field, format_args!("{shown:?} is no date: say it as 2026-09-01"))
    })?;
    Ok(Some(date))
}

/// A time of day, as 08:30 or 8:30; seconds are allowed.
///
/// # Errors
/// `Missing` or `Invalid`.
pub fn clock(field: &'static str, typed: &str) -> Result<Time, ProtocolError> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err(ProtocolError::Missing { field });
    }
    let read = ["%H:%M", "%H:%M:%S"].iter().find_map(|form| Time::strptime(form, typed).ok());
    let shown: String = typed.chars().take(32).collect();
    read.ok_or_else(|| {
        ProtocolError::invalid(field, format_args!("{shown:?} is no time of day: say it as 08:30"))
    })
}

/// A day and a time of day, as 2026-09-01T08:30.
///
/// # Errors
/// `Invalid`.
pub fn local_time(field: &'static str, typed: &str) -> Result<DateTime, ProtocolError> {
    let (day, time) = typed.trim().split_once(['T', ' ']).unwrap_or((typed, ""));
    Ok(date(field, day)?.to_datetime(clock(field, time)?))
}

/// A time zone by its IANA name, and the name.
///
/// # Errors
/// `Missing` or `Invalid`: the machine's time zone database has no such zone.
pub fn time_zone(field: &'static str, typed: &str) -> Result<(String, TimeZone), ProtocolError> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Err(ProtocolError::Missing { field });
    }
    let unknown = || {
        let shown: String = typed.chars().take(64).collect();
        let problem = format!("{shown:?} is no time zone: say it as Europe/Berlin or America/New_York");
        ProtocolError::invalid(field, problem)
    };
    let zone = TimeZone::get(typed).map_err(|_| unknown())?;
    let name = zone.iana_name().ok_or_else(unknown)?.to_owned();
    Ok((name, zone))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date as day;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn days_are_inclusive() {
        let days = Days::new(day(2026, 2, 27), day(2026, 3, 2)).unwrap();
        assert_eq!(days.iter().count(), 4);
        assert!(days.contains(day(2026, 3, 2)) && !days.contains(day(2026, 3, 3)));
        let error = Days::new(day(2026, 3, 2), day(2026, 3, 1)).unwrap_err();
        assert_eq!(error.to_string(), "end_date: 2026-03-01 is before the first day, 2026-03-02");
    }

    #[test]
    fn what_people_type_is_read_or_told() {
        assert_eq!(date("date", " 2026-09-01 ").unwrap(), day(2026, 9, 1));
        assert_eq!(optional_date("date", " ").unwrap(), None);
        assert_eq!(clock("start", "8:05").unwrap(), Time::constant(8, 5, 0, 0));
        assert_eq!(clock("start", "23:59:30").unwrap(), Time::constant(23, 59, 30, 0));
        let local = local_time("start", "2026-09-01T08:30").unwrap();
        assert_eq!(local, day(2026, 9, 1).at(8, 30, 0, 0));
        for wrong in ["", "2026-9-1x", "01.09.2026", "2026-02-30", "1492-10-12", "20260901"] {
            assert!(date("date", wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "8", "24:00", "08:60", "8 am", "08:30+02:00"] {
            assert!(clock("start", wrong).is_err(), "{wrong}");
        }
        assert!(local_time("start", "2026-09-01").is_err());
    }

    #[test]
    fn time_zones_have_their_iana_names() {
        assert_eq!(time_zone("time_zone", "europe/berlin").unwrap().0, "Europe/Berlin");
        assert_eq!(time_zone("time_zone", "UTC").unwrap().0, "UTC");
        for wrong in ["", "Mars/Olympus", "../etc/passwd", "+02:00", "CET\0"] {
            assert!(time_zone("time_zone", wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(typed in "[0-9:T -]{0,20}|.{0,9}") {
            let _ = (date("x", &typed), clock("x", &typed), local_time("x", &typed), time_zone("x", &typed));
        }
    }
}
