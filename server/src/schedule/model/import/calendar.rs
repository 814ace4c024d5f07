//! iCalendar files (RFC 5545): the events in them, as far as sessions need them.

use std::collections::HashMap;

use icalendar::parser::{Component, Property};
use jiff::{
    SignedDuration, Span, Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use crate::people::{ImportProblem, Place, Unreadable};

/// Most events of a file.
const MOST_EVENTS: usize = 20_000;
/// Longest event, in bytes: attendees and descriptions, and no picture.
const LONGEST_EVENT: usize = 256 << 10;
/// Most components in one event, with it: alarms.
const MOST_COMPONENTS: usize = 50;
/// Most bytes of what names an event.
const LONGEST_UID: usize = 255;
/// Most dates that are left out of an event, or added to it.
const MOST_DATES: usize = 5_000;

/// Zones as Microsoft's programs call them, by the IANA zones of their territories 001
/// (<https://github.com/unicode-org/cldr/blob/main/common/supplemental/windowsZones.xml>).
const WINDOWS_ZONES: [(&str, &str); 24] = [
    ("AUS Eastern Standard Time", "Australia/Sydney"),
    ("Arabian Standard Time", "Asia/Dubai"),
    ("Atlantic Standard Time", "America/Halifax"),
    ("Central Europe Standard Time", "Europe/Budapest"),
    ("Central European Standard Time", "Europe/Warsaw"),
    ("Central Standard Time", "America/Chicago"),
    ("China Standard Time", "Asia/Shanghai"),
    ("E. Africa Standard Time", "Africa/Nairobi"),
    ("E. South America Standard Time", "America/Sao_Paulo"),
    ("Eastern Standard Time", "America/New_York"),
    ("FLE Standard Time", "Europe/Kiev"),
    ("GMT Standard Time", "Europe/London"),
    ("GTB Standard Time", "Europe/Bucharest"),
    ("India Standard Time", "Asia/Calcutta"),
    ("Mountain Standard Time", "America/Denver"),
    ("New Zealand Standard Time", "Pacific/Auckland"),
    ("Pacific Standard Time", "America/Los_Angeles"),
    ("Romance Standard Time", "Europe/Paris"),
    ("Russian Standard Time", "Europe/Moscow"),
    ("Singapore Standard Time", "Asia/Singapore"),
    ("South Africa Standard Time", "Africa/Johannesburg"),
    ("Tokyo Standard Time", "Asia/Tokyo"),
    ("Turkey Standard Time", "Europe/Istanbul"),
    ("W. Europe Standard Time", "Europe/Berlin"),
];

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    /// In the order of the file.
    pub(super) events: Vec<Event>,
    /// Events that can't be used.
    pub(super) problems: Vec<ImportProblem>,
    /// Events of whole days, which are no sessions.
    pub(super) whole_days: u64,
}

/// An event, all its recurrences, or another form of one of them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// Where it begins.
    pub(super) place: Place,
    pub(super) uid: String,
    /// The newest of two that are called the same is meant.
    pub(super) revision: i64,
    /// Of which recurrence this is another form: when that would have begun.
    pub(super) instead_of: Option<Moment>,
    pub(super) starts: Moment,
    /// When it ends by the clocks of the zone in which it begins.
    pub(super) ends: DateTime,
    /// As the file has it.
    pub(super) rule: Option<String>,
    pub(super) more: Vec<Moment>,
    pub(super) except: Vec<Moment>,
    /// Whole days on which it is not.
    pub(super) except_days: Vec<Date>,
    pub(super) summary: String,
    pub(super) categories: Vec<String>,
    pub(super) location: String,
    pub(super) is_cancelled: bool,
}

/// What the clocks of a zone show.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moment {
    pub(super) local: DateTime,
    pub(super) zone: TimeZone,
}

impl Moment {
    /// When that is. What the clocks leave out is moved on; of what they show twice the first is meant.
    pub(super) fn timestamp(&self) -> Result<Timestamp, String> {
        let zoned = self.local.to_zoned(self.zone.clone()).map_err(|error| error.to_string())?;
        Ok(zoned.timestamp())
    }

    /// What the clocks of another zone show then.
    pub(super) fn within(&self, zone: &TimeZone) -> Result<DateTime, String> {
        if self.zone == *zone { Ok(self.local) } else { Ok(zone.to_datetime(self.timestamp()?)) }
    }
}

/// A value of the types DATE and DATE-TIME.
enum When {
    Day(Date),
    At(Moment),
}

/// A part of a file from `BEGIN` to `END`, unfolded.
struct Block {
    line: u64,
    text: String,
}

pub(super) fn read(data: &[u8], site_zone: &TimeZone) -> Result<Calendar, Unreadable> {
    let text = std::str::from_utf8(data).map_err(|_| Unreadable("is no UTF-8".to_owned()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if !text.trim_start().get(..15).is_some_and(|begins| begins.eq_ignore_ascii_case("BEGIN:VCALENDAR")) {
        return Err(Unreadable("is no iCalendar file: it does not begin with BEGIN:VCALENDAR".to_owned()));
    }
    let events = blocks(text, "VEVENT")?;
    let zones = Zones { named: zones_of(&blocks(text, "VTIMEZONE")?), site: site_zone.clone() };
    let mut calendar = Calendar::default();
    for block in events {
        let place = Place { file: "", line: block.line };
        match event(&place, &block, &zones) {
            Ok(Some(event)) => calendar.events.push(event),
            Ok(None) => calendar.whole_days += 1,
            Err((field, message)) => calendar.problems.push(ImportProblem::new(&place, field, message)),
        }
    }
    Ok(calendar)
}

/// The components of a kind, with the lines that they begin on.
fn blocks(text: &str, kind: &str) -> Result<Vec<Block>, Unreadable> {
    let (begin, end) = (format!("BEGIN:{kind}"), format!("END:{kind}"));
    let (mut found, mut inside): (Vec<Block>, Option<Block>) = (Vec::new(), None);
    for (number, line) in (1_u64..).zip(text.lines()) {
        let trimmed = line.trim_end();
        match &mut inside {
            None if trimmed.eq_ignore_ascii_case(&begin) => {
                if found.len() == MOST_EVENTS {
                    return Err(Unreadable(format!("holds more than {MOST_EVENTS} events")));
                }
                inside = Some(Block { line: number, text: format!("{begin}\n") });
            }
            None => {}
            Some(block) => {
                if let Some(folded) = line.strip_prefix([' ', '\t']) {
                    block.text.truncate(block.text.trim_end_matches('\n').len());
                    block.text.push_str(folded.trim_end_matches('\r'));
                } else {
                    block.text.push_str(trimmed);
                }
                block.text.push('\n');
                if block.text.len() > LONGEST_EVENT {
                    let problem = format!("line {}: is more than {LONGEST_EVENT} bytes long", block.line);
                    return Err(Unreadable(problem));
                }
                if trimmed.eq_ignore_ascii_case(&end) {
                    found.extend(inside.take());
                }
            }
        }
    }
    match inside {
        Some(block) => Err(Unreadable(format!("line {}: {begin} has no end", block.line))),
        None => Ok(found),
    }
}

/// What `TZID`s mean: the IANA name that a VTIMEZONE gives beside its own.
struct Zones {
    named: HashMap<String, TimeZone>,
    site: TimeZone,
}

fn zones_of(blocks: &[Block]) -> HashMap<String, TimeZone> {
    let zone = |block: &Block| {
        let value = |name: &str| {
            let line = block.text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim)
        };
        let zone = TimeZone::get(value("X-LIC-LOCATION")?).ok()?;
        Some((value("TZID")?.to_owned(), zone))
    };
    blocks.iter().filter_map(zone).collect()
}

impl Zones {
    fn get(&self, id: &str) -> Result<TimeZone, String> {
        if let Some(zone) = self.named.get(id) {
            return Ok(zone.clone());
        }
        // Some programs write who has made the zone before its name: /example.org/2020/Europe/Berlin.
        let parts: Vec<&str> = id.split('/').filter(|part| !part.is_empty()).collect();
        let names = (0..parts.len()).map(|from| parts[from..].join("/"));
        let windows = WINDOWS_ZONES.iter().find(|(name, _)| *name == id).map(|(_, zone)| (*zone).to_owned());
        names.chain(windows).find_map(|name| TimeZone::get(&name).ok()).ok_or_else(|| {
            let shown: String = id.chars().take(64).collect();
            format!("the time zone {shown:?} is not known by its IANA name, as Europe/Berlin is")
        })
    }
}

type Refusal = (Option<&'static str>, String);

/// Reads an event; `None` is one of whole days.
fn event(place: &Place, block: &Block, zones: &Zones) -> Result<Option<Event>, Refusal> {
    if block.text.matches("BEGIN:").count() > MOST_COMPONENTS {
        return Err((None, "holds too many components".to_owned()));
    }
    let component = Component::try_from(block.text.as_str())
        .map_err(|_| (None, "can't be read: a line in it is no property".to_owned()))?;
    let of = |name: &'static str| {
        component.properties.iter().filter(move |p| p.name.as_str().eq_ignore_ascii_case(name))
    };
    let text = |name: &'static str| of(name).next().map(|p| unescaped(p.val.as_str())).unwrap_or_default();
    let when = |name: &'static str, property: &Property<'_>| {
        values(property, zones).map_err(|problem| (Some(name), problem))
    };
    let one = |name: &'static str| match of(name).next() {
        None => Ok(None),
        Some(property) => when(name, property).map(|mut values| values.pop()),
    };
    let uid = text("UID");
    if uid.is_empty() || uid.len() > LONGEST_UID || uid.chars().any(char::is_control) {
        return Err((Some("UID"), format!("is missing, or longer than {LONGEST_UID} bytes")));
    }
    let starts = match one("DTSTART")? {
        None => return Err((Some("DTSTART"), "is required".to_owned())),
        Some(When::Day(_)) => return Ok(None),
        Some(When::At(starts)) => starts,
    };
    if of("RECURRENCE-ID").any(|p| parameter(p, "RANGE").is_some()) {
        return Err((
            Some("RECURRENCE-ID"),
            "changes of all later ones (RANGE) are not understood".to_owned(),
        ));
    }
    let instead_of = match one("RECURRENCE-ID")? {
        Some(When::At(moment)) => Some(moment),
        Some(When::Day(day)) => {
            Some(Moment { local: day.to_datetime(starts.local.time()), zone: starts.zone.clone() })
        }
        None => None,
    };
    let ends = match (one("DTEND")?, text("DURATION")) {
        (Some(When::At(ends)), _) => ends.within(&starts.zone).map_err(|problem| (Some("DTEND"), problem))?,
        (Some(When::Day(_)), _) => return Err((Some("DTEND"), "is a day, and the start is none".to_owned())),
        (None, duration) if !duration.is_empty() => {
            after(starts.local, &duration).map_err(|problem| (Some("DURATION"), problem))?
        }
        (None, _) => return Err((Some("DTEND"), "is required, or DURATION".to_owned())),
    };
    let (mut more, mut except, mut except_days) = (Vec::new(), Vec::new(), Vec::new());
    for property in of("RDATE") {
        for value in when("RDATE", property)? {
            match value {
                When::At(moment) => more.push(moment),
                When::Day(day) => more
                    .push(Moment { local: day.to_datetime(starts.local.time()), zone: starts.zone.clone() }),
            }
        }
    }
    for property in of("EXDATE") {
        for value in when("EXDATE", property)? {
            match value {
                When::At(moment) => except.push(moment),
                When::Day(day) => except_days.push(day),
            }
        }
    }
    if more.len() + except.len() + except_days.len() > MOST_DATES {
        return Err((Some("EXDATE"), format!("more than {MOST_DATES} dates")));
    }
    let mut rules = of("RRULE").map(|p| p.val.as_str().trim().to_owned());
    let rule = rules.next();
    if rules.next().is_some() {
        return Err((Some("RRULE"), "there is more than one".to_owned()));
    }
    if of("EXRULE").next().is_some() {
        return Err((Some("EXRULE"), "is not understood; RFC 5545 has EXDATE".to_owned()));
    }
    let categories = of("CATEGORIES").flat_map(|p| parted(p.val.as_str()));
    Ok(Some(Event {
        place: place.clone(),
        uid,
        revision: text("SEQUENCE").parse().unwrap_or_default(),
        instead_of,
        starts,
        ends,
        rule,
        more,
        except,
        except_days,
        summary: text("SUMMARY"),
        categories: categories.collect(),
        location: text("LOCATION"),
        is_cancelled: text("STATUS").eq_ignore_ascii_case("CANCELLED"),
    }))
}

fn parameter<'a>(property: &'a Property<'_>, name: &str) -> Option<&'a str> {
    let found = property.params.iter().find(|p| p.key.as_str().eq_ignore_ascii_case(name))?;
    found.val.as_ref().map(|value| value.as_str().trim_matches('"'))
}

/// The values of a property that has dates or times, parted by commas; of periods their starts.
fn values(property: &Property<'_>, zones: &Zones) -> Result<Vec<When>, String> {
    let zone = match parameter(property, "TZID") {
        Some(id) => Some(zones.get(id)?),
        None => None,
    };
    let parts = property.val.as_str().split(',').map(str::trim).filter(|part| !part.is_empty());
    parts
        .map(|part| value(part.split_once('/').map_or(part, |(start, _)| start), zone.as_ref(), zones))
        .collect()
}

/// A date (20260901), or a time of it: in UTC (20260901T060000Z), in the zone that is named, or else as the clocks of
/// the site show it.
pub(super) fn parse_local(text: &str) -> Option<DateTime> {
    let read = DateTime::strptime("%Y%m%dT%H%M%S", text).ok()?;
    is_plausible(read.date()).then_some(read)
}

pub(super) fn parse_day(text: &str) -> Option<Date> {
    Date::strptime("%Y%m%d", text).ok().filter(|day| text.len() == 8 && is_plausible(*day))
}

fn is_plausible(day: Date) -> bool {
    (1970..=2200).contains(&day.year())
}

fn value(text: &str, zone: Option<&TimeZone>, zones: &Zones) -> Result<When, String> {
    let shown = || text.chars().take(32).collect::<String>();
    if let Some(day) = parse_day(text) {
        return Ok(When::Day(day));
    }
    let (text, is_utc) = match text.strip_suffix(['Z', 'z']) {
        Some(text) => (text, true),
        None => (text, false),
    };
    let local = parse_local(text).ok_or_else(|| {
        format!("{:?} is neither a date as 20260901 nor a time as 20260901T080000", shown())
    })?;
    let zone = match (is_utc, zone) {
        (true, _) => TimeZone::UTC,
        (false, Some(zone)) => zone.clone(),
        (false, None) => zones.site.clone(),
    };
    Ok(When::At(Moment { local, zone }))
}

/// So much later by the clocks.
fn after(local: DateTime, duration: &str) -> Result<DateTime, String> {
    let shown = || duration.chars().take(32).collect::<String>();
    let wrong = |_| format!("{:?} is no duration as PT90M", shown());
    let span: Span = duration.trim_start_matches('+').parse().map_err(wrong)?;
    let later = local.checked_add(span).map_err(wrong)?;
    if later.duration_since(local) <= SignedDuration::ZERO {
        Err(format!("{:?} is no time", shown()))
    } else {
        Ok(later)
    }
}

/// A text without the marks that the format needs in it, and in one line.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some('n' | 'N') => plain.push(' '),
                Some(other) => plain.push(other),
                None => {}
            },
            c if c.is_control() => plain.push(' '),
            c => plain.push(c),
        }
    }
    plain.trim().to_owned()
}

/// Texts that are parted by commas which are not escaped.
fn parted(text: &str) -> Vec<String> {
    let (mut parts, mut begins, mut is_escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        if c == ',' && !is_escaped {
            parts.push(unescaped(&text[begins..at]));
            begins = at + 1;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    parts.push(unescaped(&text[begins..]));
    parts.retain(|part| !part.is_empty());
    parts
}
