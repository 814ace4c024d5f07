//! From events to sessions: recurrences, those that are left out or have another form, and of which group each is.
//!
//! Recurrences are computed by the clocks of the zone in which the event begins, so that they keep their time of day
//! over changes of the clocks (RFC 5545, 3.3.10); only then are they points in time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use cavs_types::{GroupId, ProtocolError};
use jiff::{
    Timestamp, ToSpan,
    civil::{DateTime, Time},
    tz::TimeZone,
};
use rrule::RRuleSet;

use super::{
    KnownGroup, KnownSchedule, SessionFile, SessionImportOptions, WantedSession,
    calendar::{Calendar, Event, Moment, parse_day, parse_local},
    problem,
    session_plan::MOST,
};
use crate::{
    people::{ImportProblem, Place},
    schedule::{Days, SessionTimes, room_name, session_name},
    text::lookup_name,
};

/// How far ahead events are looked at whose group is of no term, in days.
const AHEAD_DAYS: i64 = 400;
/// Most dates that a rule may have from its start to the end of what is looked at: a lesson a day for 50 years.
const MOST_DATES: u16 = 20_000;
/// Longest rule, in bytes.
const LONGEST_RULE: usize = 1000;
/// Longest time that all recurrences of a file may take to work out.
const LONGEST_WORK: Duration = Duration::from_secs(30);
/// What a rule may count to.
const MOST_COUNTED: u32 = 10_000;

/// The sessions of a calendar, in the order of its events.
pub(super) fn wanted(
    calendar: Calendar,
    options: &SessionImportOptions,
    known: &KnownSchedule,
) -> SessionFile {
    let Calendar { events, problems, whole_days } = calendar;
    let mut file = SessionFile { problems, skipped: whole_days, ..SessionFile::default() };
    let (masters, mut others) = sorted(events, &mut file);
    let until = Instant::now() + LONGEST_WORK;
    for event in &masters {
        if !file.may_go_on(&event.place, until) {
            break;
        }
        let forms = others.remove(&event.uid).unwrap_or_default();
        if let Err(error) = add(event, &forms, options, known, &mut file) {
            file.problems.push(error);
        }
    }
    // Another form of an event that is not in the file stands for itself.
    let mut left: Vec<(Timestamp, Event)> = others.into_values().flatten().collect();
    left.sort_by_key(|(_, event)| event.place.line);
    for (original, event) in &left {
        if !file.may_go_on(&event.place, until) {
            break;
        }
        let key = key(&event.uid, *original);
        let added = one(event, key, (event.starts.local, event.ends), options, known, None);
        file.note(added);
    }
    file
}

/// Other forms of recurrences, by UID: when they would have begun, and how they are.
type Forms = HashMap<String, Vec<(Timestamp, Event)>>;

/// Events by UID, the newest of those that are called the same, and other forms of their recurrences.
fn sorted(events: Vec<Event>, file: &mut SessionFile) -> (Vec<Event>, Forms) {
    let mut masters: HashMap<String, Event> = HashMap::new();
    let mut forms: HashMap<String, BTreeMap<Timestamp, Event>> = HashMap::new();
    for event in events {
        match event.instead_of.as_ref().map(Moment::timestamp) {
            None => match masters.entry(event.uid.clone()) {
                Entry::Vacant(free) => drop(free.insert(event)),
                Entry::Occupied(mut there) if there.get().revision <= event.revision => {
                    there.insert(event);
                }
                Entry::Occupied(_) => {}
            },
            Some(Ok(original)) => {
                let of_it = forms.entry(event.uid.clone()).or_default();
                if of_it.get(&original).is_none_or(|there| there.revision <= event.revision) {
                    of_it.insert(original, event);
                }
            }
            Some(Err(message)) => {
                file.problems.push(ImportProblem::new(&event.place, Some("RECURRENCE-ID"), message));
            }
        }
    }
    let mut masters: Vec<Event> = masters.into_values().collect();
    masters.sort_by_key(|event| event.place.line);
    (masters, forms.into_iter().map(|(uid, forms)| (uid, forms.into_iter().collect())).collect())
}

/// By which an occurrence is found again: the UID, and of recurrences when it would have begun.
fn key(uid: &str, original: Timestamp) -> String {
    format!("{uid} {}", original.strftime("%Y%m%dT%H%M%SZ"))
}

fn add(
    event: &Event,
    forms: &[(Timestamp, Event)],
    options: &SessionImportOptions,
    known: &KnownSchedule,
    file: &mut SessionFile,
) -> Result<(), ImportProblem> {
    let is_recurring = event.rule.is_some() || !event.more.is_empty();
    if !is_recurring {
        let key = event.uid.clone();
        file.note(one(event, key, (event.starts.local, event.ends), options, known, None));
        return Ok(());
    }
    let Some(group) = group_of(event, options, known)? else {
        file.skipped += 1;
        return Ok(());
    };
    let zone = &event.starts.zone;
    let days = days_looked_at(group.1, known);
    let starts = starts(event, days)
        .map_err(|(field, message)| ImportProblem::new(&event.place, Some(field), message))?;
    for start in starts {
        if file.wanted.len() > MOST {
            return Ok(());
        }
        let original = Moment { local: start, zone: zone.clone() };
        let at = original.timestamp().map_err(|message| ImportProblem::new(&event.place, None, message))?;
        if let Some((_, form)) = forms.iter().find(|(original, _)| *original == at) {
            let times = (form.starts.local, form.ends);
            file.note(one(form, key(&event.uid, at), times, options, known, Some(group)));
            continue;
        }
        let ends = event.ends.duration_since(event.starts.local);
        let end = start
            .checked_add(ends)
            .map_err(|error| ImportProblem::new(&event.place, Some("DTEND"), error.to_string()))?;
        file.note(one(event, key(&event.uid, at), (start, end), options, known, Some(group)));
    }
    Ok(())
}

impl SessionFile {
    /// Whether there is to be more: the plan refuses too many, and rules that take long are refused here.
    fn may_go_on(&mut self, place: &Place, until: Instant) -> bool {
        if Instant::now() >= until {
            let message =
                format!("the recurrences take longer than {} s to work out", LONGEST_WORK.as_secs());
            self.problems.push(ImportProblem::new(place, Some("RRULE"), message));
            return false;
        }
        self.wanted.len() <= MOST
    }

    fn note(&mut self, found: Result<Option<WantedSession>, ImportProblem>) {
        match found {
            Ok(Some(wanted)) => self.wanted.push(wanted),
            Ok(None) => self.skipped += 1,
            // One word for an event, however often it recurs.
            Err(problem) if self.problems.last() == Some(&problem) => {}
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// One session of an event; `None` where it is cancelled, of no group, or out of the days that are looked at. A group
/// that is given is that of the event whose recurrence this is.
fn one(
    event: &Event,
    key: String,
    (starts, ends): (DateTime, DateTime),
    options: &SessionImportOptions,
    known: &KnownSchedule,
    group: Option<(GroupId, Option<Days>)>,
) -> Result<Option<WantedSession>, ImportProblem> {
    if event.is_cancelled {
        return Ok(None);
    }
    let of_it = group_of(event, options, known);
    let (group, term) = match (of_it, group) {
        (Ok(Some(own)), _) => own,
        (_, Some(group)) => group,
        (Ok(None), None) => return Ok(None),
        (Err(problem), None) => return Err(problem),
    };
    let read = || {
        let times = SessionTimes::local(&event.starts.zone, starts, ends)?;
        let day = known.zone.to_datetime(times.starts_at()).date();
        if !days_looked_at(term, known).contains(day) {
            return Ok(None);
        }
        Ok(Some(WantedSession {
            place: event.place.clone(),
            key,
            group,
            name: session_name("SUMMARY", &event.summary)?,
            times,
            rooms: rooms_of(&event.location, known)?,
        }))
    };
    read().map_err(|error| problem(&event.place, &error))
}

/// The group of an event, with the days of its term: by what was said for its summary or a category, by a group's
/// name, or the one for all events. `None` where there is none and that is no problem.
fn group_of(
    event: &Event,
    options: &SessionImportOptions,
    known: &KnownSchedule,
) -> Result<Option<(GroupId, Option<Days>)>, ImportProblem> {
    let texts =
        || event.categories.iter().chain([&event.summary]).filter_map(|text| lookup_name("", text).ok());
    let mapped = texts().find_map(|text| options.mappings.get(&text.to_lowercase()).copied());
    let named = || texts().find_map(|text| known.group(&text)).map(|group| group.id);
    match mapped.or_else(named).or(options.group) {
        Some(id) => {
            let term =
                known.groups.iter().find(|group| group.id == id).and_then(|group: &KnownGroup| group.term);
            Ok(Some((id, term)))
        }
        None if options.skip_unknown => Ok(None),
        None => {
            let shown: String = event.summary.chars().take(64).collect();
            let message = format!("no group is named {shown:?}, or as a category says");
            Err(ImportProblem::new(&event.place, Some("SUMMARY"), message))
        }
    }
}

/// The rooms that a location names: one, or several parted by commas or semicolons.
fn rooms_of(location: &str, known: &KnownSchedule) -> Result<Option<Vec<String>>, ProtocolError> {
    if location.is_empty() {
        return Ok(None);
    }
    let whole = room_name("LOCATION", location)?;
    if known.rooms.contains_key(&whole) {
        return Ok(Some(vec![whole]));
    }
    let parts = location.split([',', ';']).map(str::trim).filter(|part| !part.is_empty());
    parts.map(|part| room_name("LOCATION", part)).collect::<Result<_, _>>().map(Some)
}

/// From the first day of the group's term to its last; where it is of none, from today on.
fn days_looked_at(term: Option<Days>, known: &KnownSchedule) -> Days {
    let today = known.zone.to_datetime(known.now).date();
    term.unwrap_or_else(|| Days::ahead(today, AHEAD_DAYS))
}

/// When an event begins, in order, by the clocks of its zone: from days before to days after those that are looked at,
/// as zones differ.
fn starts(event: &Event, days: Days) -> Result<Vec<DateTime>, (&'static str, String)> {
    let zone = &event.starts.zone;
    let first = days.first().saturating_sub(2.days()).to_datetime(Time::midnight());
    let last = days.last().saturating_add(2.days()).to_datetime(Time::midnight());
    let mut found = BTreeSet::from([event.starts.local]);
    if let Some(rule) = &event.rule {
        let dates = expanded(rule, event.starts.local, zone, last).map_err(|problem| ("RRULE", problem))?;
        found.extend(dates);
    }
    for moment in &event.more {
        found.insert(moment.within(zone).map_err(|problem| ("RDATE", problem))?);
    }
    for moment in &event.except {
        found.remove(&moment.within(zone).map_err(|problem| ("EXDATE", problem))?);
    }
    found.retain(|start| *start >= first && *start <= last && !event.except_days.contains(&start.date()));
    Ok(found.into_iter().collect())
}

/// The dates of a rule up to a last one, by the clocks: computed as if they were those of UTC, which never change.
pub(super) fn expanded(
    rule: &str,
    start: DateTime,
    zone: &TimeZone,
    last: DateTime,
) -> Result<Vec<DateTime>, String> {
    if rule.len() > LONGEST_RULE || !rule.is_ascii() || rule.contains(char::is_control) {
        return Err(format!("is no rule, or longer than {LONGEST_RULE} bytes"));
    }
    let mut kept: Vec<String> = Vec::new();
    let (mut until, mut is_counted) = (last, false);
    for part in rule.split(';').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').ok_or_else(|| format!("{part:?} says nothing"))?;
        match name.to_ascii_uppercase().as_str() {
            "FREQ" if !is_slow(value) => {
                return Err(format!("{value:?}: sessions recur daily, weekly, monthly or yearly"));
            }
            "UNTIL" => until = until.min(until_of(value, zone)?),
            "COUNT" if value.parse::<u32>().is_ok_and(|count| count <= MOST_COUNTED) => {
                is_counted = true;
                kept.push(part.to_owned());
            }
            "COUNT" => return Err(format!("{value:?}: at most {MOST_COUNTED}")),
            "BYSECOND" | "BYMINUTE" | "BYHOUR" => {
                return Err(format!("{name} is not understood: an event has one time of day"));
            }
            _ => kept.push(part.to_owned()),
        }
    }
    if until < start {
        return Ok(Vec::new());
    }
    if !is_counted {
        kept.push(format!("UNTIL={}Z", until.strftime("%Y%m%dT%H%M%S")));
    }
    let text = format!("DTSTART:{}Z\nRRULE:{}", start.strftime("%Y%m%dT%H%M%S"), kept.join(";"));
    let set: RRuleSet = text.parse().map_err(|error: rrule::RRuleError| error.to_string())?;
    let found = set.all(MOST_DATES);
    if found.dates.len() >= usize::from(MOST_DATES) {
        return Err(format!("has more than {MOST_DATES} dates"));
    }
    let local = |seconds| Timestamp::from_second(seconds).map(|time| TimeZone::UTC.to_datetime(time));
    let dates = found.dates.iter().map(|date| local(date.timestamp()).map_err(|error| error.to_string()));
    let dates = dates.collect::<Result<Vec<_>, _>>()?;
    Ok(dates.into_iter().filter(|date| *date <= until).collect())
}

fn is_slow(frequency: &str) -> bool {
    ["DAILY", "WEEKLY", "MONTHLY", "YEARLY"].iter().any(|slow| frequency.eq_ignore_ascii_case(slow))
}

/// The last moment of a rule by the clocks of a zone: a point in time, what the clocks show, or a whole day.
fn until_of(text: &str, zone: &TimeZone) -> Result<DateTime, String> {
    let wrong = || format!("UNTIL: {text:?} is no time");
    if let Some(day) = parse_day(text) {
        return Ok(day.to_datetime(Time::constant(23, 59, 59, 0)));
    }
    match text.strip_suffix(['Z', 'z']) {
        Some(utc) => {
            let local = parse_local(utc).ok_or_else(wrong)?;
            Moment { local, zone: TimeZone::UTC }.within(zone)
        }
        None => parse_local(text).ok_or_else(wrong),
    }
}
