use std::collections::{BTreeMap, BTreeSet};

use cavs_types::{DeviceId, DeviceRole, Mark, PendingCounts, StudentId};
use jiff::{SignedDuration, Timestamp};

use crate::{
    Attendance, CheckIn, Correction, Evidence, Excuse, LeavingProof, OpenReason, PersonMark, Policy, Records,
    Rule, Session, Sighting, Standing, Visitor, Watched, excuses,
};

/// How far apart two sightings by one device must be to be independent: a face in an odd light or pose is taken for
/// the same wrong person again in the next frames, not half a minute later.
const APART: SignedDuration = SignedDuration::from_secs(30);
/// How long a device at an entry or exit may have not watched in all: somebody walks past it within seconds, so that
/// a share of the session says nothing there.
const MOST_UNWATCHED_AT_DOOR: SignedDuration = SignedDuration::from_secs(60);

/// What the records say of everybody on the roster, as far as it can be known at `as_of`.
///
/// The order of the records does not matter, nor what is in them twice. Adding a sighting never makes somebody
/// absent.
#[must_use]
pub fn evaluate(session: &Session, policy: &Policy, records: &Records, as_of: Timestamp) -> Attendance {
    let context = Context::new(session, policy, records, as_of);
    let mut people: BTreeMap<StudentId, Person<'_>> =
        records.roster.iter().map(|student| (*student, Person::default())).collect();
    for sighting in &records.sightings {
        people.entry(sighting.student).or_default().add_sighting(sighting, &context);
    }
    for check_in in &records.check_ins {
        people.entry(check_in.student).or_default().add_check_in(check_in, &context);
    }
    for correction in &records.corrections {
        if let Some(person) = people.get_mut(&correction.student) {
            person.corrections.push(correction);
        }
    }
    for excuse in &records.excuses {
        if let Some(person) = people.get_mut(&excuse.student) {
            person.excuses.push(excuse);
        }
    }

    let mut attendance = Attendance { unproven: context.unproven.clone(), ..Attendance::default() };
    for (student, mut person) in people {
        person.sort();
        if records.roster.contains(&student) {
            attendance.marks.insert(student, person.mark(&context));
        } else if let Some(visitor) = person.visitor(student, &context) {
            attendance.visitors.push(visitor);
        }
    }
    attendance.visitors.sort_by_key(|visitor| (visitor.first_seen_at, visitor.student));
    attendance
}

/// What holds for everybody of a session.
struct Context<'a> {
    session: &'a Session,
    policy: &'a Policy,
    watched: &'a BTreeMap<DeviceId, Watched>,
    as_of: Timestamp,
    /// The time in which being seen counts.
    opens_at: Timestamp,
    closes_at: Timestamp,
    /// Why not having been seen proves nothing; empty where it does.
    unproven: Vec<Rule>,
}

impl<'a> Context<'a> {
    fn new(session: &'a Session, policy: &'a Policy, records: &'a Records, as_of: Timestamp) -> Self {
        let mut context = Self {
            session,
            policy,
            watched: &records.watched,
            as_of,
            opens_at: earlier(session.starts_at, policy.before()),
            closes_at: later(session.ends_at, policy.after()),
            unproven: Vec::new(),
        };
        context.unproven = context.why_absence_is_unproven();
        context
    }

    fn is_over(&self) -> bool {
        self.as_of >= self.session.ends_at
    }

    /// "Absent" is said only where every device has proven that it watched, and delivered what it saw.
    fn why_absence_is_unproven(&self) -> Vec<Rule> {
        if self.as_of < self.session.starts_at {
            return vec![Rule::NotBegun];
        }
        if !self.is_over() {
            return vec![Rule::Running];
        }
        if self.session.devices.values().all(|role| *role == DeviceRole::Exit) {
            return vec![Rule::NoDevices];
        }
        let rules = self.session.devices.iter().filter_map(|(device, role)| {
            let from = match role {
                DeviceRole::Entry => self.opens_at,
                DeviceRole::Inside | DeviceRole::Exit => self.session.starts_at,
            };
            self.why_not_proven_by(*device, *role, from)
        });
        rules.collect()
    }

    /// Why it means nothing that a device saw somebody no more from `from` to the session's end.
    fn why_not_proven_by(&self, device: DeviceId, role: DeviceRole, from: Timestamp) -> Option<Rule> {
        let watched = self.watched.get(&device);
        let delivered_until = watched.and_then(|watched| watched.delivered_until);
        let until = self.session.ends_at;
        if delivered_until.is_none_or(|delivered| delivered < until) {
            return Some(Rule::DeviceBehind { device, delivered_until });
        }
        let unwatched = watched?.unwatched(from, until)?;
        let tolerated = match role {
            DeviceRole::Entry | DeviceRole::Exit => MOST_UNWATCHED_AT_DOOR,
            DeviceRole::Inside => {
                let share = f64::from(1.0 - self.policy.least_watched);
                SignedDuration::try_from_secs_f64(until.duration_since(from).as_secs_f64() * share)
                    .unwrap_or_default()
            }
        };
        (unwatched.total > tolerated).then(|| Rule::NotWatched {
            device,
            seconds: unwatched.total.as_secs().unsigned_abs(),
            why: unwatched.reason,
        })
    }

    /// Between two sessions of a room people who belong to both stay on, and come early: a stay that doesn't reach into
    /// this one belongs to the one before if it began in it, and to the next one if it began when coming to that one
    /// counts.
    fn is_of_another_session(&self, sighting: &Sighting) -> bool {
        let Session { starts_at, ends_at, neighbours, .. } = self.session;
        let Sighting { entered_at, last_seen_at, .. } = *sighting;
        neighbours
            .iter()
            .filter(|other| {
                other.devices.contains(&sighting.device) && other.roster.contains(&sighting.student)
            })
            .any(|other| {
                let is_before = last_seen_at < *starts_at && other.ends_at <= *starts_at;
                let is_after = entered_at >= *ends_at && other.starts_at >= *ends_at;
                (is_before && entered_at < other.ends_at)
                    || (is_after && entered_at >= earlier(other.starts_at, self.policy.before()))
            })
    }

    fn has(&self, role: DeviceRole) -> bool {
        self.session.devices.values().any(|device| *device == role)
    }
}

/// What a moment says of where somebody is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Entry,
    Inside,
    Exit,
    CheckIn,
}

impl From<DeviceRole> for Place {
    fn from(role: DeviceRole) -> Self {
        match role {
            DeviceRole::Entry => Self::Entry,
            DeviceRole::Inside => Self::Inside,
            DeviceRole::Exit => Self::Exit,
        }
    }
}

/// Somebody was there, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Seen {
    at: Timestamp,
    from: Timestamp,
    until: Timestamp,
    evidence: Evidence,
    place: Place,
    device: Option<DeviceId>,
    /// It needs no other beside it.
    sure: bool,
}

/// What is known of a person.
#[derive(Default)]
struct Person<'a> {
    seen: Vec<Seen>,
    open: Vec<(&'a Sighting, OpenReason)>,
    corrections: Vec<&'a Correction>,
    excuses: Vec<&'a Excuse>,
}

/// What is known of somebody's leaving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leaving {
    /// Nothing looks at who is still there, or goes.
    NotVisible,
    /// Nobody knows whether they are still there.
    NotProven,
    /// They have left.
    Proven(LeavingProof),
}

/// What is concluded of a person without anybody's word on it.
struct Conclusion {
    mark: Mark,
    minutes_late: u32,
    minutes_left_early: u32,
}

impl<'a> Person<'a> {
    fn add_sighting(&mut self, sighting: &'a Sighting, context: &Context<'_>) {
        let Some(role) = context.session.devices.get(&sighting.device) else { return };
        if sighting.entered_at > context.closes_at {
            return;
        }
        if sighting.last_seen_at < context.opens_at {
            // Where only doors are looked at, who came before may still be inside.
            if *role == DeviceRole::Entry && !context.has(DeviceRole::Inside) {
                self.open.push((sighting, OpenReason::EnteredBefore));
            }
            return;
        }
        if *role == DeviceRole::Inside && sighting.time_trusted && context.is_of_another_session(sighting) {
            return;
        }
        let policy = context.policy;
        let below_policy = sighting.standing != Standing::Approved
            && policy
                .least_similarity
                .is_some_and(|least| sighting.similarity.is_none_or(|similar| similar < least));
        let open = match (sighting.standing, policy.pending) {
            (Standing::Pending | Standing::Possible, PendingCounts::Nothing) => return,
            (Standing::Possible, PendingCounts::Present | PendingCounts::Undetermined)
            | (Standing::Pending, PendingCounts::Undetermined) => Some(OpenReason::Pending),
            (Standing::Pending, PendingCounts::Present) | (Standing::Accepted | Standing::Approved, _) => {
                below_policy.then_some(OpenReason::BelowPolicy)
            }
        };
        let open = if sighting.time_trusted { open } else { Some(OpenReason::TimeNotTrusted) };
        if let Some(why) = open {
            self.open.push((sighting, why));
            return;
        }
        self.seen.push(Seen {
            at: sighting.captured_at.clamp(context.opens_at, context.closes_at),
            from: sighting.entered_at.max(context.opens_at),
            until: sighting.last_seen_at.min(context.closes_at),
            evidence: Evidence::Sighting(sighting.id),
            place: (*role).into(),
            device: Some(sighting.device),
            sure: sighting.standing == Standing::Approved,
        });
    }

    fn add_check_in(&mut self, check_in: &CheckIn, context: &Context<'_>) {
        if (context.opens_at..=context.closes_at).contains(&check_in.at) {
            self.seen.push(Seen {
                at: check_in.at,
                from: check_in.at,
                until: check_in.at,
                evidence: Evidence::CheckIn(check_in.id),
                place: Place::CheckIn,
                device: None,
                sure: true,
            });
        }
    }

    fn sort(&mut self) {
        self.seen.sort_unstable();
        let mut known = BTreeSet::new();
        self.seen.retain(|seen| known.insert(seen.evidence));
        self.open.sort_by_key(|(sighting, _)| (sighting.captured_at, sighting.id));
        self.open.dedup_by_key(|(sighting, _)| sighting.id);
    }

    fn mark(&self, context: &Context<'_>) -> PersonMark {
        let mut rules = Vec::new();
        let stay = self.stay(context);
        let concluded = self.conclude(&stay, context, &mut rules);
        let correction = self.corrections.iter().max_by_key(|correction| (correction.made_at, correction.id));
        if let Some(correction) = correction {
            rules.push(Rule::Corrected { correction: correction.id, mark: correction.mark });
        }
        PersonMark {
            mark: correction.map_or(concluded.mark, |correction| correction.mark),
            machine_mark: concluded.mark,
            correction: correction.map(|correction| correction.id),
            first_seen_at: stay.first(),
            last_seen_at: stay.last(),
            minutes_present: stay.minutes_present(context),
            minutes_late: concluded.minutes_late,
            minutes_left_early: concluded.minutes_left_early,
            evidence: stay.evidence(context.policy),
            rules,
        }
    }

    /// Of what they were seen, that which says something of this session.
    fn stay(&self, context: &Context<'_>) -> Stay {
        let Session { starts_at, ends_at, .. } = *context.session;
        // Who was seen to go before it began was there for something else.
        let left_before = self
            .seen
            .iter()
            .filter(|seen| seen.place == Place::Exit && seen.at < starts_at)
            .map(|seen| seen.at)
            .max();
        let late_enough_to_leave = later(starts_at, context.policy.grace());
        let proves = |seen: &Seen| match seen.place {
            Place::Entry | Place::CheckIn => seen.at < ends_at,
            // Those of the session before are there before the start, and those of the next after the end.
            Place::Inside => seen.from < ends_at && seen.until >= starts_at,
            Place::Exit => seen.at >= late_enough_to_leave,
        };
        let (gone, mut seen): (Vec<Seen>, Vec<Seen>) =
            self.seen.iter().partition(|seen| left_before.is_some_and(|left| seen.until <= left));
        if !seen.iter().any(proves) {
            seen.clear();
        }
        let left_before = left_before.filter(|_| gone.iter().any(proves));
        let independent = independent(seen.iter().filter(|seen| proves(seen)));
        let confirmed =
            seen.iter().filter(|seen| proves(seen)).find(|seen| seen.sure).map(|seen| seen.evidence);
        Stay { seen, independent, confirmed, left_before }
    }

    fn conclude(&self, stay: &Stay, context: &Context<'_>, rules: &mut Vec<Rule>) -> Conclusion {
        let (starts_at, ends_at) = (context.session.starts_at, context.session.ends_at);
        let concluded = |mark| Conclusion { mark, minutes_late: 0, minutes_left_early: 0 };
        let (Some(first), Some(last)) = (stay.first(), stay.last()) else {
            if let Some(at) = stay.left_before {
                rules.push(Rule::LeftBeforeStart { at });
            } else {
                rules.push(Rule::NotSeen);
            }
            let may_be_there = self.push_open(context, rules) || stay.left_before.is_some();
            return concluded(self.not_there(may_be_there, context, rules));
        };
        rules.push(Rule::Seen { first, last, times: count(stay.seen.len()) });
        let after = stay.arrival().map(|arrival| arrival.duration_since(starts_at));
        let limit = context.policy.too_late_minutes;
        if let (Some(after), Some(limit)) = (after, limit)
            && after >= SignedDuration::from_mins(limit.into())
        {
            rules.push(Rule::TooLate { minutes: minutes(after), limit: limit.into() });
            // A sighting that may be them could have been earlier; and who was only seen to go has come, nobody
            // knows when, so that where there is an exit nobody is absent for being seen late.
            let may_be_there = self.push_open(context, rules) || context.has(DeviceRole::Exit);
            return concluded(self.not_there(may_be_there, context, rules));
        }
        let (independent, needed) = (count(stay.independent.len()), u32::from(context.policy.sightings));
        if let Some(by) = stay.confirmed {
            rules.push(Rule::Confirmed { by });
        } else if independent >= needed {
            rules.push(Rule::EnoughSightings { independent, needed });
        } else {
            rules.push(Rule::TooFewSightings { independent, needed });
            self.push_open(context, rules);
            return concluded(self.not_there(true, context, rules));
        }

        let late = match stay.arrival() {
            None => {
                rules.push(Rule::ArrivalNotSeen);
                None
            }
            Some(arrival) => self.lateness(arrival, context, rules),
        };

        let leaving = self.leaving(stay, last, context);
        let stayed = stay.arrival().map(|arrival| last.duration_since(arrival));
        let needed = context.policy.least_minutes;
        let too_short = stayed.filter(|stayed| {
            leaving != Leaving::NotVisible && *stayed < SignedDuration::from_mins(needed.into())
        });
        if let Some(stayed) = too_short {
            rules.push(Rule::TooShort { minutes: minutes(stayed), needed: needed.into() });
            if !matches!(leaving, Leaving::Proven(_)) {
                self.push_open(context, rules);
                return concluded(self.not_there(true, context, rules));
            }
        }
        let before_end = ends_at.duration_since(last);
        let early = context.policy.leaving && before_end > context.policy.leave_grace();
        let left =
            if early || too_short.is_some() { self.left_early(leaving, last, context, rules) } else { None };
        let mark = match (late, left) {
            (Some(_), _) => Mark::Late,
            (None, Some(_)) => Mark::LeftEarly,
            (None, None) => Mark::Present,
        };
        Conclusion { mark, minutes_late: late.unwrap_or(0), minutes_left_early: left.unwrap_or(0) }
    }

    /// The minutes by which they came late, where they are not excused for them.
    fn lateness(&self, arrival: Timestamp, context: &Context<'_>, rules: &mut Vec<Rule>) -> Option<u32> {
        let starts_at = context.session.starts_at;
        let after = arrival.duration_since(starts_at);
        if after <= context.policy.grace() {
            rules.push(Rule::InTime);
            return None;
        }
        rules.push(Rule::LateBy { minutes: minutes(after) });
        let excuses = excuses::covering(&self.excuses, starts_at, arrival);
        if excuses.is_empty() {
            return Some(minutes(after));
        }
        rules.push(Rule::LatenessExcused { excuses });
        None
    }

    /// What somebody is who does not count as having been there.
    fn not_there(&self, may_be_there: bool, context: &Context<'_>, rules: &mut Vec<Rule>) -> Mark {
        let excuses = excuses::covering(&self.excuses, context.session.starts_at, context.session.ends_at);
        if !excuses.is_empty() {
            rules.push(Rule::Excused { excuses });
            return Mark::Excused;
        }
        rules.extend(context.unproven.iter().cloned());
        if may_be_there || !context.unproven.is_empty() {
            return Mark::Undetermined;
        }
        rules.push(Rule::AbsenceProven);
        Mark::Absent
    }

    /// Says which sightings may show that they were there; whether there is one.
    fn push_open(&self, context: &Context<'_>, rules: &mut Vec<Rule>) -> bool {
        let starts_at = context.session.starts_at;
        let open = self.open.iter().filter(|(sighting, why)| match why {
            OpenReason::TimeNotTrusted | OpenReason::EnteredBefore => true,
            // Before the start, those of the session before are inside.
            OpenReason::Pending | OpenReason::BelowPolicy => {
                sighting.last_seen_at >= starts_at
                    || context.session.devices.get(&sighting.device) == Some(&DeviceRole::Entry)
            }
        });
        let before = rules.len();
        rules.extend(open.map(|(sighting, why)| Rule::OpenSighting { sighting: sighting.id, why: *why }));
        rules.len() > before
    }

    /// What is known of their leaving, after they were last seen.
    fn leaving(&self, stay: &Stay, last: Timestamp, context: &Context<'_>) -> Leaving {
        let last_is_exit = stay.seen.iter().max_by_key(|seen| (seen.until, seen.place == Place::Exit));
        let exit = last_is_exit.is_some_and(|seen| seen.place == Place::Exit);
        // Of who shows themselves that they are there, nobody sees that they go.
        let checked_in = stay.seen.iter().any(|seen| seen.place == Place::CheckIn);
        if checked_in || !(exit || context.has(DeviceRole::Inside)) {
            return Leaving::NotVisible;
        }
        let may_be_later = self
            .open
            .iter()
            .any(|(sighting, why)| *why == OpenReason::TimeNotTrusted || sighting.last_seen_at > last);
        if may_be_later || !context.is_over() {
            return Leaving::NotProven;
        }
        if exit {
            return Leaving::Proven(LeavingProof::Exit);
        }
        let mut inside = context.session.devices.iter().filter(|(_, role)| **role == DeviceRole::Inside);
        if inside.all(|(device, role)| context.why_not_proven_by(*device, *role, last).is_none()) {
            Leaving::Proven(LeavingProof::NotSeenAgain)
        } else {
            Leaving::NotProven
        }
    }

    /// The minutes by which they left early, where that is known and they are not excused for them.
    fn left_early(
        &self,
        leaving: Leaving,
        last: Timestamp,
        context: &Context<'_>,
        rules: &mut Vec<Rule>,
    ) -> Option<u32> {
        let ends_at = context.session.ends_at;
        let proof = match leaving {
            Leaving::NotVisible => return None,
            Leaving::NotProven => {
                rules.push(Rule::LeavingNotProven { at: last });
                return None;
            }
            Leaving::Proven(proof) => proof,
        };
        let minutes = minutes(ends_at.duration_since(last));
        rules.push(Rule::LeftEarly { at: last, minutes, proof });
        let excuses = excuses::covering(&self.excuses, last, ends_at);
        if excuses.is_empty() {
            return Some(minutes);
        }
        rules.push(Rule::LeavingExcused { excuses });
        None
    }

    /// Whether they count as having been there, though nobody expected them.
    fn visitor(&self, student: StudentId, context: &Context<'_>) -> Option<Visitor> {
        let stay = self.stay(context);
        let enough = stay.confirmed.is_some() || stay.independent.len() >= context.policy.sightings.into();
        let (first_seen_at, last_seen_at) = (stay.first()?, stay.last()?);
        enough.then_some(Visitor { student, first_seen_at, last_seen_at, sightings: count(stay.seen.len()) })
    }
}

/// What was seen of somebody in a session; nothing where none of it proves that they were there.
struct Stay {
    /// By time.
    seen: Vec<Seen>,
    /// Those that are independent of each other and prove it.
    independent: Vec<Evidence>,
    /// One that is enough by itself.
    confirmed: Option<Evidence>,
    /// When they had come and were seen to go again before the start.
    left_before: Option<Timestamp>,
}

impl Stay {
    fn first(&self) -> Option<Timestamp> {
        self.seen.iter().map(|seen| seen.from).min()
    }

    fn last(&self) -> Option<Timestamp> {
        self.seen.iter().map(|seen| seen.until).max()
    }

    /// When they came, where they were seen otherwise than going.
    fn arrival(&self) -> Option<Timestamp> {
        self.seen.iter().filter(|seen| seen.place != Place::Exit).map(|seen| seen.from).min()
    }

    fn minutes_present(&self, context: &Context<'_>) -> u32 {
        let Session { starts_at, ends_at, .. } = *context.session;
        let (Some(first), Some(last)) = (self.arrival(), self.last()) else { return 0 };
        let shown = self.seen.iter().any(|seen| matches!(seen.place, Place::Inside | Place::Exit));
        let upto = if shown { last } else { context.as_of };
        minutes(upto.min(ends_at).duration_since(first.max(starts_at)))
    }

    /// The first, the last, and as many independent ones as it takes, by time.
    fn evidence(&self, policy: &Policy) -> Vec<Evidence> {
        let first = self.seen.iter().min_by_key(|seen| (seen.from, seen.evidence));
        let last = self.seen.iter().max_by_key(|seen| (seen.until, seen.evidence));
        let wanted: BTreeSet<Evidence> = [first, last]
            .into_iter()
            .flatten()
            .map(|seen| seen.evidence)
            .chain(self.confirmed)
            .chain(self.independent.iter().take(policy.sightings.into()).copied())
            .collect();
        self.seen.iter().map(|seen| seen.evidence).filter(|evidence| wanted.contains(evidence)).collect()
    }
}

/// Of what was seen, by time, as many as can't be one mistake.
fn independent<'a>(seen: impl Iterator<Item = &'a Seen>) -> Vec<Evidence> {
    let mut by_device: BTreeMap<Option<DeviceId>, Timestamp> = BTreeMap::new();
    let mut independent = Vec::new();
    for seen in seen {
        let before = by_device.get(&seen.device);
        if before.is_none_or(|before| seen.at.duration_since(*before) >= APART) {
            by_device.insert(seen.device, seen.at);
            independent.push(seen.evidence);
        }
    }
    independent
}

/// Whole minutes; none of what is negative.
fn minutes(duration: SignedDuration) -> u32 {
    u32::try_from(duration.as_mins()).unwrap_or(0)
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

fn earlier(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_sub(by).unwrap_or(Timestamp::MIN)
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
