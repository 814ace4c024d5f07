//! Points in time on the command line.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

/// A point in time, or a whole day of the reader's zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeSpec {
    /// RFC 3339.
    Moment(Timestamp),
    /// `2026-03-01`.
    Day(Date),
}

impl TimeSpec {
    /// Reads an RFC 3339 time or a date.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        // A date alone parses as nothing else, so the order does not matter.
        if let Ok(time) = text.parse() {
            return Ok(Self::Moment(time));
        }
        let is_date = text.len() == 10 && !text.contains(['T', ' ']);
        match text.parse() {
            Ok(day) if is_date => Ok(Self::Day(day)),
            _ => {
                Err("expected a date (2026-03-01) or a time with its zone (2026-03-01T08:00:00Z)".to_owned())
            }
        }
    }

    /// Where a range that begins with it begins.
    ///
    /// # Errors
    /// Where the day is at the end of the calendar.
    pub fn start(self, zone: &TimeZone) -> Result<Timestamp, String> {
        match self {
            Self::Moment(time) => Ok(time),
            Self::Day(day) => first_moment(day, zone),
        }
    }

    /// Where a range that ends with it ends, exclusive: a day belongs to it wholly.
    ///
    /// # Errors
    /// Where the day is at the end of the calendar.
    pub fn end(self, zone: &TimeZone) -> Result<Timestamp, String> {
        match self {
            Self::Moment(time) => Ok(time),
            Self::Day(day) => first_moment(day.tomorrow().map_err(|error| error.to_string())?, zone),
        }
    }
}

fn first_moment(day: Date, zone: &TimeZone) -> Result<Timestamp, String> {
    Ok(day.to_zoned(zone.clone()).map_err(|error| error.to_string())?.timestamp())
}

#[cfg(test)]
mod tests {
    use jiff::tz::{Offset, TimeZone};

    use super::*;

    #[test]
    fn a_day_is_meant_wholly() {
        let zone = TimeZone::fixed(Offset::constant(2));
        let day = TimeSpec::parse("2026-03-01").unwrap();
        assert_eq!(day.start(&zone).unwrap().to_string(), "2026-02-28T22:00:00Z");
        assert_eq!(day.end(&zone).unwrap().to_string(), "2026-03-01T22:00:00Z");
        let time = TimeSpec::parse("2026-03-01T08:00:00+01:00").unwrap();
        assert_eq!(time.start(&zone).unwrap().to_string(), "2026-03-01T07:00:00Z");
        assert_eq!(time.start(&zone), time.end(&zone));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "today", "2026-13-01", "2026-02-30", "08:00", "2026-03-01T08:00:00", "20260301", "\u{1b}"]
        {
            assert!(TimeSpec::parse(text).unwrap_err().starts_with("expected a date"), "{text:?}");
        }
        assert!(TimeSpec::parse("9999-12-31").unwrap().end(&TimeZone::UTC).is_err());
    }
}
