use cavs_types::Mark;
use jiff::{Timestamp, tz::TimeZone};
use serde_json::Value;

use crate::Rate;

/// What a column holds; each value may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A number.
    Real,
    /// A whole number.
    Integer,
    /// Yes or no.
    Flag,
    /// A point in time.
    Time,
    /// A share.
    Rate,
    /// What a session says of a person.
    Mark,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Text.
    Text(Option<String>),
    /// A number.
    Real(Option<f64>),
    /// A whole number.
    Integer(Option<i64>),
    /// Yes or no.
    Flag(bool),
    /// A point in time.
    Time(Option<Timestamp>),
    /// A share.
    Rate(Option<Rate>),
    /// What a session says of a person, and whether a person has said so.
    Mark(Option<(Mark, bool)>),
}

impl Cell {
    /// Text; empty is none.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Text((!text.is_empty()).then(|| text.to_owned()))
    }

    /// A count.
    #[must_use]
    pub fn count(count: impl Into<i64>) -> Self {
        Self::Integer(Some(count.into()))
    }

    /// As programs read it: times as RFC 3339, in `zone` or in UTC, shares in percent.
    #[must_use]
    pub fn exact(&self, zone: Option<&TimeZone>) -> String {
        match self {
            Self::Text(text) => text.clone().unwrap_or_default(),
            Self::Real(number) => number.map(|number| number.to_string()).unwrap_or_default(),
            Self::Integer(number) => number.map(|number| number.to_string()).unwrap_or_default(),
            Self::Flag(flag) => flag.to_string(),
            Self::Time(time) => match (time, zone) {
                (None, _) => String::new(),
                (Some(time), None) => time.to_string(),
                (Some(time), Some(zone)) => time.display_with_offset(zone.to_offset(*time)).to_string(),
            },
            Self::Rate(rate) => rate.map(|rate| rate.percent().to_string()).unwrap_or_default(),
            Self::Mark(mark) => mark.map(|(mark, _)| mark.as_str().to_owned()).unwrap_or_default(),
        }
    }

    /// As JSON has it.
    #[must_use]
    pub fn json(self) -> Value {
        match self {
            Self::Text(text) => text.into(),
            Self::Real(number) => number.into(),
            Self::Integer(number) => number.into(),
            Self::Flag(flag) => flag.into(),
            Self::Time(time) => time.map(|time| time.to_string()).into(),
            Self::Rate(rate) => rate.map(Rate::percent).into(),
            Self::Mark(mark) => mark.map(|(mark, _)| mark.as_str()).into(),
        }
    }

    /// As people read it, with times as the clocks of a zone show them.
    #[must_use]
    pub fn shown(&self, zone: &TimeZone) -> String {
        match self {
            Self::Text(_) | Self::Real(_) | Self::Integer(_) => self.exact(None),
            Self::Flag(flag) => if *flag { "yes" } else { "no" }.to_owned(),
            Self::Time(time) => time.map_or(String::new(), |time| local(time, zone)),
            Self::Rate(rate) => rate.map(|rate| rate.to_string()).unwrap_or_default(),
            Self::Mark(None) => String::new(),
            Self::Mark(Some((mark, said))) => {
                let words = crate::mark_words(*mark);
                if *said { format!("{words} *") } else { words.to_owned() }
            }
        }
    }
}

/// To the minute, as clocks show it.
pub(crate) fn local(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_their_forms() {
        let zone = TimeZone::get("Africa/Addis_Ababa").unwrap();
        let time = Cell::Time(Some("2026-11-27T05:00:00Z".parse().unwrap()));
        assert_eq!(time.exact(None), "2026-11-27T05:00:00Z");
        assert_eq!(time.exact(Some(&zone)), "2026-11-27T08:00:00+03:00");
        assert_eq!(time.shown(&zone), "2026-11-27 08:00");
        assert_eq!(Cell::Rate(Rate::of_permille(933)).shown(&zone), "93.3 %");
        assert_eq!(Cell::Rate(Rate::of_permille(933)).exact(None), "93.3");
        assert_eq!(Cell::Rate(Rate::of_permille(1000)).json(), 100.0);
        assert_eq!(Cell::Mark(Some((Mark::LeftEarly, true))).shown(&zone), "left early *");
        assert_eq!(Cell::Mark(Some((Mark::LeftEarly, true))).exact(None), "left_early");
        for none in [Cell::Text(None), Cell::Time(None), Cell::Rate(None), Cell::Mark(None)] {
            assert_eq!(
                (none.shown(&zone), none.exact(Some(&zone)), none.json()),
                (String::new(), String::new(), Value::Null)
            );
        }
    }
}
