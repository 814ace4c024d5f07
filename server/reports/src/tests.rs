//! Reports of a class as files.

use std::io::Read;

use cavs_types::{Mark, SessionState};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    Document, Fonts, Head, Person, PersonReport, PersonRow, Rate, RoomReport, RoomRow, Session, SheetReport,
    SheetRow, Tally, Visitor, WarningReport, WarningRow, WeekReport, WeekRow, csv_document, html,
    missing_letters, parquet_document, pdf, xlsx,
};

const HOSTILE: &str = "=HYPERLINK(\"x\") <script>alert(1)</script>";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn head() -> Head {
    Head {
        school: "Lycée & Sons".into(),
        zone: TimeZone::get("Africa/Addis_Ababa").unwrap(),
        zone_name: "Africa/Addis_Ababa".into(),
        made_at: time("2026-11-27T15:00:00Z"),
    }
}

fn person(number: &str, name: &str) -> Person {
    Person { id: format!("id-{number}"), number: number.into(), name: name.into(), section: "7B".into() }
}

fn session(group: &str, name: &str, start: &str) -> Session {
    Session {
        id: format!("session {start}"),
        group: group.into(),
        name: name.into(),
        starts_at: time(start),
        ends_at: time(start) + jiff::SignedDuration::from_mins(45),
        state: SessionState::Closing,
    }
}

fn sheet() -> Document {
    let row = |number: &str, name: &str, mark, minutes_late| SheetRow {
        person: person(number, name),
        mark,
        said: mark == Mark::Absent,
        first_seen_at: (mark != Mark::Absent).then(|| time("2026-11-27T05:02:00Z")),
        last_seen_at: None,
        minutes_present: 43,
        minutes_late,
        minutes_left_early: 0,
    };
    Document::from(&SheetReport {
        head: head(),
        session: session("7B", "Maths", "2026-11-27T05:00:00Z"),
        rooms: vec!["Room 1".into()],
        rows: vec![
            row("1001", "Abebe Bikila", Mark::Present, 0),
            row("1002", "አበበ ቢቂላ", Mark::Late, 12),
            row("1003", "محمد صلاح", Mark::Absent, 0),
            row("1004", HOSTILE, Mark::Undetermined, 0),
        ],
        visitors: vec![Visitor { person: person("9", "Eve"), first_seen_at: None, last_seen_at: None }],
        unproven: vec!["camera \"door\" has not delivered so far".into()],
    })
}

/// So many sessions, three a day.
fn week(sessions: usize) -> Document {
    let start = time("2026-11-23T05:00:00Z");
    let sessions: Vec<_> = (0..sessions)
        .map(|n| Session {
            starts_at: start + jiff::SignedDuration::from_hours(i64::try_from(n / 3 * 24 + n % 3).unwrap()),
            ..session("7B", if n == 1 { "Maths" } else { "" }, "2026-11-23T05:00:00Z")
        })
        .collect();
    let marks: Vec<_> = (0..sessions.len()).map(|n| (n != 2).then_some((Mark::ALL[n % 5], n == 3))).collect();
    let tally: Tally = marks.iter().flatten().map(|(mark, _)| *mark).collect();
    let rows = vec![WeekRow { person: person("1001", "Abebe Bikila"), marks, tally }];
    let (first_day, last_day) = ("2026-11-23".parse().unwrap(), "2026-11-29".parse().unwrap());
    Document::from(&WeekReport { head: head(), of: "7B".into(), first_day, last_day, sessions, rows })
}

fn rest() -> [Document; 3] {
    let (first_day, last_day) = ("2026-09-01".parse().unwrap(), "2026-12-18".parse().unwrap());
    let tally = Tally { present: 7, absent: 4, excused: 2, ..Tally::default() };
    let term = "Autumn".to_owned();
    let person_report = PersonReport {
        head: head(),
        person: person("1001", "Abebe Bikila"),
        term: term.clone(),
        first_day,
        last_day,
        rows: vec![PersonRow {
            session: session("7B", "Maths", "2026-11-27T05:00:00Z"),
            mark: Mark::LeftEarly,
            said: false,
            minutes_present: 30,
            minutes_late: 0,
            minutes_left_early: 15,
        }],
        tally,
    };
    let warnings = WarningReport {
        head: head(),
        of: "7B".into(),
        term: String::new(),
        first_day,
        last_day,
        below: Rate::of_permille(800).unwrap(),
        final_only: true,
        rows: vec![WarningRow { person: person("1001", "Abebe Bikila"), tally }],
    };
    let room = RoomRow { id: "id".into(), name: "Room 1".into(), sessions: 3, minutes: 135, tally };
    let rooms = RoomReport { head: head(), term, first_day, last_day, rows: vec![room] };
    [Document::from(&person_report), Document::from(&warnings), Document::from(&rooms)]
}

fn csv(document: &Document) -> String {
    String::from_utf8(csv_document(document).unwrap()).unwrap().replace('\r', "")
}

#[test]
fn spreadsheets_get_exact_rows_and_no_formulas() {
    insta::assert_snapshot!(csv(&sheet()));
    insta::assert_snapshot!(csv(&week(4)));
    insta::assert_snapshot!(rest().iter().map(csv).collect::<Vec<_>>().join("\n"));
}

#[test]
fn programs_get_rows_by_the_names_of_their_columns() {
    insta::assert_snapshot!(serde_json::to_string_pretty(&sheet()).unwrap());
    let week = serde_json::to_value(week(3)).unwrap();
    let row = &week["rows"][0];
    assert_eq!(
        (&row["2026-11-23 09:00 Maths"], &row["2026-11-23 10:00"]),
        (&"late".into(), &serde_json::Value::Null)
    );
    assert_eq!(row["attendance"], 100.0);
}

#[test]
fn a_page_names_the_school_and_is_no_program() {
    let page = String::from_utf8(html(&sheet()).unwrap()).unwrap();
    assert!(
        page.contains("Lycée &#38; Sons") && page.contains("@page") && page.contains("አበበ ቢቂላ"),
        "{page}"
    );
    assert!(!page.contains("<script>") && page.contains("&#60;script&#62;"), "{page}");
    assert!(page.contains("2026-11-27 08:02"), "the clocks of the site: {page}");
    assert!(!page.contains("id-1001"), "ids are for programs: {page}");
    for document in rest() {
        let page = String::from_utf8(html(&document).unwrap()).unwrap();
        assert!(page.contains(&document.title), "{page}");
    }
}

/// The parts of a workbook.
fn part(workbook: &[u8], name: &str) -> String {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(workbook)).unwrap();
    let mut text = String::new();
    archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
    text
}

#[test]
fn a_workbook_has_numbers_dates_and_text_that_stays_text() {
    let book = xlsx(&sheet()).unwrap();
    let (strings, first) = (part(&book, "xl/sharedStrings.xml"), part(&book, "xl/worksheets/sheet1.xml"));
    assert!(strings.contains("=HYPERLINK") && strings.contains("محمد صلاح"), "{strings}");
    assert!(!first.contains("<f>"), "no cell is computed: {first}");
    // 2026-11-27 08:02 as a spreadsheet counts days.
    assert!(first.contains("<v>46353.33472"), "{first}");
    assert!(part(&book, "xl/worksheets/sheet2.xml").contains("<sheetData>"), "visitors");
    let warnings = xlsx(&rest()[1]).unwrap();
    assert!(part(&warnings, "xl/worksheets/sheet1.xml").contains("<v>0.636</v>"), "7 of 11");
    // Any name of a room or a group can be the name of a worksheet, and none breaks the header.
    let mut hostile = sheet();
    hostile.more[0].title = "a/b:[c]*?\\'".repeat(9);
    hostile.head.school = "&&&&L&G".repeat(100);
    xlsx(&hostile).unwrap();
}

#[test]
fn analysts_get_typed_columns() {
    let file = parquet_document(&week(4)).unwrap();
    assert_eq!(&file[..4], b"PAR1");
    for document in rest() {
        parquet_document(&document).unwrap();
    }
}

#[test]
fn a_printed_page_has_the_letters_that_fonts_have_and_says_which_it_lacks() {
    // scripts/test installs them: fonts-dejavu-core and fonts-sil-abyssinica.
    let read = |path: &str| std::fs::read(format!("/usr/share/fonts/truetype/{path}")).unwrap();
    let latin = || vec![read("dejavu/DejaVuSans.ttf"), read("dejavu/DejaVuSans-Bold.ttf")];
    let ethiopic = ["abyssinica/AbyssinicaSIL-Regular.ttf", "abyssinica/AbyssinicaSIL-R.ttf"];
    let ethiopic =
        ethiopic.into_iter().find_map(|path| std::fs::read(format!("/usr/share/fonts/truetype/{path}")).ok());
    let both = Fonts::of(latin().into_iter().chain(ethiopic));
    assert!(missing_letters(&sheet(), &both).is_empty());
    let (all, fewer) = (pdf(&sheet(), &both).unwrap(), pdf(&sheet(), &Fonts::of(latin())).unwrap());
    assert!(all.starts_with(b"%PDF-1.") && fewer.starts_with(b"%PDF-1."));
    let missing = missing_letters(&sheet(), &Fonts::of(latin()));
    assert!(missing.contains(&'አ') && !missing.contains(&'م'), "{missing:?}");
    assert!(matches!(pdf(&sheet(), &Fonts::of([])), Err(crate::FileError::NoFonts)));
    assert!(matches!(pdf(&sheet(), &Fonts::of([b"no font".to_vec()])), Err(crate::FileError::NoFonts)));
    for document in rest().iter().chain([&week(4), &week(150)]) {
        pdf(document, &both).unwrap();
    }
}
