//! What another system is to be told, made of final marks.

use std::collections::{BTreeMap, BTreeSet};

use cavs_types::Mark;
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use super::TargetKind;

/// A mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attended {
    /// UUID.
    pub(crate) session: String,
    /// UUID.
    pub(crate) group: String,
    pub(crate) group_name: String,
    pub(crate) starts_at: Timestamp,
    pub(crate) ends_at: Timestamp,
    /// It changes by itself no more.
    pub(crate) is_final: bool,
    /// UUID.
    pub(crate) student: String,
    /// The site's number, for the report.
    pub(crate) number: String,
    /// By what the other system knows the person; empty: it doesn't.
    pub(crate) person: String,
    pub(crate) mark: Mark,
    pub(crate) first_seen_at: Option<Timestamp>,
    pub(crate) last_seen_at: Option<Timestamp>,
}

/// Something that another system is to be told once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// Unique and the same in every run: it is how the item is known to have been sent, here and there.
    pub(crate) key: String,
    /// The site's number of whom it is about.
    pub(crate) number: String,
    pub(crate) person: String,
    pub(crate) what: What,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    /// Somebody came, or went.
    CheckIn { at: jiff::civil::DateTime, comes: bool },
    /// What a day was for somebody; of a group where the other system has groups.
    Day { date: Date, group: Option<String>, status: DayStatus },
}

/// What a day was for somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DayStatus {
    Present,
    Absent,
    Excused,
}

impl What {
    /// What was told, in a word: where it is another one later, the item has changed.
    pub(crate) fn value(&self) -> String {
        match self {
            Self::CheckIn { at, comes } => format!("{} {at}", if *comes { "in" } else { "out" }),
            Self::Day { status, .. } => status.word().to_owned(),
        }
    }

    /// For people.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::CheckIn { at, comes } => {
                format!("{} {}", if *comes { "in" } else { "out" }, at.strftime("%F %T"))
            }
            Self::Day { date, group, status } => {
                let group = group.as_ref().map(|group| format!(" in {group}")).unwrap_or_default();
                format!("{} on {date}{group}", status.word())
            }
        }
    }
}

impl DayStatus {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Excused => "excused",
        }
    }
}

/// What is to be told, and whom the other system doesn't know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// By time.
    pub(crate) items: Vec<Item>,
    /// Numbers of people without what the other system knows them by.
    pub(crate) unknown: Vec<String>,
}

impl Plan {
    /// Of final marks, with days and times as the clocks of the site show them.
    /// Of `today` and of days with sessions that are not final nothing is told but who came and went.
    pub(crate) fn of(kind: TargetKind, attended: &[Attended], zone: &TimeZone, today: Date) -> Self {
        let mut plan = Self::default();
        for number in attended.iter().filter(|of| of.person.is_empty()).map(|of| &of.number) {
            if !plan.unknown.contains(number) {
                plan.unknown.push(number.clone());
            }
        }
        let known = attended.iter().filter(|of| !of.person.is_empty());
        match kind {
            TargetKind::EmployeeCheckins => {
                plan.items = known.filter(|of| of.is_final).flat_map(|of| check_ins(of, zone)).collect();
            }
            TargetKind::EmployeeAttendance => plan.items = days(known, zone, today, false),
            TargetKind::StudentAttendance => plan.items = days(known, zone, today, true),
        }
        plan
    }
}

/// When somebody came and went. Where only a person's word says that they were there, the session's times stand for it.
fn check_ins(of: &Attended, zone: &TimeZone) -> Vec<Item> {
    if !matches!(of.mark, Mark::Present | Mark::Late | Mark::LeftEarly) {
        return Vec::new();
    }
    let came = of.first_seen_at.unwrap_or(of.starts_at);
    let went = of.last_seen_at.unwrap_or(of.ends_at).max(came);
    let item = |at: Timestamp, comes: bool| {
        // To the second: the other system keeps no more.
        let at = at.to_zoned(zone.clone()).datetime();
        let at = at.with().subsec_nanosecond(0).build().unwrap_or(at);
        Item {
            key: format!("{}/{}/{}", of.session, of.student, if comes { "in" } else { "out" }),
            number: of.number.clone(),
            person: of.person.clone(),
            what: What::CheckIn { at, comes },
        }
    };
    let mut items = vec![item(came, true), item(went, false)];
    if items[0].what.value().trim_start_matches("in ") == items[1].what.value().trim_start_matches("out ") {
        // Somebody can't come and go at one moment, and no other system takes it.
        items.pop();
    }
    items
}

/// What days were: whoever was there in any of a day's sessions was present; else whoever was absent in any was absent;
/// else whoever was excused was excused. Of a day of which nobody can say, or that is not over and final, nothing is told.
fn days<'a>(
    attended: impl Iterator<Item = &'a Attended>,
    zone: &TimeZone,
    today: Date,
    by_group: bool,
) -> Vec<Item> {
    // Whose day is not over, or not final; and whose day holds something that nobody can say.
    let (mut held, mut vague) = (BTreeSet::new(), BTreeSet::new());
    let mut days: BTreeMap<(Date, String, String), (Item, bool)> = BTreeMap::new();
    for of in attended {
        let date = of.starts_at.to_zoned(zone.clone()).date();
        let status = match of.mark {
            Mark::Present | Mark::Late | Mark::LeftEarly => Some(DayStatus::Present),
            Mark::Absent => Some(DayStatus::Absent),
            Mark::Excused => Some(DayStatus::Excused),
            Mark::Undetermined => None,
        };
        let group = by_group.then(|| of.group_name.clone());
        let mut key = format!("{}/{date}", of.student);
        if by_group {
            key.push_str(&format!("/{}", of.group));
        }
        let place = (date, of.number.clone(), if by_group { of.group.clone() } else { String::new() });
        if !of.is_final || date >= today {
            held.insert(place.clone());
        }
        if status.is_none() {
            vague.insert(place.clone());
        }
        let (item, is_known) = days.entry(place).or_insert_with(|| {
            let what = What::Day { date, group, status: DayStatus::Excused };
            (Item { key, number: of.number.clone(), person: of.person.clone(), what }, false)
        });
        let Some(status) = status else { continue };
        if let What::Day { status: so_far, .. } = &mut item.what {
            *so_far = if *is_known { stronger(*so_far, status) } else { status };
        }
        *is_known = true;
    }
    let is_told = |place: &(Date, String, String), item: &Item| {
        let is_present = matches!(item.what, What::Day { status: DayStatus::Present, .. });
        !held.contains(place) && (is_present || !vague.contains(place))
    };
    days.into_iter()
        .filter(|(place, (item, is_known))| *is_known && is_told(place, item))
        .map(|(_, (item, _))| item)
        .collect()
}

const fn stronger(one: DayStatus, other: DayStatus) -> DayStatus {
    match (one, other) {
        (DayStatus::Present, _) | (_, DayStatus::Present) => DayStatus::Present,
        (DayStatus::Absent, _) | (_, DayStatus::Absent) => DayStatus::Absent,
        (DayStatus::Excused, DayStatus::Excused) => DayStatus::Excused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(session: &str, start: &str, number: &str, mark: Mark, seen: Option<(&str, &str)>) -> Attended {
        let starts_at: Timestamp = start.parse().unwrap();
        Attended {
            session: session.into(),
            group: "g".into(),
            group_name: "7B".into(),
            starts_at,
            ends_at: starts_at + jiff::SignedDuration::from_mins(45),
            is_final: true,
            student: format!("id-{number}"),
            number: number.into(),
            person: if number == "9" { String::new() } else { format!("HR-{number}") },
            mark,
            first_seen_at: seen.map(|(first, _)| first.parse().unwrap()),
            last_seen_at: seen.map(|(_, last)| last.parse().unwrap()),
        }
    }

    fn shown(kind: TargetKind, attended: &[Attended]) -> Vec<String> {
        let zone = TimeZone::get("Africa/Addis_Ababa").unwrap();
        let plan = Plan::of(kind, attended, &zone, jiff::civil::date(2027, 1, 1));
        plan.items.iter().map(|item| format!("{} {} {}", item.key, item.person, item.what.shown())).collect()
    }

    #[test]
    fn check_ins_are_when_somebody_came_and_went_by_the_sites_clocks() {
        let seen = Some(("2026-11-27T05:02:03.9Z", "2026-11-27T05:40:00Z"));
        let once = Some(("2026-11-27T05:02:03Z", "2026-11-27T05:02:03.5Z"));
        let attended = [
            mark("s", "2026-11-27T05:00:00Z", "1", Mark::Late, seen),
            mark("s", "2026-11-27T05:00:00Z", "2", Mark::Absent, None),
            mark("s", "2026-11-27T05:00:00Z", "3", Mark::Present, None),
            mark("s", "2026-11-27T05:00:00Z", "4", Mark::Undetermined, seen),
            mark("s", "2026-11-27T05:00:00Z", "5", Mark::Present, once),
            mark("s", "2026-11-27T05:00:00Z", "9", Mark::Present, seen),
        ];
        assert_eq!(
            shown(TargetKind::EmployeeCheckins, &attended),
            [
                "s/id-1/in HR-1 in 2026-11-27 08:02:03",
                "s/id-1/out HR-1 out 2026-11-27 08:40:00",
                "s/id-3/in HR-3 in 2026-11-27 08:00:00",
                "s/id-3/out HR-3 out 2026-11-27 08:45:00",
                "s/id-5/in HR-5 in 2026-11-27 08:02:03",
            ]
        );
        assert_eq!(
            Plan::of(TargetKind::EmployeeCheckins, &attended, &TimeZone::UTC, jiff::civil::date(2027, 1, 1))
                .unknown,
            ["9"]
        );
    }

    #[test]
    fn a_day_is_what_its_sessions_say_together() {
        use Mark::{Absent, Excused, LeftEarly, Undetermined};
        // The last one begins on the next day by the site's clocks.
        let (morning, noon, night) = ("2026-11-27T05:00:00Z", "2026-11-27T09:00:00Z", "2026-11-27T21:30:00Z");
        let attended = [
            mark("a", morning, "1", Absent, None),
            mark("b", noon, "1", LeftEarly, None),
            mark("c", night, "1", Excused, None),
            mark("a", morning, "2", Excused, None),
            mark("b", noon, "2", Absent, None),
            mark("a", morning, "3", Undetermined, None),
            mark("b", noon, "4", Undetermined, None),
            mark("c", night, "4", Absent, None),
        ];
        assert_eq!(
            shown(TargetKind::EmployeeAttendance, &attended),
            [
                "id-1/2026-11-27 HR-1 present on 2026-11-27",
                "id-2/2026-11-27 HR-2 absent on 2026-11-27",
                "id-1/2026-11-28 HR-1 excused on 2026-11-28",
                "id-4/2026-11-28 HR-4 absent on 2026-11-28",
            ]
        );
        let mut reversed = attended.to_vec();
        reversed.reverse();
        assert_eq!(
            shown(TargetKind::StudentAttendance, &reversed),
            shown(TargetKind::StudentAttendance, &attended)
        );
        assert_eq!(
            shown(TargetKind::StudentAttendance, &attended[..1]),
            ["id-1/2026-11-27/g HR-1 absent on 2026-11-27 in 7B"]
        );
    }
}
