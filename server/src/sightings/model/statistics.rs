use cavs_types::{DeviceId, ProtocolError};
use jiff::{SignedDuration, Timestamp};

use super::AuditCounts;
use crate::page::Total;

/// Longest period that is counted.
const LONGEST: SignedDuration = SignedDuration::from_hours(32 * 24);
/// Most further periods.
const MOST_PERIODS: usize = 31;

/// A span of time, without its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Period {
    /// Its start.
    pub from: Timestamp,
    /// Its end.
    pub until: Timestamp,
}

impl Period {
    /// A period that may be counted.
    ///
    /// # Errors
    /// `Invalid`: it ends before it starts, or is too long.
    pub fn new(field: &'static str, from: Timestamp, until: Timestamp) -> Result<Self, ProtocolError> {
        let length = until.duration_since(from);
        if length <= SignedDuration::ZERO {
            return Err(ProtocolError::invalid(field, "must end after it starts"));
        }
        if length > LONGEST {
            return Err(ProtocolError::invalid(field, "at most 32 days"));
        }
        Ok(Self { from, until })
    }
}

/// What is asked of a site's numbers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StatsRequest {
    /// Of which sightings.
    pub period: Period,
    /// Counted each by itself.
    pub further: Vec<Period>,
}

impl StatsRequest {
    /// Checks how many periods there are.
    ///
    /// # Errors
    /// `Invalid`: too many.
    pub fn new(period: Period, further: Vec<Period>) -> Result<Self, ProtocolError> {
        if further.len() > MOST_PERIODS {
            return Err(ProtocolError::invalid("further_periods", format_args!("at most {MOST_PERIODS}")));
        }
        Ok(Self { period, further })
    }

    /// From the start of the earliest period to the end of the latest.
    #[must_use]
    pub fn whole(&self) -> Period {
        self.further.iter().fold(self.period, |whole, period| Period {
            from: whole.from.min(period.from),
            until: whole.until.max(period.until),
        })
    }
}

/// Of some sightings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SightingCounts {
    /// All of them.
    pub sightings: u64,
    /// Those that the machine was sure of.
    pub accepted: u64,
    /// Those that it left to a person.
    pub pending: u64,
    /// Those of nobody who is enrolled.
    pub unknown: u64,
    /// Different students whom the machine accepted or a person approved.
    pub students: u64,
}

/// A device's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceStats {
    /// Which device.
    pub device: DeviceId,
    /// Its name.
    pub name: String,
    /// Of its sightings.
    pub counts: SightingCounts,
    /// When it was heard last.
    pub last_seen_at: Option<Timestamp>,
}

/// A site's numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Of which moment.
    pub as_of: Timestamp,
    /// What waits for a person.
    pub pending: Total,
    /// Of that, what somebody has flagged.
    pub flagged: Total,
    /// Devices that are not revoked.
    pub devices: u64,
    /// Of those, who were heard a moment ago.
    pub devices_online: u64,
    /// Of the period.
    pub counts: SightingCounts,
    /// Of the last hour.
    pub last_hour: SightingCounts,
    /// Of the period, by room.
    pub rooms: Vec<(String, SightingCounts)>,
    /// Of the period, by device.
    pub by_device: Vec<DeviceStats>,
    /// Of the further periods.
    pub further: Vec<SightingCounts>,
    /// Of the accepted sightings that came in the whole of all periods.
    pub audits: AuditCounts,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_bounded() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let period = |from, until| Period::new("period", at(from), at(until));
        let day = period("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z").unwrap();
        assert!(period("2026-03-01T00:00:00Z", "2026-04-02T00:00:00Z").is_ok());
        for (from, until) in [
            ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("2026-03-02T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("2026-03-01T00:00:00Z", "2026-04-02T00:00:01Z"),
        ] {
            assert!(period(from, until).is_err(), "{from} {until}");
        }
        assert!(
            StatsRequest::new(day, vec![day; 31]).is_ok() && StatsRequest::new(day, vec![day; 32]).is_err()
        );
    }
}
