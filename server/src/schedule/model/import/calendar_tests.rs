//! Calendars and tables of sessions: what is read of them, and what follows.

use cavs_types::{CalendarId, ImportFormat, SessionSource, SessionState};
use jiff::civil::date;
use proptest::prelude::*;

use super::{session_plan::SessionPlan, *};
use crate::schedule::{ClassSession, NewClassSession, ScheduleRef, ScheduleVersion};

fn group(name: &str, term: Option<Days>) -> KnownGroup {
    KnownGroup { id: GroupId::generate(), name: name.to_owned(), term }
}

/// A school in Berlin on 1 September 2026, with a group of a term and one of none.
fn known() -> KnownSchedule {
    let term = Days::new(date(2026, 9, 1), date(2026, 12, 18)).unwrap();
    KnownSchedule {
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        now: "2026-09-01T05:00:00Z".parse().unwrap(),
        groups: vec![group("Maths", Some(term)), group("Shift", None)],
        rooms: HashMap::from([
            ("B12".to_owned(), RoomId::generate()),
            ("Lab, old".to_owned(), RoomId::generate()),
        ]),
    }
}

fn options(format: SessionFormat) -> SessionImportOptions {
    SessionImportOptions {
        format,
        text: ImportOptions::new(ImportFormat::Csv, "", "").unwrap(),
        dry_run: false,
        create_rooms: false,
        calendar: Some("untis".to_owned()),
        group: None,
        mappings: HashMap::new(),
        skip_unknown: false,
    }
}

/// A calendar with events of these properties, a line each.
fn calendar(events: &[&str]) -> String {
    let mut text = "BEGIN:VCALENDAR\r\nVERSION:2.0\r\n".to_owned();
    for event in events {
        text.push_str("BEGIN:VEVENT\r\n");
        event.lines().for_each(|line| text.push_str(&format!("{}\r\n", line.trim_start())));
        text.push_str("END:VEVENT\r\n");
    }
    text + "END:VCALENDAR\r\n"
}

fn read_with(text: &str, options: &SessionImportOptions) -> SessionFile {
    SessionFile::read(text.as_bytes(), options, &known()).unwrap()
}

fn read(events: &[&str]) -> SessionFile {
    read_with(&calendar(events), &options(SessionFormat::Icalendar))
}

fn starts(file: &SessionFile) -> Vec<String> {
    file.wanted.iter().map(|wanted| wanted.times.starts_at().to_string()).collect()
}

fn problems(file: &SessionFile) -> Vec<String> {
    let said = |p: &ImportProblem| format!("{} {}: {}", p.place.line, p.field.unwrap_or("-"), p.message);
    file.problems.iter().map(said).collect()
}

#[test]
fn lessons_recur_by_the_clocks_but_where_they_do_not() {
    let file = read(&[
        "UID:a
        DTSTART;TZID=Europe/Berlin:20261012T080000
        DTEND;TZID=Europe/Berlin:20261012T093000
        RRULE:FREQ=WEEKLY;BYDAY=MO;UNTIL=20261109T070000Z
        EXDATE;TZID=Europe/Berlin:20261019T080000
        RDATE;TZID=Europe/Berlin:20261021T100000
        SUMMARY:Maths
        LOCATION:B12",
        "UID:a
        RECURRENCE-ID;TZID=Europe/Berlin:20261102T080000
        DTSTART;TZID=Europe/Berlin:20261103T120000
        DURATION:PT45M
        SUMMARY:Maths",
    ]);
    assert_eq!(problems(&file), [""; 0]);
    // The clocks are put back on 25 October. The lesson of 2 November is on the day after.
    let expected = ["10-12T06", "10-21T08", "10-26T07", "11-03T11", "11-09T07"];
    assert_eq!(starts(&file), expected.map(|hour| format!("2026-{hour}:00:00Z")));
    assert_eq!(file.wanted[0].key, "a 20261012T060000Z");
    assert_eq!(file.wanted[3].key, "a 20261102T070000Z");
    assert_eq!(file.wanted[0].rooms, Some(vec!["B12".to_owned()]));
    let minutes = |at: usize| {
        let times = file.wanted[at].times;
        times.ends_at().duration_since(times.starts_at()).as_mins()
    };
    assert_eq!((minutes(0), minutes(1), minutes(3), file.wanted[3].rooms.clone()), (90, 90, 45, None));
}

#[test]
fn the_odd_nights_are_those_of_the_clocks() {
    let night = "UID:n
        DTSTART;TZID=Europe/Berlin:20261024T013000
        DTEND;TZID=Europe/Berlin:20261024T033000
        RRULE:FREQ=DAILY;COUNT=2
        SUMMARY:Maths";
    let spring = "UID:s
        DTSTART;TZID=Europe/Berlin:20270328T013000
        DTEND;TZID=Europe/Berlin:20270328T033000
        SUMMARY:Shift";
    let file = read(&[night, spring]);
    let hours: Vec<i64> = file
        .wanted
        .iter()
        .map(|w| w.times.ends_at().duration_since(w.times.starts_at()).as_hours())
        .collect();
    assert_eq!((problems(&file), hours), (vec![], vec![2, 3, 1]));
}

#[test]
fn times_are_of_their_zone_and_floating_ones_of_the_site() {
    let file = read(&[
        "UID:1\nDTSTART:20260902T080000\nDTEND:20260902T090000\nSUMMARY:Maths",
        "UID:2\nDTSTART:20260902T080000Z\nDTEND:20260902T090000Z\nSUMMARY:Maths",
        "UID:3\nDTSTART;TZID=America/New_York:20260902T080000\nDTEND;TZID=America/New_York:20260902T090000\nSUMMARY:Maths",
        "UID:4\nDTSTART;TZID=W. Europe Standard Time:20260902T080000\nDTEND;TZID=\"/x.org/1/Europe/Berlin\":20260902T090000\nSUMMARY:Maths",
        "UID:5\nDTSTART;VALUE=DATE:20260902\nSUMMARY:Maths",
        "UID:6\nDTSTART;TZID=Mars:20260902T080000\nDTEND:20260902T090000\nSUMMARY:Maths",
    ]);
    let expected = ["06", "08", "12", "06"].map(|hour| format!("2026-09-02T{hour}:00:00Z"));
    assert_eq!((starts(&file), file.skipped), (expected.to_vec(), 1));
    let found = problems(&file);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("32 DTSTART: the time zone \"Mars\" is not known"), "{found:?}");
    // A zone of the file's own that says which it is.
    let zone = "BEGIN:VTIMEZONE\r\nTZID:Home\r\nX-LIC-LOCATION:Asia/Tokyo\r\nEND:VTIMEZONE\r\nBEGIN:VEVENT";
    let text = calendar(&["UID:1\nDTSTART;TZID=Home:20260902T180000\nDURATION:PT1H\nSUMMARY:Maths"]);
    let file = read_with(&text.replace("BEGIN:VEVENT", zone), &options(SessionFormat::Icalendar));
    assert_eq!(starts(&file), ["2026-09-02T09:00:00Z"]);
}

#[test]
fn groups_and_rooms_are_found_by_what_an_event_says() {
    let of = |summary: &str, more: &str| {
        format!("UID:{summary}\nDTSTART:20260902T080000\nDTEND:20260902T090000\nSUMMARY:{summary}\n{more}")
    };
    let events = [
        of("Algebra", "CATEGORIES:school,Maths"),
        of("ALGEBRA 2", "LOCATION:Lab\\, old"),
        of("Sports", "LOCATION:B12; Lab\\, old"),
    ];
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    let file = read(&events);
    assert_eq!((file.wanted.len(), file.problems.len()), (1, 2));
    assert_eq!(problems(&file)[0], "10 SUMMARY: no group is named \"ALGEBRA 2\", or as a category says");
    let mut with = options(SessionFormat::Icalendar);
    with.skip_unknown = true;
    let shift = GroupId::generate();
    with.mappings = HashMap::from([("algebra 2".to_owned(), shift)]);
    let file = read_with(&calendar(&events), &with);
    assert_eq!((file.wanted.len(), file.skipped, file.wanted[1].group), (2, 1, shift));
    assert_eq!(file.wanted[1].rooms, Some(vec!["Lab, old".to_owned()]));
    // Out of the term, and before today where there is none.
    let file = read(&[
        "UID:1\nDTSTART:20270202T080000\nDTEND:20270202T090000\nSUMMARY:Maths",
        "UID:2\nDTSTART:20260202T080000\nDTEND:20260202T090000\nRRULE:FREQ=MONTHLY\nSUMMARY:Shift",
    ]);
    let found = starts(&file);
    assert_eq!((found.len(), found[0].as_str(), file.skipped), (14, "2026-09-02T06:00:00Z", 1));
}

#[test]
fn hostile_rules_and_files_are_refused() {
    let of = |rule: &str| {
        let event =
            format!("UID:1\nDTSTART:19700101T080000\nDTEND:19700101T090000\nSUMMARY:Shift\nRRULE:{rule}");
        read(&[&event])
    };
    for (rule, said) in [
        ("FREQ=SECONDLY", "sessions recur daily"),
        ("FREQ=DAILY;BYHOUR=0,1,2;BYMINUTE=0,1,2", "BYHOUR is not understood"),
        ("FREQ=DAILY;COUNT=4000000000", "at most 10000"),
        ("FREQ=DAILY", "has more than 20000 dates"),
        ("FREQ=WEEKLY;BYDAY=XX", ""),
        ("FREQ=DAILY;UNTIL=soon", "UNTIL"),
        ("FREQ", "says nothing"),
        ("", ""),
    ] {
        let found = problems(&of(rule));
        assert!(found.len() == 1 && found[0].contains(said), "{rule}: {found:?}");
    }
    // A day that never is, and what ended long ago.
    for rule in ["FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=DAILY;UNTIL=19991231"] {
        assert!(of(rule).wanted.is_empty(), "{rule}");
    }
    let refused = |data: &[u8]| {
        SessionFile::read(data, &options(SessionFormat::Icalendar), &known()).unwrap_err().to_string()
    };
    assert!(refused(b"group,date").contains("does not begin with BEGIN:VCALENDAR"));
    assert!(refused(b"BEGIN:VCALENDAR\nBEGIN:VEVENT\nUID:1\n").contains("line 2: BEGIN:VEVENT has no end"));
    assert!(refused(b"BEGIN:VCALENDAR\n\xff").contains("UTF-8"));
    let long = format!("BEGIN:VCALENDAR\nBEGIN:VEVENT\n{}\nEND:VEVENT\n", "X".repeat(300 << 10));
    assert!(refused(long.as_bytes()).contains("bytes long"));
    let deep = format!("{}{}", "BEGIN:VALARM\n".repeat(5000), "END:VALARM\n".repeat(5000));
    let found = problems(&read(&[&deep]));
    assert_eq!(found, ["3 -: holds too many components"]);
}

/// Sessions as they are once a plan was carried out.
fn carried_out(plan: &SessionPlan, there: &[KnownSession]) -> Vec<KnownSession> {
    let made = |new: &NewClassSession, version| ClassSession {
        id: new.id,
        group: ScheduleRef { id: new.group, name: String::new() },
        name: new.name.clone(),
        times: new.times,
        state: SessionState::Planned,
        source: SessionSource::Icalendar,
        external_id: new.external_id.clone(),
        calendar: new.calendar,
        rooms: new.rooms.iter().map(|id| ScheduleRef { id: *id, name: String::new() }).collect(),
        version: ScheduleVersion(version),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    };
    let after = |known: &KnownSession| {
        if let Some((new, seen, _)) = plan.update.iter().find(|(new, ..)| new.id == known.session.id) {
            return KnownSession { session: made(new, seen.0 + 1), is_cancelled_by_import: false };
        }
        let mut known = known.clone();
        if plan.cancel.iter().any(|(id, _)| *id == known.session.id) {
            known.session.state = SessionState::Cancelled;
            known.is_cancelled_by_import = true;
        }
        known
    };
    let new =
        plan.create.iter().map(|new| KnownSession { session: made(new, 1), is_cancelled_by_import: false });
    there.iter().map(after).chain(new).collect()
}

#[test]
fn the_next_file_changes_and_cancels_what_has_not_begun() {
    let (known, with) = (known(), options(SessionFormat::Icalendar));
    let calendar_id = Some(CalendarId::generate());
    let weekly = |hour: u8, weeks: u8| {
        calendar(&[&format!(
            "UID:a\nDTSTART:20260831T{hour:02}0000\nDURATION:PT1H\nRRULE:FREQ=WEEKLY;COUNT={weeks}\nSUMMARY:Shift\nLOCATION:B12"
        )])
    };
    let plan = |text: &str, there: &[KnownSession]| {
        let file = SessionFile::read(text.as_bytes(), &with, &known).unwrap();
        SessionPlan::new(file, there.to_vec(), calendar_id, &known, &with)
    };
    let counts = |plan: &SessionPlan| {
        (plan.create.len(), plan.update.len(), plan.cancel.len(), plan.unchanged, plan.kept)
    };
    let first = plan(&weekly(8, 4), &[]);
    // 31 August is before today.
    assert_eq!(counts(&first), (3, 0, 0, 0, 0));
    let mut there = carried_out(&first, &[]);
    assert_eq!(counts(&plan(&weekly(8, 4), &there)), (0, 0, 0, 3, 0));
    // A recurrence less is cancelled, and comes back where it is there again.
    let shorter = plan(&weekly(8, 3), &there);
    assert_eq!(counts(&shorter), (0, 0, 1, 2, 0));
    let less = carried_out(&shorter, &there);
    assert_eq!(counts(&plan(&weekly(8, 3), &less)), (0, 0, 0, 2, 0));
    let again = plan(&weekly(8, 4), &less);
    assert!(again.update.len() == 1 && again.update[0].2, "{again:?}");
    // What has begun, or a person has cancelled, is kept.
    there[0].session.state = SessionState::Open;
    there[1].session.state = SessionState::Cancelled;
    let renamed = weekly(8, 4).replace("LOCATION:B12", "LOCATION:Lab\\, old");
    assert_eq!(counts(&plan(&renamed, &there)), (0, 1, 0, 0, 2));
    let none = plan(&weekly(8, 4).replace("LOCATION:B12", "LOCATION:Attic"), &[]);
    assert!(none.create.is_empty() && none.problems[0].message.contains("no room is named \"Attic\""));
}

#[test]
fn tables_have_sessions_by_the_clocks_of_the_site() {
    let with = SessionImportOptions { calendar: None, create_rooms: true, ..options(SessionFormat::Csv) };
    let text = "Class;Date;Start;End;Room;Colour\nMaths;2026-09-01;8:00;09:30;B12|Attic;red\n\
        Shift;2026-10-24;22:00;06:00;;\nNobody;2026-09-01;08:00;09:00;;\nMaths;01.09.2026;08:00;09:00;;\n\
        Maths;2026-09-01;08:00;10:00;;\n";
    let file = read_with(text, &with);
    assert_eq!(starts(&file), ["2026-09-01T06:00:00Z", "2026-10-24T20:00:00Z", "2026-09-01T06:00:00Z"]);
    assert_eq!(file.wanted[1].times.ends_at().to_string(), "2026-10-25T05:00:00Z");
    let expected =
        ["4 group: no group is named \"Nobody\"", "5 date: \"01.09.2026\" is no date: say it as 2026-09-01"];
    assert_eq!(
        (problems(&file), file.ignored_columns.clone()),
        (expected.map(str::to_owned).to_vec(), vec!["Colour".to_owned()])
    );
    let plan = SessionPlan::new(file, vec![], None, &known(), &with);
    assert_eq!((plan.create.len(), plan.new_rooms.len(), plan.problems.len()), (2, 1, 3));
    assert_eq!(plan.problems[2].message, "line 2 speaks of the same session");
    let refused = SessionFile::read(b"group,date,start\n", &with, &known()).unwrap_err().to_string();
    assert!(refused.contains("no column says the end"), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_calendar_is_read_or_refused(
        lines in prop::collection::vec("(BEGIN|END):(VEVENT|VALARM)|(UID|DTSTART|DTEND|RRULE|EXDATE|SUMMARY)(;TZID=[A-Za-z/]{0,8})?:[0-9TZA-Z=;,-]{0,24}|[^\r\n]{0,12}", 0..30),
    ) {
        let text = format!("BEGIN:VCALENDAR\n{}\nEND:VCALENDAR\n", lines.join("\n"));
        let _ = SessionFile::read(text.as_bytes(), &options(SessionFormat::Icalendar), &known());
    }

    /// In which order a file has its events is of no matter, nor how often it has one.
    #[test]
    fn the_order_of_events_changes_no_session(
        days in prop::collection::vec(1_u8..28, 1..8), counts in prop::collection::vec(1_u8..6, 8), rotated in 0_usize..8,
        doubled: bool,
    ) {
        let mut events: Vec<String> = days.iter().zip(&counts).enumerate().map(|(n, (day, count))| format!(
            "UID:{n}\nDTSTART:202610{day:02}T080000\nDURATION:PT1H\nRRULE:FREQ=DAILY;COUNT={count}\nSUMMARY:Maths"
        )).collect();
        let sessions = |events: &[String]| {
            let events: Vec<&str> = events.iter().map(String::as_str).collect();
            let mut wanted: Vec<_> = read(&events).wanted.into_iter().map(|w| (w.key, w.times.starts_at())).collect();
            wanted.sort();
            wanted
        };
        let before = sessions(&events);
        prop_assert_eq!(before.len(), days.iter().zip(&counts).map(|(_, count)| usize::from(*count)).sum::<usize>());
        if doubled {
            events.push(events[0].clone());
        }
        let at = rotated % events.len();
        events.rotate_left(at);
        prop_assert_eq!(sessions(&events), before);
    }
}
