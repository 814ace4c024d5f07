use jiff::{SignedDuration, Timestamp};

/// A stretch of time of a device.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    /// Its first moment.
    pub from: Timestamp,
    /// The moment after its last.
    pub until: Timestamp,
    /// Why nobody could be seen in it, such as `frozen`; `None`: who was there could be seen.
    pub blind: Option<String>,
}

/// What a device has proven: without it, that it saw nobody says nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// What it tells of its time. In what is in none of them, it may have been off.
    pub periods: Vec<Period>,
    /// Up to when all that it captured has arrived.
    pub delivered_until: Option<Timestamp>,
}

/// What of a stretch of time a device has not watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unwatched {
    /// How much of it.
    pub(crate) total: SignedDuration,
    /// Why, of the first that is not: `None` where nothing is known of it.
    pub(crate) reason: Option<String>,
}

impl Watched {
    /// What of the time between `from` and `until` was not watched: `None` where all of it was,
    /// and where there is no such time.
    pub(crate) fn unwatched(&self, from: Timestamp, until: Timestamp) -> Option<Unwatched> {
        if from >= until {
            return None;
        }
        let mut periods: Vec<&Period> =
            self.periods.iter().filter(|p| p.from < until && p.until > from).collect();
        periods.sort_unstable();
        let mut total = SignedDuration::ZERO;
        let mut reason = None;
        let mut at = from;
        // Being blind is said on top of watching, where periods overlap.
        let blind = |at: Timestamp, upto: Timestamp| {
            periods.iter().find(|p| p.blind.is_some() && p.from < upto && p.until > at)
        };
        let mut edges: Vec<Timestamp> = periods.iter().flat_map(|p| [p.from, p.until]).collect();
        edges.push(until);
        edges.sort_unstable();
        for edge in edges.into_iter().map(|edge| edge.clamp(from, until)) {
            if edge <= at {
                continue;
            }
            let seeing = periods.iter().any(|p| p.blind.is_none() && p.from <= at && p.until >= edge);
            let why = blind(at, edge);
            if !seeing || why.is_some() {
                if total.is_zero() {
                    reason = why.and_then(|period| period.blind.clone());
                }
                total += edge.duration_since(at);
            }
            at = edge;
        }
        (!total.is_zero()).then_some(Unwatched { total, reason })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
    }

    fn seeing(from: i64, until: i64) -> Period {
        Period { from: at(from), until: at(until), blind: None }
    }

    fn unwatched(periods: &[Period], from: i64, until: i64) -> Option<(i64, Option<String>)> {
        let watched = Watched { periods: periods.to_vec(), delivered_until: None };
        watched.unwatched(at(from), at(until)).map(|gap| (gap.total.as_mins(), gap.reason))
    }

    #[test]
    fn what_no_period_says_was_not_watched() {
        assert_eq!(unwatched(&[], 0, 60), Some((60, None)));
        assert_eq!(unwatched(&[seeing(0, 60)], 0, 60), None);
        assert_eq!(unwatched(&[seeing(30, 70), seeing(-5, 30)], 0, 60), None);
        assert_eq!(unwatched(&[seeing(-5, 20), seeing(10, 30), seeing(50, 60)], 0, 60), Some((20, None)));
        assert_eq!(unwatched(&[seeing(60, 90), seeing(-10, 0)], 0, 60), Some((60, None)));
        assert_eq!(unwatched(&[seeing(5, 55)], 0, 60), Some((10, None)));
        assert_eq!(unwatched(&[seeing(55, 75)], 70, 60), None);
    }

    #[test]
    fn who_is_blind_says_why() {
        let frozen = |from, until| Period { blind: Some("frozen".to_owned()), ..seeing(from, until) };
        assert_eq!(unwatched(&[seeing(0, 20), frozen(20, 60)], 0, 60), Some((40, Some("frozen".to_owned()))));
        // Being blind is believed before watching.
        assert_eq!(unwatched(&[seeing(0, 60), frozen(20, 30)], 0, 60), Some((10, Some("frozen".to_owned()))));
        assert_eq!(unwatched(&[seeing(0, 60), frozen(60, 70)], 0, 60), None);
        assert_eq!(unwatched(&[seeing(10, 60), frozen(20, 30)], 0, 60), Some((20, None)));
    }
}
