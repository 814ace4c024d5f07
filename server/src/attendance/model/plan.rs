use cavs_attendance::{Policy, PolicyOverride};
use cavs_types::{ClassSessionId, GroupId, SessionState, SiteId};
use jiff::{SignedDuration, Timestamp, civil::Date, tz::TimeZone};

/// After a session's end, how long what devices saw still changes its marks: what is older is not believed
/// (`CapturedSighting::time_is_plausible`).
const EVALUATED: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A session, as it is to be looked at.
#[derive(Debug, Clone)]
pub struct SessionHead {
    /// Of which site.
    pub site: SiteId,
    /// Which.
    pub id: ClassSessionId,
    /// Who is expected.
    pub group: GroupId,
    /// When it begins.
    pub starts_at: Timestamp,
    /// When it is over.
    pub ends_at: Timestamp,
    /// How far it is.
    pub state: SessionState,
    /// The zone that the site's clocks show.
    pub zone: TimeZone,
    /// How many days sightings are kept; `None`: for ever. Those that are gone prove nothing.
    pub sightings_kept: Option<u32>,
    /// What the site, the group and the session have otherwise, in this order.
    pub overrides: Vec<PolicyOverride>,
    /// Under which policy its marks became final, where they are.
    pub final_policy: Option<Policy>,
}

/// What is to be done with a session at a time.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionPlan {
    /// What somebody must do to be present.
    pub policy: Policy,
    /// How far the session is then.
    pub state: SessionState,
    /// From when on being seen counts.
    pub opens_at: Timestamp,
    /// Until when.
    pub closes_at: Timestamp,
    /// The day whose roster counts: that of its start, by the site's clocks.
    pub day: Date,
    /// When its marks are final by themselves; `None`: they are not.
    pub final_at: Option<Timestamp>,
    /// Whether what devices saw is looked at.
    pub is_evaluated: bool,
}

impl SessionHead {
    /// What is to be done with it at `now`.
    #[must_use]
    pub fn plan(&self, now: Timestamp) -> SessionPlan {
        let in_force = || self.overrides.iter().fold(Policy::default(), Policy::with);
        let policy = self.final_policy.clone().unwrap_or_else(in_force);
        let minutes = |minutes: u16| SignedDuration::from_mins(minutes.into());
        let opens_at = self.starts_at.checked_sub(minutes(policy.minutes_before)).unwrap_or(Timestamp::MIN);
        let closes_at = self.ends_at.checked_add(minutes(policy.minutes_after)).unwrap_or(Timestamp::MAX);
        let final_at = policy.finalise_after_days.map(|days| {
            let after = SignedDuration::from_hours(24 * i64::from(days));
            self.ends_at.checked_add(after).unwrap_or(Timestamp::MAX)
        });
        let state = match self.state {
            SessionState::Finalised | SessionState::Cancelled => self.state,
            SessionState::Planned | SessionState::Open | SessionState::Closing => {
                if now < opens_at {
                    SessionState::Planned
                } else if now < self.ends_at {
                    SessionState::Open
                } else if self.state == SessionState::Closing && final_at.is_some_and(|at| now >= at) {
                    SessionState::Finalised
                } else {
                    SessionState::Closing
                }
            }
        };
        // Retention is applied daily, and days are days of arrival.
        let kept = self
            .sightings_kept
            .map_or(EVALUATED, |days| SignedDuration::from_hours(24 * (i64::from(days) - 1)).min(EVALUATED));
        SessionPlan {
            policy,
            state,
            opens_at,
            closes_at,
            day: self.starts_at.to_zoned(self.zone.clone()).date(),
            final_at,
            // The first that were seen are gone first.
            is_evaluated: now.duration_since(opens_at) < kept,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(state: SessionState) -> SessionHead {
        SessionHead {
            site: SiteId::generate(),
            id: ClassSessionId::generate(),
            group: GroupId::generate(),
            starts_at: "2026-11-26T23:30:00Z".parse().unwrap(),
            ends_at: "2026-11-27T00:30:00Z".parse().unwrap(),
            state,
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            sightings_kept: None,
            overrides: Vec::new(),
            final_policy: None,
        }
    }

    #[test]
    fn time_takes_a_session_on() {
        use SessionState::{Cancelled, Closing, Finalised, Open, Planned};
        let at = |state, time: &str| head(state).plan(time.parse().unwrap()).state;
        assert_eq!(at(Planned, "2026-11-26T23:14:59Z"), Planned);
        assert_eq!(at(Planned, "2026-11-26T23:15:00Z"), Open);
        assert_eq!(at(Open, "2026-11-27T00:29:59Z"), Open);
        assert_eq!(at(Open, "2026-11-27T00:30:00Z"), Closing);
        assert_eq!(at(Closing, "2026-12-04T00:29:59Z"), Closing);
        assert_eq!(at(Closing, "2026-12-04T00:30:00Z"), Finalised);
        // What nobody has looked at since is looked at first.
        assert_eq!(at(Planned, "2026-12-24T00:30:00Z"), Closing);
        // Its times were changed.
        assert_eq!(at(Closing, "2026-11-26T20:00:00Z"), Planned);
        assert_eq!(at(Finalised, "2026-11-26T20:00:00Z"), Finalised);
        assert_eq!(at(Cancelled, "2026-11-27T00:00:00Z"), Cancelled);
        let never = PolicyOverride { finalise_after_days: Some(None), ..PolicyOverride::default() };
        let open_ended = SessionHead { overrides: vec![never], ..head(Closing) };
        assert_eq!(open_ended.plan("2030-01-01T00:00:00Z".parse().unwrap()).state, Closing);
    }

    #[test]
    fn the_day_is_that_of_the_sites_clocks() {
        let plan = head(SessionState::Open).plan("2026-11-27T00:00:00Z".parse().unwrap());
        assert_eq!(plan.day, jiff::civil::date(2026, 11, 27));
        assert!(plan.is_evaluated);
        assert!(!head(SessionState::Closing).plan("2027-02-25T00:30:00Z".parse().unwrap()).is_evaluated);
        let kept = SessionHead { sightings_kept: Some(8), ..head(SessionState::Closing) };
        assert!(kept.plan("2026-12-03T23:14:59Z".parse().unwrap()).is_evaluated);
        assert!(!kept.plan("2026-12-03T23:15:00Z".parse().unwrap()).is_evaluated);
        let longer = PolicyOverride { minutes_before: Some(60), ..PolicyOverride::default() };
        let shorter = PolicyOverride { minutes_before: Some(5), ..PolicyOverride::default() };
        let early = SessionHead { overrides: vec![longer, shorter], ..head(SessionState::Planned) };
        assert_eq!(early.plan(Timestamp::UNIX_EPOCH).opens_at, "2026-11-26T23:25:00Z".parse().unwrap());
        assert_eq!(early.plan(Timestamp::UNIX_EPOCH).closes_at, "2026-11-27T00:45:00Z".parse().unwrap());
    }
}
