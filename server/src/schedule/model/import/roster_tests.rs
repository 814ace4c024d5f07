//! Rosters of tables and bundles: what follows from them.

use std::io::{Cursor, Write};

use cavs_types::{ImportFormat, StudentId};
use jiff::{ToSpan, civil::date};
use proptest::prelude::*;
use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;
use crate::schedule::ScheduleVersion;

const TODAY: Date = Date::constant(2026, 10, 1);

fn options(format: RosterFormat) -> RosterImportOptions {
    RosterImportOptions {
        format,
        text: ImportOptions::new(ImportFormat::Csv, "", "").unwrap(),
        dry_run: false,
        create_groups: true,
        start_date: None,
        end_missing: false,
    }
}

fn known() -> KnownRosters {
    let student =
        |number: &str, external: &str| (StudentId::generate(), number.to_owned(), external.to_owned());
    KnownRosters {
        students: vec![student("17", "u1"), student("18", "u2"), student("19", "")],
        ..KnownRosters::default()
    }
}

/// What there is once a plan was carried out.
fn carried_out(plan: &RosterPlan, known: &KnownRosters) -> KnownRosters {
    let mut after = known.clone();
    for (id, term) in &plan.new_terms {
        after.terms.push((*id, ScheduleVersion(1), term.clone()));
    }
    for (id, _, term) in &plan.terms {
        after.terms.iter_mut().filter(|(known, ..)| known == id).for_each(|known| known.2 = term.clone());
    }
    for (id, group) in &plan.new_groups {
        after.groups.push((*id, ScheduleVersion(1), group.clone(), false));
    }
    for (id, _, group) in &plan.groups {
        after.groups.iter_mut().filter(|(known, ..)| known == id).for_each(|known| known.2 = group.clone());
    }
    after.members.retain(|(group, student, from, _)| !plan.removed.contains(&(*group, *student, *from)));
    for (group, student, before, from, until) in &plan.members {
        after.members.retain(|(g, s, f, _)| (g, s, Some(*f)) != (group, student, *before));
        after.members.push((*group, *student, *from, *until));
    }
    after
}

fn plan(data: &[u8], known: &KnownRosters, options: &RosterImportOptions) -> RosterPlan {
    RosterPlan::new(RosterFile::read(data, options).unwrap(), known, options, TODAY)
}

fn counts(plan: &RosterPlan) -> [u64; 4] {
    [plan.added, plan.changed, plan.ended, plan.unchanged]
}

#[test]
fn tables_have_members_with_their_days() {
    let with = options(RosterFormat::Csv);
    let text = "group,number,from,until\n3b,17,2026-09-01,\n3b,18,,2026-12-31\n3c,17,,\n";
    let first =
        plan(text.as_bytes(), &known(), &RosterImportOptions { create_groups: false, ..with.clone() });
    assert_eq!(first.problems[0].message, "no group is called \"3b\"");
    let before = known();
    let first = plan(text.as_bytes(), &before, &with);
    assert_eq!((first.new_groups.len(), counts(&first), first.problems.len()), (2, [3, 0, 0, 0], 0));
    let after = carried_out(&first, &before);
    assert_eq!(counts(&plan(text.as_bytes(), &after, &with)), [0, 0, 0, 3]);
    // Who has left comes again later; a day is said anew; and whoever is not in the file is left alone or ended.
    let text = "group,number,from,until\n3b,17,2026-09-01,2026-09-30\n3b,17,2027-01-01,\n";
    let next = plan(text.as_bytes(), &after, &with);
    assert_eq!((counts(&next), next.problems.clone()), ([1, 1, 0, 0], vec![]));
    let ended = plan(text.as_bytes(), &after, &RosterImportOptions { end_missing: true, ..with.clone() });
    // 18 of 3b began today, and so never was; of 3c the file does not speak.
    assert_eq!((counts(&ended), ended.removed.len()), ([1, 1, 1, 0], 1));
    for (text, said) in [
        ("3b,17,2026-09-01,\n3b,17,2026-10-01,\n", "line 2 speaks of the same student"),
        ("3b,17,2026-09-01,\n3b,17,2026-09-01,\n", "line 2 speaks of the same student"),
        ("3b,99,,\n", "no student is called \"99\""),
        ("3b,,,\n", "is required"),
        ("3b,17,2026-09-02,2026-09-01\n", "is before the first day"),
    ] {
        let text = format!("group,number,from,until\n{text}");
        let found = plan(text.as_bytes(), &before, &with).problems;
        assert!(found.len() == 1 && found[0].message.contains(said), "{text}: {found:?}");
    }
}

fn bundle(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

const BULK: &str = "propertyName,value\noneroster.version,1.1\nfile.classes,bulk\nfile.enrollments,bulk\n";
const SESSIONS: &str = "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear\n\
    t1,,,Autumn,term,2026-09-01,2026-12-19,,2027\n";
const CLASSES: &str = "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,schoolSourcedId,termSourcedIds\n\
    c1,,,Maths,,,M1,scheduled,,o,t1\nc2,,,Maths,,,M1,scheduled,,o,\"t1,t2\"\nc3,tobedeleted,,Art,,,,,,,\n";
const ENROLLMENTS: &str = "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate\n\
    e1,,,c1,o,u1,student,,,\ne2,,,c1,o,u2,student,,2026-09-15,2026-12-01\ne3,,,c1,o,u9,teacher,,,\ne4,tobedeleted,,c3,o,u9,student,,,\n";

#[test]
fn bundles_have_terms_groups_and_rosters() {
    let (before, with) = (known(), options(RosterFormat::Oneroster));
    let files = |enrollments| {
        bundle(&[
            ("manifest.csv", BULK),
            ("academicSessions.csv", SESSIONS),
            ("classes.csv", CLASSES),
            ("enrollments.csv", enrollments),
        ])
    };
    let first = plan(&files(ENROLLMENTS), &before, &with);
    assert_eq!((first.problems.clone(), counts(&first)), (vec![], [2, 0, 0, 0]));
    let term = &first.new_terms[0].1;
    assert_eq!(
        (term.name.as_str(), term.days),
        ("Autumn", Days::new(date(2026, 9, 1), date(2026, 12, 18)).unwrap())
    );
    let names: Vec<&str> = first.new_groups.iter().map(|(_, group)| group.name.as_str()).collect();
    assert_eq!(names, ["Maths (M1) [c1]", "Maths (M1) [c2]"]);
    let days: Vec<_> = first.members.iter().map(|(_, _, _, from, until)| (*from, *until)).collect();
    assert!(days.contains(&(date(2026, 9, 1), None)), "since the term began: {days:?}");
    assert!(days.contains(&(date(2026, 9, 15), Some(date(2026, 11, 30)))), "{days:?}");
    let after = carried_out(&first, &before);
    let again = plan(&files(ENROLLMENTS), &after, &with);
    assert_eq!((counts(&again), again.new_groups.len() + again.groups.len()), ([0, 0, 0, 2], 0));

    // A delta ends who is to be deleted, and says nothing of others.
    let manifest = BULK.replace("bulk", "delta");
    let gone = "sourcedId,status,classSourcedId,userSourcedId,role\ne1,tobedeleted,c1,u1,student\n";
    let none = CLASSES.lines().next().unwrap();
    let delta =
        bundle(&[("manifest.csv", manifest.as_str()), ("classes.csv", none), ("enrollments.csv", gone)]);
    let ended = plan(&delta, &after, &RosterImportOptions { end_missing: true, ..with.clone() });
    assert_eq!((counts(&ended), ended.members[0].4), ([0, 0, 1, 0], Some(TODAY.saturating_sub(1.day()))));
    // Whoever is not there as a student yet has to be imported first.
    let unknown = ENROLLMENTS.replace("u2", "u7");
    let refused = plan(&files(&unknown), &before, &with).problems;
    assert!(refused[0].message.contains("\"u7\"; import the students first"), "{refused:?}");
    let error = |files: &[(&str, &str)]| RosterFile::read(&bundle(files), &with).unwrap_err().to_string();
    assert_eq!(error(&[("manifest.csv", BULK)]), "holds no classes.csv");
    assert!(error(&[("manifest.csv", BULK), ("classes.csv", "title\nx\n")]).contains("no column sourcedId"));
}

proptest! {
    /// Whatever a file says, nobody is in a group twice on a day, and the same file again changes nothing.
    #[test]
    fn rosters_stay_without_overlaps(
        rows in prop::collection::vec((0_usize..3, 17_u8..20, 0_i64..60, prop::option::of(0_i64..60)), 1..20),
        end_missing: bool,
    ) {
        let with = RosterImportOptions { end_missing, ..options(RosterFormat::Csv) };
        let mut text = "group,number,from,until\n".to_owned();
        for (group, number, from, lasts) in &rows {
            let first = date(2026, 9, 1) + from.days();
            let last = lasts.map(|days| (first + days.days()).to_string()).unwrap_or_default();
            text.push_str(&format!("g{group},{number},{first},{last}\n"));
        }
        let before = known();
        let file = RosterFile::read(text.as_bytes(), &with).unwrap();
        let taken = RosterPlan::new(file.clone(), &before, &with, TODAY);
        let after = carried_out(&taken, &before);
        for (at, one) in after.members.iter().enumerate() {
            for other in &after.members[..at] {
                let meet = one.3.is_none_or(|until| other.2 <= until) && other.3.is_none_or(|until| one.2 <= until);
                prop_assert!((one.0, one.1) != (other.0, other.1) || !meet, "{one:?} {other:?}");
            }
        }
        if taken.problems.is_empty() {
            let again = RosterPlan::new(file, &after, &with, TODAY);
            prop_assert_eq!((again.members.len(), again.removed.len(), again.problems.len()), (0, 0, 0));
            prop_assert_eq!(again.unchanged, taken.added);
        }
    }
}
